/*-------------------------------------------------------------------------
 *
 * expectation.c
 *	  Is the stream what the appender believes it to be?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "append/append_request.h"
#include "append/expectation.h"
#include "errors.h"
#include "store/stream.h"

static bool
is_met(const EsAppendRequest *request, const EsStream *stream)
{
	if (!request->has_expected_version)
		return true;
	if (request->expected_version < 0)
		return stream->version > 0;
	return stream->version == request->expected_version;
}

static const char *
describe_expectation(const EsAppendRequest *request)
{
	if (request->expected_version < 0)
		return "that the stream exists";
	if (request->expected_version == 0)
		return "that the stream does not exist";
	return psprintf("version %lld", (long long) request->expected_version);
}

/*
 * Raise ST001 unless the stream is where the caller believes it to be.
 */
void
es_expectation_check(const EsAppendRequest *request, const EsStream *stream)
{
	if (is_met(request, stream))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_ES_WRONG_EXPECTED_VERSION),
			 errmsg("wrong expected version of stream \"%s\"",
					text_to_cstring(request->stream_id)),
			 errdetail("Stream \"%s\": expected %s, actual version %lld.",
					   text_to_cstring(request->stream_id),
					   describe_expectation(request),
					   (long long) stream->version),
			 errhint("Read the stream again, decide again, and append with the version that was read.")));
}

/*
 * Resolve which stream type the events get: the stream's own, for a stream
 * has one; the given or derived one for a new stream.
 */
void
es_expectation_resolve_type(EsAppendRequest *request, const EsStream *stream)
{
	text	   *given = request->stream_type;
	text	   *own = stream->stream_type;

	if (own == NULL)
	{
		if (given == NULL)
			request->stream_type = es_append_request_derive_type(request);
		return;
	}

	if (given != NULL &&
		(VARSIZE_ANY_EXHDR(given) != VARSIZE_ANY_EXHDR(own) ||
		 memcmp(VARDATA_ANY(given), VARDATA_ANY(own), VARSIZE_ANY_EXHDR(own)) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stream \"%s\" is of another stream type",
						text_to_cstring(request->stream_id)),
				 errdetail("Its type is \"%s\", and \"%s\" was given.",
						   text_to_cstring(own), text_to_cstring(given)),
				 errhint("Leave stream_type out when appending to a stream that exists.")));
	request->stream_type = own;
}
