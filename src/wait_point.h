/*-------------------------------------------------------------------------
 *
 * wait_point.h
 *	  Places where a test can hold a backend.
 *
 * Compiled in with "make WAIT_POINTS=yes" only; otherwise a wait point is no
 * code at all.  A session stops at the points that its setting
 * eventstore.wait_points names, for as long as another session holds the
 * advisory lock pg_advisory_lock(hashtext(name)).  That is an ordinary
 * heavyweight lock, so isolationtester sees who waits for whom.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAIT_POINT_H
#define ES_WAIT_POINT_H

#ifdef ES_WAIT_POINTS
extern void es_wait_point_define(void);
extern void es_wait_point_reach(const char *name);

#define ES_WAIT_POINT(name) es_wait_point_reach(name)
#else
#define ES_WAIT_POINT(name) ((void) 0)
#endif

#endif							/* ES_WAIT_POINT_H */
