/*-------------------------------------------------------------------------
 *
 * message_encoding.h
 *	  Messages in the encoding of the client.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MESSAGE_ENCODING_H
#define ES_MESSAGE_ENCODING_H

#include "lib/stringinfo.h"

extern void es_message_encoding_convert(StringInfo out, int start);

#endif							/* ES_MESSAGE_ENCODING_H */
