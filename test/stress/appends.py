"""What appenders send: events, appends, transactions."""

import base64
import hashlib
import json
import uuid

STREAM_TYPES = ("Account", "Order", "Cart")
STREAMS_OF_A_TYPE = 20

# Each with how often it is chosen.  Of sizes, it is the upper limit that is.
PAYLOAD_SIZES = {1: 10, 30: 40, 300: 40, 3_000: 8, 30_000: 2, 200_000: 0.7}
PAYLOAD_SIZES_IN_BATCHES = {1: 10, 30: 40, 100: 40, 2_500: 0.2}
BATCH_SIZES = {1: 60, 5: 25, 50: 12, 300: 2, 1_500: 1}
NUMBERS_OF_STREAMS = {1: 70, 2: 15, 3: 10, 5: 5}
PAUSES = {0.0: 80, 0.001: 8, 0.01: 8, 0.1: 4}      # seconds, after an append
ISOLATION_LEVELS = {"READ COMMITTED": 6, "REPEATABLE READ": 2, "SERIALIZABLE": 2}
WAYS_TO_COMMIT = {"COMMIT": 9, "COMMIT PREPARED": 1}
WAYS_TO_ROLL_BACK = {"ROLLBACK": 3, "ROLLBACK PREPARED": 1}

# Expected versions
ANY = None
NEW = 0
EXISTS = -1
NEVER = 1_000_000_000
CURRENT = "current"         # to be looked up


def choose(random, weights):
    return random.choices(list(weights), list(weights.values()))[0]


def choose_size(random, weights):
    return random.randint(1, choose(random, weights))


def make_bytes(random, size):
    """So many bytes, which can be compressed or not."""
    if random.random() < 0.5:
        return random.choice((b"a", b"b", b"c")) * size
    return random.randbytes(size)


def make_json(random, size):
    """A value of that size."""
    if size < 3:
        return int("12"[:size])
    return base64.b64encode(make_bytes(random, size)).decode()[:size - 2]


def make_event(random, tag, number, size, with_id):
    """An event whose metadata tell where it belongs, and the digest of its payload."""
    event = {"event_type": "Happened"}
    if random.random() < 0.7:
        event["data"] = make_json(random, size)
        payload = json.dumps(event["data"]).encode()
    else:
        payload = make_bytes(random, size)
        event["binary_data"] = base64.b64encode(payload).decode()
        event["content_type"] = "application/octet-stream"
    event["metadata"] = {"append": tag, "n": number, "digest": hashlib.md5(payload).hexdigest()}
    if with_id:
        event["event_id"] = str(uuid.UUID(int=random.getrandbits(128), version=4))
    return event


class Append:
    """One call of an append function."""

    def __init__(self, random, tag, stream, with_ids):
        self.tag = tag
        self.stream = stream
        self.count = choose_size(random, BATCH_SIZES)
        sizes = PAYLOAD_SIZES if self.count <= 5 else PAYLOAD_SIZES_IN_BATCHES
        self.events = [make_event(random, tag, number, choose_size(random, sizes), with_ids)
                       for number in range(self.count)]
        self.is_typed = self.count == 1 and random.random() < 0.5
        self.answer = None

    def send(self, session, expected_version):
        """Returns whether the server had it already."""
        call = self.send_typed if self.is_typed else self.send_batch
        *answer, deduplicated = call(session, expected_version)
        if deduplicated and self.answer not in (None, answer):
            raise AssertionError(f"{self.tag}: the answer was {self.answer} and is now {answer}")
        self.answer = answer
        return deduplicated

    def send_batch(self, session, expected_version):
        return session.execute("SELECT * FROM eventstore.append_events(%s, %s, %s)",
                               (self.stream, json.dumps(self.events), expected_version))[0]

    def send_typed(self, session, expected_version):
        event = self.events[0]
        return session.execute("""
            SELECT * FROM eventstore.append_event(%s, %s, %s, %s, event_id => %s, metadata => %s,
                binary_data => decode(%s, 'base64'), content_type => %s)""",
                               (self.stream, event["event_type"],
                                json.dumps(event["data"]) if "data" in event else None,
                                expected_version, event.get("event_id"),
                                json.dumps(event["metadata"]),
                                event.get("binary_data"), event.get("content_type")))[0]

    def matches(self, rows):
        """Are these rows what was sent, in the places that the answer told?"""
        if ([row.n for row in rows] != list(range(self.count)) or
                any(row.stream != self.stream or not row.is_whole for row in rows)):
            return False
        if self.answer is None:
            return True
        first_version, last_version, first_position, last_position = self.answer
        return ([row.version for row in rows] == list(range(first_version, last_version + 1)) and
                [rows[0].position, rows[-1].position] == [first_position, last_position])


class Transaction:
    """A list of steps, and an end.

    A step is an append, with the version that it expects; SQL; or a pause, in
    seconds.
    """

    def __init__(self, random, tag, fickleness):
        self.random = random
        self.tag = tag
        self.fickleness = fickleness        # how often does it undo what it did?
        self.with_ids = random.random() < 0.5
        self.isolation = choose(random, ISOLATION_LEVELS)
        self.end = choose(random, WAYS_TO_ROLL_BACK if self.wavers() else WAYS_TO_COMMIT)
        self.steps = []
        self.appends = []       # what the transaction brings about
        self.undone = []        # what it rolls back itself
        for stream in self.choose_streams():
            self.add_steps(stream)

    def choose_streams(self):
        """Mostly in one order, so that not too many end in deadlocks."""
        random = self.random
        streams = sorted({f"{random.choice(STREAM_TYPES)}-{random.randrange(STREAMS_OF_A_TYPE):02}"
                          for _ in range(choose(random, NUMBERS_OF_STREAMS))})
        if random.random() < 0.05:
            random.shuffle(streams)
        if random.random() < 0.1:
            streams.append(f"{random.choice(STREAM_TYPES)}-{self.tag}")
        return streams

    def wavers(self):
        return self.random.random() < self.fickleness

    def add_steps(self, stream):
        if self.wavers():
            self.steps.append("SAVEPOINT s")
            self.add_append(stream, self.undone)
            self.steps.append("ROLLBACK TO s")
        elif self.random.random() < 0.1:
            self.steps.append("SAVEPOINT s")
            self.add_append(stream, self.appends)
            self.steps.append("RELEASE s")
        else:
            self.add_append(stream, self.appends)
        self.steps.append(choose(self.random, PAUSES))

    def add_append(self, stream, appends):
        append = Append(self.random, f"{self.tag}.{len(self.steps)}", stream, self.with_ids)
        expected = NEW if self.tag in stream else self.random.choice((ANY, ANY, ANY, EXISTS, CURRENT))
        appends.append(append)
        self.steps.append((append, expected))

    def is_one_statement(self):
        return (len(self.steps) == 2 and self.end == "COMMIT" and
                self.isolation == "READ COMMITTED")
