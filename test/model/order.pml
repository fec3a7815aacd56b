/*
 * The order of events on a primary: appenders, vacuum and a follower, as in
 * event_writer.c, gate.c, settle.c and entry_scan.c.
 *
 * README.md says what stands for what, and what is left out.  "run" lists the
 * macros that break one thing each.
 *
 * A step (a d_step, an atomic or a single statement) is what PostgreSQL does
 * under one lock, or one access to what others change.  Where it is more, a
 * comment says why nobody could tell the difference.  Inlines work on the
 * variables of the process that uses them.
 */

#ifndef APPENDERS
#define APPENDERS	3
#endif
#ifndef POSITIONS
#define POSITIONS	3			/* at most 4 are shown in a story */
#endif

/* A set of small numbers is the bits of a byte. */
#define BIT(n)			(1 << (n))
#define HAS(set, n)		(((set) >> (n)) & 1)
#define ADD(set, n)		set = set | BIT(n)
#define REMOVE(set, n)	set = set & ~BIT(n)
#define BELOW(set, n)	((set) & (BIT(n) - 1))
#define ABOVE(set, n)	((set) & ~(BIT((n) + 1) - 1))
#define FIRST(set)		((set) & -(set))

/* As printf() shows a set. */
#define SHOW(set)		SHOW1(set, 1), SHOW1(set, 2), SHOW1(set, 3), SHOW1(set, 4)
#define SHOW1(set, n)	(HAS(set, n) -> 48 + n : 45)

/*
 * Transactions.  Appenders are alike, so nothing is lost if they get their
 * ids in the order of their numbers, which then are the ids.
 */
byte next_id = 1;
byte completed_id;				/* the highest that has ended */
byte running;					/* set of ids */
byte committed;					/* set of ids, as the commit log has them */
byte aborted;					/* the same, see fail() */

/*
 * Positions, and who is inside the gate: side by side, or alone until its
 * transaction ends.
 */
byte sequence;
byte taken_by[POSITIONS + 1];
byte gate;						/* set of ids */
byte serialized;				/* an id */

/*
 * A page of the heap has one place for a row.  An entry of the position index
 * points to the place where its row was put, whatever is there now.
 */
byte heap[POSITIONS + 1];		/* by place: the row's position */
byte freed;						/* set of places that vacuum has emptied */
byte place_of[POSITIONS + 1];
byte entries;					/* set of positions */

/* What the follower shows to others. */
byte snapshot_xmin;				/* 0 between walks */
bool index_page_is_pinned;
byte awaited;					/* those inside the gate for whom it waits */

/* What has to hold is said of these. */
byte passed;					/* a walk has claimed that all up to here is settled */
byte emitted;					/* the event that was handed out last */

#ifdef WALKS
byte walks;					/* no more than that, for a short trail */
#endif

#define ALL_HAVE_ENDED	(next_id > APPENDERS && running == 0)

/* ---- appenders ---- */

#define ME	(_pid + 1)

/*
 * Whoever gets an id is listed as running before the next id can be seen.
 */
inline begin_transaction()
{
	d_step {
		next_id == ME;
		next_id++;
		ADD(running, ME);
		printf("appender %d begins\n", ME)
	}
}

inline enter_gate()
{
	d_step {
		serialized == 0 || serialized == ME;
		if
		:: serialized == 0 -> ADD(gate, ME)
		:: else
		fi;
		printf("appender %d enters the gate\n", ME)
	}
}

/*
 * With eventstore.serialize_appends.
 */
inline enter_gate_alone()
{
	d_step {
#ifndef SERIALIZED_NOT_ALONE
		gate == 0 && serialized == 0;
#endif
		serialized = ME;
		printf("appender %d has the gate to itself\n", ME)
	}
}

inline take_position()
{
	d_step {
		sequence < POSITIONS;
		sequence++;
		at = sequence;
		taken_by[at] = ME;
		printf("appender %d takes position %d\n", ME, at)
	}
}

/*
 * The row goes to a page of its own or to one that vacuum has emptied, which
 * is no longer all-visible when its lock is let go.
 */
inline insert_row()
{
	atomic {
		place = 1;
		do
		:: place == at || HAS(freed, place) -> break
		:: place < at || ABOVE(freed, place) != 0 -> place++
		od;
		heap[place] = at;
		place_of[at] = place;
		REMOVE(freed, place);
		printf("appender %d inserts row %d at place %d\n", ME, at, place);
		place = 0
	}
}

inline insert_entry()
{
	d_step {
		ADD(entries, at);
		printf("appender %d inserts entry %d\n", ME, at)
	}
}

inline leave_gate()
{
	d_step {
		REMOVE(gate, ME);
		REMOVE(awaited, ME);
		printf("appender %d has left the gate\n", ME)
	}
}

/*
 * Under ProcArrayLock, but for the locks, which are let go thereafter: then a
 * follower only waits longer.
 */
inline end_transaction()
{
	REMOVE(running, ME);
	if
	:: completed_id < ME -> completed_id = ME
	:: else
	fi;
	REMOVE(gate, ME);
	REMOVE(awaited, ME);
	if
	:: serialized == ME -> serialized = 0
	:: else
	fi;
	at = 0
}

/*
 * What commits must not have been passed.
 *
 * The commit log is written first; but a snapshot that is taken in between is
 * no other than one taken before both.
 */
inline commit()
{
	d_step {
		printf("appender %d commits\n", ME);
		ADD(committed, ME);
		at = 1;
		do
		:: at > POSITIONS -> break
		:: else -> assert(taken_by[at] != ME || at > passed); at++
		od;
		end_transaction()
	}
}

/*
 * Roll back, or be cut off by a crash.  The latter leaves no trace in the
 * commit log, and ends walks as well.  To walks that begin later it is all
 * the same, so outside a walk there is no trace of a rollback either.
 */
inline fail()
{
	d_step {
		printf("appender %d fails\n", ME);
		if
		:: snapshot_xmin != 0 -> ADD(aborted, ME)
		:: else
		fi;
		if
		:: place_of[at] == 0 -> taken_by[at] = 0
		:: else
		fi;
		end_transaction()
	}
}

active [APPENDERS] proctype appender()
{
	byte at, place;

#ifndef LATE_ID
	begin_transaction();
#endif
turn:
#ifdef POSITION_BEFORE_GATE
	take_position();
#endif
	if :: enter_gate() :: enter_gate_alone() :: fail(); goto end fi;
#ifndef POSITION_BEFORE_GATE
	if
	:: take_position()
#ifdef TURNS
	:: sequence == POSITIONS -> fail(); goto end
#endif
	fi;
#endif
#ifdef LATE_ID
	begin_transaction();
#endif
	if :: insert_row() :: fail(); goto end fi;
#ifdef ENTRY_AFTER_GATE
	leave_gate();
#endif
	if :: insert_entry() :: fail(); goto end fi;
#ifndef ENTRY_AFTER_GATE
	leave_gate();
#endif
	if
	:: commit()
	:: fail()
#ifdef TURNS
	:: sequence < POSITIONS -> goto turn
#endif
	fi;
end:
	skip
}

/* ---- vacuum, of one heap page ---- */

#define PLACE	(_pid - APPENDERS + 1)

#define IS_DEAD_TO_ALL(id) \
	(!HAS(running, id) && !HAS(committed, id))

/*
 * Remove a dead row: prune it, remove its entry, and let its place be used
 * again.  To remove entries, vacuum takes a cleanup lock on the index page,
 * so it waits for pins.  One step, since to look at a pruned item and at a
 * dead row is all the same.
 */
inline remove_row()
{
	at = heap[PLACE];
	printf("vacuum removes row %d from place %d\n", at, PLACE);
	heap[PLACE] = 0;
	ADD(freed, PLACE);
	REMOVE(entries, at);
	taken_by[at] = 0;
	at = 0
}

active [POSITIONS] proctype vacuum()
{
	byte at;

end:
	do
	:: d_step {
		heap[PLACE] != 0 && IS_DEAD_TO_ALL(taken_by[heap[PLACE]]) &&
			!index_page_is_pinned;
		remove_row() }
	od
}

/*
 * Can vacuum have set the page's bit in the visibility map?  It sets it when
 * it has emptied the page, or when the row's inserter is older than all that
 * anybody sees as running.  Once it could, it always can.
 */
#define IS_OLDER_THAN_ALL(id) \
	(BELOW(running, (id) + 1) == 0 && (id) <= completed_id && (id) < snapshot_xmin)
#define MAY_BE_ALL_VISIBLE(place) \
	(heap[place] == 0 || (HAS(committed, taken_by[heap[place]]) && \
						  IS_OLDER_THAN_ALL(taken_by[heap[place]])))

/* ---- the follower ---- */

#define RUNS_IN_SNAPSHOT(id)	((id) >= xmax || HAS(in_progress, id))
#define SEES(id)				(HAS(committed, id) && !RUNS_IN_SNAPSHOT(id))
#define SEES_ROW(at) \
	(heap[place_of[at]] != 0 && SEES(taken_by[heap[place_of[at]]]))

#if defined(NO_STOP)
#define MAY_COMMIT(id)	false
#elif defined(STOP_UNLESS_ABORTED)
#define MAY_COMMIT(id)	(!HAS(aborted, id) && !SEES(id))
#else
#define MAY_COMMIT(id)	(!HAS(aborted, id) && RUNS_IN_SNAPSHOT(id))
#endif

#ifdef EMPTY_LIST_IS_ENOUGH
#define NOTHING_WAS_RUNNING	(in_progress == 0)
#else
#define NOTHING_WAS_RUNNING	(in_progress == 0 && xmax == next_id)
#endif

/*
 * Under ProcArrayLock.
 */
inline take_snapshot()
{
	xmax = completed_id + 1;
	in_progress = BELOW(running, xmax);
	snapshot_xmin = 1;
	do
	:: snapshot_xmin == xmax || HAS(in_progress, snapshot_xmin) -> break
	:: else -> snapshot_xmin++
	od
}

/*
 * The walk has reached "at": all events up to there that are committed by now
 * must be in its snapshot.  On those that commit later, see commit().
 */
inline reach()
{
	printf("the walk reaches %d\n", at);
	position = at;
	if
	:: passed < at -> passed = at
	:: else
	fi;
	do
	:: at == 0 -> break
	:: else -> assert(!HAS(committed, taken_by[at]) || SEES(taken_by[at])); at--
	od;
	at = position
}

/*
 * The event at "at" is handed out: it must be one, and the next of those that
 * are committed by now.
 */
inline emit()
{
	printf("event %d is handed out\n", at);
	assert(at > emitted && HAS(committed, taken_by[at]));
	emitted++;
	do
	:: emitted == at -> break
	:: else -> assert(!HAS(committed, taken_by[emitted])); emitted++
	od
}

/*
 * All is over: the last event must have been handed out.
 */
inline check_end()
{
	printf("the last walk has ended\n");
	at = POSITIONS;
	do
	:: at == 0 || HAS(committed, taken_by[at]) -> break
	:: else -> at--
	od;
	assert(emitted == at)
}

/*
 * A walk hands out events behind the last one, or it only finds out how far
 * all is settled, and then begins at the settled floor.
 */
inline begin_walk()
{
	is_last_walk = ALL_HAVE_ENDED;
	take_snapshot();
	if
	:: want_rows = true; position = emitted
	:: !is_last_walk -> want_rows = false; position = passed
	fi;
	covered = position;
	printf("a walk begins behind %d, hands out events: %d\n", position, want_rows);
	printf("its snapshot: xmax %d, running %c%c%c%c\n", xmax, SHOW(in_progress))
}

/*
 * Learn which gaps may be passed.  Both questions are asked in one step: if
 * the first is answered by no, that stays so until the second is asked.
 */
inline look_at_gaps()
{
#if defined(TRUST_GAPS)
	gaps_settled = true;
#elif defined(GATE_BEFORE_SNAPSHOT)
	gaps_settled = gaps_settled || NOTHING_WAS_RUNNING;
#else
	gaps_settled = NOTHING_WAS_RUNNING || gate == 0;
#endif
	printf("gaps are settled: %d\n", gaps_settled)
}

/*
 * When nothing was running, all up to the last event is settled.
 */
inline reach_last_event()
{
	at = POSITIONS;
	do
	:: at == 0 || (HAS(entries, at) && SEES_ROW(at)) -> break
	:: else -> at--
	od;
	if
	:: at > position -> reach()
	:: else
	fi
}

inline restart_scan()
{
	page = 0;
	map = 0;
	covered = position;
	last_gap = 0;
	is_dead = false
}

/*
 * An index page is read in one go: a single entry or all that there are.
 */
inline read_page()
{
	page = ABOVE(entries, covered);
	if
	:: page = FIRST(page)
	:: page != FIRST(page)
	fi;
	printf("the walk reads entries %c%c%c%c\n", SHOW(page))
}

/*
 * Where no rows are wanted, the visibility map is asked about the page's
 * entries while the page is pinned.
 */
inline pin_page()
{
#ifndef MAP_WITHOUT_PIN
	index_page_is_pinned = !want_rows
#else
	skip
#endif
}

inline ask_map()
{
	at = 1;
	do
	:: at > POSITIONS -> break
	:: else ->
		if
		:: HAS(page, at) && MAY_BE_ALL_VISIBLE(place_of[at]) -> ADD(map, at)
		:: true
		fi;
		at++
	od;
	at = 0;
	index_page_is_pinned = false;
	printf("all-visible is what entries %c%c%c%c point to\n", SHOW(map))
}

/*
 * The entry that was looked at last is marked as dead: to scans it is gone.
 */
inline kill_dead_entry()
{
#ifdef KILL
	if
	:: is_dead ->
		REMOVE(entries, covered);
		printf("entry %d is killed\n", covered)
	:: else
	fi
#else
	skip
#endif
}

inline next_entry()
{
	at = 1;
	do
	:: HAS(page, at) -> break
	:: else -> at++
	od;
	REMOVE(page, at);
	if
	:: !gaps_settled && at > covered + 1 -> last_gap = at - 1
	:: else
	fi;
	covered = at
}

/*
 * At the place may be another row than the entry's by now.
 */
inline look_at_row()
{
	if
	:: HAS(map, at) ->
		REMOVE(map, at);
#ifndef STALE_DEAD_FLAG
		is_dead = false;
#endif
		is_seen = true
	:: else ->
#ifdef KILL
		is_dead = heap[place_of[at]] == 0 || IS_DEAD_TO_ALL(taken_by[heap[place_of[at]]]);
#endif
		is_seen = SEES_ROW(at)
	fi
}

inline forget_entry()
{
	at = 0;
	is_seen = false
}

inline end_walk()
{
	if
	:: is_last_walk -> check_end()
	:: else
	fi;
	snapshot_xmin = 0;
	xmax = 0;
	in_progress = 0;
	aborted = 0;
	gaps_settled = false;
	position = 0;
	restart_scan();
	forget_entry()
}

active proctype follower()
{
	byte xmax, in_progress;		/* the snapshot */
	byte position, covered, last_gap, page, map, at;
	bool want_rows, gaps_settled, is_seen, is_dead, is_last_walk;

walk:
#ifdef WALKS
	walks < WALKS -> walks++;
#endif
#ifdef GATE_BEFORE_SNAPSHOT
	gaps_settled = (gate == 0);
#endif
	atomic { begin_walk() };
	atomic {
		look_at_gaps();
		if
		:: NOTHING_WAS_RUNNING && !want_rows -> reach_last_event(); goto done
		:: else
		fi
	};

read:
	atomic {
		kill_dead_entry();
		read_page();
		if
		:: page == 0 -> goto done
		:: else -> pin_page()
		fi
	};
	if
	:: want_rows
	:: else -> atomic { ask_map() }
	fi;

	/*
	 * To look at the row, to test its inserter and to act upon it is one
	 * step: whether the row is seen depends on the snapshot alone, and what
	 * is dead stays dead, so the look at it may as well come last.
	 */
look:
	atomic {
		kill_dead_entry();
		next_entry();
		look_at_row();
		if
		:: !is_seen ->
			if
			:: heap[place_of[at]] == at && MAY_COMMIT(taken_by[at]) -> goto done
			:: else
			fi;
#ifdef DEAD_ROW_MOVES
			reach();
#endif
#ifdef DEAD_ROW_SETTLES_GAP
			last_gap = 0;
#endif
			skip
		:: is_seen && last_gap > position ->
			gaps_settled = true;
#ifndef NO_WAIT
			awaited = gate;
#endif
			printf("the walk waits for %c%c%c%c at %d\n", SHOW(awaited), at);
#ifdef NO_REREAD
			last_gap = 0;
			awaited == 0;
			reach();
			if
			:: want_rows -> emit()
			:: else
			fi
#else
			restart_scan();
			forget_entry();
			awaited == 0
#endif
		:: else ->
			reach();
			if
			:: want_rows -> emit()
			:: else
			fi
		fi;
		forget_entry()
	};
	if
	:: page == 0 -> goto read
	:: else -> goto look
	fi;

done:
	atomic { end_walk() };
	if
	:: is_last_walk
	:: else -> goto walk
	fi
}
