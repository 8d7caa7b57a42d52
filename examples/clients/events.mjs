/*
 * events.mjs
 *		atlas_events with pg: submits an event with an idempotency key, reads a
 *		timeline, and handles each kind of refusal.
 *
 * The connection is that of the environment (PGHOST, PGDATABASE and so on),
 * the tenant is TENANT.
 */
import { randomUUID } from 'node:crypto'
import pg from 'pg'

const ATTEMPTS = 3
const CUSTOMER = 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
const { TENANT = '' } = process.env

const pool = new pg.Pool()
/*
 * If a connection is lost, its query fails, and the pool makes another one.
 * Without these listeners the process would end as well.
 */
pool.on('error', () => {})
pool.on('connect', (client) => client.on('error', () => {}))

/*
 * Returns what work(client) returns, which runs in a transaction of the tenant.
 *
 * If the connection is lost, even during the commit, nobody knows whether the
 * event was stored. All of it is done again then, on another connection: with
 * its idempotency key the event is stored once.
 */
async function inTransaction(work) {
	for (let attempt = 1; ; attempt++) {
		let client
		let isBroken = false
		try {
			client = await pool.connect()
			await client.query('BEGIN')
			/* This is SET LOCAL with a parameter: the next user of the connection has no tenant. */
			await client.query("SELECT set_config('atlas_events.tenant', $1, true)", [TENANT])
			const result = await work(client)
			await client.query('COMMIT')
			return result
		} catch (error) {
			await client?.query('ROLLBACK').catch(() => { isBroken = true })
			if (attempt === ATTEMPTS || !isWorthARetry(error)) throw error
			console.error(`trying again: ${error.message}`)
		} finally {
			client?.release(isBroken)
		}
	}
}

/* A lost connection is no error of the server's; 57P is a restart, 40 a deadlock, 53 a lack of resources. */
const isWorthARetry = (error) => !(error instanceof pg.DatabaseError) || /^(08|40|53|57P)/.test(error.code)

/* Submits an event, and says what became of it. */
async function submit(event) {
	try {
		const { rows: [{ receipt }] } = await inTransaction((client) =>
			client.query('SELECT submit_event($1) AS receipt', [JSON.stringify(event)]))
		console.log(receipt.duplicate ? 'stored before' : 'stored', receipt.eventId)
	} catch (error) {
		handle(error)
	}
}

/* What to do about an event that was refused. DETAIL says why, of PT400 as a JSON array of all problems. */
function handle(error) {
	switch (error.code) {
		case 'PT400':
			console.log('PT400, correct the event:')
			for (const { field, code, message } of JSON.parse(error.detail))
				console.log(`  ${field} ${code}: ${message}`)
			break
		case 'PT404':
			console.log(`PT404, submit it again once the object exists: ${error.detail}`)
			break
		case 'PT409':
			console.log(`PT409, do not repeat it: ${error.detail}`)
			break
		case 'PT413':
			console.log(`PT413, shorten it: ${error.detail}`)
			break
		default:
			throw error
	}
}

/* The newest events of an object. */
async function timeline(objectType, objectId, maxEvents) {
	const { rows } = await inTransaction((client) => client.query(
		'SELECT role, event_id, name FROM atlas_timeline($1, $2, max_events => $3)', [objectType, objectId, maxEvents]))
	return rows
}

/*
 * The key is made of what the event is about, so that it is the same whenever
 * and wherever this event is submitted again.
 */
const order = randomUUID()
const shipped = {
	objectType: 'CUSTOMER', externalId: '195959', name: 'Order Shipped',
	payload: { order, carrier: 'DHL' },
	relatedObjects: [{ objectType: 'TICKET', objectId: '19734' }],
	idempotencyKey: `order-${order}-shipped`,
}
const refused = { objectType: 'CUSTOMER', externalId: '195959', name: 'Order Refused' }

await submit(shipped)
await submit(shipped)
for (const { role, event_id: eventId, name } of await timeline('CUSTOMER', CUSTOMER, 5))
	console.log(role, eventId, name)

await submit({ ...refused, name: null, icon: 'ab' })
await submit({ ...refused, externalId: '0' })
await submit({ ...shipped, payload: { order, carrier: 'UPS' } })
await submit({ ...refused, description: 'x'.repeat(300_000) })
await pool.end()
