"""Sessions with a server, and those who work with the store through them."""

import random
import re
import threading
import time
import traceback

import psycopg2
import psycopg2.extensions

# After these, a client rolls back and tries again.
TRY_AGAIN = {
    "40001": "serialization failures",      # on a standby: conflicts with recovery
    "40P01": "deadlocks",
    "55P03": "lock timeouts",
    "57014": "cancelled statements",
}
# The server ends the connection.
GONE = {"57P01", "57P02", "57P03"}
WRONG_VERSION = "ST001"
# On a standby, REINDEX CONCURRENTLY drops indexes under the feet of those who
# use them, in queries on any table.
DROPPED_ON_STANDBY = re.compile("could not (open relation with OID|open file|read block)")

# Seconds until whoever does not get on is taken to be stuck.
PATIENCE = 60


class TryAgain(Exception):
    """The statement failed, and the transaction can be repeated."""


class Lost(Exception):
    """The connection is gone, and nobody knows what became of the last statement."""


class WrongVersion(Exception):
    """The stream is not at the version that was expected."""


class Session:
    """A connection on which each statement is sent as it stands."""

    def __init__(self, actor, dsn):
        self.actor = actor
        self.dsn = dsn
        self.connection = None
        self.port = None        # tells the servers apart
        self.connect()

    def connect(self):
        """Connect, and wait for a server that is being started or promoted."""
        self.close()
        deadline = time.monotonic() + PATIENCE
        while self.connection is None:
            try:
                self.connection = psycopg2.connect(self.dsn, application_name=self.actor.name)
                self.connection.autocommit = True
                self.port = self.connection.info.port
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def execute(self, sql, parameters=None):
        """Returns the rows."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            raise self.judge(error) from error

    def value(self, sql, parameters=None):
        return self.execute(sql, parameters)[0][0]

    def judge(self, error):
        if self.connection.closed or error.pgcode is None or error.pgcode in GONE:
            self.actor.count("lost connections")
            return Lost()
        if error.pgcode in TRY_AGAIN:
            self.actor.count(TRY_AGAIN[error.pgcode])
            return TryAgain()
        if error.pgcode == WRONG_VERSION:
            self.actor.count("version conflicts")
            return WrongVersion()
        if self.actor.is_on_standby and DROPPED_ON_STANDBY.search(str(error)):
            self.actor.count("indexes dropped on the standby")
            return TryAgain()
        return error

    def is_idle(self):
        return (self.connection.info.transaction_status ==
                psycopg2.extensions.TRANSACTION_STATUS_IDLE)

    def clean_up(self):
        """End the transaction after an error.  Returns whether that took a new connection."""
        try:
            if not self.connection.closed:
                if not self.is_idle():
                    self.execute("ROLLBACK")
                return False
        except (Lost, TryAgain):
            pass
        self.connect()
        return True


class Actor(threading.Thread):
    """Somebody who works with the store, turn by turn, until told to stop.

    The random numbers of a turn depend on the seed, the actor and the turn's
    number alone.
    """

    rests_in_lulls = False
    is_on_standby = False

    def __init__(self, stress, name, dsn):
        super().__init__(name=name, daemon=True)
        self.stress = stress
        self.dsn = dsn
        self.number = 0
        self.random = None
        self.session = None
        self.over = threading.Event()

    def run(self):
        try:
            self.session = Session(self, self.dsn)
            self.work()
        except Exception:
            self.complain(traceback.format_exc(limit=-3))
        finally:
            if self.session is not None:
                self.session.close()

    def work(self):
        while not self.over.is_set():
            self.next_turn()

    def next_turn(self):
        """Returns what turn() returns, or None when that came to no end."""
        self.number += 1
        self.random = random.Random(f"{self.stress.seed} {self.name} {self.number}")
        self.rest()
        try:
            return self.turn()
        except (Lost, TryAgain):
            self.clean_up()
        except psycopg2.Error as error:
            self.complain(f"{error.pgcode}: {error}")
            self.clean_up()
        return None

    def turn(self):
        raise NotImplementedError

    def clean_up(self):
        return self.session.clean_up()

    def insist(self, do):
        """Do what does no harm when it is done twice, until it is done."""
        while True:
            try:
                return do()
            except (Lost, TryAgain):
                self.clean_up()

    def stop(self):
        self.over.set()

    def rest(self):
        if self.rests_in_lulls:
            self.stress.wait_out_lull()

    def sleep(self, seconds):
        """Returns at once when it is over."""
        self.over.wait(seconds)

    def pause(self, at_most):
        self.sleep(self.random.uniform(0, at_most))

    def complain(self, about):
        self.stress.complain(f"{self.name}, turn {self.number}: {about}")

    def count(self, what, number=1):
        self.stress.count(what, number)
