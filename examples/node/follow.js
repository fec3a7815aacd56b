#!/usr/bin/env node
/*
 * Follow the store live, and keep a table in step with it, exactly once.
 *
 *     node follow.js [postgresql://...]
 *
 * Without a URL, PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE say where to
 * go.  Each batch of events, what is made of it and the checkpoint are one
 * transaction.  When the server goes away, it is waited for.  SIGTERM ends the
 * program when it is done with its batch.
 */
'use strict';

const { Client } = require('pg');

const NAME = 'follow.js';
const BATCH = 500;
const PATIENCE = 1000; // milliseconds; look that often, notified or not
const MAX_DELAY = 5000; // milliseconds between attempts to connect

const PROJECTION = `
  CREATE TABLE IF NOT EXISTS node_feed (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    global_position bigint NOT NULL,
    summary text NOT NULL)`;

let stopping = false;

/* ---- waiting, until something rings ---- */

let rung = false;
let wake = () => {};

function ring() {
  rung = true;
  wake();
}

async function untilRung(milliseconds) {
  if (!rung) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/* ---- events ---- */

// A position is a string here, since a number would lose digits.
async function handle(client, event) {
  await client.query('INSERT INTO node_feed (global_position, summary) VALUES ($1, $2)', [
    event.global_position,
    `${event.stream_id} ${event.version}: ${event.event_type}`,
  ]);
}

async function saveCheckpoint(client, position) {
  const sql = 'SELECT eventstore.save_checkpoint($1, $2) AS position';
  const result = await client.query(sql, [NAME, position]);
  return result.rows[0].position;
}

// Returns false when there was nothing to do.
async function handleBatch(client) {
  await client.query('BEGIN');
  // Tells where we are, and locks it: should another process follow under this
  // name, the two take turns.
  const position = await saveCheckpoint(client, 0);
  const sql = 'SELECT * FROM eventstore.read_all($1, $2)';
  const events = (await client.query(sql, [position, BATCH])).rows;
  for (const event of events) {
    await handle(client, event);
  }
  if (events.length > 0) {
    await saveCheckpoint(client, events.at(-1).global_position);
  }
  await client.query('COMMIT');
  return events.length > 0;
}

/* ---- the connection ---- */

async function connect(connectionString) {
  const client = new Client({ connectionString });
  client.on('notification', ring);
  client.on('error', ring); // the next query will tell
  await client.connect();
  return client;
}

// Listen first, read then: so no event falls between.
async function prepare(client) {
  await client.query('LISTEN eventstore');
  await client.query('BEGIN');
  await saveCheckpoint(client, 0); // not by two processes at once
  await client.query(PROJECTION);
  await client.query('COMMIT');
}

async function follow(client) {
  while (!stopping) {
    rung = false;
    if (!(await handleBatch(client)) && !stopping) {
      await untilRung(PATIENCE);
    }
  }
  await client.end();
}

// Tells a mistake from a lost connection, which the class of the error does not.
async function isAlive(client) {
  return client.query('ROLLBACK').then(() => true, () => false);
}

async function main(connectionString) {
  let delay = 100;
  while (!stopping) {
    let client;
    try {
      client = await connect(connectionString);
      await prepare(client);
      delay = 100;
      await follow(client);
    } catch (error) {
      if (client && (await isAlive(client))) {
        throw error;
      }
      console.error(`trying again in ${delay} ms: ${error.message}`);
      rung = stopping;
      await untilRung(delay);
      delay = Math.min(2 * delay, MAX_DELAY);
    }
  }
}

process.on('SIGTERM', () => {
  stopping = true;
  ring();
});
main(process.argv[2]);
