/*
 * snapshot.mjs
 *		A snapshot that is held open while many events go through the queue, as
 *		by pg_dump or a report: what they leave dead cannot be vacuumed.
 *		Submitting and linking are compared with the same just before.
 */
import { ratiosOf, row } from '../measure.mjs'
import { connect, pgbench, setLinking, sql } from '../server.mjs'
import { variables } from '../events.mjs'
import { fillQueue, makeLog, runLinker } from './linker.mjs'

/* How fast four clients submit, and how fast as many events as that and more are linked. */
async function speeds(sizes) {
	const { tps } = await pgbench('bench', 'ours_one', { seconds: sizes.seconds, variables: variables(sizes.customers), isDurable: false })
	const count = await fillQueue('bench', { limit: sizes.sample, isKept: true })
	return { submit: tps, link: (await runLinker('bench', count)).rate }
}

export async function snapshot({ sizes }) {
	const rounds = { free: [], held: [] }
	await makeLog('bench', sizes)
	await fillQueue('bench')
	await runLinker('bench', sizes.backlog)
	for (let round = 0; round < sizes.rounds; round++) {
		await sql('bench', 'VACUUM atlas_event_queue')
		rounds.free.push(await speeds(sizes))

		const holder = await connect('bench')
		await holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
		await holder.query('SELECT count(*) FROM atlas_event_queue')
		await fillQueue('bench', { isKept: true })
		await runLinker('bench', sizes.backlog)
		rounds.held.push(await speeds(sizes))
		await holder.query('COMMIT')
		await holder.end()
	}
	await setLinking('bench', true)
	const numbers = (when, what) => rounds[when].map((speed) => speed[what])
	return {
		rows: [['submit', 'tps'], ['link', 'events/s']].map(([what, unit]) =>
			row(`${what}, a snapshot held open over ${sizes.backlog.toLocaleString('en')} events`, {
				unit, ours: numbers('held', what), peer: 'without it', theirs: numbers('free', what),
				ratios: ratiosOf(numbers('held', what), numbers('free', what)), atLeast: 0.8,
			})),
	}
}
