/*-------------------------------------------------------------------------
 *
 * rights.h
 *	  What the direct path checks in the place of the executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RIGHTS_H
#define ES_RIGHTS_H

extern void es_rights_check_read(Oid events);
extern void es_rights_check_append(Oid events);
extern void es_rights_check_own_tables(void);

#endif							/* ES_RIGHTS_H */
