// Everything that an event store holds, then all that follows, each event once.
//
//     node hand_over.mjs SLOT FILE [URI]
//
// writes each event to FILE, one JSON document a line, until it is told to stop
// by SIGTERM or SIGINT.  Started again, it goes on where it was.  Without URI,
// the connection is described by PGHOST, PGDATABASE and so on.  The role needs
// REPLICATION and eventstore.grant_reader().
//
// How no event is missed and none comes twice:
//
// 1. Creating the slot exports a snapshot.  What is committed is either visible
//    to that snapshot, or sent by the slot.
// 2. All that is visible is read under the snapshot with read_visible(), which
//    does not stop at a running appender as read_all() does: the slot sends
//    those.
// 3. Then the slot is read.  A transaction is confirmed to it after its events
//    are safe in the file.  After a crash the server sends again what was not
//    confirmed, so events that are in the file already are dropped by their
//    ids.
//
// The slot sends events in the order of their commits.  That is the order of
// the versions in each stream, but positions go up and down: the highest
// position that was seen tells nothing about what was seen, and must not be
// used to drop anything.
//
// On any error the process ends, and whoever supervises it starts it again.

import fs from 'node:fs';
import pg from 'pg';
import replication from 'pg-logical-replication';

const PLUGIN = 'eventstore';
const PAGE = 1000;
const HISTORY_ENDS = 'ends';

let stopping = false;

// ---- where the events go ----

// It remembers all ids.  In a database this is a unique key on the event id and
// INSERT ... ON CONFLICT DO NOTHING; it has to reach back only to the last
// transaction that was confirmed.
class Sink {
  ids = new Set();
  hasHistory = false;

  constructor(path) {
    this.file = fs.openSync(path, 'a+');
    const text = fs.readFileSync(path, 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    fs.ftruncateSync(this.file, Buffer.byteLength(whole)); // what a crash cut off
    for (const line of whole.split('\n').filter(Boolean)) this.remember(JSON.parse(line));
  }

  remember(entry) {
    if (entry.history === HISTORY_ENDS) this.hasHistory = true;
    else this.ids.add(entry.event_id);
  }

  write(entry) {
    fs.writeSync(this.file, `${JSON.stringify(entry)}\n`);
    this.remember(entry);
  }

  handle(event) {
    if (!this.ids.has(event.event_id)) this.write(event);
  }

  endHistory() {
    this.write({ history: HISTORY_ENDS });
    this.save();
  }

  save() {
    fs.fsyncSync(this.file);
  }
}

// ---- history ----

// Drop what a hand-over has left that did not come to its end.
async function dropSlot(client, slot) {
  await client.query(`SELECT pg_drop_replication_slot(slot_name)
    FROM pg_replication_slots WHERE slot_name = $1`, [slot]);
}

// Read all that the snapshot sees, page by page, in one transaction.
async function readPages(client, snapshot, sink) {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query(`SET TRANSACTION SNAPSHOT '${snapshot}'`);
  for (let position = '0'; position !== undefined && !stopping;) {
    const { rows } = await client.query(`SELECT global_position, row_to_json(e) AS event
      FROM eventstore.read_visible($1, $2) e`, [position, PAGE]);
    for (const { event } of rows) sink.handle(event);
    position = rows.at(-1)?.global_position;
  }
  await client.query('COMMIT');
}

// The snapshot lives until the next command on the connection that created the
// slot.
async function readHistory(config, slot, sink) {
  const client = new pg.Client(config);
  const creator = new pg.Client({ ...config, replication: 'database' });

  await client.connect();
  await creator.connect();
  await dropSlot(client, slot);
  const { rows: [created] } = await creator.query(
    `CREATE_REPLICATION_SLOT "${slot}" LOGICAL ${PLUGIN} (SNAPSHOT 'export')`);
  await readPages(client, created.snapshot_name, sink);
  if (!stopping) sink.endHistory();
  await creator.end();
  await client.end();
}

// ---- the live tail ----

// What the service has to know of the output plugin.
const plugin = {
  name: PLUGIN,
  start: (client, slot, lsn) =>
    client.query(`START_REPLICATION SLOT "${slot}" LOGICAL ${lsn} (transactions 'on')`),
  parse: (buffer) => JSON.parse(buffer.toString()),
};

// The service confirms the byte after the LSN that it is given.
function byteBefore(lsn) {
  const [high, low] = lsn.split('/').map((half) => BigInt(`0x${half}`));
  const before = (high << 32n) + low - 1n;

  return `${(before >> 32n).toString(16)}/${(before & 0xffffffffn).toString(16)}`;
}

// Each message is handled before the next one is looked at.  Where that takes
// promises, let the service wait for them (flowControl), and confirm heartbeats
// only when all that came before them is handled.
async function follow(config, slot, sink) {
  // Left to itself, the service confirms what it has received, handled or not.
  const service = new replication.LogicalReplicationService(config,
    { acknowledge: { auto: false, timeoutSeconds: 0 } });
  const confirm = (lsn) => service.acknowledge(byteBefore(lsn));

  service.on('data', (lsn, entry) => {
    if (entry.transaction === undefined) {
      sink.handle(entry);
    } else if (entry.transaction === 'commit') {
      sink.save();
      confirm(entry.end_lsn);
    }
  });
  service.on('heartbeat', (lsn) => {
    sink.save();
    confirm(lsn);
  });
  service.on('error', fail);
  atStop(() => service.stop());
  await service.subscribe(plugin, slot, '0/0'); // from where it was confirmed
  if (!stopping) throw new Error('the server has ended the replication');
}

// ---- the process ----

let stopNow = () => {};

function atStop(action) {
  stopNow = action;
  if (stopping) action();
}

function stop() {
  stopping = true;
  stopNow();
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

const [slot, path, uri] = process.argv.slice(2);

if (!path) fail(new Error('usage: node hand_over.mjs SLOT FILE [URI]'));
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
process.on('unhandledRejection', fail);

const config = uri ? { connectionString: uri } : {};
const sink = new Sink(path);

if (!sink.hasHistory) await readHistory(config, slot, sink);
if (!stopping) await follow(config, slot, sink);
