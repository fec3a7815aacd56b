/*-------------------------------------------------------------------------
 *
 * event_digest.c
 *	  The digest of an event, and that of a range of events.
 *
 * An event's own digest is the SHA-256 of a fixed form of its columns, which
 * docs/integrity.md describes byte by byte, so that others can compute it, too:
 * a byte FORMAT, and then for each column, in the table's order, a byte IS_NULL,
 * or a byte IS_VALUE and the value:
 *	- integers as 4 or 8 bytes, the highest first; a time as 8, the
 *	  microseconds since 1970 began in UTC;
 *	- a uuid as its 16 bytes;
 *	- a text as its length in 4 bytes, and as UTF-8;
 *	- an array as the number of its elements in 4 bytes, and them as columns;
 *	- json and bytea as the SHA-256 of their contents (json as UTF-8): whoever
 *	  has that in the place of a payload can still compute the rest.
 * IS_ODD says that a text has no equivalent in UTF-8 and is taken as it is; or,
 * of an array that has not one dimension from 1 on, that the sizes and the lower
 * bounds of its dimensions precede it.  Nothing that is stored makes this fail.
 *
 * The digest of a range is the SHA-256 of the one before it, 32 bytes of zeros
 * at the beginning, and the digests of its events in the order of their
 * positions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "eventstore.h"
#include "verify/event_digest.h"

PG_FUNCTION_INFO_V1(eventstore_event_digest);

#define FORMAT 1

struct EsDigester
{
	pg_cryptohash_ctx *parts;	/* of payloads and events, one by one */
	pg_cryptohash_ctx *range;
	StringInfoData form;		/* of the event in hand */
	Size		content;		/* bytes of its texts and payloads */
	MemoryContext row_context;
};

/* ---- SHA-256 ---- */

static void
report_failure(pg_cryptohash_ctx *hash)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not compute a SHA-256 digest"),
			 errdetail_internal("%s", pg_cryptohash_error(hash)),
			 errhint("See whether the server's OpenSSL library permits SHA-256.")));
}

static void
hash_begin(pg_cryptohash_ctx *hash)
{
	if (pg_cryptohash_init(hash) < 0)
		report_failure(hash);
}

static void
hash_add(pg_cryptohash_ctx *hash, const void *bytes, Size length)
{
	if (pg_cryptohash_update(hash, bytes, length) < 0)
		report_failure(hash);
}

static void
hash_end(pg_cryptohash_ctx *hash, uint8 *digest)
{
	if (pg_cryptohash_final(hash, digest, ES_DIGEST_LENGTH) < 0)
		report_failure(hash);
}

/* ---- the form of an event ---- */

/* What precedes a column or an element. */
#define IS_NULL		0
#define IS_VALUE	1
#define IS_ODD		2			/* what an append on a UTF-8 database can't
								 * make */

/*
 * A text as UTF-8, or as it is where it has no equivalent.
 */
static const char *
as_utf8(const char *start, int *length, bool *is_utf8)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion;
	Size		size;
	char	   *utf8;
	int			nconverted;

	*is_utf8 = encoding == PG_UTF8 || *length == 0;
	if (*is_utf8 || encoding == PG_SQL_ASCII)
		return start;
	conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(conversion))
		return start;

	size = Min((Size) *length * MAX_CONVERSION_GROWTH + 1, INT_MAX);
	utf8 = MemoryContextAllocHuge(CurrentMemoryContext, size);
	nconverted = pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
											   (unsigned char *) start, *length,
											   (unsigned char *) utf8, (int) size, true);
	*is_utf8 = nconverted == *length;
	if (!*is_utf8)
		return start;
	*length = strlen(utf8);
	return utf8;
}

static void
add_text(EsDigester *digester, const char *start, int length)
{
	bool		is_utf8;
	const char *text = as_utf8(start, &length, &is_utf8);

	pq_sendbyte(&digester->form, is_utf8 ? IS_VALUE : IS_ODD);
	pq_sendint32(&digester->form, length);
	pq_sendbytes(&digester->form, text, length);
	digester->content += length;
}

static void
add_hash(EsDigester *digester, const char *start, int length, bool is_text)
{
	bool		is_plain = true;
	const char *bytes = is_text ? as_utf8(start, &length, &is_plain) : start;
	uint8		digest[ES_DIGEST_LENGTH];

	hash_begin(digester->parts);
	hash_add(digester->parts, bytes, length);
	hash_end(digester->parts, digest);
	pq_sendbyte(&digester->form, is_plain ? IS_VALUE : IS_ODD);
	pq_sendbytes(&digester->form, (char *) digest, sizeof(digest));
	digester->content += length;
}

static int64
unix_time(TimestampTz time)
{
	const int64 epochs = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return TIMESTAMP_NOT_FINITE(time) ? time : time + epochs;
}

static void
add_array(EsDigester *digester, ArrayType *array)
{
	bool		is_plain = ARR_NDIM(array) == 0 || (ARR_NDIM(array) == 1 && ARR_LBOUND(array)[0] == 1);
	Datum	   *elements;
	bool	   *nulls;
	int			nelements;

	pq_sendbyte(&digester->form, is_plain ? IS_VALUE : IS_ODD);
	for (int i = 0; !is_plain && i < ARR_NDIM(array); i++)
	{
		pq_sendint32(&digester->form, ARR_DIMS(array)[i]);
		pq_sendint32(&digester->form, ARR_LBOUND(array)[i]);
	}
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &nelements);
	pq_sendint32(&digester->form, nelements);
	for (int i = 0; i < nelements; i++)
	{
		if (nulls[i])
			pq_sendbyte(&digester->form, IS_NULL);
		else
		{
			text	   *element = DatumGetTextPP(elements[i]);

			add_text(digester, VARDATA_ANY(element), VARSIZE_ANY_EXHDR(element));
		}
	}
}

/*
 * Values of one size.
 */
static void
add_fixed(EsDigester *digester, Datum value, Oid type)
{
	pq_sendbyte(&digester->form, IS_VALUE);
	switch (type)
	{
		case INT4OID:
			pq_sendint32(&digester->form, DatumGetInt32(value));
			break;
		case INT8OID:
			pq_sendint64(&digester->form, DatumGetInt64(value));
			break;
		case TIMESTAMPTZOID:
			pq_sendint64(&digester->form, unix_time(DatumGetTimestampTz(value)));
			break;
		case UUIDOID:
			pq_sendbytes(&digester->form, (char *) DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		default:
			break;				/* altered: it counts as if it were empty */
	}
}

static void
add_value(EsDigester *digester, Datum value, Oid type)
{
	struct varlena *bytes;

	switch (type)
	{
		case TEXTOID:
			bytes = PG_DETOAST_DATUM_PACKED(value);
			add_text(digester, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case JSONOID:
		case BYTEAOID:
			bytes = PG_DETOAST_DATUM_PACKED(value);
			add_hash(digester, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), type == JSONOID);
			break;
		case TEXTARRAYOID:
			add_array(digester, DatumGetArrayTypeP(value));
			break;
		default:
			add_fixed(digester, value, type);
			break;
	}
}

/*
 * Compute the digest of an event.
 */
static void
digest_event(EsDigester *digester, HeapTuple row, TupleDesc descriptor, uint8 *digest)
{
	MemoryContext former = MemoryContextSwitchTo(digester->row_context);
	Datum		values[MaxTupleAttributeNumber];
	bool		nulls[MaxTupleAttributeNumber];

	heap_deform_tuple(row, descriptor, values, nulls);
	resetStringInfo(&digester->form);
	digester->content = 0;
	pq_sendbyte(&digester->form, FORMAT);
	for (int i = 0; i < Min(descriptor->natts, Natts_es_events); i++)
	{
		if (nulls[i])
			pq_sendbyte(&digester->form, IS_NULL);
		else
			add_value(digester, values[i], TupleDescAttr(descriptor, i)->atttypid);
	}
	hash_begin(digester->parts);
	hash_add(digester->parts, digester->form.data, digester->form.len);
	hash_end(digester->parts, digest);

	MemoryContextSwitchTo(former);
	MemoryContextReset(digester->row_context);
}

/* ---- ranges ---- */

static pg_cryptohash_ctx *
create_hash(void)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL)
		report_failure(hash);
	return hash;
}

/*
 * Get ready to compute digests.  After an error the end of the transaction
 * does what es_digester_end() does.
 */
EsDigester *
es_digester_begin(void)
{
	EsDigester *digester = palloc0(sizeof(EsDigester));

	digester->parts = create_hash();
	digester->range = create_hash();
	initStringInfo(&digester->form);
	digester->row_context = AllocSetContextCreate(CurrentMemoryContext, "eventstore digest of an event",
												  ALLOCSET_DEFAULT_SIZES);
	return digester;
}

void
es_digester_end(EsDigester *digester)
{
	pg_cryptohash_free(digester->parts);
	pg_cryptohash_free(digester->range);
	MemoryContextDelete(digester->row_context);
	pfree(digester->form.data);
	pfree(digester);
}

/*
 * Begin a range behind the one with this digest.
 */
void
es_digester_begin_range(EsDigester *digester, const uint8 *previous)
{
	hash_begin(digester->range);
	hash_add(digester->range, previous, ES_DIGEST_LENGTH);
}

/*
 * Add the next event.  Returns how many bytes of texts and payloads it has.
 */
Size
es_digester_add(EsDigester *digester, HeapTuple row, TupleDesc descriptor)
{
	uint8		digest[ES_DIGEST_LENGTH];

	digest_event(digester, row, descriptor, digest);
	hash_add(digester->range, digest, sizeof(digest));
	return digester->content;
}

void
es_digester_end_range(EsDigester *digester, uint8 *digest)
{
	hash_end(digester->range, digest);
}

/*
 * event_digest(event eventstore.events) returns bytea
 */
Datum
eventstore_event_digest(PG_FUNCTION_ARGS)
{
	HeapTupleHeader event = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc	descriptor = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(event),
													HeapTupleHeaderGetTypMod(event));
	EsDigester *digester = es_digester_begin();
	bytea	   *digest = palloc(VARHDRSZ + ES_DIGEST_LENGTH);
	HeapTupleData row;

	row.t_len = HeapTupleHeaderGetDatumLength(event);
	row.t_tableOid = InvalidOid;
	row.t_data = event;
	ItemPointerSetInvalid(&row.t_self);
	SET_VARSIZE(digest, VARHDRSZ + ES_DIGEST_LENGTH);
	digest_event(digester, &row, descriptor, (uint8 *) VARDATA(digest));
	es_digester_end(digester);
	ReleaseTupleDesc(descriptor);
	PG_RETURN_BYTEA_P(digest);
}
