/*-------------------------------------------------------------------------
 *
 * as_owner.h
 *	  Runs the statements that keep the books of the subscriptions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_AS_OWNER_H
#define ES_AS_OWNER_H

typedef struct EsBooks
{
	Oid			user;
	int			security_context;
} EsBooks;

#define ES_MAX_STATEMENT_ARGUMENTS 10

typedef struct EsStatement
{
	const char *text;
	Oid			types[ES_MAX_STATEMENT_ARGUMENTS];	/* of the arguments */
	struct _SPI_plan *plan;
} EsStatement;

extern void es_books_open(EsBooks *books);
extern void es_books_close(EsBooks *books);
extern int	es_books_run(EsStatement *statement, Datum *arguments, const char *nulls);
extern Datum es_books_get(int row, int column, bool *isnull);

#endif							/* ES_AS_OWNER_H */
