/*-------------------------------------------------------------------------
 *
 * transaction.h
 *	  What this transaction has done so far, by subtransactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TRANSACTION_H
#define ES_TRANSACTION_H

/* What a transaction has done up to here, in its subtransactions as well. */
typedef struct EsTransactionNote
{
	struct EsTransactionNote *outer;
	int			nest_level;		/* of the subtransaction */
	int			nstream_locks;	/* taken, and not let go of */
	int64		for_listeners;	/* last position to be sent by this
								 * transaction, or 0 */
	int64		for_worker;		/* ... by the worker, or 0 */
} EsTransactionNote;

typedef enum EsTransactionEnd
{
	ES_COMMITTED,
	ES_PREPARED,
	ES_ABORTED
} EsTransactionEnd;

/* What is to be done at the end of a transaction. */
typedef struct EsTransactionEnds
{
	void		(*before_commit) (const EsTransactionNote *note);
	void		(*before_prepare) (const EsTransactionNote *note);

	/* "note" is NULL if there is none; no error may be raised */
	void		(*at_end) (EsTransactionEnd end, const EsTransactionNote *note);
} EsTransactionEnds;

extern EsTransactionNote *es_transaction_note(void);
extern void es_transaction_set_ends(const EsTransactionEnds *wanted);
extern int	es_transaction_stream_locks(void);

#endif							/* ES_TRANSACTION_H */
