"""What must hold in the end."""

import collections
import textwrap

import psycopg2

from followers import IDENTITY, IS_WHOLE

Row = collections.namedtuple("Row", "position identity is_whole stream_type stream version append n")

# Without indexes, since they may be what is wrong
STORED = f"""
    SET enable_indexscan = off;
    SET enable_indexonlyscan = off;
    SET enable_bitmapscan = off;
    SELECT global_position, {IDENTITY}, {IS_WHOLE}, stream_type, stream_id, version,
           metadata->>'append', (metadata->>'n')::int
    FROM eventstore.events ORDER BY global_position"""

DETAILS = 5         # of a failure, at most


def say(is_ok, what, details=()):
    print("ok" if is_ok else "not ok", "-", what)
    for detail in details[:DETAILS]:
        print(textwrap.indent(str(detail).strip(), "#   "))
    if len(details) > DETAILS:
        print(f"#   and {len(details) - DETAILS} more")


class Checks:
    def __init__(self, stress, dsn, is_successor):
        self.stress = stress
        self.is_successor = is_successor
        self.connection = psycopg2.connect(dsn)
        self.connection.autocommit = True
        self.stored = [Row(*row) for row in self.query(STORED)]

    def query(self, sql, parameters=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def run(self, followers):
        self.tell_counts()
        self.check_actors()
        self.check_appends()
        for follower in followers:
            self.check_follower(follower)
        self.check_reads()

    def tell_counts(self):
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.stress.counts.items()))
        print(textwrap.indent(textwrap.fill(counts, 90), "# "))

    def check_actors(self):
        complaints = self.stress.complaints
        say(not complaints, "nobody met with what must not be", complaints)

    def check_appends(self):
        stored = collections.defaultdict(list)
        for row in self.stored:
            stored[row.append].append(row)
        errors = self.stress.ledger.find_errors(stored, self.is_certain)
        say(not errors, f"stored are {len(stored)} appends, each of them whole, and no others", errors)

    def is_certain(self, port):
        """Must what the server at this port has committed be here?"""
        return not self.is_successor or port == self.connection.info.port

    def check_follower(self, follower):
        expected = {row.position: row.identity for row in self.stored
                    if follower.stream_type in (None, row.stream_type)}
        seen = dict(zip(follower.positions, follower.identities))
        errors = follower.errors
        errors += [f"position {position} was missed" for position in expected if position not in seen]
        errors += [f"position {position} is not stored" for position in seen if position not in expected]
        errors += [f"at position {position} another event is stored" for position in expected
                   if seen.get(position, expected[position]) != expected[position]]
        say(not errors, f"{follower.name}: saw each of {len(expected)} events once, in order", errors)

    def check_reads(self):
        positions = [row.position for row in self.stored]
        self.check_read("read_all(0, NULL)", positions)
        self.check_read("read_all_backwards(NULL, NULL)", positions[::-1])
        for stream_type in sorted({row.stream_type for row in self.stored}):
            self.check_read(f"read_category('{stream_type}', 0, NULL)",
                            [row.position for row in self.stored if row.stream_type == stream_type])

    def check_read(self, function, expected):
        found = [position for (position,) in
                 self.query(f"SELECT global_position FROM eventstore.{function}")]
        missing = sorted(set(expected) - set(found))
        say(found == expected, f"{function} finds each of {len(expected)} events",
            [f"position {position} is missing" for position in missing])
