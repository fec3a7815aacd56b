/*-------------------------------------------------------------------------
 *
 * two_phase.h
 *	  Notices that a prepared transaction was committed or rolled back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TWO_PHASE_H
#define ES_TWO_PHASE_H

extern void es_two_phase_install(void);

#endif							/* ES_TWO_PHASE_H */
