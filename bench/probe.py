#!/usr/bin/python3
"""How long after an append's commit a LISTENing client knows of it.

    bench/probe.py SECONDS

Appends now and then, and takes the time from the end of the append to the
arrival of a notification that covers its position.  Prints "p50 p99" in
milliseconds.  Needs psycopg2; connects as the environment says.
"""
import random
import select
import sys
import time

import psycopg2

LATE = 5.0


def connect():
    connection = psycopg2.connect("")
    connection.autocommit = True
    return connection, connection.cursor()


def wait_for(listener, position, began):
    """Returns when a notification has said that there is "position"."""
    while True:
        listener.poll()
        while listener.notifies:
            if int(listener.notifies.pop(0).payload) >= position:
                return
        rest = began + LATE - time.monotonic()
        if rest <= 0 or not select.select([listener], [], [], rest)[0]:
            raise SystemExit("a notification did not come")


def main(seconds):
    listener, cursor = connect()
    cursor.execute("LISTEN eventstore")
    _, append = connect()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(random.uniform(0.002, 0.02))
        append.execute("SELECT last_position FROM eventstore.append_event('Probe-1', 'Probed', '{}')")
        position = append.fetchone()[0]
        began = time.monotonic()
        wait_for(listener, position, began)
        times.append(1000 * (time.monotonic() - began))
    times.sort()
    print("%.2f %.2f" % (times[len(times) // 2], times[len(times) * 99 // 100]))


main(float(sys.argv[1]))
