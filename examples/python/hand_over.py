#!/usr/bin/env python3
"""Everything that an event store holds, then all that follows, each event once.

    hand_over.py SLOT FILE [CONNECTION]

writes each event to FILE, one JSON document a line, until it is told to stop
by SIGTERM or SIGINT.  When the server goes away, it is waited for.  Started
again, the program goes on where it was.  CONNECTION is a connection string or
URI; what it leaves out comes from PGHOST, PGDATABASE and so on.  The role needs
REPLICATION and eventstore.grant_reader().

How no event is missed and none comes twice:

1. Creating the slot exports a snapshot.  What is committed is either visible
   to that snapshot, or sent by the slot.
2. All that is visible is read under the snapshot with read_visible(), which
   does not stop at a running appender as read_all() does: the slot sends those.
3. Then the slot is read.  A transaction is confirmed to it after its events
   are safe in the file.  After a crash the server sends again what was not
   confirmed, so events that are in the file already are dropped by their ids.

The slot sends events in the order of their commits.  That is the order of the
versions in each stream, but positions go up and down: the highest position
that was seen tells nothing about what was seen, and must not be used to drop
anything.
"""
import json
import os
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
PATIENCE = 1  # seconds between attempts to connect

stopping = False


def stop(signal_number, frame):
    global stopping
    stopping = True


class Sink:
    """Where the events go.

    It remembers all ids.  In a database this is a unique key on the event id
    and INSERT ... ON CONFLICT DO NOTHING; it has to reach back only to the last
    transaction that was confirmed.
    """

    HISTORY_ENDS = {"history": "ends"}

    def __init__(self, path):
        self.file = open(path, "a+b")
        self.ids = set()
        self.has_history = False
        self.recover()

    def recover(self):
        self.file.seek(0)
        end = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break  # cut off by a crash
            end += len(line)
            entry = json.loads(line)
            self.has_history |= entry == self.HISTORY_ENDS
            self.ids.add(entry.get("event_id"))
        self.file.truncate(end)

    def write(self, entry):
        self.file.write(json.dumps(entry).encode() + b"\n")

    def handle(self, event):
        if event["event_id"] not in self.ids:
            self.write(event)
            self.ids.add(event["event_id"])

    def end_history(self):
        self.write(self.HISTORY_ENDS)
        self.save()
        self.has_history = True

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
        connection = psycopg2.connect(connection_string, **options)
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


def create_slot(replication, slot):
    """Create the slot; returns the name of its snapshot, which lives until the
    next command on this connection."""
    replication.execute(
        f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL {PLUGIN} (SNAPSHOT \'export\')')
    slot_name, consistent_point, snapshot, plugin = replication.fetchone()
    return snapshot


def drop_slot(connection, slot):
    """Drop what a hand-over has left that did not come to its end."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_drop_replication_slot(slot_name)"
            " FROM pg_replication_slots WHERE slot_name = %s", (slot,))


def read_history(connection, snapshot, sink):
    """Read all that the snapshot sees, page by page, in one transaction."""
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        position = 0
        while position is not None and not stopping:
            cursor.execute(
                "SELECT global_position, row_to_json(e)"
                " FROM eventstore.read_visible(%s, %s) e", (position, PAGE))
            position = None
            for position, event in cursor:
                sink.handle(event)
    if not stopping:
        sink.end_history()


def follow(replication, slot, sink):
    """Handle what the slot sends, until told to stop."""
    replication.start_replication(slot_name=slot, decode=True, options=OPTIONS)
    while not stopping:
        message = replication.read_message()
        if message is None:
            select.select([replication], [], [], 0.5)
            continue
        entry = json.loads(message.payload)
        if "transaction" not in entry:
            sink.handle(entry)
        elif entry["transaction"] == "commit":
            sink.save()
            replication.send_feedback(flush_lsn=message.data_start)
    replication.send_feedback(force=True)  # else sent every ten seconds


def hand_over(connection_string, slot, sink):
    with connected(connection_string,
                   connection_factory=LogicalReplicationConnection) as creator:
        replication = creator.cursor()
        if not sink.has_history:
            with connected(connection_string) as connection:
                drop_slot(connection, slot)
                read_history(connection, create_slot(replication, slot), sink)
        if sink.has_history:
            follow(replication, slot, sink)


def main(slot, path, connection_string=""):
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    sink = Sink(path)
    while not stopping:
        try:
            hand_over(connection_string, slot, sink)
        except ConnectionLost as error:
            print(f"trying again in {PATIENCE} seconds: {error}", file=sys.stderr)
            time.sleep(PATIENCE)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: hand_over.py SLOT FILE [CONNECTION]")
    main(*sys.argv[1:])
