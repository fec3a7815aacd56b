#!/usr/bin/python3
"""How many events a second consumers take out of a full store.

    bench/drain.py plain|leases CONSUMERS PARTITIONS BATCH

"plain" is one client that loops over read_all() and saves its checkpoint with
each batch; "leases" are clients that fetch from a subscription and acknowledge
each batch.  Every batch is one transaction, and its rows are sent to the
client, which drops them.  Connections are made before the clock starts.
Prints events per second.  Needs psycopg2; connects as the environment says.
"""
import multiprocessing
import sys
import time

import psycopg2

COLUMNS = "global_position, stream_id, version, event_type, data::text"


def read_plainly(cursor, batch, stored, handled):
    position = 0
    while handled.value < stored:
        cursor.execute(f"SELECT {COLUMNS} FROM eventstore.read_all(%s, %s)", (position, batch))
        rows = cursor.fetchall()
        position = rows[-1][0]
        cursor.execute("SELECT eventstore.save_checkpoint('drain-plain', %s)", (position,))
        cursor.connection.commit()
        handled.value += len(rows)


def consume(cursor, name, batch, stored, handled):
    while handled.value < stored:
        cursor.execute(f"SELECT partition, {COLUMNS} FROM eventstore.fetch_events('drain', %s, %s)",
                       (name, batch))
        rows = cursor.fetchall()
        if rows:
            cursor.execute("SELECT eventstore.ack_events('drain', %s, %s, %s)",
                           (name, rows[-1][0], rows[-1][1]))
        cursor.connection.commit()
        with handled.get_lock():
            handled.value += len(rows)
        if not rows:
            time.sleep(0.001)  # the others have all that is left


def client(side, number, batch, stored, handled, barrier):
    cursor = psycopg2.connect("").cursor()
    cursor.execute("SELECT 1 FROM eventstore.read_all(0, 1)")
    cursor.connection.commit()
    barrier.wait()
    if side == "plain":
        read_plainly(cursor, batch, stored, handled)
    else:
        consume(cursor, f"consumer {number}", batch, stored, handled)
    barrier.wait()


def main(side, consumers, partitions, batch):
    connection = psycopg2.connect("")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM eventstore.events")
    stored = cursor.fetchone()[0]
    if side == "leases":
        cursor.execute("SELECT eventstore.create_subscription('drain', partitions => %s)",
                       (partitions,))

    handled = multiprocessing.Value("q", 0)
    barrier = multiprocessing.Barrier(consumers + 1, timeout=600)
    clients = [multiprocessing.Process(target=client,
                                       args=(side, n, batch, stored, handled, barrier))
               for n in range(consumers)]
    for process in clients:
        process.start()
    barrier.wait()
    began = time.monotonic()
    barrier.wait()
    taken = time.monotonic() - began
    for process in clients:
        process.join()

    cursor.execute("SELECT eventstore.drop_subscription(%s)",
                   ("drain" if side == "leases" else "drain-plain",))
    if handled.value != stored:
        raise SystemExit(f"{handled.value} events were handled, {stored} are stored")
    print(round(stored / taken))


main(sys.argv[1], *map(int, sys.argv[2:]))
