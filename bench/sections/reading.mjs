/*
 * reading.mjs
 *		Pages of timelines and of the log over events of 24 months, in a large
 *		and a small database by turns, and the plans that make them. One client.
 */
import { median, quantile, row } from '../measure.mjs'
import { connect, createDatabase, pgbench, psql, setLinking, sql, value } from '../server.mjs'

export const SPAN = '24 months'

/*
 * The database with so many events over 24 months, one in four with two related
 * objects, of so many tenants. It is made by two sessions when it is wanted first.
 */
export async function history(events, customers, tenants = 0) {
	const database = `history_${events}_${tenants}`
	if (await value('postgres', `SELECT EXISTS (SELECT FROM pg_database WHERE datname = '${database}')`)) return database
	await createDatabase(database, 'objects')
	await setLinking(database, false)
	await psql(database, ['sql/generate.sql'])
	const until = await value(database, 'SELECT now()::text')
	const call = (first, last) => psqlCall(database, `CALL generator.make_events(${first}, ${last}, ${events}, '${until}', '${SPAN}', ${customers}, 4, false, ${tenants})`)
	await sql(database, `CALL generator.make_partitions('${until}', '${SPAN}')`)
	const half = Math.floor(events / 2)
	await Promise.all([call(1, half), call(half + 1, events)])
	await sql(database, 'VACUUM ANALYZE')
	await sql('postgres', 'CHECKPOINT')
	return database
}

/* In a session of its own. */
async function psqlCall(database, statement) {
	const client = await connect(database)
	await client.query(statement)
	await client.end()
}

/* The plans of what a call runs inside, as auto_explain says them. */
async function nestedPlans(database, call) {
	const client = await connect(database)
	const notices = []
	client.on('notice', ({ message }) => notices.push(message))
	await client.query(`LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
		SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off; SET auto_explain.log_level = notice`)
	await client.query(call)
	await client.end()
	return notices.join('\n')
}

/*
 * What a plan of a page must not have; empty if it is as it should be. The
 * partitions are those of the log, or of the links too.
 */
function faultsOf(plan, partitions) {
	/* The pages of the log and of the links are merged by a sort; each is read in order. */
	const sort = partitions === 'atlas_events' ? '-> +' : 'Limit .*\\n +-> +'
	const used = plan.split('\n').filter((line) => !line.includes('never executed')).join('\n')
	return [
		[`Seq Scan on ${partitions}_\\d`, 'reads a partition as a whole'],
		[`Bitmap Heap Scan on ${partitions}_\\d`, 'reads a bitmap of a partition'],
		[sort + '(?:Incremental )?Sort .*\\n +Sort Key: [pleq]\\.event_id', 'sorts what it reads'],
	].filter(([pattern]) => new RegExp(pattern).test(used)).map(([, fault]) => fault)
}

async function latencies(database, script, sizes, hottest) {
	return (await pgbench(database, script, { clients: 1, seconds: sizes.seconds, variables: { hottest }, isLogged: true })).latencies
}

/* p99 of a script in the large and the small database by turns. */
async function compare(script, sizes, databases) {
	const result = { large: [], small: [], p50: { large: [], small: [] } }
	for (let round = 0; round < sizes.rounds; round++)
		for (const size of round % 2 ? ['small', 'large'] : ['large', 'small']) {
			const found = await latencies(databases[size], script, sizes, sizes.hottest)
			result[size].push(quantile(found, 0.99))
			result.p50[size].push(median(found))
		}
	return result
}

function planRow(what, plan, partitions, requires) {
	const faults = faultsOf(plan, partitions)
	if (!requires.test(plan)) faults.push('does not use the index')
	return row(what, { isMet: faults.length === 0, note: faults.length ? faults.join(', ') : 'by index, no scan, no sort', target: 'plan' })
}

async function timelines({ sizes }, databases) {
	const rows = []
	for (const [type, script] of [['CUSTOMER', 'timeline_customer'], ['ACCOUNT', 'timeline_account']]) {
		const { large, small, p50 } = await compare(script, sizes, databases)
		const what = `timeline, ${type.toLowerCase()}, 50 of ${sizes.large.toLocaleString('en')} events`
		rows.push(row(`${what}, p99`, { unit: 'ms', ours: large, peer: `of ${sizes.small.toLocaleString('en')}`, theirs: small,
			ratios: large.map((number, round) => number / small[round]), atMost: 1.3,
			note: `p50 ${median(p50.large).toFixed(2)} and ${median(p50.small).toFixed(2)} ms` }))
		/* Of the statement that reads a page when it is not read directly. */
		const plan = await nestedPlans(databases.large, `SET atlas_events.direct_access = off; SELECT count(*) FROM atlas_timeline('${type}', md5('${type.toLowerCase()}-1')::uuid::text)`)
		rows.push(planRow(`plan of a timeline, ${type.toLowerCase()}`, plan, 'atlas_event(?:s|_links)', /Index Only Scan/))
	}
	return rows
}

/* Pages of the log, with so many events pending. */
async function logs({ sizes }, large, pending, limit) {
	const rows = []
	const suffix = `50 of ${sizes.large.toLocaleString('en')} events${pending ? `, ${pending.toLocaleString('en')} pending` : ''}`
	for (const [name, script, view, condition] of [['newest page of the log', 'logs_newest', 'atlas_event_logs', 'TRUE'],
		['page of PENDING', 'logs_pending', 'atlas_pending_events', "processing_status = 'PENDING'"]]) {
		const rounds = []
		for (let round = 0; round < sizes.rounds; round++) rounds.push(await latencies(large, script, sizes, 1))
		rows.push(row(`${name}, ${suffix}, p50`, { unit: 'ms', ours: rounds.map(median), atMost: limit,
			note: `p99 ${median(rounds.map((list) => quantile(list, 0.99))).toFixed(2)} ms` }))
		/* An empty queue is read in any way. */
		if (view === 'atlas_pending_events' && !pending) continue
		const plan = (await sql(large, `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)
			SELECT * FROM ${view} WHERE ${condition} ORDER BY event_id DESC LIMIT 50`)).map((line) => line['QUERY PLAN']).join('\n')
		rows.push(planRow(`plan of the ${name}, ${suffix}`, plan, 'atlas_events', /Index (?:Only )?Scan/))
	}
	return rows
}

/* The deepest page that the API sends. */
async function deepPage({ sizes }, large) {
	const rounds = []
	for (let round = 0; round < sizes.rounds; round++) rounds.push(await latencies(large, 'logs_deep', sizes, 1))
	return row(`page of the log, 50 after 1,000, ${sizes.pending.toLocaleString('en')} of ${sizes.large.toLocaleString('en')} pending, p50`, { unit: 'ms',
		ours: rounds.map(median), atMost: 150, note: `p99 ${median(rounds.map((list) => quantile(list, 0.99))).toFixed(2)} ms` })
}

/* Makes the newest events PENDING again, as if a linker had been away. */
async function makePending(large, count) {
	await sql(large, `INSERT INTO atlas_event_queue (event_id, submitted_xid)
		SELECT event_id, pg_current_xact_id() FROM atlas_events WHERE related_objects IS NOT NULL ORDER BY event_id DESC LIMIT ${count}`)
	await sql(large, 'DELETE FROM atlas_event_links l USING atlas_event_queue q WHERE l.event_id = q.event_id')
	await sql(large, 'VACUUM ANALYZE atlas_event_queue, atlas_event_links')
}

export async function reading(context) {
	const { sizes } = context
	const small = await history(sizes.small, sizes.customers)
	const large = await history(sizes.large, sizes.customers)
	const rows = [
		...await timelines(context, { small, large }),
		...await logs(context, large, 0, 5),
	]
	await makePending(large, sizes.pending)
	rows.push(...await logs(context, large, sizes.pending, 5))
	rows.push(await deepPage(context, large))
	await setLinking(large, true)
	return { rows, databases: [small, large] }
}
