/*
 * examples.test.mjs
 *		The programs of examples/clients, run as its README says: what they
 *		print, and that an event is stored once if the answer gets lost.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import assert from 'node:assert/strict'
import { BASE_URL, CUSTOMER, PGURI, event, get, newTenant, post, sql, token, waitFor } from './atlas.mjs'

const FOLDER = fileURLToPath(new URL('../../examples/clients/', import.meta.url))
const README = readFileSync(`${FOLDER}/README.md`, 'utf8')
const ROLE = 'example_client'

const NOT_FOUND = 'submit it again once the object exists: There is no such object of type CUSTOMER.'
const CONFLICT = 'do not repeat it: The idempotency key was used before, with a different event.'
const tooLarge = (size) => `shorten it: atlas_events.max_event_size is 262144 bytes, the event has ${size}.`
const NO_NAME = 'name is required'
const BAD_ICON = 'must be one character (grapheme cluster) that shows, ' +
	'or an absolute http(s) URL of at most 2048 characters'

/* What each program prints after the event was stored twice; <1> is the event's id. */
const TIMELINE = 'PRIMARY <1> Order Shipped'
const EXPECTED = {
	'events.sh': [TIMELINE, '400, correct the event:', "   malformed_json: line 3, column 7: '}' expected",
		`404, ${NOT_FOUND}`, `409, ${CONFLICT}`, `413, ${tooLarge(300_105)}`],
	'events.mjs': [TIMELINE, 'PT400, correct the event:', `  /name required: ${NO_NAME}`, `  /icon invalid: ${BAD_ICON}`,
		`PT404, ${NOT_FOUND}`, `PT409, ${CONFLICT}`, `PT413, ${tooLarge(300_087)}`],
	'events.py': [TIMELINE, 'PT400, correct the event:', `  /name required: ${NO_NAME}`, `  /icon invalid: ${BAD_ICON}`,
		`PT404, ${NOT_FOUND}`, `PT409, ${CONFLICT}`, `PT413, ${tooLarge(300_094)}`],
	'Events.java': [TIMELINE, 'PT400, correct the event: ' + JSON.stringify([
		{ field: '/name', code: 'required', message: NO_NAME }, { field: '/icon', code: 'invalid', message: BAD_ICON }]),
	`PT404, ${NOT_FOUND}`, `PT409, ${CONFLICT}`, `PT413, ${tooLarge(300_105)}`],
}

/* The program in Java gets only the id of its event, which does not say whether it was stored before. */
const said = (program, isDuplicate) => (isDuplicate && program !== 'Events.java' ? 'stored before <1>' : 'stored <1>')

const commands = [...README.matchAll(/`([^`]+)` \|$/gm)].map(([, command]) => command)
const programOf = (command) => command.match(/[A-Za-z]+\.[a-z]+$/)[0]

before(() => sql(README.match(/```sql\n(.*?)```/s)[1]))
after(() => sql(`DROP OWNED BY ${ROLE}; DROP ROLE ${ROLE}`))

/* What a command of README prints, with numbers for ids, for a tenant and servers at these addresses. */
async function run(command, tenant, { api = new URL(BASE_URL), database = new URL(PGURI) } = {}) {
	const { stdout, stderr } = await promisify(execFile)('sh', ['-c', command], {
		cwd: FOLDER,
		env: { PATH: process.env.PATH, HOME: process.env.HOME, LANG: process.env.LANG,
			BASE_URL: api.origin, TOKEN: token({ role: 'demo_app', tenant }),
			PGHOST: database.hostname, PGPORT: database.port, PGDATABASE: database.pathname.slice(1),
			PGUSER: ROLE, TENANT: tenant },
	})
	const ids = []
	const lines = stdout.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => {
		if (!ids.includes(id)) ids.push(id)
		return `<${ids.indexOf(id) + 1}>`
	})
	return { lines: lines.trimEnd().split('\n'), stderr }
}

const eventsOf = (tenant) => sql(`SELECT string_agg(name, ', ') FROM atlas_events WHERE tenant_id = '${tenant}'`)

/*
 * Answers with an address that leads to a server. The first time that this
 * server says the word, the client does not hear it: the connection is cut.
 */
async function startRelay(t, address, word) {
	const state = { address: new URL(address), cuts: 0 }
	const relay = createServer((client) => {
		const server = connect(Number(new URL(address).port), new URL(address).hostname)
		const cut = () => [client, server].forEach((socket) => socket.destroy())
		server.on('data', (bytes) => {
			if (state.cuts > 0 || !bytes.includes(word)) return client.write(bytes)
			state.cuts++
			cut()
		})
		server.on('end', () => client.end())
		server.on('error', cut)
		client.on('error', cut)
		client.pipe(server)
	}).listen(0, '127.0.0.1')
	await once(relay, 'listening')
	t.after(() => relay.close())
	state.address.port = relay.address().port
	return state
}

test('README of examples/clients names all programs', () => {
	assert.deepEqual(commands.map(programOf).sort(), Object.keys(EXPECTED).sort())
})

for (const command of commands) {
	const program = programOf(command)

	test(`${program} prints what is expected`, async () => {
		const { tenant } = newTenant()
		const { lines, stderr } = await run(command, tenant)
		assert.deepEqual(lines, [said(program, false), said(program, true), ...EXPECTED[program]])
		assert.equal(stderr, '')
		assert.equal(eventsOf(tenant), 'Order Shipped')
	})

	test(`${program} stores its event once if it never hears that the event was stored`, async (t) => {
		const { tenant } = newTenant()
		const api = await startRelay(t, BASE_URL, 'HTTP/1.1 200')
		const database = await startRelay(t, PGURI, 'COMMIT\0')
		const { lines } = await run(command, tenant, { api: api.address, database: database.address })
		assert.equal(api.cuts + database.cuts, 1)
		assert.deepEqual(lines, [said(program, true), said(program, true), ...EXPECTED[program]])
		assert.equal(eventsOf(tenant), 'Order Shipped')
	})
}

test('search.mjs finds all events and customers, page by page', async () => {
	const tenant = newTenant()
	const names = ['1', '2', '3', '4', '5'].map((n) => `Caracal ${n}`)
	await post('/events/batch', names.map((name) => event({ name })), { as: tenant.submitter })
	await waitFor('all are found', async () => (await get('/search?q=caracal', { as: tenant.reader })).json.length === names.length)
	const { lines } = await run("node search.mjs 'caracal -nothing'", tenant.tenant)
	const label = sql(`SELECT name FROM customers WHERE id = '${CUSTOMER}'`)
	assert.deepEqual(lines, [...names.reverse().map((name) => `event ${label} ${name.replace('Caracal', '<mark>Caracal</mark>')}`), `customer ${label} 5`])
	assert.match(README, /`node search\.mjs '[^`]*'`/)
})
