/*
 * main.mjs
 *		The benchmarks, one section after the other, and their report. Run by
 *		script/bench, which starts the servers:
 *
 *			node main.mjs quick|full|tiny [SECTION...]
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { makeWorkerUtils } from 'graphile-worker'
import { FOLDER, connectionString, createDatabase, disconnect, drain, psql, sql, value } from './server.mjs'
import { chart, growthTable, table } from './report.mjs'
import { row } from './measure.mjs'
import { submit } from './sections/submit.mjs'
import { bulk } from './sections/bulk.mjs'
import { linker } from './sections/linker.mjs'
import { latency } from './sections/latency.mjs'
import { snapshot } from './sections/snapshot.mjs'
import { reading } from './sections/reading.mjs'
import { months } from './sections/months.mjs'
import { tenants } from './sections/tenants.mjs'
import { order } from './sections/order.mjs'
import { http } from './sections/http.mjs'
import { searchReading } from './sections/search_reading.mjs'
import { searchWriting } from './sections/search_writing.mjs'
import { rules } from './sections/rules.mjs'
import { resources } from './sections/resources.mjs'
import { growth } from './sections/growth.mjs'

const SIZES = {
	tiny: { customers: 1000, rounds: 2, seconds: 1, mixedSeconds: 1, batches: 3, backlog: 2000, sample: 500, latencySeconds: 2,
		alone: { rounds: 1, seconds: 1 }, large: 20_000, small: 10_000, hottest: 10, tenants: 5, monthly: 500, pending: 1000, beside: 4000, copies: 10, httpSeconds: 1, calls: 2000, growth: [1000, 10_000] },
	quick: { customers: 100_000, rounds: 3, seconds: 1, mixedSeconds: 3, batches: 9, backlog: 40_000, sample: 10_000, latencySeconds: 2,
		large: 200_000, small: 100_000, hottest: 50, tenants: 50, monthly: 2000, pending: 20_000, beside: 50_000, copies: 100, httpSeconds: 1, calls: 40_000, growth: [] },
	full: { customers: 1_000_000, rounds: 5, seconds: 3, mixedSeconds: 8, batches: 31, backlog: 1_000_000, sample: 100_000, latencySeconds: 20,
		alone: { rounds: 11, seconds: 1 }, large: 10_000_000, small: 100_000, hottest: 50, tenants: 1000, monthly: 20_000, pending: 200_000, beside: 1_000_000, copies: 4200, httpSeconds: 5, calls: 1_000_000,
		growth: [10_000, 100_000, 1_000_000, 10_000_000] },
}

const SECTIONS = { submit, bulk, linker, latency, snapshot, reading, months, tenants, order, http, search_reading: searchReading, search_writing: searchWriting, rules, resources, growth }

const [size, ...wanted] = process.argv.slice(2)
const { BENCH_ROOT: ROOT, BENCH_INSTRUCTIONS: INSTRUCTIONS } = process.env

/* ----- Databases ----- */

/*
 * The database bench has the extension and the peers that are SQL; the others
 * have one of their own. Answers with those there are.
 */
async function prepare({ customers }) {
	const databases = new Set(['bench', 'message_store', 'graphile', 'pgboss'])
	await psql('bench', ['sql/generate.sql', 'sql/peers.sql'])
	await createDatabase('graphile')
	await psql('graphile', ['sql/objects.sql'], { customers: 1000 })
	const worker = await makeWorkerUtils({ connectionString: connectionString('graphile') })
	await worker.migrate()
	await worker.release()
	await sql('graphile', 'CREATE TABLE submitted (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY); CREATE TABLE linked (id bigint PRIMARY KEY, account uuid)')
	await createDatabase('pgboss')
	if (Number(await value('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgq'"))) {
		await createDatabase('pgq')
		await sql('pgq', "CREATE EXTENSION pgq; SELECT pgq.create_queue('events')")
		databases.add('pgq')
	}
	console.log(`databases are ready, ${customers.toLocaleString('en')} customers`)
	return databases
}

/* ----- The oracle ----- */

/* What the oracle finds wrong with what a section left behind. */
async function violations(databases) {
	const found = []
	for (const database of databases) {
		await drain(database)
		await psql(database, ['../oracle.sql'])
		for (const { violation, event_id: id, detail } of await sql(database, "SELECT * FROM atlas_test.violations('{}') LIMIT 10"))
			found.push(`${database}: ${violation} ${id ?? ''} ${detail ?? ''}`)
		await sql(database, 'DROP SCHEMA atlas_test CASCADE')
	}
	return found
}

/* ----- The machine ----- */

const commit = () => {
	try {
		return execFileSync('git', ['-C', ROOT, 'describe', '--always', '--dirty'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
	} catch {
		return undefined
	}
}

async function describe() {
	const packages = JSON.parse(readFileSync(join(FOLDER, 'package.json'), 'utf8')).dependencies
	return {
		date: new Date().toISOString(), size, commit: commit(),
		machine: { cpu: os.cpus()[0].model.trim(), cores: os.cpus().length, memoryGB: Math.round(os.totalmem() / 2 ** 30), hugePages: Number(readFileSync('/proc/sys/vm/nr_hugepages', 'utf8')), system: `${os.type()} ${os.release()}`,
			load: os.loadavg().map((load) => Number(load.toFixed(2))) },
		versions: { PostgreSQL: await value('postgres', 'SHOW server_version'), node: process.versions.node, ...packages },
		settings: Object.fromEntries((await sql('postgres', `SELECT name, current_setting(name) AS value FROM pg_settings
			 WHERE source = 'configuration file' AND name !~ '^(port|listen|unix|log_|lc_|default_text|DateStyle|TimeZone)' OR name IN ('fsync', 'full_page_writes', 'autovacuum', 'synchronous_commit')
			 ORDER BY name`)).map(({ name, value: setting }) => [name, setting])),
	}
}

/* Instructions of the processor, which script/bench counted with callgrind. */
function instructionRows() {
	if (!INSTRUCTIONS) return []
	const counts = JSON.parse(readFileSync(INSTRUCTIONS, 'utf8'))
	return ['one', 'none'].map((related) => row(`instructions of submit_event, ${related === 'one' ? 'one' : 'no'} related object`, {
		unit: '', ours: counts[`ours_${related}`], peer: 'bare INSERT', theirs: counts[`bare_${related}`],
		ratios: [counts[`ours_${related}`] / counts[`bare_${related}`]],
	}))
}

/* ----- All together ----- */

const fileOf = (result) => join(ROOT, 'bench', 'results', `${result.date.slice(0, 16).replaceAll(':', '')}-${size}`)

/* After each section, so that a long run that is broken off has something to show. */
function write(result) {
	const name = fileOf(result)
	mkdirSync(dirname(name), { recursive: true })
	writeFileSync(`${name}.json`, `${JSON.stringify(result, null, '\t')}\n`)
	writeFileSync(`${name}.svg`, chart({ title: `atlas_events and its peers, ${size}, ${result.date.slice(0, 10)}, PostgreSQL ${result.versions.PostgreSQL}, ${result.machine.cores} cores ${result.machine.cpu}`,
		rows: result.rows, growth: result.growth }))
}

async function main() {
	const sizes = SIZES[size]
	const names = Object.keys(SECTIONS).filter((name) => wanted.length ? wanted.includes(name) : name !== 'growth' || sizes.growth.length)
	const result = { ...await describe(), seconds: {}, oracle: [], rows: instructionRows() }

	console.log(JSON.stringify({ machine: result.machine, versions: result.versions, settings: result.settings }, null, 1))
	const databases = await prepare(sizes)
	for (const name of names) {
		const start = Date.now()
		const { rows, growth: grown, databases: used = ['bench'] } = await SECTIONS[name]({ databases, sizes })
		const found = name === 'growth' ? [] : await violations(used)
		result.rows.push(...rows)
		result.growth ??= grown
		result.oracle.push(...found)
		result.seconds[name] = Math.round((Date.now() - start) / 1000)
		console.log(`\n${name}: ${result.seconds[name]} s, the oracle finds ${found.length ? found.join('\n') : 'nothing wrong'}`)
		if (rows.length) console.log(table(rows))
		if (grown) console.log(growthTable(grown))
		write(result)
	}
	await disconnect()
	console.log(`\n${table(result.rows)}`)
	if (result.growth) console.log(`\n${growthTable(result.growth)}`)
	console.log(`\n${fileOf(result)}.json, .svg`)

	const missed = result.rows.filter(({ isMet }) => isMet === false).length
	console.log(`${result.rows.filter(({ isMet }) => isMet).length} targets met, ${missed} not; the oracle found ${result.oracle.length || 'nothing'} wrong`)
	process.exitCode = result.oracle.length ? 1 : 0
}

await main()
