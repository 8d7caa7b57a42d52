/*
 * server.mjs
 *		The server under test: connections, SQL, pgbench, and what its processes
 *		use. script/bench starts it, and points PGHOST, PGPORT and PGUSER at it.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'

export const FOLDER = dirname(fileURLToPath(import.meta.url))
export const { BENCH_BINDIR: BINDIR, BENCH_TMP: TMP, PGHOST, PGPORT, PGUSER } = process.env

const run = promisify(execFile)
const connections = new Map()

export const connectionString = (database) => `postgresql://${PGUSER}@${encodeURIComponent(PGHOST)}:${PGPORT}/${database}`

/* A connection of its own; the caller ends it. */
export async function connect(database) {
	const client = new pg.Client({ host: PGHOST, port: Number(PGPORT), user: PGUSER, database })
	await client.connect()
	return client
}

/* The rows of a statement, in a session that is kept. */
export async function sql(database, text, values) {
	if (!connections.has(database)) connections.set(database, connect(database))
	return (await (await connections.get(database)).query(text, values)).rows
}

/* The one value of a statement. */
export async function value(database, text, values) {
	return Object.values((await sql(database, text, values))[0])[0]
}

export async function disconnect(database) {
	const names = database ? [database] : [...connections.keys()]
	for (const name of names) {
		await (await connections.get(name))?.end()
		connections.delete(name)
	}
}

/* Runs files with psql; variables are set, the first error ends it. */
export async function psql(database, files, variables = {}) {
	const set = Object.entries(variables).flatMap(([name, given]) => ['-v', `${name}=${given}`])
	await run(join(BINDIR, 'psql'), ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', database, ...set,
		...files.flatMap((file) => ['-f', join(FOLDER, file)])],
	{ env: { ...process.env, PGOPTIONS: '-c client_min_messages=warning' } })
}

export async function createDatabase(name, template = 'template0') {
	await disconnect()
	await sql('postgres', `CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY ${template === 'template0' ? 'WAL_LOG' : 'FILE_COPY'}`)
}

async function runPgbench(database, scripts, { clients = 4, isDurable = true, variables = {}, tenant = '', settings = '' }, ...options) {
	const { stdout, stderr } = await run(join(BINDIR, 'pgbench'), ['-n', '-M', 'prepared', '-c', clients, '-j', Math.min(clients, 2),
		...Object.entries(variables).flatMap(([name, given]) => ['-D', `${name}=${given}`]), ...options,
		...scripts.flatMap((script) => ['-f', join(FOLDER, 'pgbench', `${script}.sql`)]), database].map(String),
	{ env: { ...process.env, PGOPTIONS: `-c synchronous_commit=${isDurable ? 'on' : 'off'} -c atlas_events.tenant=${tenant} ${settings}` }, maxBuffer: 1 << 24 })
	if (Number(stdout.match(/number of failed transactions: (\d+)/)?.[1]) !== 0) throw new Error(`${scripts}: ${stdout}${stderr}`)
	return { stdout, stderr }
}

/*
 * Runs a script with pgbench, prepared. Answers with tps, the number of
 * transactions, and with isLogged the latency of each, in ms. A transaction
 * that fails ends the benchmark. isWarm: for a second longer, and the first
 * second, in which the sessions begin, is not in the tps.
 */
export async function pgbench(database, script, { seconds, transactions, rate, isLogged = false, isWarm = false, ...options } = {}) {
	const folder = mkdtempSync(join(tmpdir(), 'atlas_bench.'))
	try {
		const { stdout, stderr } = await runPgbench(database, [script], options,
			...(transactions ? ['-t', transactions] : ['-T', seconds + (isWarm ? 1 : 0)]), ...(isWarm ? ['-P', 1] : []),
			...(rate ? ['-R', rate] : []), ...(isLogged ? ['-l', '--log-prefix', join(folder, 'log')] : []))
		return {
			tps: isWarm ? withoutFirstSecond(stdout, stderr) : Number(stdout.match(/tps = ([\d.]+)/)[1]),
			count: Number(stdout.match(/number of transactions actually processed: (\d+)/)[1]),
			latencies: isLogged ? readLatencies(folder) : undefined,
		}
	} finally {
		rmSync(folder, { recursive: true })
	}
}

/*
 * Runs several scripts in the same sessions, each transaction one of them drawn by
 * chance. Answers with the mean latency of each, in ms.
 */
export async function pgbenchMixed(database, scripts, { seconds, ...options }) {
	const { stdout } = await runPgbench(database, scripts, options, '-T', seconds)
	const latencies = [...stdout.matchAll(/^ - latency average = ([\d.]+) ms/gm)].map(([, latency]) => Number(latency))
	return Object.fromEntries(scripts.map((script, i) => [script, latencies[i]]))
}

/* From the totals, and from what pgbench says after the first second. */
function withoutFirstSecond(stdout, stderr) {
	const [, seconds, tps] = stderr.match(/^progress: ([\d.]+) s, ([\d.]+) tps/m).map(Number)
	const count = Number(stdout.match(/actually processed: (\d+)/)[1])
	return (count - tps * seconds) / (count / Number(stdout.match(/tps = ([\d.]+)/)[1]) - seconds)
}

function readLatencies(folder) {
	return readdirSync(folder).flatMap((file) => readFileSync(join(folder, file), 'utf8').trim().split('\n'))
		.map((line) => Number(line.split(' ')[2]) / 1000)
}

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms) })

/* Asks until the answer is true, and returns it. */
export async function waitFor(what, condition, { seconds = 600, every = 20 } = {}) {
	const deadline = Date.now() + seconds * 1000
	for (;;) {
		const answer = await condition()
		if (answer) return answer
		if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`)
		await sleep(every)
	}
}

/* Lets the linker work in a database, or not. */
export async function setLinking(database, isOn) {
	await sql('postgres', `ALTER DATABASE ${database} SET atlas_events.linking = ${isOn ? 'on' : 'off'}`)
	await sql('postgres', 'SELECT pg_reload_conf()')
	if (!isOn)
		await waitFor('no linker works', async () => await linkerPid(database) === undefined)
}

export async function linkerPid(database) {
	const [linker] = await sql('postgres', `SELECT pid FROM pg_stat_activity
		 WHERE backend_type = 'atlas_events linker' AND datname = $1 ORDER BY backend_start DESC LIMIT 1`, [database])
	return linker?.pid
}

/* What is in the queue is linked in the background, its documents are made, and linking stays on. */
export async function drain(database) {
	await setLinking(database, true)
	await waitFor('all is done', () => isDone(database), { seconds: 3600, every: 100 })
}

/* Nothing is left to be linked, and nothing to be done besides. */
export const isDone = (database) => value(database,
	'SELECT NOT EXISTS (SELECT FROM atlas_event_queue) AND NOT EXISTS (SELECT FROM atlas_event_work)')

/* Whether events get documents, in sessions that begin from now on. The server of the benchmarks makes none. */
export async function setSearch(database, isOn) {
	await sql('postgres', `ALTER DATABASE ${database} SET atlas_events.search = ${isOn ? 'on' : 'off'}`)
	await disconnect(database)
}

/* Memory of a process that is its own, in kB; undefined when it is gone. */
export function privateMemory(pid) {
	return statusOf(pid, 'RssAnon')
}

/* How often a process went to sleep. */
export function sleepsOf(pid) {
	return statusOf(pid, 'voluntary_ctxt_switches')
}

function statusOf(pid, field) {
	try {
		return Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(new RegExp(`^${field}:\\s*(\\d+)`, 'm'))[1])
	} catch {
		return undefined
	}
}
