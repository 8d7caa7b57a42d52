/*
 * growth.mjs
 *		What a submission, linking, a timeline and a page of the log cost with
 *		ever more events in the log. All sizes are measured by turns; what is
 *		submitted is rolled back, so that a log keeps its size.
 */
import { median } from '../measure.mjs'
import { connect, pgbench } from '../server.mjs'
import { history } from './reading.mjs'

const EVENTS = 1000

/* Milliseconds an event of submitting and of linking, one call an event, two related objects each. */
async function costs(client, customers) {
	const timed = async (statement) => {
		const { rows: [{ 'QUERY PLAN': [plan] }] } = await client.query(`EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ${statement}`)
		return plan['Execution Time'] / EVENTS
	}
	await client.query('BEGIN')
	const submit = await timed(`SELECT submit_event(object_type => 'CUSTOMER', object_id => md5('customer-' || 1 + n * 7919 % ${customers})::uuid::text,
		name => 'Checkout Completed', payload => '{"total": 49.95}', related_objects => ARRAY[('ACCOUNT', md5('account-' || 1 + n % 100)::uuid, NULL),
			('CONVERSATION', n, NULL)]::atlas_object[]) FROM generate_series(1, ${EVENTS}) AS n`)
	const link = await timed(`SELECT atlas_link_events(${EVENTS})`)
	await client.query('ROLLBACK')
	return { submit, link }
}

async function page(database, script, sizes) {
	const { latencies } = await pgbench(database, script, { clients: 1, seconds: sizes.seconds, variables: { hottest: 10 }, isLogged: true })
	return median(latencies)
}

export async function growth({ sizes }) {
	const databases = []
	for (const events of sizes.growth) {
		const database = await history(events, sizes.customers)
		databases.push({ events, database, client: await connect(database), rounds: [] })
	}
	for (let round = 0; round <= sizes.rounds; round++)
		for (const { database, client, rounds } of databases) {
			const found = { ...await costs(client, sizes.customers), timeline: await page(database, 'timeline_customer', sizes),
				logs: await page(database, 'logs_newest', sizes) }
			/* The first round plans statements and fills caches. */
			if (round > 0) rounds.push(found)
		}
	for (const { client } of databases) await client.end()
	const series = (what) => databases.map(({ rounds }) => median(rounds.map((found) => found[what])))
	return {
		rows: [],
		growth: { unit: 'ms', events: sizes.growth,
			series: { 'submit an event': series('submit'), 'link an event': series('link'),
				'timeline page of 50': series('timeline'), 'newest 50 of the log': series('logs') } },
	}
}
