/*
 * search_writing.mjs
 *		What it costs that events can be found: submitting and linking with and
 *		without search, how fast the linker makes documents, of the events in
 *		examples/, how soon after its commit an event is found, and how much space
 *		it takes.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { byTurns, median, milliseconds, quantile, ratiosOf, row } from '../measure.mjs'
import { FOLDER, createDatabase, drain, isDone, pgbench, pgbenchMixed, psql, setLinking, setSearch, sql, value, waitFor } from '../server.mjs'
import { variables } from '../events.mjs'
import { SPAN } from './linker.mjs'

const DATABASE = 'searched'
const EXAMPLES = 'searched_examples'
const EXAMPLES_SPAN = '60 days'
const RATE = 500
const WITHOUT = '-c atlas_events.search=off'

/* ----- Submitting ----- */

/* Two pgbench at once, two clients each, so that whatever the machine does meets both. */
async function sideBySide(script, sizes, isDurable) {
	const run = async (settings) => 2000 / (await pgbench(DATABASE, script, {
		clients: 2, seconds: sizes.mixedSeconds, isWarm: true, isDurable, settings, variables: variables(sizes.customers) })).tps
	const [on, off] = await Promise.all([run(''), run(WITHOUT)])
	return { on, off }
}

async function submitting(sizes) {
	const rows = []
	await setLinking(DATABASE, false)
	for (const isDurable of [true, false]) {
		const how = isDurable ? 'durable' : 'asynchronous'
		const mixed = { on: [], off: [] }
		const sides = { ours_one: [], ours_none: [] }
		for (let round = 0; round < sizes.rounds; round++) {
			for (const [name, settings] of round % 2 ? [['off', WITHOUT], ['on', '']] : [['on', ''], ['off', WITHOUT]])
				mixed[name].push(await pgbenchMixed(DATABASE, ['ours_none', 'bare_none'], { seconds: sizes.mixedSeconds, isDurable, settings, variables: variables(sizes.customers) }))
			for (const script of ['ours_one', 'ours_none']) sides[script].push(await sideBySide(script, sizes, isDurable))
		}
		for (const name of ['on', 'off'])
			rows.push(row(`submit_event, no related object, search ${name}, ${how}`, { unit: 'ms', ours: mixed[name].map((round) => round.ours_none), peer: 'bare INSERT',
				theirs: mixed[name].map((round) => round.bare_none), ratios: mixed[name].map((round) => round.bare_none / round.ours_none),
				atLeast: name === 'on' ? (isDurable ? 0.9 : 0.85) : undefined }))
		for (const [script, related, atLeast] of [['ours_one', 'one', 0.97], ['ours_none', 'no', undefined]])
			rows.push(row(`submit_event, ${related} related object, search on, ${how}`, { unit: 'ms', ours: sides[script].map(({ on }) => on), peer: 'search off, side by side',
				theirs: sides[script].map(({ off }) => off), ratios: sides[script].map(({ on, off }) => off / on), atLeast }))
		await sql(DATABASE, 'TRUNCATE atlas_events, atlas_event_queue, atlas_event_work, peer.events')
	}
	return rows
}

/* ----- Links and documents ----- */

/* Fills the queue, and answers with events a second: until all are linked, and until all is done. */
async function runAll(count) {
	await sql(DATABASE, 'TRUNCATE atlas_event_queue, atlas_event_links, atlas_event_unresolved, atlas_event_work, atlas_event_search')
	await sql(DATABASE, 'INSERT INTO atlas_event_queue (event_id, submitted_xid) SELECT event_id, pg_current_xact_id() FROM atlas_events ORDER BY event_id')
	await sql(DATABASE, 'VACUUM ANALYZE atlas_event_queue')
	await sql('postgres', 'CHECKPOINT')
	const start = Date.now()
	await setLinking(DATABASE, true)
	await waitFor('all events are linked', () => value(DATABASE, 'SELECT NOT EXISTS (SELECT FROM atlas_event_queue)'), { seconds: 1200, every: 5 })
	const linked = Date.now() - start
	await waitFor('all is done', () => isDone(DATABASE), { seconds: 1200, every: 5 })
	const done = Date.now() - start
	await setLinking(DATABASE, false)
	return { links: count / linked * 1000, all: count / done * 1000 }
}

async function linking(sizes) {
	const count = sizes.backlog
	const rounds = { on: [], off: [], tps: [] }
	await sql(DATABASE, `CALL generator.make_events(1, ${count}, ${count}, now(), '${SPAN}', ${sizes.customers}, 1, true)`)
	await sql(DATABASE, 'VACUUM ANALYZE atlas_events')
	for (let round = 0; round < sizes.rounds; round++)
		for (const name of round % 2 ? ['off', 'on'] : ['on', 'off']) {
			await setSearch(DATABASE, name === 'on')
			rounds[name].push(await runAll(count))
		}
	await setSearch(DATABASE, true)
	const documents = Number(await value(DATABASE, 'SELECT count(*) FROM atlas_event_search'))
	if (documents % count) throw new Error(`${documents} documents of ${count} events`)
	/* Linking is off, as in the section linker: each side has the machine for itself. */
	for (let round = 0; round < sizes.rounds; round++)
		rounds.tps.push((await pgbench(DATABASE, 'ours_one', { seconds: sizes.seconds, variables: variables(sizes.customers) })).tps)
	const links = (name) => rounds[name].map((round) => round.links)
	const all = rounds.on.map((round) => round.all)
	const what = `${count.toLocaleString('en')} events, two references each`
	return [
		row(`linker, ${what}, documents due`, { unit: 'events/s', ours: links('on'), peer: 'search off', theirs: links('off'), ratios: ratiosOf(links('on'), links('off')), atLeast: 0.9 }),
		row(`links and documents, ${what}`, { unit: 'events/s', ours: all, peer: 'four clients submitting, durable', theirs: rounds.tps, ratios: ratiosOf(all, rounds.tps), atLeast: 1 }),
		await chase(sizes),
	]
}

/* Four durable clients submit while the linker works: how much is left when they stop. */
async function chase(sizes) {
	await drain(DATABASE)
	const seconds = Math.max(2, sizes.latencySeconds)
	const { count } = await pgbench(DATABASE, 'ours_one', { seconds, variables: variables(sizes.customers) })
	const left = Number(await value(DATABASE, 'SELECT (SELECT count(*) FROM atlas_event_queue) + (SELECT count(*) FROM atlas_event_work)'))
	const ms = await milliseconds(() => waitFor('all is done', () => isDone(DATABASE), { every: 5 }))
	return row(`left when four durable clients stop after ${seconds} s`, { unit: 'events', ours: left,
		note: `${count.toLocaleString('en')} events were submitted meanwhile, what was left took ${Math.round(ms)} ms` })
}

/* ----- Documents ----- */

/* The events of examples/, so many times, as the linker leaves them, without their documents. */
async function makeExamples({ copies }) {
	await createDatabase(EXAMPLES)
	await sql(EXAMPLES, readFileSync(join(FOLDER, '../examples/atlas.sql'), 'utf8'))
	await sql(EXAMPLES, 'CREATE EXTENSION atlas_events; SELECT atlas_discover_object_types()')
	await setLinking(EXAMPLES, false)
	await psql(EXAMPLES, ['sql/generate.sql'])
	await sql(EXAMPLES, `CALL generator.make_partitions(now(), '${EXAMPLES_SPAN}')`)
	await setSearch(EXAMPLES, true)
	const lines = readFileSync(join(FOLDER, '../examples/events.ndjson'), 'utf8').trim().split('\n')
	await sql(EXAMPLES, 'SELECT submit_events($1::json)', [`[${lines.join()}]`])
	await sql(EXAMPLES, 'SELECT atlas_link_events()')
	await sql(EXAMPLES, `CALL generator.multiply_events(${copies}, now(), '${EXAMPLES_SPAN}')`)
	await sql(EXAMPLES, 'VACUUM ANALYZE')
	await sql(EXAMPLES, `CREATE SCHEMA peer; CREATE TABLE peer.documents (LIKE atlas_event_search, PRIMARY KEY (tenant_id, event_id));
		CREATE INDEX ON peer.documents USING gin (document)`)
	return Number(await value(EXAMPLES, 'SELECT count(*) FROM atlas_events'))
}

async function makeDocuments(count) {
	await sql(EXAMPLES, 'TRUNCATE atlas_event_work, atlas_event_search')
	await sql(EXAMPLES, `INSERT INTO atlas_event_work (tenant_id, event_id, submitted_xid, what)
		SELECT tenant_id, event_id, pg_current_xact_id(), 1 FROM atlas_events ORDER BY event_id`)
	await sql(EXAMPLES, 'VACUUM ANALYZE atlas_event_work')
	await sql('postgres', 'CHECKPOINT')
	const ms = await milliseconds(async () => {
		await setLinking(EXAMPLES, true)
		await waitFor('all documents are there', () => isDone(EXAMPLES), { seconds: 1200, every: 5 })
	})
	await setLinking(EXAMPLES, false)
	const documents = Number(await value(EXAMPLES, 'SELECT count(*) FROM atlas_event_search WHERE problem IS NULL'))
	if (documents !== count) throw new Error(`${documents} documents of ${count} events`)
	return count / ms * 1000
}

async function plainDocuments(count) {
	await sql(EXAMPLES, 'TRUNCATE peer.documents')
	await sql('postgres', 'CHECKPOINT')
	return count / await milliseconds(() => sql(EXAMPLES, `INSERT INTO peer.documents (tenant_id, event_id, document)
		SELECT tenant_id, event_id, setweight(to_tsvector('simple', name), 'A') || setweight(to_tsvector('simple', coalesce(description, '')), 'B')
		       || setweight(to_tsvector('simple', coalesce(payload, '{}')), 'C')
		  FROM atlas_events ORDER BY event_id`)) * 1000
}

/* Bytes of the log without its indexes, and of what search adds. */
async function sizeRow() {
	await sql(EXAMPLES, 'VACUUM atlas_event_search')
	const [bytes] = await sql(EXAMPLES, `
		SELECT sum(pg_table_size(relid)) FILTER (WHERE root = 'atlas_events'::regclass)::float8 AS log,
		       sum(pg_table_size(relid)) FILTER (WHERE root = 'atlas_event_search'::regclass)::float8 AS documents,
		       sum(pg_indexes_size(relid)) FILTER (WHERE root = 'atlas_event_search'::regclass)::float8 AS indexes,
		       sum((SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = relid AND indisprimary))
		           FILTER (WHERE root = 'atlas_event_search'::regclass)::float8 AS key
		  FROM (VALUES ('atlas_events'::regclass), ('atlas_event_search')) AS roots (root), pg_partition_tree(root) WHERE isleaf`)
	const share = (part) => (part / bytes.log).toFixed(2)
	return row('size of documents, index and key, of the log without its indexes', { unit: 'MB', ours: (bytes.documents + bytes.indexes) / 2 ** 20,
		peer: 'log', theirs: bytes.log / 2 ** 20, ratios: [(bytes.documents + bytes.indexes) / bytes.log], atMost: 1.6,
		note: `documents ${share(bytes.documents)}, index ${share(bytes.indexes - bytes.key)}, key ${share(bytes.key)}` })
}

async function documents(sizes) {
	const count = await makeExamples(sizes)
	const { ours, peers } = await byTurns(sizes.rounds, () => makeDocuments(count), { plain: () => plainDocuments(count) })
	const rows = [
		row(`documents of ${count.toLocaleString('en')} events`, { unit: 'events/s', ours, atLeast: 20_000, note: 'the events of examples/, the start of the linker included' }),
		row(`documents of ${count.toLocaleString('en')} events`, { unit: 'events/s', ours, peer: "to_tsvector(), one statement", theirs: peers.plain.values, ratios: peers.plain.ratios }),
		await sizeRow(),
	]
	await sql(EXAMPLES, 'DROP TABLE peer.documents')
	return rows
}

/* ----- How soon an event is found ----- */

async function latency(sizes) {
	const of = { ours_one: [], ours_none: [] }
	await drain(DATABASE)
	for (let round = 0; round < sizes.rounds; round++)
		for (const script of Object.keys(of)) {
			await pgbench(DATABASE, script, { transactions: 50, variables: variables(sizes.customers) })
			await waitFor('all is done', () => isDone(DATABASE))
			await sql(DATABASE, 'TRUNCATE atlas_events, atlas_event_links, atlas_event_search')
			const { count } = await pgbench(DATABASE, script, { seconds: sizes.latencySeconds, rate: RATE, variables: variables(sizes.customers) })
			await waitFor('all is done', () => isDone(DATABASE))
			const found = (await sql(DATABASE, `SELECT extract(epoch FROM pg_xact_commit_timestamp(s.xmin) - pg_xact_commit_timestamp(e.xmin)) * 1000 AS ms
				FROM atlas_events e JOIN atlas_event_search s USING (tenant_id, event_id)`)).map(({ ms }) => Number(ms))
			if (found.length !== count) throw new Error(`${found.length} documents of ${count} events`)
			of[script].push(found)
		}
	return Object.entries(of).map(([script, rounds]) => row(`commit → found at ${RATE} events/s, ${script === 'ours_one' ? 'one' : 'no'} related object, p99`, {
		unit: 'ms', ours: rounds.map((list) => quantile(list, 0.99)), atMost: 100, note: `p50 ${median(rounds.map((list) => median(list))).toFixed(1)} ms` }))
}

export async function searchWriting({ sizes }) {
	await createDatabase(DATABASE, 'objects')
	await setLinking(DATABASE, false)
	await psql(DATABASE, ['sql/generate.sql', 'sql/peers.sql'])
	await sql(DATABASE, `CALL generator.make_partitions(now(), '${SPAN}')`)
	await setSearch(DATABASE, true)
	const rows = [...await submitting(sizes), ...await linking(sizes), ...await latency(sizes), ...await documents(sizes)]
	return { rows, databases: [DATABASE, EXAMPLES] }
}
