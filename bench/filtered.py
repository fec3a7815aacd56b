#!/usr/bin/python3
"""What a fetch costs where almost nothing matches.

    bench/filtered.py EVENTS ROUNDS

Fills the store with so many events, 10 of which match, and times, for a filter
of stream types and one of event types
    first   the fetch of a new subscription, which finds the 10
    new     the fetch after 1,000 more events, none of which matches
    idle    the fetch when there is nothing new
each in a connection of its own, so that the session knows nothing of the store
yet.  Prints the medians of the milliseconds and the pages that each takes; most
of the pages of "idle" are those of the catalogs, which a new session has to read.
Needs psycopg2; connects as the environment says.
"""
import json
import statistics
import sys

import psycopg2

BATCH = json.dumps([{"event_type": "OrderPlaced", "data": {"n": n}} for n in range(1000)])
FILTERS = {"stream_types": "Invoice", "event_types": "InvoiceSent"}
WHAT = ("first", "new", "idle")


def connect():
    connection = psycopg2.connect("")
    connection.autocommit = True
    return connection.cursor()


def append_others(cursor, batches):
    for _ in range(batches):
        cursor.execute("SELECT eventstore.append_events('Order-' || gen_random_uuid(), %s)",
                       (BATCH,))


def fill(cursor, events):
    cursor.execute("SET synchronous_commit = off")
    for n in range(10):
        append_others(cursor, events // 10000)
        cursor.execute("SELECT eventstore.append_event('Invoice-%s', 'InvoiceSent', '{}')", (n,))
    cursor.execute("VACUUM ANALYZE eventstore.events")
    cursor.execute("CHECKPOINT")
    cursor.execute("SELECT eventstore.advance_watermark()")
    cursor.execute("RESET synchronous_commit")  # what is fetched is on disk


def fetch(name, expected):
    """Milliseconds and pages that a fetch takes; acknowledges what it returns."""
    cursor = connect()
    cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
                   " SELECT * FROM eventstore.fetch_events(%s, 'consumer')", (name,))
    result = cursor.fetchone()[0][0]
    plan = result["Plan"]
    if plan["Actual Rows"] != expected:
        raise SystemExit(f"{plan['Actual Rows']} events were fetched, {expected} match")
    cursor.execute("SELECT eventstore.ack_events(subscription_id, consumer, partition, fetched_to)"
                   " FROM eventstore.subscription_partitions"
                   " WHERE subscription_id = %s AND consumer IS NOT NULL", (name,))
    cursor.connection.close()
    return result["Execution Time"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def main(events, rounds):
    cursor = connect()
    fill(cursor, events)
    taken = {(name, what): [] for name in FILTERS for what in WHAT}
    for _ in range(rounds):
        for name, wanted in FILTERS.items():
            cursor.execute(f"SELECT eventstore.create_subscription(%s, {name} => %s)",
                           (name, [wanted]))
            taken[name, "first"].append(fetch(name, 10))
        append_others(cursor, 1)
        for name in FILTERS:
            taken[name, "new"].append(fetch(name, 0))
            taken[name, "idle"].append(fetch(name, 0))
            cursor.execute("SELECT eventstore.drop_subscription(%s)", (name,))
    for name in FILTERS:
        print("%-14s %10d" % (name, events), *(
            "%10.1f %9d" % tuple(map(statistics.median, zip(*taken[name, what])))
            for what in WHAT))


main(int(sys.argv[1]), int(sys.argv[2]))
