/*
 * order.mjs
 *		Events of one customer that are stamped with the same second and come one
 *		after the other through the sessions of a pool: how many timelines have
 *		them in another order than that in which they came.
 */
import { row } from '../measure.mjs'
import { connect, sql } from '../server.mjs'
import { uuidOf } from '../events.mjs'

const SESSIONS = 8
const EVENTS = 64
const TIMELINES = 10

export async function order() {
	const pool = await Promise.all(Array.from({ length: SESSIONS }, () => connect('bench')))
	let wrong = 0
	for (let timeline = 1; timeline <= TIMELINES; timeline++) {
		const customer = uuidOf(`customer-${900 + timeline}`)
		for (let i = 0; i < EVENTS; i++)
			await pool[(i * 5) % SESSIONS].query("SELECT submit_event(object_type => 'CUSTOMER', object_id => $1, name => $2, occurred_at => date_trunc('second', now()) - interval '1 minute')",
				[customer, `Pooled ${i}`])
		const names = (await sql('bench', "SELECT name FROM atlas_timeline('CUSTOMER', $1, NULL, 1000)", [customer])).map(({ name }) => name)
			.filter((name) => name.startsWith('Pooled '))
		const came = Array.from({ length: EVENTS }, (_, i) => `Pooled ${EVENTS - 1 - i}`)
		if (JSON.stringify(names) !== JSON.stringify(came)) wrong++
	}
	await Promise.all(pool.map((client) => client.end()))
	return { rows: [row(`timelines of ${EVENTS} events stamped with whole seconds in ${SESSIONS} sessions, in another order than they came, of ${TIMELINES}`,
		{ unit: '', ours: wrong, atMost: 0 })] }
}
