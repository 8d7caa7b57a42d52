/*
 * tenants.mjs
 *		The newest page of the log and of PENDING of each tenant, of many tenants
 *		of very different size in one database: with nothing pending, with many
 *		events pending everywhere, with the newest events of all tenants pending,
 *		and with the newest of the largest tenant. The slowest tenant counts.
 */
import { median, row } from '../measure.mjs'
import { pgbench, setLinking, sql } from '../server.mjs'
import { history } from './reading.mjs'

const PAGES = 7		/* of each tenant, in a session of its own */
const PAGES_OF_SLOWEST = 101	/* once more of the slowest ones, which a moment of the machine may have made so */
const SLOWEST = 20

/* The median of the latencies of a tenant's pages, in ms. */
async function medianOf(database, script, tenant, transactions) {
	return median((await pgbench(database, script, { clients: 1, transactions, tenant: `tenant-${tenant}`, isLogged: true })).latencies)
}

/* The median of each tenant, the slowest tenant first. */
async function medians(database, script, tenants) {
	const found = []
	for (let tenant = 1; tenant <= tenants; tenant++)
		found.push({ tenant, ms: await medianOf(database, script, tenant, PAGES) })
	found.sort((a, b) => b.ms - a.ms)
	for (const one of found.slice(0, SLOWEST)) one.ms = await medianOf(database, script, one.tenant, PAGES_OF_SLOWEST)
	return found.sort((a, b) => b.ms - a.ms)
}

const CASES = [
	['nothing pending', null],
	['pending everywhere', 'ORDER BY md5(event_id::text)'],
	['the newest pending', 'ORDER BY event_id DESC'],
	["the largest tenant's newest pending", "AND tenant_id = 'tenant-1' ORDER BY event_id DESC"],
]

/* Puts events that are linked into the queue again, and takes those out that were in it. */
async function makePending(database, which, count) {
	await sql(database, 'DELETE FROM atlas_event_queue')
	await sql(database, `INSERT INTO atlas_event_queue (tenant_id, event_id, submitted_xid)
		SELECT tenant_id, event_id, pg_current_xact_id() FROM atlas_events WHERE related_objects IS NOT NULL ${which} LIMIT ${count}`)
	await sql(database, 'VACUUM ANALYZE atlas_event_queue')
}

export async function tenants({ sizes }) {
	const database = await history(sizes.large, sizes.customers, sizes.tenants)
	const rows = []
	for (const [what, which] of CASES) {
		if (which) await makePending(database, which, sizes.pending)
		for (const [name, script] of [['newest page of the log', 'logs_newest'], ['page of PENDING', 'logs_pending']]) {
			const found = await medians(database, script, sizes.tenants)
			const [slowest] = found
			rows.push(row(`${name}, slowest of ${sizes.tenants.toLocaleString('en')} tenants, ${sizes.large.toLocaleString('en')} events, ${what}, p50`, {
				unit: 'ms', ours: slowest.ms, atMost: 5, note: `tenant ${slowest.tenant}; of all tenants ${median(found.map(({ ms }) => ms)).toFixed(2)} ms` }))
		}
	}
	/* What is in the queue has its links, so it is not linked once more. */
	await sql(database, 'DELETE FROM atlas_event_queue')
	await setLinking(database, true)
	return { rows, databases: [database] }
}
