#!/usr/bin/env python3
"""One of several consumers that share the events of a subscription.

    consume.py [CONNECTION-STRING]

Start as many as you like.  Each stream's events are handled in order, by one
consumer at a time, and exactly once: what is made of a batch and its
acknowledgement are one transaction.  An event that can't be handled is tried
again later, while only its own stream waits; after too many attempts it is
parked, see the view eventstore.parked_events.  When the server goes away, it
is waited for.  SIGTERM ends the program when it is done with its batch.
"""
import os
import select
import signal
import socket
import sys
import time

import psycopg2
from psycopg2.extras import NamedTupleCursor

SUBSCRIPTION = "consume.py"
CONSUMER = f"{socket.gethostname()} {os.getpid()}"     # nobody else's
BATCH = 100
LEASE = "30 seconds"    # more than a batch takes
PATIENCE = 1            # seconds; look that often, for retries notify nobody
MAX_DELAY = 5           # seconds between attempts to connect

PROJECTION = """
    CREATE TABLE IF NOT EXISTS consumer_feed (
        n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        consumer text NOT NULL,
        global_position bigint NOT NULL,
        summary text NOT NULL)
"""
stopping = False


class BadEvent(Exception):
    """The event can't be handled, now or ever."""


def handle(cursor, event):
    if not isinstance(event.data, dict):
        raise BadEvent("data is not a JSON object")
    cursor.execute("INSERT INTO consumer_feed (consumer, global_position, summary)"
                   " VALUES (%s, %s, %s)",
                   (CONSUMER, event.global_position,
                    f"{event.stream_id} {event.version}: {', '.join(event.data)}"))


def prepare(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("LISTEN eventstore")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT eventstore.create_subscription(%s, partitions => 4)",
                           (SUBSCRIPTION,))
            cursor.execute(PROJECTION)
    except psycopg2.errors.DuplicateObject:
        pass    # another consumer was the first


def fetch(connection):
    """A transaction of its own, so that the attempt counts if we die of it."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM eventstore.fetch_events(%s, %s, %s, %s)",
                       (SUBSCRIPTION, CONSUMER, BATCH, LEASE))
        return cursor.fetchall()


def try_to_handle(cursor, event):
    """Returns whether it went well; if not, all that it did is undone."""
    cursor.execute("SAVEPOINT event")
    try:
        handle(cursor, event)
    except (BadEvent, psycopg2.IntegrityError, psycopg2.DataError) as error:
        cursor.execute("ROLLBACK TO event")
        cursor.execute("SELECT eventstore.nack_event(%s, %s, %s, %s, %s)",
                       (SUBSCRIPTION, CONSUMER, event.partition, event.global_position,
                        str(error)))
        return False
    cursor.execute("RELEASE event")
    return True


def handle_batch(connection, events):
    failed = set()
    with connection, connection.cursor() as cursor:
        for event in events:
            # What follows in the stream of a failed event comes again after it.
            if event.stream_id not in failed and not try_to_handle(cursor, event):
                failed.add(event.stream_id)
        cursor.execute("SELECT eventstore.ack_events(%s, %s, %s, %s)",
                       (SUBSCRIPTION, CONSUMER, events[-1].partition,
                        events[-1].global_position))


def wait_for_news(connection):
    select.select([connection], [], [], PATIENCE)
    connection.poll()
    connection.notifies.clear()


def consume(connection):
    while not stopping:
        events = fetch(connection)
        if not events:
            wait_for_news(connection)
            continue
        try:
            handle_batch(connection, events)
        except psycopg2.Error as error:
            if error.pgcode != "ST006":
                raise
            print(f"took too long: {error}", file=sys.stderr)   # all is undone


def stop(*_):
    global stopping
    stopping = True


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
    signal.signal(signal.SIGTERM, stop)
    delay = 0.1
    while not stopping:
        connection = None
        try:
            connection = psycopg2.connect(dsn, cursor_factory=NamedTupleCursor)
            prepare(connection)
            delay = 0.1
            consume(connection)
        except psycopg2.Error as error:
            if connection and is_alive(connection):
                raise
            print(f"trying again in {delay} seconds: {error}", file=sys.stderr)
            time.sleep(delay)
            delay = min(2 * delay, MAX_DELAY)


main(sys.argv[1] if len(sys.argv) > 1 else "")
