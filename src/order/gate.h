/*-------------------------------------------------------------------------
 *
 * gate.h
 *	  The append gate.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GATE_H
#define ES_GATE_H

extern void es_gate_enter(void);
extern void es_gate_leave(void);
extern bool es_gate_is_empty(void);
extern void es_gate_wait_until_left(void);
extern void es_gate_serialize(void);

#endif							/* ES_GATE_H */
