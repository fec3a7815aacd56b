#!/usr/bin/python3
"""How long after an append's commit a LISTENing client knows of it.

    bench/probe.py [--cold | --wait] SECONDS

Appends now and then (--cold: five times, when no worker runs), and takes the
time from the end of the append to the arrival of a notification that covers its
position (--wait: to the return of wait_for_events() in another session).
Prints "p50 p99" in milliseconds.  Needs psycopg2; connects as the environment
says.
"""
import concurrent.futures
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


def time_of_answer(cursor, after_position):
    """Returns when wait_for_events() has returned."""
    cursor.execute("CALL eventstore.wait_for_events(%s, %s)", (after_position, f"{LATE} s"))
    if cursor.fetchone()[0] is None:
        raise SystemExit("an event did not come")
    return time.monotonic()


def rest_until_cold(cursor):
    while True:
        cursor.execute("SELECT FROM pg_stat_activity WHERE backend_type = 'eventstore worker'")
        if cursor.rowcount == 0:
            return
        time.sleep(0.1)


def poll_long(seconds):
    """The times for wait_for_events()."""
    _, waiter = connect()
    _, append = connect()
    times = []
    end = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        while time.monotonic() < end:
            append.execute("SELECT last_value FROM eventstore.events_global_position_seq")
            answer = pool.submit(time_of_answer, waiter, append.fetchone()[0])
            time.sleep(random.uniform(0.01, 0.02))
            append.execute("SELECT last_position FROM eventstore.append_event('Probe-1', 'Probed', '{}')")
            began = time.monotonic()
            times.append(1000 * (answer.result() - began))
    return times


def listen(seconds, is_cold):
    """The times for notifications."""
    listener, cursor = connect()
    cursor.execute("LISTEN eventstore")
    _, append = connect()
    times = []
    end = time.monotonic() + seconds
    while len(times) < 5 if is_cold else time.monotonic() < end:
        if is_cold:
            rest_until_cold(append)
            listener.poll()
            listener.notifies.clear()
        else:
            time.sleep(random.uniform(0.002, 0.02))
        append.execute("SELECT last_position FROM eventstore.append_event('Probe-1', 'Probed', '{}')")
        position = append.fetchone()[0]
        began = time.monotonic()
        wait_for(listener, position, began)
        times.append(1000 * (time.monotonic() - began))
    return times


def main(how, seconds):
    times = poll_long(seconds) if how == "--wait" else listen(seconds, how == "--cold")
    times.sort()
    print("%.2f %.2f" % (times[len(times) // 2], times[len(times) * 99 // 100]))


main(sys.argv[1], float(sys.argv[-1]))
