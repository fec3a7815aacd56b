/*-------------------------------------------------------------------------
 *
 * verify_map.h
 *	  What is known of each line pointer of a part of the table, in two bits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERIFY_MAP_H
#define ES_VERIFY_MAP_H

#include "storage/block.h"
#include "storage/itemptr.h"

/* What a line pointer of the table is to an index. */
typedef enum EsPlace
{
	ES_PLACE_EMPTY,				/* no entry may lead here */
	ES_PLACE_HIDDEN,			/* one may, but the snapshot sees no row */
	ES_PLACE_SEEN,				/* one has to */
	ES_PLACE_REACHED			/* one does */
} EsPlace;

/* The line pointers of consecutive blocks: a part of the table. */
typedef struct EsPlaceMap
{
	BlockNumber table_blocks;
	BlockNumber first_block;	/* of the part */
	BlockNumber nblocks;		/* in the part */
	BlockNumber max_blocks;
	uint32		max_places;
	uint32	   *starts;			/* by block: its first place, and the end */
	uint8	   *places;			/* two bits each */
} EsPlaceMap;

extern EsPlaceMap *es_place_map_create(BlockNumber table_blocks);
extern void es_place_map_free(EsPlaceMap *map);
extern void es_place_map_begin_part(EsPlaceMap *map, BlockNumber first_block);
extern bool es_place_map_add_block(EsPlaceMap *map, int nplaces);
extern bool es_place_map_covers(const EsPlaceMap *map, ItemPointer tid);
extern EsPlace es_place_map_get(const EsPlaceMap *map, ItemPointer tid);
extern void es_place_map_set(EsPlaceMap *map, ItemPointer tid, EsPlace place);
extern bool es_place_map_next_seen(const EsPlaceMap *map, ItemPointer tid);
extern void es_place_map_forget_reached(EsPlaceMap *map);

#endif							/* ES_VERIFY_MAP_H */
