#!/usr/bin/env python3
"""Appenders, followers and disturbers work with an event store side by side.

    stress.py --seed NUMBER --seconds NUMBER --write-to DSN [--wait-points]
              [--follow-at DSN [--torn-down]]

In the end it is compared what is stored, what appenders know to be committed,
and what each follower has seen.  Each comparison is a line "ok - ..." or
"not ok - ..."; lines that begin with "#" are remarks.

With --follow-at, followers are on a standby, which must be named in --write-to,
too.  After half of the time the program says "stop the primary" and then
"promote the standby", and reads a line from its standard input each time when
that is done.  --torn-down says that the primary will not be given the time to
send all that it has committed.
"""

import argparse
import collections
import contextlib
import os
import sys
import threading
import time

from appenders import Appender, StoppingAppender
from checks import Checks
from client import PATIENCE
from disturbers import (Canceller, GateKeeper, Idler, Maintenance, Settler, Terminator, Vacuuming,
                        WatermarkKeeper)
from followers import KINDS, KINDS_ON_STANDBY, Rereader
from ledger import Ledger

# Of each appender, how often it undoes what it did.  As it is the same ones that
# do, dead rows are close together, and other pages can be visible to all.
FICKLENESS = (0, 0, 0, 0, 0, 0, 0.1, 0.5)


class Stress:
    """What the actors share."""

    def __init__(self, seed, has_wait_points):
        self.seed = seed
        self.has_wait_points = has_wait_points
        self.ledger = Ledger()
        self.complaints = []
        self.counts = collections.Counter()
        self.lock = threading.Lock()

        self.lulls = 0
        self.lulls_change = threading.Condition()

        # Of a promotion, in this order
        self.stop_is_near = threading.Event()
        self.primary_is_gone = threading.Event()
        self.standby_is_promoted = threading.Event()
        self.load_goes_on = threading.Event()

    @contextlib.contextmanager
    def lull(self):
        """A time in which those who write begin nothing new."""
        self.change_lulls(1)
        try:
            yield
        finally:
            self.change_lulls(-1)

    def change_lulls(self, change):
        with self.lulls_change:
            self.lulls += change
            self.lulls_change.notify_all()

    def wait_out_lull(self):
        with self.lulls_change:
            self.lulls_change.wait_for(lambda: self.lulls == 0)

    def complain(self, text):
        """Whoever met what must not be says so here."""
        with self.lock:
            self.complaints.append(text)

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number


def start(actors):
    for actor in actors:
        actor.start()


def stop(actors):
    """Let the actors end what they are at."""
    deadline = time.monotonic() + PATIENCE
    for actor in actors:
        actor.stop()
    for actor in actors:
        actor.join(max(0, deadline - time.monotonic()))
        if actor.is_alive():
            actor.stress.complain(f"{actor.name} is stuck")


def make_appenders(stress, dsn):
    """Where there are wait points, every other one stops there."""
    kinds = (StoppingAppender if stress.has_wait_points else Appender, Appender)
    return [kinds[number % 2](stress, f"appender {number}", dsn, fickleness)
            for number, fickleness in enumerate(FICKLENESS)]


def make_followers(stress, dsn, kinds):
    return [kind(stress, f"follower ({name})", dsn) for name, kind in kinds.items()]


def make_hindrances(stress, dsn):
    return [Idler(stress, "idler 1", dsn), Idler(stress, "idler 2", dsn),
            GateKeeper(stress, "gate keeper", dsn)]


def make_readers(stress, dsn):
    return [*(Settler(stress, f"settler {number}", dsn) for number in (1, 2, 3)),
            Rereader(stress, "rereader", dsn)]


def run_on_primary(stress, arguments):
    """Returns the followers."""
    dsn = arguments.write_to
    appenders = make_appenders(stress, dsn)
    followers = make_followers(stress, dsn, KINDS)
    disturbers = make_hindrances(stress, dsn) + make_readers(stress, dsn)
    disturbers.append(Maintenance(stress, "maintenance", dsn))
    disturbers += [Terminator(stress, "terminator", dsn, appenders),
                   Canceller(stress, "canceller", dsn, appenders + followers + disturbers)]

    start(appenders + followers + disturbers)
    time.sleep(arguments.seconds)
    stop(disturbers)
    stop(appenders)
    stop(followers)
    return followers


def run_through_promotion(stress, arguments):
    """Returns the followers."""
    primary, standby = arguments.write_to, arguments.follow_at
    appenders = make_appenders(stress, primary)
    followers = make_followers(stress, standby, KINDS_ON_STANDBY)
    hindrances = make_hindrances(stress, primary)
    keepers = [WatermarkKeeper(stress, "keeper of the watermark", primary),
               Vacuuming(stress, "vacuum", primary)]
    readers = make_readers(stress, standby)
    killers = [Terminator(stress, "terminator", primary, appenders),
               Canceller(stress, "canceller", primary, appenders + hindrances + keepers)]
    before = [Maintenance(stress, "maintenance", primary),
              Canceller(stress, "canceller on the standby", standby, followers + readers)]
    after = [Maintenance(stress, "maintenance after the promotion", primary)]
    for reader in followers + readers:
        reader.is_on_standby = True

    start(appenders + followers + hindrances + keepers + readers + killers + before)
    time.sleep(arguments.seconds / 2)
    stop(before)        # they would be in the way of snapshots that are to last
    time.sleep(1)
    stress.stop_is_near.set()
    time.sleep(1)
    promote(stress)
    start(after)
    time.sleep(arguments.seconds / 2)
    stop(after + killers + readers + hindrances)
    stop(appenders)
    stop(followers)
    stop(keepers)
    return followers


def promote(stress):
    """At first, only what is prepared gets on at the new primary, and no new transactions."""
    with stress.lull():
        ask_for("stop the primary")
        stress.primary_is_gone.set()
        time.sleep(0.5)
        ask_for("promote the standby")
        time.sleep(0.5)
        stress.standby_is_promoted.set()
        time.sleep(0.3)
    time.sleep(0.5)
    stress.load_goes_on.set()


def ask_for(what):
    print(what, flush=True)
    sys.stdin.readline()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--write-to", required=True, metavar="DSN")
    parser.add_argument("--wait-points", action="store_true")
    parser.add_argument("--follow-at", metavar="DSN")
    parser.add_argument("--torn-down", action="store_true")
    arguments = parser.parse_args()

    stress = Stress(arguments.seed, arguments.wait_points)
    run = run_through_promotion if arguments.follow_at else run_on_primary
    followers = run(stress, arguments)
    Checks(stress, arguments.write_to, arguments.torn_down).run(followers)
    sys.stdout.flush()
    os._exit(0)         # whoever is stuck does not matter any more


main()
