#!/usr/bin/env python3
"""Compute the digests of an event store anew, without trusting the server.

    check_digests.py CONNECTION_STRING [UP_TO_POSITION DIGEST]

Reads all events up to the last digest, computes each digest from them, and says
which ones differ.  With a position and a digest in hex that was kept elsewhere,
that one must be among them.  Exits with 1 if anything differs.

The form of an event is described in docs/integrity.md.
"""
import hashlib
import struct
import sys

import psycopg2

FORMAT = 1
EVENTS_AT_ONCE = 1000

READ_EVENTS = """
    SELECT global_position, version,
           (extract(epoch FROM created_at) * 1000000)::bigint, event_id::text,
           stream_id, stream_type, event_type, schema_version,
           correlation_id::text, causation_id::text,
           data::text, binary_data, content_type, metadata::text, tags
    FROM eventstore.read_all(%s, %s)
"""


def sha256(content):
    return hashlib.sha256(content).digest()


def bigint(value):
    return struct.pack('>q', value)


def integer(value):
    return struct.pack('>i', value)


def text(value):
    content = value.encode()
    return integer(len(content)) + content


def uuid(value):
    return bytes.fromhex(value.replace('-', ''))


def json(value):
    return sha256(value.encode())


def binary(value):
    return sha256(bytes(value))


def column(value, form):
    """A byte that says whether there is a value, and the value."""
    return b'\0' if value is None else b'\1' + form(value)


def array(values):
    return integer(len(values)) + b''.join(column(value, text) for value in values)


FORMS = (bigint, bigint, bigint, uuid, text, text, text, integer, uuid, uuid,
         json, binary, text, json, array)


def event_digest(event):
    columns = (column(value, form) for value, form in zip(event, FORMS))
    return sha256(bytes([FORMAT]) + b''.join(columns))


def read_events(cursor, up_to_position):
    position = 0
    while position < up_to_position:
        cursor.execute(READ_EVENTS, (position, EVENTS_AT_ONCE))
        events = cursor.fetchall()
        if not events:
            return
        for event in events:
            if event[0] > up_to_position:
                return
            yield event
        position = events[-1][0]


def check(cursor, known):
    """Yield what differs."""
    cursor.execute('SELECT up_to_position, events, digest FROM eventstore.digests'
                   ' ORDER BY up_to_position')
    ranges = [(position, count, bytes(digest)) for position, count, digest in cursor]
    if known is not None and known not in [(position, digest) for position, _, digest in ranges]:
        yield 'the store does not have the digest that is known for position %d' % known[0]

    events = read_events(cursor, ranges[-1][0] if ranges else 0)
    event = next(events, None)
    previous, before = bytes(32), 0
    for position, count, digest in ranges:
        content, found = hashlib.sha256(previous), 0
        while event is not None and event[0] <= position:
            content.update(event_digest(event))
            found += 1
            event = next(events, None)
        if found != count:
            yield 'positions %d to %d: %d events instead of %d' % (before + 1, position, found, count)
        elif content.digest() != digest:
            yield 'positions %d to %d: something was changed' % (before + 1, position)
        previous, before = digest, position
    print('%d digests, up to position %d: %s' % (len(ranges), before, previous.hex()))


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    known = (int(sys.argv[2]), bytes.fromhex(sys.argv[3])) if len(sys.argv) == 4 else None
    with psycopg2.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        differences = list(check(cursor, known))
    for difference in differences:
        print(difference)
    sys.exit(1 if differences else 0)


main()
