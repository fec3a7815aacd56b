"""Followers, each in a way of its own, and what each has seen."""

from array import array

from client import Actor, Session

# What a follower notes of an event: the position, the identity, and whether
# the payload is as it was sent.
IDENTITY = """hashtextextended(
    concat_ws('|', global_position, event_id, stream_id, version, event_type), 0)"""
IS_WHOLE = """CASE WHEN data IS NULL THEN md5(binary_data) ELSE md5(data::text) END
    = metadata->>'digest'"""
EVENT = f"global_position, {IDENTITY}, {IS_WHOLE}"

STREAM_TYPE = "Account"


class Follower(Actor):
    """Reads on from the last position, until it is told to stop and there is nothing more."""

    stream_type = None          # all of them
    page_size = 100             # events at most
    pause_between_pages = 0.05  # seconds at most

    def __init__(self, stress, name, dsn):
        super().__init__(stress, name, dsn)
        self.position = 0
        self.positions = array("q")
        self.identities = array("q")
        self.errors = []

    def work(self):
        while True:
            # What is appended before "over" is set is found by a turn that begins later.
            was_over = self.over.is_set()
            if self.next_turn() is False and was_over:
                return
            self.pause(self.pause_between_pages)

    def turn(self):
        """Returns whether there were events."""
        events = self.read_page()
        self.note(events)
        return bool(events)

    def read_page(self):
        raise NotImplementedError

    def read_all(self, max_count):
        return self.session.execute(f"SELECT {EVENT} FROM eventstore.read_all(%s, %s)",
                                    (self.position, max_count))

    def note(self, events):
        for position, identity, is_whole in events:
            if position <= self.position:
                self.errors.append(f"position {position} came after {self.position}")
            if not is_whole:
                self.errors.append(f"at position {position} the payload is not what was sent")
            self.positions.append(position)
            self.identities.append(identity)
            self.position = position


class WholeStore(Follower):
    def read_page(self):
        return self.read_all(self.random.choice((1, 10, 1000)))


class Category(Follower):
    stream_type = STREAM_TYPE

    def read_page(self):
        return self.session.execute(f"SELECT {EVENT} FROM eventstore.read_category(%s, %s, %s)",
                                    (STREAM_TYPE, self.position, self.page_size))


class BySettledPosition(Follower):
    """Queries the table."""

    def read_page(self):
        settled = self.session.value("SELECT eventstore.settled_position(%s)", (self.position,))
        return self.session.execute(f"""
            SELECT {EVENT} FROM eventstore.events
            WHERE global_position > %s AND global_position <= %s
            ORDER BY global_position""", (self.position, settled))


class Waiting(Follower):
    pause_between_pages = 0

    def read_page(self):
        if self.session.value("CALL eventstore.wait_for_events(%s, '200 ms')",
                              (self.position,)) is None:
            return []
        return self.read_all(self.page_size)


class Backwards(Follower):
    """Takes the newest event, and from there on reads down to where it has been before."""

    page_size = 50
    pause_between_pages = 0.5

    def read_page(self):
        events = []
        before = None
        while True:
            page = self.session.execute(f"SELECT {EVENT} FROM eventstore.read_all_backwards(%s, %s)",
                                        (before, self.page_size))
            new = [event for event in page if event[0] > self.position]
            events += new
            if len(new) < self.page_size:
                return events[::-1]
            before = new[-1][0]


class Keeper(Follower):
    """Keeps its snapshot for long; in a promotion, from one event to the other."""

    keeps_from = "stop_is_near"
    keeps_to = "load_goes_on"

    def dally(self, at_most):
        self.pause(at_most)
        begin, end = getattr(self.stress, self.keeps_from), getattr(self.stress, self.keeps_to)
        if begin.is_set() and not end.is_set():
            end.wait()
            self.count("snapshots kept through a promotion")


class Cursor(Keeper):
    """Reads through a cursor, takes its time while others commit, and knows that they do."""

    function = "eventstore.read_all(%s)"

    def read_page(self):
        events = []
        self.session.execute("BEGIN")
        self.session.execute(f"DECLARE c CURSOR FOR SELECT {EVENT} FROM {self.function}",
                             (self.position,))
        self.dally(0.2)
        self.session.execute("SELECT eventstore.settled_position()")
        while True:
            part = self.session.execute("FETCH 100 FROM c")
            if not part:
                self.session.execute("COMMIT")
                return events
            events += part
            self.dally(0.02)


class CategoryCursor(Cursor):
    stream_type = STREAM_TYPE
    function = f"eventstore.read_category('{STREAM_TYPE}', %s)"


class OneSnapshot(Keeper):
    """Reads pages under one snapshot, and goes on under the next one."""

    levels = ("REPEATABLE READ", "SERIALIZABLE", "SERIALIZABLE READ ONLY")

    def read_page(self):
        before = self.position
        events = []
        self.session.execute(f"BEGIN ISOLATION LEVEL {self.random.choice(self.levels)}")
        try:
            for _ in range(self.random.randint(1, 10)):
                page = self.read_all(self.page_size)
                events += page
                self.position = page[-1][0] if page else self.position
                self.dally(0.05)
            self.session.execute("COMMIT")
        finally:
            self.position = before
        return events


class OneSnapshotOnStandby(OneSnapshot):
    levels = ("REPEATABLE READ",)


class Late:
    """Of keepers: those whose snapshot sees all that the primary has committed."""

    keeps_from = "primary_is_gone"
    keeps_to = "standby_is_promoted"


class LateCursor(Late, Cursor):
    pass


class LateCategoryCursor(Late, CategoryCursor):
    pass


class LateSnapshot(Late, OneSnapshotOnStandby):
    pass


class Reconnecting(Follower):
    """Reads each page in a session of its own."""

    page_size = 500
    pause_between_pages = 0.1

    def read_page(self):
        self.session.close()
        self.session = Session(self, self.dsn)
        return self.read_all(self.page_size)


class Rereader(Actor):
    """Reads everything again and again: what was settled once stays as it was.

    On a standby less can be known to be settled than before, so it is the
    longest answer that is remembered.
    """

    ways = (
        "eventstore.read_all(0, NULL)",
        "eventstore.read_all_backwards(NULL, NULL)",
        f"eventstore.read_category('{STREAM_TYPE}', 0, NULL)",
    )

    def __init__(self, stress, name, dsn):
        super().__init__(stress, name, dsn)
        self.found = {way: [] for way in self.ways}

    def turn(self):
        way = self.random.choice(self.ways)
        before = self.found[way]
        now = self.session.value(
            f"SELECT array_agg(global_position ORDER BY global_position) FROM {way}") or []
        length = min(len(before), len(now))
        if now[:length] != before[:length]:
            lost, gained = next((a, b) for a, b in zip(before, now) if a != b)
            self.complain(f"{way} returns {gained} where it had {lost}")
        self.found[way] = max(before, now, key=len)
        self.count("passes over everything")
        self.pause(0.5)


KINDS = {
    "whole store": WholeStore,
    "category": Category,
    "settled position": BySettledPosition,
    "wait for events": Waiting,
    "backwards": Backwards,
    "cursor": Cursor,
    "cursor of a category": CategoryCursor,
    "one snapshot": OneSnapshot,
    "reconnecting": Reconnecting,
}

KINDS_ON_STANDBY = {
    **KINDS,
    "one snapshot": OneSnapshotOnStandby,
    "late cursor": LateCursor,
    "late cursor of a category": LateCategoryCursor,
    "late snapshot": LateSnapshot,
}
