/*
 * bulk.mjs
 *		A thousand events a call: submit_events(text), COPY of the same rows, and
 *		what graphile-worker and pg-boss have for many jobs at once. One client;
 *		each call is a transaction. COPY reads files of the server, and is compared
 *		with JSON that is in the server; jobs are made and sent by the client, and
 *		are compared with JSON that is, too.
 */
import { makeWorkerUtils } from 'graphile-worker'
import { PgBoss } from 'pg-boss'
import { byTurns, milliseconds, row } from '../measure.mjs'
import { TMP, connect, connectionString, drain, setLinking, sql } from '../server.mjs'
import { event } from '../events.mjs'

const BATCH = 1000

/* Events in batches, each about a customer of its own. */
function makeBatches(count, customers) {
	return Array.from({ length: count }, (_, batch) =>
		Array.from({ length: BATCH }, (_, n) => {
			const number = batch * BATCH + n
			return event(1 + number * 7919 % customers, 1 + number * 104729 % (customers / 10))
		}))
}

const clear = (tables) => sql('bench', `TRUNCATE ${tables}`)
const OURS = 'atlas_events, atlas_event_queue, atlas_event_links, atlas_event_unresolved'

/* Keeps the batches in a table, as they are. */
async function keepBodies(batches) {
	await sql('bench', `DROP TABLE IF EXISTS peer.bodies; CREATE TABLE peer.bodies (n int PRIMARY KEY, body text);
		ALTER TABLE peer.bodies ALTER body SET STORAGE EXTERNAL`)
	for (const [n, batch] of batches.entries()) await sql('bench', 'INSERT INTO peer.bodies VALUES ($1, $2)', [n, JSON.stringify(batch)])
}

/* Submits the batches once and writes each, as the rows it became, to files. */
async function writeFiles(batches) {
	await clear(OURS)
	for (const n of batches.keys()) await sql('bench', 'SELECT submit_events(body) FROM peer.bodies WHERE n = $1', [n])
	for (const n of batches.keys())
		for (const table of ['atlas_events', 'atlas_event_queue'])
			await sql('bench', `COPY (SELECT * FROM ${table} ORDER BY event_id OFFSET ${n * BATCH} LIMIT ${BATCH})
				TO '${TMP}/${table}.${n}'`)
}

export async function bulk({ sizes }) {
	const batches = makeBatches(sizes.batches, sizes.customers)
	const client = await connect('bench')
	const worker = await makeWorkerUtils({ connectionString: connectionString('graphile') })
	const boss = new PgBoss({ connectionString: connectionString('pgboss'), supervise: false, schedule: false })
	await boss.start()
	await boss.createQueue('events')

	/* Events a second of a call for each batch, the first of which is not counted. */
	const rate = async (call) => {
		await call(batches[0], 0)
		const ms = await milliseconds(async () => {
			for (let n = 1; n < batches.length; n++) await call(batches[n], n)
		})
		return (batches.length - 1) * BATCH / ms * 1000
	}
	/* submit_events() of what an expression of $1 yields. */
	const submitting = (expression, parameter) => async () => {
		await clear(OURS)
		return rate(async (batch, n) => {
			const { rows: [{ result }] } = await client.query(`SELECT submit_events(${expression}) AS result`, [parameter(batch, n)])
			if (result.accepted !== BATCH) throw new Error(`submit_events: ${JSON.stringify(result).slice(0, 1000)}`)
		})
	}
	const fromServer = submitting('(SELECT body FROM peer.bodies WHERE n = $1)', (_, n) => n)
	const fromClient = submitting('$1::text', (batch) => JSON.stringify(batch))
	const copy = async () => {
		await clear('peer.events, peer.event_queue')
		return rate((_, n) => client.query(`BEGIN; COPY peer.events FROM '${TMP}/atlas_events.${n}';
			COPY peer.event_queue FROM '${TMP}/atlas_event_queue.${n}'; COMMIT`))
	}
	const graphile = async () => {
		await sql('graphile', 'TRUNCATE graphile_worker._private_jobs')
		return rate((batch) => worker.addJobs(batch.map((payload) => ({ identifier: 'link', payload }))))
	}
	const pgboss = async () => {
		await sql('pgboss', 'TRUNCATE pgboss.job')
		return rate((batch) => boss.insert('events', batch.map((data) => ({ data }))))
	}

	await setLinking('bench', false)
	await keepBodies(batches)
	await writeFiles(batches)
	const inServer = await byTurns(sizes.rounds, fromServer, { copy })
	const byClient = await byTurns(sizes.rounds, fromClient, { graphile, pgboss, copy })
	await Promise.all([client.end(), worker.release(), boss.stop()])
	await drain('bench')
	return {
		rows: [[inServer, 'in the server', 'copy', 'COPY into log and queue', 0.6], [byClient, 'from a client', 'copy', 'COPY into log and queue'],
			[byClient, 'from a client', 'graphile', 'graphile-worker addJobs', 5], [byClient, 'from a client', 'pgboss', 'pg-boss insert', 5]]
			.map(([{ ours, peers }, from, name, peer, atLeast]) => row(`submit_events(), 1,000 events a call, JSON ${from}`, {
				unit: 'events/s', ours, peer, theirs: peers[name].values, ratios: peers[name].ratios, atLeast,
			})),
	}
}
