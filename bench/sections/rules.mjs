/*
 * rules.mjs
 *		What rules cost: links while rules are due, events for which there are no
 *		rules, many, or many for other names, one object with very many events, and the time
 *		from a commit to the end of an action. Also atlas_has_event() for each customer.
 */
import { byTurns, milliseconds, quantile, row } from '../measure.mjs'
import { connect, disconnect, isDone, pgbench, setLinking, sleep, sql, value, waitFor } from '../server.mjs'
import { uuidOf, variables } from '../events.mjs'
import { fillQueue, makeLog, runLinker } from './linker.mjs'

const DATABASE = 'bench'
const CONDITION = '$.payload.total > 100 && $.payload.currency == "EUR"'

/* Makes rules, which count for the events that are there as well. */
async function makeRules(count, arguments_) {
	await sql(DATABASE, `DO $$ BEGIN
		SET LOCAL client_min_messages = warning;
		PERFORM atlas_create_rule('rule ' || n, ${arguments_}) FROM generate_series(1, ${count}) n;
		END $$`)
	await sql(DATABASE, "UPDATE atlas_rules SET since = '-infinity'")
}

async function dropRules() {
	await sql(DATABASE, 'TRUNCATE atlas_rules, atlas_rule_hits, atlas_rule_matches, atlas_rule_actions, atlas_rule_cooldowns, atlas_event_work')
}

/* Has the rules evaluated for all events of the log, and answers with events a second. */
async function evaluate(count) {
	await sql(DATABASE, 'TRUNCATE atlas_event_work')
	await sql(DATABASE, 'INSERT INTO atlas_event_work (event_id, submitted_xid, what) SELECT event_id, pg_current_xact_id(), 4 FROM atlas_events')
	await sql(DATABASE, 'VACUUM ANALYZE atlas_event_work')
	const ms = await milliseconds(async () => {
		await setLinking(DATABASE, true)
		while (await value(DATABASE, 'SELECT EXISTS (SELECT FROM atlas_event_work)')) await sleep(5)
	})
	await setLinking(DATABASE, false)
	return count / ms * 1000
}

/* Evaluation with one set of rules, compared with that without rules for the type. */
async function compareEvaluation(sizes, count, arguments_) {
	const withRules = (number, given) => async () => {
		await dropRules()
		await makeRules(number, given)
		return evaluate(sizes.backlog)
	}
	const { ours, peers } = await byTurns(sizes.rounds, withRules(count, arguments_), { none: withRules(1, "'TICKET', 'No such event'") })
	return { ours, theirs: peers.none.values, ratios: peers.none.ratios }
}

/* Links of a backlog, with rules for all of its events and without; the rules are due then. */
async function linksBesideRules(sizes) {
	const link = async () => {
		await fillQueue(DATABASE)
		return (await runLinker(DATABASE, sizes.backlog)).rate
	}
	const { ours, peers } = await byTurns(sizes.rounds, async () => {
		await dropRules()
		await makeRules(100, `'CUSTOMER', 'Checkout Completed', '${CONDITION.replace('100', '1000000')}'`)
		return link()
	}, {
		without: async () => {
			await dropRules()
			return link()
		},
	})
	return { ours, theirs: peers.without.values, ratios: peers.without.ratios }
}

/*
 * One object with very many hits: each further event is linked and evaluated alone, by hand, in one transaction for
 * all of them, so that the disk is not waited for. By turns with events that no rule counts.
 */
async function oneObject(sizes) {
	const hits = sizes.backlog / 10
	const object = uuidOf('customer-1')
	await dropRules()
	await makeRules(1, "'CUSTOMER', 'Payment Failed', times => 3, within => '7 days'")
	await sql(DATABASE, `SELECT count(submit_event('CUSTOMER', '${object}', 'Payment Failed', occurred_at => now() - n * interval '7 days' / ${hits})) FROM generate_series(1, ${hits}) n`)
	await sql(DATABASE, 'SELECT atlas_link_events(10000000)')
	await sql(DATABASE, 'VACUUM ANALYZE atlas_rule_hits')
	const client = await connect(DATABASE)
	const times = { 'Payment Failed': [], 'Payment Made': [] }
	await client.query('BEGIN')
	for (let i = 0; i < 1000; i++) {
		const name = Object.keys(times)[i % 2]
		await client.query(`SELECT submit_event('CUSTOMER', '${object}', '${name}')`)
		times[name].push(await milliseconds(() => client.query('SELECT atlas_link_events(1)')))
	}
	await client.query('COMMIT')
	await client.end()
	return times
}

/* From a commit to the end of the action, at so many events a second. */
async function timeToAction(sizes, rate) {
	await dropRules()
	await sql('postgres', 'ALTER SYSTEM SET atlas_events.rule_match_limit = 0')
	await setLinking(DATABASE, true)
	await sql(DATABASE, 'CREATE TABLE IF NOT EXISTS acted (match jsonb)')
	await sql(DATABASE, "CREATE OR REPLACE FUNCTION act(jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.acted VALUES ($1)'")
	await makeRules(1, "'CUSTOMER', 'Checkout Completed', action => 'act(jsonb)'")
	await pgbench(DATABASE, 'ours_none', { seconds: sizes.latencySeconds + 2, rate, variables: variables(sizes.customers) })
	await waitFor('all actions are done', async () => await isDone(DATABASE) && !await value(DATABASE, 'SELECT EXISTS (SELECT FROM atlas_rule_actions)'))
	const times = (await sql(DATABASE, `SELECT extract(epoch FROM m.acted_at - e.received_at) * 1000 AS ms
		FROM atlas_rule_matches m JOIN atlas_events e USING (tenant_id, event_id)
		WHERE e.received_at > (SELECT min(matched_at) FROM atlas_rule_matches) + interval '2 s'`)).map(({ ms }) => Number(ms))
	await setLinking(DATABASE, false)
	await sql('postgres', 'ALTER SYSTEM RESET atlas_events.rule_match_limit')
	await sql(DATABASE, 'DROP FUNCTION act; DROP TABLE acted')
	return times
}

/* Microseconds a customer. */
async function hasEvent(customers, arguments_) {
	const count = await value(DATABASE, `SELECT count(*) FROM ${customers}`)
	const client = await connect(DATABASE)
	const query = `SELECT count(*) FROM ${customers} c WHERE atlas_has_event('CUSTOMER', c.id::text, ${arguments_})`
	await client.query(query)
	const times = []
	for (let i = 0; i < 5; i++) times.push(await milliseconds(() => client.query(query)) * 1000 / Number(count))
	await client.end()
	return times
}

export async function rules({ sizes }) {
	const count = sizes.backlog
	await makeLog(DATABASE, sizes)
	const links = await linksBesideRules(sizes)
	const otherNames = await compareEvaluation(sizes, 1000, "'CUSTOMER', 'Other ' || n")
	const hundred = await compareEvaluation(sizes, 100, `'CUSTOMER', 'Checkout Completed', '${CONDITION.replace('100', '1000000')}'`)
	const { 'Payment Failed': counted, 'Payment Made': others } = await oneObject(sizes)
	const action = await timeToAction(sizes, 500)
	await dropRules()

	await sql(DATABASE, 'CREATE TABLE quiet AS SELECT gen_random_uuid() AS id FROM generate_series(1, 10000)')
	const quiet = await hasEvent('quiet', "'Checkout Completed', within => '7 days'")
	await sql(DATABASE, 'DROP TABLE quiet')
	await setLinking(DATABASE, true)
	await disconnect(DATABASE)

	const what = `${count.toLocaleString('en')} events`
	return {
		rows: [
			row(`links, ${what}, while 100 rules are due`, { unit: 'events/s', ...links, peer: 'without rules', atLeast: 0.9 }),
			row(`rules evaluated, ${what}, 1,000 rules for other names`, { unit: 'events/s', ...otherNames, peer: 'no rules for the type', atLeast: 1 / 1.1 }),
			row(`rules evaluated, ${what}, 100 rules with two comparisons`, { unit: 'events/s', ours: hundred.ours, atLeast: 8000 }),
			row(`rule of 3 within 7 days, object with ${(count / 10).toLocaleString('en')} hits, p99 of what it takes more than linking`, {
				unit: 'ms', ours: quantile(counted, 0.99) - quantile(others, 0.99), atMost: 2,
				note: `p50 ${(quantile(counted, 0.5) - quantile(others, 0.5)).toFixed(2)} ms`,
			}),
			row('from commit to the end of the action, 500 events/s, p99', { unit: 'ms', ours: quantile(action, 0.99), atMost: 250, note: `p50 ${quantile(action, 0.5).toFixed(0)} ms, ${action.length} actions` }),
			row('atlas_has_event(), customers without events', { unit: 'µs', ours: quiet, atMost: 10 }),
		],
	}
}
