/*-------------------------------------------------------------------------
 *
 * lock_tags.h
 *	  The fourth field of the extension's lock tags, seen as objsubid in
 *	  pg_locks.  PostgreSQL's own advisory locks use 1 and 2.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LOCK_TAGS_H
#define ES_LOCK_TAGS_H

#define ES_LOCKTAG_GATE		0x4553
#define ES_LOCKTAG_STREAM	0x4554
#define ES_LOCKTAG_SERIALIZE 0x4555
#define ES_LOCKTAG_PASS		0x4556
#define ES_LOCKTAG_DIGEST	0x4557

#endif							/* ES_LOCK_TAGS_H */
