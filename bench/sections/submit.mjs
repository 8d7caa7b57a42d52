/*
 * submit.mjs
 *		Single calls, four clients: submit_event() and the peers, each
 *		transaction durable, and with asynchronous commit. Nothing is linked
 *		meanwhile, for the peers link nothing.
 *
 *		Peers in the same database are mixed with ours: each session draws the
 *		next transaction from all of them, so that whatever the machine does
 *		meets all sides alike, and latencies are compared. Peers with a database
 *		of their own are measured by turns. The full form measures the others so
 *		as well: mixed, a side shares the waits that another one causes.
 */
import { byTurns, row } from '../measure.mjs'
import { drain, pgbench, pgbenchMixed, setLinking, sql } from '../server.mjs'
import { variables } from '../events.mjs'

/* script, its name, targets: durable, asynchronous; null: none. */
const WITH_ONE = [
	['bare_one', 'bare INSERT', 0.85, 0.72],
	['bare_queue', 'event and queue row', 0.95, 0.85],
	['fk_queue', 'FK INSERT and queue row', 1, null],
	['plpgsql', 'PL/pgSQL', 1.2, 1.15],
]
const WITH_NONE = [['bare_none', 'bare INSERT', 0.95, 0.85]]
/* script, its database, its name, targets. */
const ELSEWHERE = [
	['message_db', 'message_store', 'message-db', 2, null],
	['pgq', 'pgq', 'PgQ', null, null],
]
const ALONE = WITH_ONE.map(([script, name]) => [script, 'bench', name, null, null])

async function mixed(what, ours, peers, isDurable, sizes, options) {
	const rounds = []
	for (let round = 0; round < sizes.rounds; round++)
		rounds.push(await pgbenchMixed('bench', [ours, ...peers.map(([script]) => script)], { ...options, seconds: sizes.mixedSeconds, isDurable }))
	return peers.map(([script, name, ...targets]) => row(what, {
		unit: 'ms', ours: rounds.map((round) => round[ours]), peer: name, theirs: rounds.map((round) => round[script]),
		ratios: rounds.map((round) => round[script] / round[ours]), atLeast: targets[isDurable ? 0 : 1] ?? undefined,
	}))
}

async function turns(what, candidates, databases, isDurable, sizes, options) {
	const peers = candidates.filter(([, database]) => databases.has(database))
	const tps = (database, script) => async () => (await pgbench(database, script, { ...options, seconds: sizes.seconds, isDurable, isWarm: true })).tps
	const { ours, peers: measured } = await byTurns(sizes.rounds, tps('bench', 'ours_one'),
		Object.fromEntries(peers.map(([script, database]) => [script, tps(database, script)])))
	return peers.map(([script, , name, ...targets]) => row(what, {
		unit: 'tps', ours, peer: name, theirs: measured[script].values, ratios: measured[script].ratios,
		atLeast: targets[isDurable ? 0 : 1] ?? undefined,
	}))
}

export async function submit({ databases, sizes }) {
	const options = { variables: variables(sizes.customers) }
	const rows = []

	await setLinking('bench', false)
	for (const isDurable of [true, false]) {
		const how = isDurable ? 'durable' : 'asynchronous'
		await sql('postgres', 'CHECKPOINT')
		rows.push(
			...await mixed(`submit_event, one related object, ${how}`, 'ours_one', WITH_ONE, isDurable, sizes, options),
			...await mixed(`submit_event(json), one related object, ${how}`, 'ours_json', [['plpgsql', 'PL/pgSQL', null, null]], isDurable, sizes, options),
			...await mixed(`submit_event, no related object, ${how}`, 'ours_none', WITH_NONE, isDurable, sizes, options),
			...await turns(`submit_event, one related object, ${how}`, ELSEWHERE, databases, isDurable, sizes, options),
		)
	}
	for (const [how, clients, isDurable] of sizes.alone ? [['durable', 4, true], ['asynchronous', 4, false], ['durable', 32, true]] : [])
		rows.push(...await turns(`submit_event, one related object, ${how}, ${clients} clients by turns`, ALONE, databases, isDurable, sizes.alone,
			{ ...options, clients }))
	await drain('bench')
	return { rows }
}
