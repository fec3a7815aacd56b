#!/usr/bin/env python3
"""Everything that an event store holds, then all that follows, each event once.

    hand_over.py SLOT FILE [CONNECTION]

writes each event to FILE, one JSON document a line, until it is told to stop
by SIGTERM or SIGINT.  History and what follows come in the same form, written by
the server and never parsed here: event_json() is what the slot sends.  When the
server goes away, it is waited for.  Started again, the program goes on where it
was.  CONNECTION is a connection string or URI; what it leaves out comes from
PGHOST, PGDATABASE and so on.  The role needs REPLICATION and
eventstore.grant_reader().

Every byte is kept but line breaks.  JSON has them between its tokens only, as
white space (in a string they are written \\n), so each becomes a space.

How no event is missed and none comes twice:

1. Creating the slot exports a snapshot.  What is committed is either visible
   to that snapshot, or sent by the slot.
2. All that is visible is read under the snapshot with read_visible(), which
   does not stop at a running appender as read_all() does: the slot sends those.
3. Then the slot is read.  A transaction is confirmed to it after its events
   are safe in the file.  After a crash the server sends again what was not
   confirmed, so events that are in the file already are dropped by their ids.

If it is cut off before all of history is in the file, the snapshot is gone, and
the slot is dropped and created again.  That the slot is this program's own is
known from a note in the file, made before the slot; any other slot of that name
is left alone, and the program ends.

The slot sends events in the order of their commits.  That is the order of the
versions in each stream, but positions go up and down: the highest position
that was seen tells nothing about what was seen, and must not be used to drop
anything.
"""
import os
import re
import select
import signal
import sys
import time
from contextlib import contextmanager

import psycopg2
from psycopg2.extras import LogicalReplicationConnection

PLUGIN = "eventstore"
OPTIONS = {"transactions": "on"}  # messages at the end of transactions, too
PAGE = 1000
# What messages begin with.  Columns come in the order of the table.
EVENT = re.compile(rb'\{"global_position":\d+,"version":\d+,"created_at":"[^"]+","event_id":"([^"]+)"')
TRANSACTION = b'{"transaction":'
COMMIT = b'{"transaction":"commit"'
SPACES_FOR_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
PATIENCE = 1  # seconds between attempts to connect

stopping = False


def stop(signal_number, frame):
    global stopping
    stopping = True


class Refused(Exception):
    """Something is not as it must be, and trying again would not help."""


class Sink:
    """Where the events go.

    It remembers all ids.  In a database this is a unique key on the event id
    and INSERT ... ON CONFLICT DO NOTHING; it has to reach back only to the last
    transaction that was confirmed.
    """

    NO_SLOT = b'{"history":"has no slot"}'
    HISTORY_ENDS = b'{"history":"ends"}'

    def __init__(self, path, slot):
        self.file = open(path, "a+b")
        self.history_begins = b'{"history":"begins","slot":"%s"}' % slot.encode()
        self.ids = set()
        self.has_slot = False  # is a slot of that name this program's?
        self.has_history = False
        self.recover()

    def recover(self):
        self.file.seek(0)
        end = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break  # cut off by a crash
            end += len(line)
            self.remember(line.rstrip(b"\n"))
        self.file.truncate(end)

    def remember(self, line):
        event = EVENT.match(line)
        if event:
            self.ids.add(event[1])
        elif line in (self.history_begins, self.NO_SLOT):
            self.has_slot = line == self.history_begins
        elif line == self.HISTORY_ENDS:
            self.has_history = True
        else:
            raise Refused(f"{self.file.name} is not of this program and slot: {line[:100]}")

    def write(self, line):
        self.file.write(line + b"\n")
        self.remember(line)

    def note(self, line):
        self.write(line)
        self.save()

    def handle(self, event):
        if EVENT.match(event)[1] not in self.ids:
            self.write(event.translate(SPACES_FOR_LINE_BREAKS))

    def save(self):
        self.file.flush()
        os.fsync(self.file.fileno())


class ConnectionLost(Exception):
    """The server was shut down, or is not there."""


def is_alive(connection):
    """Tells a mistake from a lost connection.

    The class of the error does not tell, nor does connection.closed: when the
    server has gone before a COMMIT, psycopg2 raises a plain DatabaseError and
    takes the connection for open.
    """
    try:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except psycopg2.Error:
        return False


@contextmanager
def connected(connection_string, **options):
    try:
        connection = psycopg2.connect(connection_string, client_encoding="UTF8", **options)
    except psycopg2.OperationalError as error:
        raise ConnectionLost(error) from error
    try:
        yield connection
    except psycopg2.Error as error:
        if is_alive(connection):
            raise
        raise ConnectionLost(error) from error
    finally:
        connection.close()


def check_slot(connection, slot, sink):
    """Is there a slot of this name?  If so, it has to be this program's."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT plugin = %s AND database = current_database() AND NOT temporary, active_pid"
            " FROM pg_replication_slots WHERE slot_name = %s", (PLUGIN, slot))
        found = cursor.fetchone()
    if found is None:
        return False
    could_be_ours, active_pid = found
    if not sink.has_slot or not could_be_ours:
        raise Refused(f'slot "{slot}" is there already, and was not created by this program:'
                      " drop it if it is of no use any more, or choose another name")
    if active_pid is not None:
        raise Refused(f'slot "{slot}" is in use by process {active_pid}')
    return True


def drop_slot(connection, slot):
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def create_slot(connection, replication, slot, sink):
    """Create the slot, in the place of one that has come to nothing; returns
    the name of its snapshot, which lives until the next command on this
    connection."""
    if check_slot(connection, slot, sink):
        drop_slot(connection, slot)
    sink.note(sink.history_begins)
    try:
        replication.execute(
            f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL {PLUGIN} (SNAPSHOT \'export\')')
    except psycopg2.Error as error:
        if error.pgcode:  # refused by the server: the slot may be another's
            sink.note(sink.NO_SLOT)
        raise
    slot_name, consistent_point, snapshot, plugin = replication.fetchone()
    return snapshot


def read_history(connection, snapshot, sink):
    """Read all that the snapshot sees, page by page, in one transaction."""
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        position = 0
        while position is not None and not stopping:
            cursor.execute(
                "SELECT e.global_position, eventstore.event_json(e)::text"
                " FROM eventstore.read_visible(%s, %s) e", (position, PAGE))
            position = None
            for position, event in cursor:
                sink.handle(event.encode())
    if not stopping:
        sink.note(sink.HISTORY_ENDS)


def follow(replication, slot, sink):
    """Handle what the slot sends, until told to stop."""
    replication.start_replication(slot_name=slot, decode=False, options=OPTIONS)
    while not stopping:
        message = replication.read_message()
        if message is None:
            select.select([replication], [], [], 0.5)
        elif not message.payload.startswith(TRANSACTION):
            sink.handle(message.payload)
        elif message.payload.startswith(COMMIT):
            sink.save()
            replication.send_feedback(flush_lsn=message.data_start)
    replication.send_feedback(force=True)  # else sent every ten seconds


def hand_over(connection_string, slot, sink):
    with connected(connection_string,
                   connection_factory=LogicalReplicationConnection) as creator:
        replication = creator.cursor()
        if not sink.has_history:
            with connected(connection_string) as connection:
                snapshot = create_slot(connection, replication, slot, sink)
                read_history(connection, snapshot, sink)
        if sink.has_history:
            follow(replication, slot, sink)


def main(slot, path, connection_string=""):
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    sink = Sink(path, slot)
    while not stopping:
        try:
            hand_over(connection_string, slot, sink)
        except ConnectionLost as error:
            print(f"trying again in {PATIENCE} seconds: {error}", file=sys.stderr)
            time.sleep(PATIENCE)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: hand_over.py SLOT FILE [CONNECTION]")
    try:
        main(*sys.argv[1:])
    except Refused as refusal:
        sys.exit(str(refusal))
