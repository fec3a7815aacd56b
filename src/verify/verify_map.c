/*-------------------------------------------------------------------------
 *
 * verify_map.c
 *	  What is known of each line pointer of a part of the table, in two bits.
 *
 * The map takes no more than maintenance_work_mem, half of it for the
 * blocks, at four bytes each, and half for their line pointers.  A table that
 * does not fit is looked at in parts: 64 MB hold 8 million blocks of up to
 * 16 rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"

#include "verify/verify_map.h"

#define PLACES_PER_BYTE 4

/* Beyond that, a place would not have a number of 32 bits. */
#define MAX_MAP_SIZE ((Size) 1024 * 1024 * 1024)

/* A small store has several parts, too, where it is there to be tested. */
#ifdef ES_WAIT_POINTS
#define MAX_PART_BLOCKS 64
#else
#define MAX_PART_BLOCKS MaxBlockNumber
#endif

EsPlaceMap *
es_place_map_create(BlockNumber table_blocks)
{
	EsPlaceMap *map = palloc0(sizeof(EsPlaceMap));
	Size		half = Min((Size) maintenance_work_mem * 1024, MAX_MAP_SIZE) / 2;
	BlockNumber blocks = Min(table_blocks, MAX_PART_BLOCKS);

	map->table_blocks = table_blocks;
	map->max_blocks = Min(blocks, half / sizeof(uint32) - 1);
	map->max_places = Min((Size) map->max_blocks * MaxHeapTuplesPerPage,
						  half * PLACES_PER_BYTE);
	map->starts = palloc_extended((map->max_blocks + 1) * sizeof(uint32),
								  MCXT_ALLOC_HUGE);
	map->places = palloc_extended(map->max_places / PLACES_PER_BYTE + 1,
								  MCXT_ALLOC_HUGE);
	return map;
}

void
es_place_map_free(EsPlaceMap *map)
{
	pfree(map->places);
	pfree(map->starts);
	pfree(map);
}

/*
 * Forget the part that is in the map, and begin another one.
 */
void
es_place_map_begin_part(EsPlaceMap *map, BlockNumber first_block)
{
	map->first_block = first_block;
	map->nblocks = 0;
	map->starts[0] = 0;
	memset(map->places, 0, map->max_places / PLACES_PER_BYTE + 1);
}

/*
 * Add the next block, whose line pointers are empty places at first.  Returns
 * false when there is no room for it.
 */
bool
es_place_map_add_block(EsPlaceMap *map, int nplaces)
{
	uint32		start = map->starts[map->nblocks];

	if (map->nblocks == map->max_blocks || nplaces > map->max_places - start)
		return false;
	map->starts[++map->nblocks] = start + nplaces;
	return true;
}

/*
 * Is this a place of the part?  The last part goes on for ever.
 */
bool
es_place_map_covers(const EsPlaceMap *map, ItemPointer tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	BlockNumber end = map->first_block + map->nblocks;

	return block >= map->first_block && (block < end || end == map->table_blocks);
}

/*
 * The number of a place that the part covers; false if it is not in the map,
 * since the table has grown or the place is none.
 */
static bool
find_place(const EsPlaceMap *map, ItemPointer tid, uint32 *number)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid) - map->first_block;
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);

	if (block >= map->nblocks || offset == InvalidOffsetNumber)
		return false;
	*number = map->starts[block] + offset - 1;
	return *number < map->starts[block + 1];
}

static EsPlace
get_place(const EsPlaceMap *map, uint32 number)
{
	return (map->places[number / PLACES_PER_BYTE] >> number % PLACES_PER_BYTE * 2) & 3;
}

static void
set_place(EsPlaceMap *map, uint32 number, EsPlace place)
{
	uint8	   *byte = &map->places[number / PLACES_PER_BYTE];
	int			shift = number % PLACES_PER_BYTE * 2;

	*byte = (*byte & ~(3 << shift)) | place << shift;
}

EsPlace
es_place_map_get(const EsPlaceMap *map, ItemPointer tid)
{
	uint32		number;

	return find_place(map, tid, &number) ? get_place(map, number) : ES_PLACE_EMPTY;
}

/*
 * The place must be in the map.
 */
void
es_place_map_set(EsPlaceMap *map, ItemPointer tid, EsPlace place)
{
	uint32		number = 0;
	bool		found PG_USED_FOR_ASSERTS_ONLY = find_place(map, tid, &number);

	Assert(found);
	set_place(map, number, place);
}

/*
 * Move on from the place to the next one that is seen and not reached, if
 * there is one.  An invalid place is before the first one.
 */
bool
es_place_map_next_seen(const EsPlaceMap *map, ItemPointer tid)
{
	bool		is_first = !ItemPointerIsValid(tid);
	BlockNumber block = is_first ? 0 : ItemPointerGetBlockNumber(tid) - map->first_block;
	uint32		number = is_first ? 0 : map->starts[block] + ItemPointerGetOffsetNumber(tid);

	for (; block < map->nblocks; block++)
	{
		for (; number < map->starts[block + 1]; number++)
		{
			if (get_place(map, number) == ES_PLACE_SEEN)
			{
				ItemPointerSet(tid, map->first_block + block, number - map->starts[block] + 1);
				return true;
			}
		}
	}
	return false;
}

/*
 * Be ready for another index.
 */
void
es_place_map_forget_reached(EsPlaceMap *map)
{
	for (uint32 number = 0; number < map->starts[map->nblocks]; number++)
	{
		if (get_place(map, number) == ES_PLACE_REACHED)
			set_place(map, number, ES_PLACE_SEEN);
	}
}
