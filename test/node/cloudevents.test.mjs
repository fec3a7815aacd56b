// Are the messages of format "cloudevents" what the CloudEvents SDK, in strict
// mode, takes for CloudEvents, and are they what was appended?
//
// Takes a server from the environment (PGHOST ...) and psql from PATH, makes a
// database and a slot there, and drops them again.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { HTTP, V1 } from 'cloudevents';

const database = 'node_cloudevents';
const source = 'https://shop.example/events?store=1#a%20b';

function query(sql, name = database) {
  return execFileSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', name, '-f', '-'],
    { input: sql, encoding: 'utf8', maxBuffer: 1 << 28 });
}

// Messages may hold line breaks, so they come as a JSON array of strings.
function messages(...options) {
  const list = options.map((option) => `, '${option.replaceAll("'", "''")}'`).join('');
  return JSON.parse(query(`SELECT coalesce(json_agg(data), '[]')
    FROM pg_logical_slot_peek_changes('${database}', NULL, NULL, 'format', 'cloudevents'${list})`));
}

function parse(message) {
  const event = HTTP.toEvent({ headers: { 'content-type': 'application/cloudevents+json' }, body: message });
  assert.equal(event.validate(), true);
  return event;
}

const payloads = ['{"a": [1, 2.5, null],\n\t"b": "\\u00fc"}', '"text"', '42', 'true', '[]', '{}',
  JSON.stringify('x'.repeat(100000))];
const names = ['plain', 'a "b" \\ c', 'ünï😀', "it's", '<&>', 'x'.repeat(2048)];
const quote = (value) => `'${value.replaceAll("'", "''")}'`;

before(() => {
  query(`CREATE DATABASE ${database}`, 'postgres');
  query(`CREATE EXTENSION eventstore;
    SELECT pg_create_logical_replication_slot('${database}', 'eventstore');`);
  query(payloads.map((payload, i) => `
    SELECT eventstore.append_event('Payload-${i}', 'Stored', ${quote(payload)});`).join(''));
  query(names.map((name) => `
    SELECT eventstore.append_event(${quote(name)}, ${quote(name)}, '0', stream_type => ${quote(name)},
      metadata => '{"user":  "ann"}', tags => ARRAY[${quote(name)}, 'b'], schema_version => 2147483647,
      correlation_id => '00000000-0000-4000-8000-00000000000a',
      causation_id => '00000000-0000-4000-8000-00000000000b');`).join(''));
  query(`
    SELECT eventstore.append_event('Binary-1', 'Stored', binary_data => '\\x00ff10');
    SELECT eventstore.append_event('Binary-1', 'Stored', binary_data => '\\x41', content_type => 'image/png');`);
});

after(() => {
  query(`SELECT pg_drop_replication_slot('${database}')`);
  query(`DROP DATABASE ${database}`, 'postgres');
});

test('JSON payloads', () => {
  const events = messages('stream_types', 'Payload').map(parse);

  assert.equal(events.length, payloads.length);
  events.forEach((event, i) => {
    assert.deepEqual(event.data, JSON.parse(payloads[i]));
    assert.equal(event.datacontenttype, 'application/json');
    assert.equal(event.subject, `Payload-${i}`);
    assert.equal(event.type, 'Stored');
    assert.equal(event.specversion, V1);
    assert.equal(event.source, `/eventstore/${database}`);
    assert.ok(Math.abs(Date.parse(event.time) - Date.now()) < 3600_000, event.time);
  });
});

test('attributes and extensions', () => {
  const stored = JSON.parse(query(`SELECT json_agg(json_build_array(global_position::text, event_id)
    ORDER BY global_position) FROM eventstore.events WHERE correlation_id IS NOT NULL`));
  const events = messages('event_types', names.map((name) => `"${name.replaceAll('"', '""')}"`).join(','),
    'source', source).map(parse);

  assert.equal(events.length, names.length);
  events.forEach((event, i) => {
    assert.equal(event.type, names[i]);
    assert.equal(event.subject, names[i]);
    assert.equal(event.streamtype, names[i]);
    assert.equal(event.source, source);
    assert.deepEqual([event.globalposition, event.id], stored[i]);
    assert.equal(event.streamversion, '1');
    assert.equal(event.schemaversion, 2147483647);
    assert.equal(event.correlationid, '00000000-0000-4000-8000-00000000000a');
    assert.equal(event.causationid, '00000000-0000-4000-8000-00000000000b');
    assert.equal(event.metadata, '{"user":"ann"}'); // on one line, without white space
    assert.equal(event.partitionkey, names[i]);
    assert.equal(event.sequence, event.globalposition.padStart(19, '0'));
    assert.deepEqual(JSON.parse(event.tags), [names[i], 'b']);
  });
});

test('extension attributes have names and types as the specification wants them', () => {
  for (const message of messages('transactions', 'on', 'transaction_details', 'on')) {
    for (const [name, value] of Object.entries(JSON.parse(message))) {
      if (name === 'data' || name === 'data_base64') continue;
      assert.match(name, /^[a-z0-9]{1,20}$/);
      assert.ok(typeof value === 'string' || typeof value === 'boolean' ||
        (Number.isInteger(value) && Math.abs(value) <= 2147483647), name);
    }
  }
});

test('binary payloads', () => {
  const [first, second] = messages('streams', 'Binary-1').map(parse);

  assert.deepEqual([...first.data], [0, 255, 16]);
  assert.equal(first.datacontenttype, 'application/octet-stream');
  assert.equal(second.data_base64, 'QQ==');
  assert.equal(second.datacontenttype, 'image/png');
});

test('transactions', () => {
  const events = messages('transactions', 'on', 'streams', 'Binary-1').map(parse);
  const ids = events.map((event) => event.id);

  assert.deepEqual(events.map((event) => event.type), [
    'eventstore.transaction.begin', 'Stored', 'eventstore.transaction.commit',
    'eventstore.transaction.begin', 'Stored', 'eventstore.transaction.commit']);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(events[0].data.transaction, 'begin');
  assert.equal(events[0].data.xid, events[2].data.xid);
});

test('the SDK does refuse what is no CloudEvent', () => {
  const [message] = messages('streams', 'Binary-1').map((text) => JSON.parse(text));

  for (const change of [{ source: '' }, { source: 'a b' }, { type: undefined }, { streamType: 'upper case' }])
    assert.throws(() => parse(JSON.stringify({ ...message, ...change })), undefined, JSON.stringify(change));
});
