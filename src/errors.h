/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  The conditions of the event store that have a SQLSTATE of their own.
 *
 * Clients tell these apart by code, so a code is never given a second
 * meaning.  Mistakes in the input use PostgreSQL's own 22xxx codes, and a
 * lost race for a version is never reported as 40001, which drivers and
 * frameworks retry blindly.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ERRORS_H
#define ES_ERRORS_H

#define ERRCODE_ES_WRONG_EXPECTED_VERSION	MAKE_SQLSTATE('S', 'T', '0', '0', '1')
#define ERRCODE_ES_DUPLICATE_EVENT_ID		MAKE_SQLSTATE('S', 'T', '0', '0', '3')
#define ERRCODE_ES_IMMUTABLE_EVENTS			MAKE_SQLSTATE('S', 'T', '0', '0', '4')

/* Raised in SQL only. */
#define ERRCODE_ES_PARTITION_LOST			MAKE_SQLSTATE('S', 'T', '0', '0', '6')

#endif							/* ES_ERRORS_H */
