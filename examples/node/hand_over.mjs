// Everything that an event store holds, then all that follows, each event once.
//
//     node hand_over.mjs SLOT FILE [URI]
//
// writes each event to FILE, one JSON document a line, until it is told to stop
// by SIGTERM or SIGINT.  History and what follows come in the same form, written
// by the server and never parsed here: event_json() is what the slot sends.
// Started again, it goes on where it was.  Without URI, the connection is
// described by PGHOST, PGDATABASE and so on.  The role needs REPLICATION and
// eventstore.grant_reader().
//
// Every byte is kept but line breaks.  JSON has them between its tokens only, as
// white space (in a string they are written \n), so each becomes a space.
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
// If it is cut off before all of history is in the file, the snapshot is gone,
// and the slot is dropped and created again.  That the slot is this program's
// own is known from a note in the file, made before the slot; any other slot of
// that name is left alone, and the program ends.
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
const NO_SLOT = '{"history":"has no slot"}';
const HISTORY_ENDS = '{"history":"ends"}';

// What messages begin with.  Columns come in the order of the table.
const EVENT = /^\{"global_position":\d+,"version":\d+,"created_at":"[^"]+","event_id":"([^"]+)"/;
const TRANSACTION = '{"transaction":';
const COMMIT = '{"transaction":"commit"';
const BEGINNING = 200; // bytes that suffice for these

let stopping = false;

function beginning(message) {
  return message.toString('latin1', 0, BEGINNING);
}

// ---- where the events go ----

function replaceByte(buffer, byte, other) {
  for (let at = buffer.indexOf(byte); at >= 0; at = buffer.indexOf(byte, at + 1)) buffer[at] = other;
}

const READ_AT_ONCE = 1 << 20;

// It remembers all ids.  In a database this is a unique key on the event id and
// INSERT ... ON CONFLICT DO NOTHING; it has to reach back only to the last
// transaction that was confirmed.
class Sink {
  ids = new Set();
  hasSlot = false; // is a slot of that name this program's?
  hasHistory = false;

  constructor(path, slot) {
    this.file = fs.openSync(path, 'a+');
    this.historyBegins = `{"history":"begins","slot":"${slot}"}`;
    this.recover();
  }

  // Piece by piece, since the file may be larger than a buffer can be.
  recover() {
    const piece = Buffer.alloc(READ_AT_ONCE);
    let rest = Buffer.alloc(0); // a line that goes on in the next piece
    let size = 0;

    for (let length; (length = fs.readSync(this.file, piece, 0, piece.length, size)) > 0;) {
      const content = Buffer.concat([rest, piece.subarray(0, length)]);
      let start = 0;

      for (let end; (end = content.indexOf('\n', start)) >= 0; start = end + 1)
        this.remember(content.subarray(start, end));
      rest = content.subarray(start);
      size += length;
    }
    fs.ftruncateSync(this.file, size - rest.length); // what a crash cut off
  }

  remember(line) {
    const start = beginning(line);
    const event = EVENT.exec(start);

    if (event) this.ids.add(event[1]);
    else if (start === this.historyBegins) this.hasSlot = true;
    else if (start === NO_SLOT) this.hasSlot = false;
    else if (start === HISTORY_ENDS) this.hasHistory = true;
    else throw new Error(`the file is not of this program and slot: ${start}`);
  }

  write(line) {
    fs.writeFileSync(this.file, Buffer.concat([line, Buffer.from('\n')]));
    this.remember(line);
  }

  note(line) {
    this.write(Buffer.from(line));
    this.save();
  }

  handle(event) {
    if (this.ids.has(EVENT.exec(beginning(event))[1])) return;
    replaceByte(event, 0x0a, 0x20);
    replaceByte(event, 0x0d, 0x20);
    this.write(event);
  }

  save() {
    fs.fsyncSync(this.file);
  }
}

// ---- history ----

// Is there a slot of this name?  If so, it has to be this program's.
async function checkSlot(client, slot, sink) {
  const { rows: [found] } = await client.query(`SELECT active_pid,
      plugin = $1 AND database = current_database() AND NOT temporary AS could_be_ours
    FROM pg_replication_slots WHERE slot_name = $2`, [PLUGIN, slot]);

  if (found && (!sink.hasSlot || !found.could_be_ours))
    throw new Error(`slot "${slot}" is there already, and was not created by this program:`
      + ' drop it if it is of no use any more, or choose another name');
  if (found?.active_pid)
    throw new Error(`slot "${slot}" is in use by process ${found.active_pid}`);
  return found !== undefined;
}

// Create the slot, in the place of one that has come to nothing; returns the
// name of its snapshot, which lives until the next command on this connection.
async function createSlot(client, creator, slot, sink) {
  if (await checkSlot(client, slot, sink))
    await client.query('SELECT pg_drop_replication_slot($1)', [slot]);
  sink.note(sink.historyBegins);
  try {
    const { rows: [created] } = await creator.query(
      `CREATE_REPLICATION_SLOT "${slot}" LOGICAL ${PLUGIN} (SNAPSHOT 'export')`);
    return created.snapshot_name;
  } catch (error) {
    // refused by the server: the slot may be another's
    if (error instanceof pg.DatabaseError) sink.note(NO_SLOT);
    throw error;
  }
}

// Read all that the snapshot sees, page by page, in one transaction.
async function readPages(client, snapshot, sink) {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query(`SET TRANSACTION SNAPSHOT '${snapshot}'`);
  for (let position = '0'; position !== undefined && !stopping;) {
    const { rows } = await client.query(`SELECT e.global_position, eventstore.event_json(e)::text AS event
      FROM eventstore.read_visible($1, $2) e`, [position, PAGE]);
    for (const { event } of rows) sink.handle(Buffer.from(event));
    position = rows.at(-1)?.global_position;
  }
  await client.query('COMMIT');
}

async function readHistory(config, slot, sink) {
  const client = new pg.Client(config);
  const creator = new pg.Client({ ...config, replication: 'database' });

  await client.connect();
  await creator.connect();
  await readPages(client, await createSlot(client, creator, slot, sink), sink);
  if (!stopping) sink.note(HISTORY_ENDS);
  await creator.end();
  await client.end();
}

// ---- the live tail ----

// What the service has to know of the output plugin.
const plugin = {
  name: PLUGIN,
  start: (client, slot, lsn) =>
    client.query(`START_REPLICATION SLOT "${slot}" LOGICAL ${lsn} (transactions 'on')`),
  parse: (buffer) => buffer,
};

// Where the transaction of a message ends.
function endOf(message) {
  return /"end_lsn":"([^"]+)"/.exec(beginning(message))[1];
}

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

  service.on('data', (lsn, message) => {
    const start = beginning(message);

    if (!start.startsWith(TRANSACTION)) {
      sink.handle(message);
    } else if (start.startsWith(COMMIT)) {
      sink.save();
      confirm(endOf(message));
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
const sink = new Sink(path, slot);

if (!sink.hasHistory) await readHistory(config, slot, sink);
if (!stopping) await follow(config, slot, sink);
