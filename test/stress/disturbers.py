"""Those who disturb appenders and followers."""

import time

import psycopg2

from appenders import WAIT_POINTS
from client import Actor

VACUUM_HEAP = "VACUUM (INDEX_CLEANUP off) eventstore.events"
VACUUMS = (
    VACUUM_HEAP,
    "VACUUM eventstore.events",
    "VACUUM (FREEZE) eventstore.events",
    "VACUUM (INDEX_CLEANUP on) eventstore.events",
)
REINDEXES = (
    "REINDEX INDEX CONCURRENTLY eventstore.events_pkey",
    "REINDEX INDEX CONCURRENTLY eventstore.events_stream_id_version_key",
    "REINDEX INDEX CONCURRENTLY eventstore.events_event_id_key",
    "REINDEX INDEX CONCURRENTLY eventstore.events_stream_type_global_position_idx",
    "REINDEX TABLE CONCURRENTLY eventstore.events",
)
REWRITES = (
    "CLUSTER eventstore.events USING events_pkey",
    "VACUUM (FULL) eventstore.events",
    "ALTER TABLE eventstore.events SET TABLESPACE elsewhere; "
    "ALTER TABLE eventstore.events SET TABLESPACE pg_default",
)


ADVANCE_WATERMARK = "SELECT eventstore.advance_watermark()"

INVALID_INDEXES = """
    SELECT indexrelid::regclass::text FROM pg_index
    WHERE NOT indisvalid AND indrelid IN (
        SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class
        WHERE oid = 'eventstore.events'::regclass)"""
CHECK_INDEXES = """
    SELECT bt_index_check(indexrelid, heapallindexed => true) FROM pg_index
    WHERE indisvalid AND indrelid = 'eventstore.events'::regclass"""


class Maintenance(Actor):
    """Does all that can be done to the table and its indexes, in an order of the seed's.

    A new index would hide what was lost from the old one, so that is checked first.
    """

    vacuums = VACUUMS * 3
    reindexes = 2               # at a time: they wait for all who have begun before
    others = REWRITES + (ADVANCE_WATERMARK,)
    share_in_lulls = 0.4        # of vacuums

    def __init__(self, stress, name, dsn):
        super().__init__(stress, name, dsn + " options='-c lock_timeout=2s'")
        self.has_amcheck = None
        self.statements = []    # that come next

    def work(self):
        self.has_amcheck = self.session.value(
            "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'amcheck')")
        super().work()
        self.insist(self.drop_leftovers)

    def turn(self):
        statement = self.choose()
        if statement in VACUUMS:
            self.vacuum(statement)
        else:
            self.drop_leftovers()
            self.check_indexes()
            for part in statement.split("; "):
                self.session.execute(part)
        self.count(statement.replace("eventstore.", ""))
        self.pause(0.1)

    def choose(self):
        """Each has its turn before any comes again."""
        if not self.statements:
            self.statements = [*self.vacuums, *self.random.sample(REINDEXES, self.reindexes),
                               *self.others]
            self.random.shuffle(self.statements)
        return self.statements.pop()

    def vacuum(self, statement):
        """In a lull, most pages are found to be visible to all, if no dead row is left there."""
        if self.random.random() < self.share_in_lulls or statement == VACUUM_HEAP:
            with self.stress.lull():
                self.sleep(0.3)
                self.session.execute(statement)
        else:
            self.session.execute(statement)

    def drop_leftovers(self):
        """Of a REINDEX CONCURRENTLY that was cancelled."""
        for (index,) in self.session.execute(INVALID_INDEXES):
            self.session.execute(f"DROP INDEX {index}")

    def check_indexes(self):
        if not self.has_amcheck:
            return
        try:
            self.session.execute(CHECK_INDEXES)
        except (psycopg2.errors.DataCorrupted, psycopg2.errors.IndexCorrupted) as error:
            self.complain(error.diag.message_primary)


class Vacuuming(Maintenance):
    """Does no more than that."""

    reindexes = 0
    others = ()
    share_in_lulls = 0.1


class GateKeeper(Actor):
    """Holds up appenders that stop at wait points, inside the append gate."""

    def turn(self):
        point = self.random.choice(WAIT_POINTS)
        self.session.execute("SELECT pg_advisory_lock(hashtext(%s))", (point,))
        self.pause(0.1)
        self.session.execute("SELECT pg_advisory_unlock(hashtext(%s))", (point,))
        self.pause(0.1)


class WatermarkKeeper(Actor):
    """Does for standbys what the background worker does where it runs."""

    rests_in_lulls = True

    def turn(self):
        self.session.execute(ADVANCE_WATERMARK)
        self.pause(0.3)


class Idler(Actor):
    """Has a transaction id, and often a snapshot, for long, and nothing to do with events."""

    rests_in_lulls = True

    def turn(self):
        level = self.random.choice(("READ COMMITTED", "REPEATABLE READ"))
        self.session.execute(f"BEGIN ISOLATION LEVEL {level}")
        self.session.execute("SELECT pg_current_xact_id()")
        self.idle(self.random.choice((0.1, 0.5, 1, 3)))
        self.session.execute(self.random.choice(("COMMIT", "ROLLBACK")))
        self.pause(0.3)

    def idle(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over.is_set() and not self.stress.lulls:
            self.sleep(0.02)


class Settler(Actor):
    """Asks what is settled, in all ways that return no events, from anywhere on.

    A session remembers what it has found, and no session looks below the
    watermark.  So sessions are short here, and the watermark moves rarely.
    """

    # A category without events makes the walk go to the end.
    ways = (
        "SELECT eventstore.settled_position(%s)",
        "SELECT max(global_position) FROM eventstore.read_category('Nothing', %s)",
        "CALL eventstore.wait_for_events(%s, '0 s')",
        "SELECT max(global_position) FROM eventstore.read_all_backwards(NULL, 1) WHERE %s IS NOT NULL",
    )
    last = 0

    def turn(self):
        if self.random.random() < 0.5:
            self.session.connect()
        after = int(self.last * self.random.random())
        settled = self.session.value(self.random.choice(self.ways), (after,))
        self.last = max(self.last, settled or 0)
        self.count("settled positions")
        self.pause(0.02)


class Terminator(Actor):
    """Terminates appenders."""

    function = "pg_terminate_backend"

    def __init__(self, stress, name, dsn, victims):
        super().__init__(stress, name, dsn)
        self.victims = [victim.name for victim in victims]

    def turn(self):
        self.session.execute(f"""
            SELECT {self.function}(pid) FROM pg_stat_activity
            WHERE application_name = %s AND datname = current_database()""",
                             (self.random.choice(self.victims),))
        self.count(self.function)
        self.pause(1)


class Canceller(Terminator):
    """Cancels what anybody does."""

    function = "pg_cancel_backend"
