/*
 * resources.mjs
 *		What a backend keeps over many calls, and what runs when nothing is to
 *		be done. The memory of a linker is measured with its backlog.
 */
import { row } from '../measure.mjs'
import { drain, linkerPid, pgbench, privateMemory, setLinking, sleep, sleepsOf, sql, waitFor } from '../server.mjs'
import { variables } from '../events.mjs'

/* Private memory of the one session that pgbench has, a sample every so often. */
async function memoryOfCalls(sizes) {
	const samples = []
	let isDone = false
	await setLinking('bench', false)
	const calls = pgbench('bench', 'ours_one', { clients: 1, transactions: sizes.calls, variables: variables(sizes.customers), isDurable: false })
		.finally(() => { isDone = true })
	while (!isDone) {
		const [session] = await sql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' AND datname = 'bench' ORDER BY backend_start DESC LIMIT 1")
		const memory = session && privateMemory(session.pid)
		if (memory) samples.push(memory)
		await sleep(50)
	}
	await calls
	await drain('bench')
	return samples.slice(Math.floor(samples.length / 10))
}

async function idle(sizes) {
	const rows = []
	await drain('bench')
	await pgbench('bench', 'ours_one', { clients: 1, transactions: 1, variables: variables(sizes.customers) })
	await waitFor('a linker is there', () => linkerPid('bench'))
	const start = Date.now()
	await drain('bench')
	await waitFor('the linker has left', async () => await linkerPid('bench') === undefined, { seconds: 60 })
	rows.push(row('idle: time until the linker has linked an event and left, idle_timeout is 2 s', { unit: 's', ours: (Date.now() - start) / 1000, atMost: 5 }))

	const [launcher] = await sql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'atlas_events launcher'")
	await sleep(3000)
	const before = sleepsOf(launcher.pid)
	await sleep(10_000)
	rows.push(row('idle: times the launcher woke up in 10 s, naptime is 1 min', { unit: 'times', ours: sleepsOf(launcher.pid) - before, atMost: 2 }))
	return rows
}

export async function resources({ sizes }) {
	const memory = await memoryOfCalls(sizes)
	return {
		rows: [
			row('memory of a backend at the most, of its least', { unit: 'kB', ours: Math.max(...memory), peer: 'least', theirs: Math.min(...memory),
				ratios: [Math.max(...memory) / Math.min(...memory)], atMost: 1.1,
				note: `private memory over ${sizes.calls.toLocaleString('en')} calls, after the first tenth` }),
			...await idle(sizes),
		],
	}
}
