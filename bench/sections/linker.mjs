/*
 * linker.mjs
 *		A backlog of events with two references each, for one linker, for the
 *		naive statement over the same tables, and compared with how fast four
 *		clients submit. Also how much memory the linker uses meanwhile.
 */
import { byTurns, milliseconds, ratiosOf, row } from '../measure.mjs'
import { connect, linkerPid, pgbench, privateMemory, setLinking, sleep, sql, value } from '../server.mjs'
import { variables } from '../events.mjs'

export const SPAN = '3 days'

/* The log of the backlog; the queue is filled for each run. */
export async function makeLog(database, { backlog, customers }) {
	await setLinking(database, false)
	await sql(database, 'TRUNCATE atlas_events, atlas_event_queue, atlas_event_links, atlas_event_unresolved, atlas_event_work, atlas_event_search')
	await sql(database, `CALL generator.make_partitions(now(), '${SPAN}')`)
	await sql(database, `CALL generator.make_events(1, ${backlog}, ${backlog}, now(), '${SPAN}', ${customers}, 1, true)`)
	await sql(database, 'VACUUM ANALYZE atlas_events')
}

/* Puts events of the log into the queue, all or the first so many, and takes their links away. */
export async function fillQueue(database, { limit = 'ALL', isKept = false } = {}) {
	await sql(database, isKept ? 'DELETE FROM atlas_event_links WHERE event_id IN (SELECT event_id FROM atlas_events ORDER BY event_id LIMIT ' + limit + ')'
		: 'TRUNCATE atlas_event_queue, atlas_event_links, atlas_event_unresolved, atlas_event_work, atlas_event_search')
	await sql(database, `INSERT INTO atlas_event_queue (event_id, submitted_xid)
		SELECT event_id, pg_current_xact_id() FROM atlas_events ORDER BY event_id LIMIT ${limit}`)
	await sql(database, 'VACUUM ANALYZE atlas_event_queue')
	await sql('postgres', 'CHECKPOINT')
	return Number(await value(database, 'SELECT count(*) FROM atlas_event_queue'))
}

/*
 * Turns linking on and waits until the queue is empty. Answers with events a
 * second, and samples of the linker's memory.
 */
export async function runLinker(database, count) {
	const client = await connect(database)
	const last = await value(database, 'SELECT event_id FROM atlas_event_queue ORDER BY submitted_xid DESC, event_id DESC LIMIT 1')
	const gone = { name: 'gone', text: 'SELECT NOT EXISTS (SELECT FROM atlas_event_queue WHERE tenant_id = \'\' AND event_id = $1) AS gone', values: [last] }
	const memory = []
	const ms = await milliseconds(async () => {
		await setLinking(database, true)
		for (let i = 0, pid; !(await client.query(gone)).rows[0].gone; i++) {
			if (i % 20 === 0) {
				pid = await linkerPid(database)
				memory.push(pid && privateMemory(pid))
			}
			await sleep(5)
		}
		/* The last to be claimed is among the last to be linked. */
		while (await value(database, 'SELECT EXISTS (SELECT FROM atlas_event_queue)')) await sleep(5)
	})
	await client.end()
	await setLinking(database, false)
	return { rate: count / ms * 1000, memory: memory.filter(Boolean) }
}

async function checkLinks(count) {
	const links = Number(await value('bench', 'SELECT count(*) FROM atlas_event_links'))
	if (links !== 2 * count) throw new Error(`${links} links of ${count} events`)
}

export async function linker({ sizes }) {
	const count = sizes.backlog
	const memory = { early: [], late: [] }
	const submitted = { durable: [], asynchronous: [] }
	const ours = async () => {
		await fillQueue('bench')
		const { rate, memory: samples } = await runLinker('bench', count)
		await checkLinks(count)
		/* It rises and falls with each batch: what counts is the most. */
		const half = Math.floor(samples.length / 2)
		memory.early.push(Math.max(...samples.slice(Math.floor(samples.length / 10), half)))
		memory.late.push(Math.max(...samples.slice(half)))
		return rate
	}
	const naive = (batch) => async () => {
		await fillQueue('bench')
		const ms = await milliseconds(() => sql('bench', batch ? `CALL peer.link_all(${batch})` : `SELECT peer.link(${count})`))
		await checkLinks(count)
		return count / ms * 1000
	}

	await makeLog('bench', sizes)
	/* In batches it is the slower one, too slow for a long form. */
	const { ours: rates, peers } = await byTurns(sizes.rounds, ours,
		{ whole: naive(), ...(count > 100_000 ? {} : { batches: naive(1000) }) })
	const perRound = rates.filter((_, i) => i % 2 === 0)
	await sql('bench', 'TRUNCATE atlas_event_queue')
	for (let round = 0; round < sizes.rounds; round++)
		for (const how of ['durable', 'asynchronous'])
			submitted[how].push((await pgbench('bench', 'ours_one', { seconds: sizes.seconds, variables: variables(sizes.customers),
				isDurable: how === 'durable' })).tps)
	await setLinking('bench', true)

	const what = `linker, ${count.toLocaleString('en')} events, two references each`
	return {
		rows: [
			...[['whole', 'naive linker, one statement for all'], ['batches', 'naive linker, 1,000 a statement']]
				.filter(([name]) => peers[name]).map(([name, peer]) => row(what, { unit: 'events/s', ours: rates, peer, theirs: peers[name].values,
					ratios: peers[name].ratios, atLeast: 1.25 })),
			...['durable', 'asynchronous'].map((how) => row(what, { unit: 'events/s', ours: rates, peer: `four clients submitting, ${how}`,
				theirs: submitted[how], ratios: ratiosOf(perRound, submitted[how]), atLeast: 1 })),
			row('most memory of a linker in the second half of a backlog', { unit: 'kB', ours: memory.late, peer: 'in the first', theirs: memory.early,
				ratios: ratiosOf(memory.late, memory.early), atMost: 1.1,
				note: `private memory while ${count.toLocaleString('en')} events are linked, without the first tenth` }),
		],
	}
}
