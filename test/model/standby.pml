/*
 * The order of events on a streaming standby, where the append gate can't be
 * seen: appenders that announce themselves, the watermark, replay and a
 * follower, as in event_writer.c and settle.c.
 *
 * README.md says what stands for what.  Sets, steps and inlines are as in
 * order.pml, and a reason that is given there is not repeated.
 *
 * A record is replayed in the step that writes it.  The primary does not look
 * at the standby, so it makes no difference how far behind that is.
 */

#ifndef TRANSACTIONS
#define TRANSACTIONS	3
#endif
#define POSITIONS		TRANSACTIONS

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

/* What the primary knows. */
byte next_id = 1;
byte running;					/* set of ids */
byte sequence;
byte taken_by[POSITIONS + 1];

/* What a standby knows of that: ids from the records that it has replayed. */
byte known_next_id = 1;
byte known_running;				/* set of ids */

/* What both know. */
byte completed_id;				/* the highest that has ended */
byte committed;					/* set of ids */
byte aborted;					/* set of ids, see order.pml */
byte entries;					/* set of positions */
byte watermark_of[TRANSACTIONS + 1];

byte emitted;					/* the event that was handed out last */
bool is_walking;

#ifdef WALKS
byte walks;					/* no more than that, for a short trail */
#endif

#define ALL_HAVE_ENDED	(next_id > TRANSACTIONS && running == 0)

/* ---- the primary, and replay ---- */

#define ME	(_pid + 1)

/*
 * A record with this transaction's id tells a standby that all ids up to it
 * were given out.
 */
inline log_record()
{
	do
	:: known_next_id > ME -> break
	:: else -> ADD(known_running, known_next_id); known_next_id++
	od
}

/*
 * In a snapshot that is taken before there is an id: will this be the oldest
 * transaction that runs?
 */
inline take_snapshot()
{
	d_step {
#ifdef RECORD_UNLESS_LIST_IS_EMPTY
		is_oldest = (BELOW(running, completed_id + 1) == 0);
#else
		is_oldest = (BELOW(running, completed_id + 1) == 0 && completed_id + 1 == ME);
#endif
		printf("transaction %d will be the oldest: %d\n", ME, is_oldest)
	}
}

inline begin_transaction()
{
	d_step {
		next_id == ME;
		next_id++;
		ADD(running, ME);
		printf("transaction %d begins\n", ME)
	}
}

inline announce()
{
	d_step {
#ifndef NO_RECORD
		if
		:: !is_oldest -> log_record(); printf("transaction %d announces itself\n", ME)
		:: else
		fi;
#endif
		is_oldest = false
	}
}

inline take_position()
{
	d_step {
		sequence++;
		at = sequence;
		taken_by[at] = ME;
		printf("transaction %d takes position %d\n", ME, at)
	}
}

/*
 * Nobody looks at a row but through its entry, whose record comes second.
 */
inline insert_row_and_entry()
{
	d_step {
		log_record();
		ADD(entries, at);
		printf("transaction %d inserts row and entry %d\n", ME, at)
	}
}

inline end_transaction()
{
	log_record();
	REMOVE(running, ME);
	REMOVE(known_running, ME);
	if
	:: completed_id < ME -> completed_id = ME
	:: else
	fi;
	at = 0
}

/*
 * What commits must not have been passed.
 */
inline commit()
{
	d_step {
		printf("transaction %d commits\n", ME);
		ADD(committed, ME);
		assert(at == 0 || at > emitted);
		end_transaction()
	}
}

inline roll_back()
{
	d_step {
		printf("transaction %d rolls back\n", ME);
		if
		:: is_walking -> ADD(aborted, ME)
		:: else
		fi;
		end_transaction()
	}
}

/*
 * What a walk on the primary finds out: the last event in front of all
 * positions of transactions that are running.
 */
inline find_settled_position()
{
	d_step {
		do
		:: at == sequence -> break
#ifndef UNSETTLED_WATERMARK
		:: at < sequence && HAS(running, taken_by[at + 1]) -> break
		:: at < sequence && !HAS(running, taken_by[at + 1]) ->
#else
		:: at < sequence ->
#endif
			at++;
			if
			:: HAS(committed, taken_by[at]) -> settled = at
			:: else
			fi
		od;
		at = 0
	}
}

inline write_watermark()
{
	d_step {
		log_record();
		watermark_of[ME] = settled;
		printf("transaction %d writes watermark %d\n", ME, settled);
		settled = 0
	}
}

active [TRANSACTIONS] proctype transaction()
{
	byte at, settled;
	bool is_oldest;

	if
	:: take_snapshot()
	:: find_settled_position() ->
		begin_transaction();
		write_watermark();
		commit();
		goto end
	fi;

	begin_transaction();
#ifdef RECORD_AFTER_POSITION
	take_position();
	announce();
#else
	announce();
	take_position();
#endif
	if :: insert_row_and_entry() :: roll_back(); goto end fi;
	if :: commit() :: roll_back() fi;
end:
	skip
}

/* ---- the follower on the standby ---- */

#define RUNS_IN_SNAPSHOT(id)	((id) >= xmax || HAS(in_progress, id))
#define SEES(id)				(HAS(committed, id) && !RUNS_IN_SNAPSHOT(id))
#define MAY_COMMIT(id)			(!HAS(aborted, id) && RUNS_IN_SNAPSHOT(id))

#ifdef EMPTY_LIST_IS_ENOUGH
#define NOTHING_WAS_RUNNING	(in_progress == 0)
#else
#define NOTHING_WAS_RUNNING	(in_progress == 0 && xmax == known_next_id)
#endif

inline begin_walk()
{
	is_last_walk = ALL_HAVE_ENDED;
	is_walking = true;
	xmax = completed_id + 1;
	in_progress = BELOW(known_running, xmax);
	covered = emitted;
	printf("a walk begins behind %d\n", emitted);
	printf("its snapshot: xmax %d, running %c%c%c%c\n", xmax, SHOW(in_progress))
}

/*
 * Learn which gaps may be passed.  The watermark only rises, so the newest is
 * the highest that the snapshot sees.
 */
inline look_at_gaps()
{
#ifdef TRUST_GAPS
	gaps_settled = true;
#else
	gaps_settled = NOTHING_WAS_RUNNING;
#endif
	at = 1;
	do
	:: at > TRANSACTIONS -> break
	:: else ->
		if
		:: SEES(at) && watermark < watermark_of[at] -> watermark = watermark_of[at]
		:: else
		fi;
		at++
	od;
	at = 0;
	printf("gaps are settled: %d, watermark %d\n", gaps_settled, watermark)
}

inline read_page()
{
	page = ABOVE(entries, covered);
	if
	:: page = FIRST(page)
	:: page != FIRST(page)
	fi;
	printf("the walk reads entries %c%c%c%c\n", SHOW(page))
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
 * The event at "at" is handed out: it must be the next of those that are
 * committed by now.
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

inline end_walk()
{
	if
	:: is_last_walk -> check_end()
	:: else
	fi;
	is_walking = false;
	xmax = 0;
	in_progress = 0;
	aborted = 0;
	watermark = 0;
	gaps_settled = false;
	page = 0;
	covered = 0;
	last_gap = 0;
	at = 0
}

active proctype follower()
{
	byte xmax, in_progress;		/* the snapshot */
	byte watermark, covered, last_gap, page, at;
	bool gaps_settled, is_last_walk;

walk:
#ifdef WALKS
	walks < WALKS -> walks++;
#endif
	atomic { begin_walk() };
	atomic { look_at_gaps() };

read:
	atomic {
		read_page();
		if
		:: page == 0 -> goto done
		:: else
		fi
	};

look:
	atomic {
		next_entry();
		if
		:: SEES(taken_by[at]) ->
			if
			:: last_gap > emitted && last_gap > watermark -> goto done
			:: else -> emit()
			fi
		:: !SEES(taken_by[at]) && MAY_COMMIT(taken_by[at]) -> goto done
		:: else
		fi;
		at = 0
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
