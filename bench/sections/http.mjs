/*
 * http.mjs
 *		An event over HTTP, and PostgREST inserting one row into a bare table:
 *		both through nginx, and both directly at PostgREST. The load is wrk's.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { byTurns, median, milliseconds, row } from '../measure.mjs'
import { drain, sql } from '../server.mjs'
import { PAYLOAD, uuidOf } from '../events.mjs'

const run = promisify(execFile)
const { BENCH_BASE_URL: BASE_URL, BENCH_POSTGREST_URL: POSTGREST_URL, BENCH_TOKEN: TOKEN } = process.env
const CUSTOMER = uuidOf('customer-7')
const FIELDS = { name: 'Checkout Completed', description: 'Paid with credit card', icon: '🛒', payload: JSON.parse(PAYLOAD) }
const EVENT = JSON.stringify({ objectType: 'CUSTOMER', objectId: CUSTOMER, ...FIELDS })
const ROW = JSON.stringify({ object_type: 'CUSTOMER', object_id: CUSTOMER, external_id: 'C-7', ...FIELDS })

/* The bare table: same columns, same indexes, in the schema that PostgREST serves. */
async function makeTable() {
	await sql('bench', `CREATE TABLE atlas_api.bare_events (LIKE peer.events INCLUDING ALL);
		ALTER TABLE atlas_api.bare_events ALTER event_id SET DEFAULT peer.make_id(),
			ALTER occurred_at SET DEFAULT now(), ALTER received_at SET DEFAULT now();
		GRANT USAGE ON SCHEMA peer TO demo_app; GRANT USAGE ON SEQUENCE peer.ids TO demo_app;
		GRANT INSERT ON atlas_api.bare_events TO demo_app;
		NOTIFY pgrst, 'reload schema'`)
}

/* Sends a body until it is accepted: PostgREST reads the schema anew. */
async function waitUntilServed(url, body) {
	for (let i = 0; ; i++) {
		const answer = await fetch(url, { method: 'POST', body, headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' } })
		const text = await answer.text()
		if (answer.ok) return
		if (i === 100) throw new Error(`${url}: ${answer.status} ${text}`)
		await new Promise((resolve) => { setTimeout(resolve, 100) })
	}
}

async function requests(url, body, seconds) {
	const folder = mkdtempSync(join(tmpdir(), 'atlas_bench.'))
	try {
		const script = join(folder, 'post.lua')
		writeFileSync(script, `wrk.method = 'POST'\nwrk.headers['Authorization'] = 'Bearer ${TOKEN}'\n` +
			`wrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[${body}]==]\n`)
		const { stdout } = await run('wrk', ['-t', '1', '-c', '8', '-d', `${seconds}s`, '-s', script, url])
		const refused = stdout.match(/Non-2xx or 3xx responses: (\d+)/)
		if (refused) throw new Error(`${url}: ${refused[0]}`)
		return Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)[1])
	} finally {
		rmSync(folder, { recursive: true })
	}
}

/* The deepest page of the log that is sent, in ms, after 1,050 events at least. */
async function deepPages() {
	const found = []
	for (let i = 0; i < 20; i++)
		found.push(await milliseconds(async () => {
			const answer = await fetch(`${BASE_URL}/v1/events?offset=1000&limit=50`, { headers: { Authorization: `Bearer ${TOKEN}` } })
			const page = await answer.text()
			if (!answer.ok || JSON.parse(page).length !== 50) throw new Error(`GET /v1/events: ${answer.status} ${page.slice(0, 500)}`)
		}))
	return found
}

export async function http({ sizes }) {
	await makeTable()
	const rows = []
	for (const [how, ours, bare] of [
		['', `${BASE_URL}/v1/events`, `${BASE_URL}/v1/bare_events`],
		[', directly at PostgREST', `${POSTGREST_URL}/rpc/submit_event`, `${POSTGREST_URL}/bare_events`],
	]) {
		await waitUntilServed(bare, ROW)
		await waitUntilServed(ours, EVENT)
		const { ours: rates, peers } = await byTurns(sizes.rounds, () => requests(ours, EVENT, sizes.httpSeconds),
			{ bare: () => requests(bare, ROW, sizes.httpSeconds) })
		rows.push(row(`POST /v1/events${how}`, { unit: 'requests/s', ours: rates, peer: 'PostgREST, a row of a bare table',
			theirs: peers.bare.values, ratios: peers.bare.ratios, atLeast: 0.85 }))
	}
	await drain('bench')
	rows.push(row('GET /v1/events?offset=1000&limit=50, p50', { unit: 'ms', ours: median(await deepPages()), atMost: 150 }))
	return { rows }
}
