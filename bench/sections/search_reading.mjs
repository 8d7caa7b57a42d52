/*
 * search_reading.mjs
 *		Pages of searches over events of 24 months: those that an index answers,
 *		by their p99, and those that nothing answers, page by page on a budget and
 *		all together against one scan of the index. Then the same queries over
 *		fewer events, beside what users would search the log with: a GIN index on
 *		an expression, RUM, ILIKE. Each side's slowest query counts.
 *
 *		The words of the events, and how often each comes, are in sql/generate.sql.
 *		The documents are made by the linker.
 */
import { median, milliseconds, quantile, ratiosOf, row } from '../measure.mjs'
import { connect, createDatabase, drain, pgbench, pgbenchMixed, psql, setLinking, setSearch, sql, value } from '../server.mjs'
import { variables } from '../events.mjs'
import { SPAN } from './reading.mjs'

const DAYS = 700			/* of which a search takes one */
const WORK = 10_000			/* the budget of a page over HTTP, unless it is said in another way */
const MOST_SECONDS = 60		/* in which pages are read one after the other; then the rest is estimated */

/*
 * Queries in our language, as a tsquery, and as one or two patterns; % is a letter that
 * is drawn for each call. oneIn: of how many events one is found; events: how many there
 * are in all.
 */
const QUERIES = [
	{ what: 'rare word, 10 events', query: 'quartz%', events: 10 },
	{ what: 'word of 1 in 8', query: 'regio%', oneIn: 8 },
	{ what: 'word of 1 in 50', query: 'branch%a', oneIn: 50 },
	{ what: 'word of 1 in 2,000', query: 'agent%aaa', oneIn: 2000 },
	{ what: 'two words, 1 in 8 and 1 in 50', query: 'regio% branch%a', tsquery: 'regio% & branch%a', patterns: ['regio%', 'branch%a'], oneIn: 400 },
	{ what: 'prefix', query: 'agent%a*', tsquery: 'agent%a:*', patterns: ['agent%a'], oneIn: 100 },
	{ what: 'nothing found', query: 'zebra%', events: 0 },
]

/* Those that only a search has which knows fields, types, times and objects. */
const NARROWED = [
	{ what: 'field:value, 1 in 8', query: 'region:regio%', oneIn: 8 },
	{ what: 'field:value, 1 in 2,000', query: 'handler:agent%aaa', oneIn: 2000 },
	{ what: 'word of 1 in 50 and object_type, 1 in 10', query: 'branch%a', type: 'ACCOUNT', oneIn: 500 },
	{ what: 'word of 1 in 8 and a day', query: 'regio%', script: 'search_day' },
	{ what: 'word of 1 in 2,000 and a day', query: 'agent%aaa', script: 'search_day' },
	{ what: 'word of 1 in 8 and an object', query: 'regio%', script: 'search_object' },
	{ what: 'word of the oldest months only', query: 'legacy', oneIn: 96 },
]

/* What defeats a walk and the index. plain is a statement that looks at everything at once. */
const FIND_SPAN = '30 days'
const BUDGETED = [
	{ what: 'phrase of two words of each second event that never stand together', query: '"credit paid"', plain: "'credit <-> paid'" },
	{ what: 'two words of 1 in 8 that never come together', query: 'regioa regiob', plain: "'regioa & regiob'" },
	{ what: 'a word that all events have, negated', query: '-web', plain: "'!web'", isScanned: true },
]

/* ----- Databases ----- */

/* So many events over 24 months, one in four with two related objects, and their documents. */
export async function searchHistory(events, customers) {
	const database = `searched_${events}`
	await createDatabase(database, 'objects')
	await setLinking(database, false)
	await psql(database, ['sql/generate.sql'])
	const until = await value(database, 'SELECT now()::text')
	await sql(database, `CALL generator.make_partitions('${until}', '${SPAN}')`)
	await setSearch(database, true)
	const half = Math.floor(events / 2)
	await Promise.all([[1, half], [half + 1, events]].map(async ([first, last]) => {
		const client = await connect(database)
		await client.query(`CALL generator.make_searched_events(${first}, ${last}, ${events}, '${until}', '${SPAN}', ${customers}, 4)`)
		await client.end()
	}))
	await sql(database, 'VACUUM ANALYZE atlas_events, atlas_event_links, atlas_event_work')
	console.log(`${database}: ${events.toLocaleString('en')} events are there`)
	const ms = await milliseconds(() => drain(database))
	console.log(`${database}: their documents are there, ${Math.round(events / ms * 1000).toLocaleString('en')} a second`)
	await setLinking(database, false)
	await sql(database, 'VACUUM ANALYZE')
	await sql('postgres', 'CHECKPOINT')
	return database
}

/* ----- Pages that an index answers ----- */

const variablesOf = ({ query, type = '-', tsquery = query, patterns = [query, query] }, sizes) => ({
	query, type, tsquery, first: patterns[0], second: patterns[1] ?? patterns[0], hottest: sizes.hottest, days: DAYS, work: WORK })

/* p99 of a script for a query, one client, and its p50. */
async function latencies(database, script, which, sizes) {
	const { latencies: found } = await pgbench(database, script, { clients: 1, seconds: sizes.seconds, variables: variablesOf(which, sizes), isLogged: true })
	return { p99: quantile(found, 0.99), p50: median(found) }
}

/* A page that finds too little would be fast for nothing. How many there are is drawn, so half of them are enough. */
async function checkFinds(database, { what, query, type, script = 'search', oneIn, events }, sizes) {
	if (script !== 'search') return
	const found = Number(await value(database, 'SELECT count(*) FROM atlas_search_events($1, object_type => $2)', [query.replaceAll('%', 'a'), type]))
	const due = events ?? sizes.large / oneIn
	if (due === 0 ? found > 0 : found < Math.min(due, 50) / 2) throw new Error(`${what}: a page of ${found} events`)
}

async function pages(database, sizes) {
	const rows = []
	for (const which of [...QUERIES, ...NARROWED]) {
		await checkFinds(database, which, sizes)
		await latencies(database, which.script ?? 'search', which, sizes)
		const rounds = []
		for (let round = 0; round < sizes.rounds; round++) rounds.push(await latencies(database, which.script ?? 'search', which, sizes))
		rows.push(row(`search, ${which.what}, 50 of ${sizes.large.toLocaleString('en')} events, p99`, { unit: 'ms', ours: rounds.map(({ p99 }) => p99), atMost: 10,
			note: `p50 ${median(rounds.map(({ p50 }) => p50)).toFixed(2)} ms` }))
	}
	return rows
}

/* ----- Pages on a budget ----- */

const timeOf = (id) => parseInt(id.replaceAll('-', '').slice(0, 12), 16)

/*
 * Reads page after page, back to a time. Answers with the latency of each, and how long
 * all take: if they take too long, it is estimated from the time that has been gone through.
 */
async function allPages(client, text, values, key, from, until) {
	const found = []
	let before = null
	const start = Date.now()
	for (;;) {
		let rows
		found.push(await milliseconds(async () => { ({ rows } = await client.query({ name: text, text, values: [...values, before, WORK] })) }))
		const last = rows.at(-1)
		if (!last || (!last.searched_until && rows.length < 50)) break
		before = last.searched_until ?? last[key]
		if (Date.now() - start > MOST_SECONDS * 1000) break
	}
	const isAll = Date.now() - start <= MOST_SECONDS * 1000
	const sum = found.reduce((total, ms) => total + ms, 0)
	return { latencies: found, isAll, ms: isAll ? sum : sum * (until - from) / (until - timeOf(before)) }
}

/* Each page, and all of them against one statement for everything. */
async function budgetRows(database, sizes, what, { text, values, key, span }, plain) {
	const client = await connect(database)
	const [{ first, last }] = await sql(database, `SELECT extract(epoch FROM now() - '${span}'::interval) * 1000 AS first, extract(epoch FROM now()) * 1000 AS last`)
	const walk = () => allPages(client, text, values, key, Number(first), Number(last))
	const scan = () => milliseconds(() => client.query(plain))
	const ours = [], theirs = []
	await walk()
	await scan()
	for (let round = 0; round < sizes.rounds; round++) {
		ours.push(await walk())
		theirs.push(await scan())
	}
	await client.end()
	const name = `${what}, ${sizes.large.toLocaleString('en')} events`
	const all = ours.map(({ ms }) => ms)
	return [
		row(`${name}, slowest page`, { unit: 'ms', ours: ours.map(({ latencies: found }) => Math.max(...found)), atMost: 50,
			note: `budget of ${WORK.toLocaleString('en')}; ${median(ours.map(({ latencies: found }) => found.length))} pages, p50 ${median(ours.flatMap(({ latencies: found }) => found)).toFixed(2)} ms` }),
		row(`${name}, all pages`, { unit: 'ms', ours: all, peer: 'one scan of the index', theirs, ratios: ratiosOf(all, theirs), atMost: 1,
			note: ours.every(({ isAll }) => isAll) ? undefined : `estimated after ${MOST_SECONDS} s` }),
	]
}

const planned = (isScanned, statement) => `SET enable_seqscan = ${isScanned ? 'on' : 'off'}; SET enable_indexscan = off; ${statement}`

async function budgets(database, sizes) {
	const rows = []
	for (const { what, query, plain, isScanned } of BUDGETED)
		rows.push(...await budgetRows(database, sizes, `search, ${what}`, {
			text: 'SELECT event_id, searched_until FROM atlas_search_events($1, before_event => $2, max_work => $3)', values: [query], key: 'event_id', span: SPAN,
		}, planned(isScanned, `SELECT event_id FROM atlas_event_search WHERE tenant_id = '' AND document @@ ${plain}::tsquery ORDER BY event_id DESC`)))
	rows.push(...await budgetRows(database, sizes, 'find_objects, a name of 1 in 8, 30 days', {
		text: `SELECT object_id, newest_event, searched_until FROM atlas_find_objects('CUSTOMER', name => $1, since => now() - interval '${FIND_SPAN}', before_event => $2, max_work => $3)`,
		values: ['Checkout Completed'], key: 'newest_event', span: FIND_SPAN,
	}, planned(true, `SET enable_indexscan = on; SELECT e.object_id, count(*), max(e.event_id::text) FROM atlas_event_search s JOIN atlas_events e USING (tenant_id, event_id)
		WHERE s.tenant_id = '' AND s.document @@ 'checkout & completed'::tsquery AND e.object_type = 'CUSTOMER'
		  AND s.event_id >= ${idOfTime(`now() - interval '${FIND_SPAN}'`)}
		GROUP BY e.object_id ORDER BY 3 DESC`)))
	return rows
}

/* The least id of a time, in SQL. */
const idOfTime = (time) => `(lpad(to_hex((extract(epoch FROM ${time}) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid`

/* ----- Beside the peers ----- */

const PEERS = [
	['search_gin', 'GIN index on the log'],
	['search_rum', 'RUM on the log'],
	['search_ilike', 'ILIKE'],
]

const COMPARED = [...QUERIES,
	{ what: 'two words that never come together', query: 'regioa regiob', tsquery: 'regioa & regiob', patterns: ['regioa', 'regiob'] },
	{ what: 'phrase that never comes', query: '"credit paid"', tsquery: 'credit <-> paid', patterns: ['credit paid'] },
]

/* The slowest p99 of all queries, round by round, and which it is. */
async function slowest(database, script, sizes) {
	const of = COMPARED.map(() => [])
	for (let round = 0; round < sizes.rounds; round++)
		for (const [i, which] of COMPARED.entries()) of[i].push((await latencies(database, script, which, sizes)).p99)
	const medians = of.map(median)
	const worst = medians.indexOf(Math.max(...medians))
	return { of: of[worst], what: COMPARED[worst].what, each: COMPARED.map(({ what }, i) => `${what} ${medians[i].toFixed(2)}`).join(', ') }
}

async function beside(database, sizes, scripts) {
	const suffix = `slowest of ${COMPARED.length} queries, ${sizes.beside.toLocaleString('en')} events, p99`
	/* A page on its budget is what somebody waits for; without one the answer is complete, as the peers' are. */
	const [paged, whole] = [await slowest(database, 'search_budget', sizes), await slowest(database, 'search', sizes)]
	const rows = []
	for (const [script, peer] of scripts) {
		const theirs = await slowest(database, script, sizes)
		const note = `ms: ours ${paged.each}; ${peer} ${theirs.each}`
		rows.push(
			row(`search, a page, ${suffix}`, { unit: 'ms', ours: paged.of, peer, theirs: theirs.of, ratios: ratiosOf(paged.of, theirs.of), atMost: 1, note }),
			row(`search without a budget, ${suffix}`, { unit: 'ms', ours: whole.of, peer, theirs: theirs.of, ratios: ratiosOf(whole.of, theirs.of), note: `ours: ${whole.what}` }))
	}
	return rows
}

/* Submitting while documents are queued, against INSERTs into logs with an index of their own. */
async function submitting(database, sizes, scripts) {
	const rows = []
	for (const isDurable of [true, false]) {
		const rounds = []
		for (let round = 0; round < sizes.rounds; round++)
			rounds.push(await pgbenchMixed(database, ['ours_one', ...scripts.map(([script]) => script)], { seconds: sizes.mixedSeconds, isDurable, variables: variables(sizes.customers) }))
		for (const [script, peer] of scripts)
			rows.push(row(`submit_event, one related object, search on, ${isDurable ? 'durable' : 'asynchronous'}`, {
				unit: 'ms', ours: rounds.map((round) => round.ours_one), peer, theirs: rounds.map((round) => round[script]),
				ratios: rounds.map((round) => round[script] / round.ours_one), atLeast: 1 }))
	}
	return rows
}

async function peers(sizes) {
	const database = await searchHistory(sizes.beside, sizes.customers)
	const hasRum = Number(await value(database, "SELECT count(*) FROM pg_available_extensions WHERE name = 'rum'"))
	await psql(database, ['sql/peers.sql', 'sql/search_peers.sql', ...(hasRum ? ['sql/search_rum.sql'] : [])])
	const rows = await beside(database, sizes, PEERS.filter(([script]) => hasRum || script !== 'search_rum'))
	rows.push(...await submitting(database, sizes, [['gin_one', 'INSERT, GIN index on the log'], ...(hasRum ? [['rum_one', 'INSERT, RUM on the log']] : [])]))
	return { rows, database }
}

export async function searchReading({ sizes }) {
	const { rows: compared, database: small } = await peers(sizes)
	const large = await searchHistory(sizes.large, sizes.customers)
	const rows = [...await pages(large, sizes), ...await budgets(large, sizes), ...compared]
	return { rows, databases: [small, large] }
}
