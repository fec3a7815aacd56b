#!/usr/bin/env python3
"""Follow the store live, and keep a table in step with it, exactly once.

    follow.py [CONNECTION-STRING]

Without a connection string, libpq's environment variables say where to go.
Each batch of events, what is made of it and the checkpoint are one
transaction.  When the server goes away, it is waited for.  SIGTERM ends the
program; what was not committed is undone, and comes again next time.
"""
import select
import signal
import sys
import time

import psycopg2
from psycopg2.extras import NamedTupleCursor

NAME = "follow.py"
BATCH = 500
PATIENCE = 1        # seconds; look that often, notified or not
MAX_DELAY = 5       # seconds between attempts to connect

PROJECTION = """
    CREATE TABLE IF NOT EXISTS python_feed (
        n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        global_position bigint NOT NULL,
        summary text NOT NULL)
"""


def handle(cursor, event):
    cursor.execute("INSERT INTO python_feed (global_position, summary) VALUES (%s, %s)",
                   (event.global_position,
                    f"{event.stream_id} {event.version}: {event.event_type}"))


def prepare(connection):
    """Listen first, read then: so no event falls between."""
    with connection, connection.cursor() as cursor:
        # Not by two processes at once.
        cursor.execute("SELECT eventstore.save_checkpoint(%s, 0)", (NAME,))
        cursor.execute(PROJECTION)
        cursor.execute("LISTEN eventstore")


def handle_batch(connection):
    """Returns False when there was nothing to do."""
    with connection, connection.cursor() as cursor:
        # Tells where we are, and locks it: should another process follow under
        # this name, the two take turns.
        cursor.execute("SELECT eventstore.save_checkpoint(%s, 0) AS position", (NAME,))
        position = cursor.fetchone().position
        cursor.execute("SELECT * FROM eventstore.read_all(%s, %s)", (position, BATCH))
        events = cursor.fetchall()
        for event in events:
            handle(cursor, event)
        if events:
            cursor.execute("SELECT eventstore.save_checkpoint(%s, %s)",
                           (NAME, events[-1].global_position))
        return bool(events)


def wait_for_news(connection):
    select.select([connection], [], [], PATIENCE)
    connection.poll()
    connection.notifies.clear()


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


def main(dsn):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    delay = 0.1
    while True:
        connection = None
        try:
            connection = psycopg2.connect(dsn, cursor_factory=NamedTupleCursor)
            prepare(connection)
            delay = 0.1
            while True:
                if not handle_batch(connection):
                    wait_for_news(connection)
        except psycopg2.Error as error:
            if connection and is_alive(connection):
                raise
            print(f"trying again in {delay} seconds: {error}", file=sys.stderr)
        time.sleep(delay)
        delay = min(2 * delay, MAX_DELAY)


main(sys.argv[1] if len(sys.argv) > 1 else "")
