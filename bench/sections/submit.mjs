/*
 * submit.mjs
 *		Single calls, four clients: submit_event() and the peers, each
 *		transaction durable, and with asynchronous commit. Nothing is linked
 *		meanwhile, for the peers link nothing.
 */
import { byTurns, row } from '../measure.mjs'
import { drain, pgbench, setLinking, sql } from '../server.mjs'
import { variables } from '../events.mjs'

/*
 * [script, where, its name, targets with one related object: durable,
 * asynchronous]. Null: no target; undefined: not measured.
 */
const PEERS = [
	['bare_one', 'bench', 'bare INSERT', 0.85, 0.72],
	['bare_queue', 'bench', 'event and queue row', 0.95, 0.85],
	['fk_queue', 'bench', 'FK INSERT and queue row', 1, undefined],
	['plpgsql', 'bench', 'PL/pgSQL', 1.2, 1.15],
	['message_db', 'message_store', 'message-db', 2, undefined],
	['pgq', 'pgq', 'PgQ', undefined, null],
]

export async function submit({ databases, sizes }) {
	const available = PEERS.filter(([, database]) => databases.has(database))
	const options = { seconds: sizes.seconds, variables: variables(sizes.customers), isWarm: true }
	const rows = []

	await setLinking('bench', false)
	for (const [script, database] of [['ours_one', 'bench'], ['ours_none', 'bench'], ['ours_json', 'bench'],
		['bare_none', 'bench'], ...available])
		await pgbench(database, script, { ...options, transactions: 50, isWarm: false })
	for (const isDurable of [true, false]) {
		const how = isDurable ? 'durable' : 'asynchronous'
		const targetOf = ([, , , durable, asynchronous]) => isDurable ? durable : asynchronous
		/* Those without a target are for the long form. */
		const peers = available.filter((peer) => targetOf(peer) !== undefined && (targetOf(peer) !== null || sizes.seconds > 1))
		const tps = (database, script) => async () => (await pgbench(database, script, { ...options, isDurable })).tps

		await sql('postgres', 'CHECKPOINT')
		const one = await byTurns(sizes.rounds, tps('bench', 'ours_one'),
			Object.fromEntries(peers.map(([script, database]) => [script, tps(database, script)])))
		for (const [script, , name, ...targets] of peers)
			rows.push(row(`submit_event, one related object, ${how}`, {
				unit: 'tps', ours: one.ours, peer: name, theirs: one.peers[script].values, ratios: one.peers[script].ratios,
				atLeast: targets[isDurable ? 0 : 1] ?? undefined,
			}))
		if (!isDurable && sizes.seconds > 1) {
			const json = await byTurns(sizes.rounds, tps('bench', 'ours_json'), { plpgsql: tps('bench', 'plpgsql') })
			rows.push(row(`submit_event(json), one related object, ${how}`, {
				unit: 'tps', ours: json.ours, peer: 'PL/pgSQL', theirs: json.peers.plpgsql.values, ratios: json.peers.plpgsql.ratios,
			}))
		}
		const none = await byTurns(sizes.rounds, tps('bench', 'ours_none'), { bare: tps('bench', 'bare_none') })
		rows.push(row(`submit_event, no related object, ${how}`, {
			unit: 'tps', ours: none.ours, peer: 'bare INSERT', theirs: none.peers.bare.values, ratios: none.peers.bare.ratios,
			atLeast: isDurable ? 0.95 : 0.85,
		}))
	}
	await drain('bench')
	return { rows }
}
