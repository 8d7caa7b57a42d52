/*
 * latency.mjs
 *		From the commit of an event to the commit of its link, at 500 events a
 *		second, for the linker and for a job of graphile-worker that does as much.
 *		The server notes the time of each commit: track_commit_timestamp.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { quantile, ratiosOf, row } from '../measure.mjs'
import { FOLDER, connectionString, pgbench, setLinking, sql, value, waitFor } from '../server.mjs'
import { variables } from '../events.mjs'

const RATE = 500

async function latenciesOf(database, query) {
	const rows = await sql(database, query)
	return rows.map(({ seconds }) => Number(seconds) * 1000)
}

const allLinked = () => waitFor('all events are linked', () => value('bench', 'SELECT NOT EXISTS (SELECT FROM atlas_event_queue)'))

async function ours(sizes) {
	/* The linker is there, as graphile-worker is. */
	await pgbench('bench', 'ours_one', { transactions: 50, variables: variables(sizes.customers) })
	await allLinked()
	await sql('bench', 'TRUNCATE atlas_events, atlas_event_links, atlas_event_work, atlas_event_search')
	const { count } = await pgbench('bench', 'ours_one', { seconds: sizes.latencySeconds, rate: RATE, variables: variables(sizes.customers) })
	await allLinked()
	const found = await latenciesOf('bench', `SELECT extract(epoch FROM pg_xact_commit_timestamp(l.xmin) - pg_xact_commit_timestamp(e.xmin)) AS seconds
		FROM atlas_events e JOIN atlas_event_links l USING (event_id)`)
	if (found.length !== count) throw new Error(`${found.length} links of ${count} events`)
	return found
}

async function graphile(sizes) {
	await sql('graphile', 'TRUNCATE submitted, linked, graphile_worker._private_jobs')
	const worker = spawn(process.execPath, [join(FOLDER, 'peers', 'graphile_worker.mjs'),
		connectionString('graphile')], { stdio: ['ignore', 'pipe', 'ignore'] })
	try {
		await waitFor('graphile-worker is ready', () => new Promise((resolve) => {
			worker.stdout.on('data', (data) => String(data).includes('ready') && resolve(true))
			worker.on('exit', () => resolve(true))
		}), { seconds: 20 })
		const { count } = await pgbench('graphile', 'graphile_job', { seconds: sizes.latencySeconds, rate: RATE })
		await waitFor('all jobs are done', async () => Number(await value('graphile', 'SELECT count(*) FROM linked')) >= count, { every: 100 })
		worker.stdout.resume()
		return await latenciesOf('graphile', `SELECT extract(epoch FROM pg_xact_commit_timestamp(l.xmin) - pg_xact_commit_timestamp(s.xmin)) AS seconds
			FROM submitted s JOIN linked l USING (id)`)
	} finally {
		worker.kill('SIGTERM')
		if (worker.exitCode === null) await once(worker, 'exit')
	}
}

export async function latency({ sizes }) {
	const both = { ours: [], theirs: [] }
	await setLinking('bench', true)
	for (let round = 0; round < sizes.rounds; round++) {
		both.ours.push(await ours(sizes))
		both.theirs.push(await graphile(sizes))
	}
	const rows = [[0.5, 'p50', 3], [0.99, 'p99', 25]].flatMap(([q, name, atMost]) => {
		const numbers = both.ours.map((list) => quantile(list, q))
		const theirs = both.theirs.map((list) => quantile(list, q))
		const what = `commit → LINKED at ${RATE} events/s, ${name}`
		return [
			row(what, { unit: 'ms', ours: numbers, atMost }),
			row(what, { unit: 'ms', ours: numbers, peer: 'graphile-worker, commit → job done', theirs, ratios: ratiosOf(numbers, theirs), atMost: 1 }),
		]
	})
	return { rows }
}
