/*
 * bulk.mjs
 *		A thousand events a call: submit_events(json), COPY of the same rows, and
 *		what graphile-worker and pg-boss have for many jobs at once. One client;
 *		each call is a transaction, and making the JSON is part of it.
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

/* Submits the batches once and writes each, as the rows it became, to files. */
async function writeFiles(batches) {
	await clear(OURS)
	for (const batch of batches) await sql('bench', 'SELECT submit_events($1::json)', [JSON.stringify(batch)])
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
	const ours = async () => {
		await clear(OURS)
		return rate(async (batch) => {
			const { rows: [{ result }] } = await client.query('SELECT submit_events($1::text) AS result', [JSON.stringify(batch)])
			if (result.accepted !== BATCH) throw new Error(`submit_events: ${JSON.stringify(result).slice(0, 1000)}`)
		})
	}
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
	await writeFiles(batches)
	const { ours: rates, peers } = await byTurns(sizes.rounds, ours, { copy, graphile, pgboss })
	await Promise.all([client.end(), worker.release(), boss.stop()])
	await drain('bench')
	return {
		rows: [['copy', 'COPY into log and queue', 0.6], ['graphile', 'graphile-worker addJobs', 5], ['pgboss', 'pg-boss insert', 5]]
			.map(([name, peer, atLeast]) => row('submit_events(json), 1,000 events a call', {
				unit: 'events/s', ours: rates, peer, theirs: peers[name].values, ratios: peers[name].ratios, atLeast,
			})),
	}
}
