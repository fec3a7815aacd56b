"""Appenders: how they send, and how they take it when it goes wrong."""

import collections
import copy
import time

from psycopg2.errors import ObjectNotInPrerequisiteState, UndefinedObject

from appends import ANY, CURRENT, ISOLATION_LEVELS, NEVER, NEW, Append, Transaction, choose
from client import Actor, Lost, TryAgain, WrongVersion
from ledger import COMMITTED, IN_DOUBT, ROLLED_BACK

# Inside the append gate, where there are any
WAIT_POINTS = ("gate-entered", "positions-taken", "rows-inserted")


class Appender(Actor):
    rests_in_lulls = True

    def __init__(self, stress, name, dsn, fickleness):
        super().__init__(stress, name, dsn)
        self.fickleness = fickleness
        self.can_have_ended = False                     # was the end of the transaction sent?
        self.decisions = {}                             # how what was prepared is to end
        self.committed = collections.deque(maxlen=5)    # with event ids, to be repeated

    def turn(self):
        tag = f"{self.name}-{self.number}"
        kind = self.random.random()
        if kind < 0.05 and self.committed:
            self.repeat(self.random.choice(self.committed))
        elif kind < 0.08:
            self.expect_what_is_not(Append(self.random, tag, "Account-00", False))
        else:
            self.append(Transaction(self.random, tag, self.fickleness))
        self.pause(0.02)

    # ---- the three kinds of turns ----

    def append(self, transaction):
        outcome = self.try_until_settled(transaction)
        if outcome == IN_DOUBT and transaction.with_ids:
            outcome = self.send_again(transaction)
        if outcome == COMMITTED and transaction.with_ids:
            self.committed.extend(map(copy.copy, transaction.appends))
        self.settle(transaction.appends, outcome)
        self.settle(transaction.undone, ROLLED_BACK)

    def repeat(self, append):
        """The server says the same as before, whatever version is expected."""
        self.session.execute(f"BEGIN ISOLATION LEVEL {choose(self.random, ISOLATION_LEVELS)}")
        if not append.send(self.session, self.random.choice((ANY, NEW, NEVER))):
            raise AssertionError(f"{append.tag} was appended again")
        self.session.execute(self.random.choice(("COMMIT", "ROLLBACK")))
        self.count("appends repeated")

    def expect_what_is_not(self, append):
        try:
            append.send(self.session, NEVER)
            raise AssertionError(f"{append.tag} was appended in spite of its expected version")
        except WrongVersion:
            self.settle([append], ROLLED_BACK)

    def settle(self, appends, outcome):
        self.stress.ledger.settle(appends, outcome, self.session.port)
        self.count(f"appends {outcome}", len(appends))
        for append in appends:
            append.events = None        # there can be many, and long ones

    # ---- a transaction ----

    def try_until_settled(self, transaction):
        """Returns the outcome."""
        while True:
            self.can_have_ended = False
            try:
                return self.send(transaction)
            except WrongVersion:
                self.clean_up()
                return ROLLED_BACK
            except TryAgain:
                self.clean_up()
            except Lost:
                self.clean_up()
                if self.can_have_ended:
                    return IN_DOUBT
            if self.over.is_set():
                return ROLLED_BACK
            self.rest()

    def send(self, transaction):
        if transaction.is_one_statement():
            self.can_have_ended = True
            self.send_step(transaction.steps[0])
            return COMMITTED

        self.session.execute(f"BEGIN ISOLATION LEVEL {transaction.isolation}")
        for step in transaction.steps:
            self.send_step(step)
        return self.send_end(transaction)

    def send_step(self, step):
        if isinstance(step, str):
            self.session.execute(step)
        elif isinstance(step, float):
            self.sleep(step)
        else:
            append, expected = step
            if expected == CURRENT:
                expected = self.session.value("SELECT eventstore.stream_version(%s)",
                                              (append.stream,))
            append.send(self.session, expected)

    def send_end(self, transaction):
        if transaction.end == "ROLLBACK":
            self.session.execute("ROLLBACK")
            return ROLLED_BACK

        self.can_have_ended = True
        if transaction.end == "COMMIT":
            self.session.execute("COMMIT")
            return COMMITTED

        self.decisions[transaction.tag] = transaction.end
        self.session.execute(f"PREPARE TRANSACTION '{transaction.tag}'")
        self.pause(0.02)
        if self.stress.stop_is_near.is_set():
            self.stress.primary_is_gone.wait()      # to be decided on the other server
        self.decide(transaction.tag)
        return COMMITTED if transaction.end == "COMMIT PREPARED" else ROLLED_BACK

    def send_again(self, transaction):
        """Nobody knows whether it was committed, but the server knows its event ids."""
        known = self.insist(lambda: self.send_appends(transaction.appends))
        if any(known) and not all(known):
            raise AssertionError(f"of {transaction.tag}, some appends were stored and others not")
        self.count("transactions sent again")
        return COMMITTED

    def send_appends(self, appends):
        """Returns which the server had already."""
        self.rest()
        self.session.execute("BEGIN")
        known = [append.send(self.session, ANY) for append in appends]
        self.session.execute("COMMIT")
        return known

    # ---- prepared transactions ----

    def decide(self, gid):
        """Do not let go before it is gone: a process that was terminated may still be at it."""
        while self.session.execute("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", (gid,)):
            try:
                self.session.execute(f"{self.decisions[gid]} '{gid}'")
            except (TryAgain, UndefinedObject):
                pass
            except ObjectNotInPrerequisiteState:
                time.sleep(0.001)

    def clean_up(self):
        port = self.session.port
        is_new = super().clean_up()
        while is_new:
            try:
                self.take_up(port)
                is_new = False
            except (Lost, TryAgain):
                super().clean_up()

    def take_up(self, previous_port):
        """On a new connection: find what was left prepared."""
        if self.session.port != previous_port:
            self.committed.clear()      # the new server need not have it all
        for (gid,) in self.session.execute("SELECT gid FROM pg_prepared_xacts"):
            if gid in self.decisions:
                self.decide(gid)


class StoppingAppender(Appender):
    """Stops at the wait points."""

    def __init__(self, stress, name, dsn, fickleness):
        setting = f"eventstore.wait_points={','.join(WAIT_POINTS)}"
        super().__init__(stress, name, f"{dsn} options='-c {setting}'", fickleness)
