/*
 * months.mjs
 *		Pages of timelines over 120 months and over two, by turns: of objects with
 *		many events in the newest month, and of one with three events in all. The
 *		history is submitted, not generated: so the partitions are those that
 *		submitting makes.
 */
import { median, quantile, row } from '../measure.mjs'
import { createDatabase, pgbench, setLinking, sql, value } from '../server.mjs'

const LONG = 120
const SHORT = 2
const RARE = 101	/* the customer and the account with three events */

/* One call of submit_events() a month, the oldest one first; the newest month has five times as many events. */
async function historyOf(months, monthly) {
	const database = `months_${months}`
	await createDatabase(database, 'objects')
	await setLinking(database, false)
	await sql(database, `ALTER DATABASE ${database} SET atlas_events.oldest_event = '4000 d'`)
	await sql(database, `SET atlas_events.oldest_event = '4000 d'; SET atlas_events.max_batch_size = 1000000;
		SELECT count(submit_events(ARRAY(
				SELECT ('CUSTOMER', md5('customer-' || 1 + n % 50)::uuid::text, NULL, 'Checkout Completed', 'Paid with credit card', '🛒',
						jsonb_build_object('orderId', 'SO-' || n, 'total', n % 1000),
						ARRAY[('ACCOUNT', md5('account-' || 1 + n % 50)::uuid::text, NULL)]::atlas_object[],
						now() - make_interval(months => month) - n * interval '20 seconds', NULL)::atlas_event
				  FROM generate_series(1, CASE month WHEN 0 THEN 5 ELSE 1 END * ${monthly}) n)))
		  FROM generate_series(${months - 1}, 0, -1) month;
		SELECT submit_event(object_type => 'CUSTOMER', object_id => md5('customer-${RARE}')::uuid::text, name => 'Rare',
				related_objects => ARRAY[('ACCOUNT', md5('account-${RARE}')::uuid::text, NULL)]::atlas_object[],
				occurred_at => now() - make_interval(months => month))
		  FROM unnest('{${months - 1}, ${Math.floor(months / 2)}, 0}'::int[]) month`)
	await sql(database, 'SELECT atlas_link_events(10000000)')
	await sql(database, 'VACUUM ANALYZE')
	return database
}

const latencies = async (database, script, variables, { seconds }) =>
	(await pgbench(database, script, { clients: 1, seconds, variables, isLogged: true })).latencies

/* p99 and p50 of a script in both databases by turns. */
async function compare(script, variables, sizes, databases) {
	const found = { long: [], short: [] }
	for (let round = 0; round < sizes.rounds; round++)
		for (const which of round % 2 ? ['short', 'long'] : ['long', 'short'])
			found[which].push(await latencies(databases[which], script, variables, sizes))
	const of = (q) => ({ long: found.long.map((list) => quantile(list, q)), short: found.short.map((list) => quantile(list, q)) })
	return { p99: of(0.99), p50: of(0.5) }
}

const noteOf = ({ long, short }) => `p50 ${median(long).toFixed(2)} and ${median(short).toFixed(2)} ms`

export async function months({ sizes }) {
	const databases = { long: await historyOf(LONG, sizes.monthly), short: await historyOf(SHORT, sizes.monthly) }
	const rows = []
	for (const type of ['customer', 'account']) {
		const recent = await compare(`timeline_${type}`, { hottest: sizes.hottest }, sizes, databases)
		rows.push(row(`timeline over ${LONG} months, ${type} with recent events, p99`, { unit: 'ms', ours: recent.p99.long, peer: `over ${SHORT}`,
			theirs: recent.p99.short, ratios: recent.p99.long.map((number, round) => number / recent.p99.short[round]), atMost: 1.5, note: noteOf(recent.p50) }))
		const rare = await compare(`timeline_rare_${type}`, { rare: RARE }, sizes, databases)
		rows.push(row(`timeline over ${LONG} months, ${type} with three events, p99`, { unit: 'ms', ours: rare.p99.long, atMost: 10, note: noteOf(rare.p50) }))
	}
	rows.push(row(`partitions of the log over ${LONG} months`, { unit: '', atMost: 30,
		ours: Number(await value(databases.long, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'atlas_events'::regclass")) }))
	return { rows, databases: Object.values(databases) }
}
