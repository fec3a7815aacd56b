/*-------------------------------------------------------------------------
 *
 * as_owner.h
 *	  Runs statements on the extension's tables as their owner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_AS_OWNER_H
#define ES_AS_OWNER_H

/* Who one was before. */
typedef struct EsAsOwner
{
	Oid			user;
	int			security_context;
} EsAsOwner;

#define ES_MAX_STATEMENT_ARGUMENTS 10

typedef struct EsStatement
{
	const char *text;
	Oid			types[ES_MAX_STATEMENT_ARGUMENTS];	/* of the arguments */
	struct _SPI_plan *plan;
} EsStatement;

extern void es_as_owner_begin(EsAsOwner *previous);
extern void es_as_owner_end(EsAsOwner *previous);
extern int	es_as_owner_run(EsStatement *statement, Datum *arguments, const char *nulls);
extern Datum es_as_owner_get(int row, int column, bool *isnull);

#endif							/* ES_AS_OWNER_H */
