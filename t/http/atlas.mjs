/*
 * atlas.mjs
 *		What the HTTP tests have in common: where the servers are, requests,
 *		tokens, SQL, and waiting for a condition.
 *
 * script/test starts PostgreSQL, PostgREST and nginx and says where they are:
 * ATLAS_BASE_URL (nginx), ATLAS_POSTGREST_URL, ATLAS_PGURI (as superuser),
 * ATLAS_JWT_SECRET, ATLAS_SERVER (the folder of all three).
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import assert from 'node:assert/strict'

export const { ATLAS_BASE_URL: BASE_URL, ATLAS_POSTGREST_URL: POSTGREST_URL, ATLAS_PGURI: PGURI,
	ATLAS_JWT_SECRET: JWT_SECRET, ATLAS_SERVER: SERVER } = process.env
assert.ok(BASE_URL && POSTGREST_URL && PGURI && JWT_SECRET && SERVER, 'run by script/test, which starts the servers')

export const CUSTOMER = 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
export const AUDIENCE = 'atlas_events'

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

/* A token that is valid for an hour; claims add to these or replace them, undefined leaves one out. */
export function token(claims = {}, { secret = JWT_SECRET, header = { alg: 'HS256', typ: 'JWT' } } = {}) {
	const now = Math.floor(Date.now() / 1000)
	const signed = base64url(header) + '.' +
		base64url({ role: 'atlas_admin', aud: AUDIENCE, sub: 'test', exp: now + 3600, ...claims })
	return signed + '.' + createHmac('sha256', secret).update(signed).digest('base64url')
}

export const submitter = token({ role: 'atlas_submitter' })
export const reader = token({ role: 'atlas_reader' })
export const admin = token({ role: 'atlas_admin' })

/*
 * A request; the answer has status, reason, headers, text, and json if it is
 * JSON. A body that is no string or buffer is sent as JSON.
 */
export async function request(method, url, { as = admin, body, headers = {} } = {}) {
	const isRaw = body === undefined || typeof body === 'string' || body instanceof Uint8Array
	const response = await fetch(url, {
		method,
		headers: {
			...(as && { Authorization: `Bearer ${as}` }),
			...(body !== undefined && { 'Content-Type': 'application/json' }),
			...headers,
		},
		body: isRaw ? body : JSON.stringify(body),
	})
	const text = await response.text()
	const isJson = response.headers.get('content-type')?.includes('json') && text !== ''
	return { status: response.status, reason: response.statusText, headers: response.headers, text,
		json: isJson ? JSON.parse(text) : undefined }
}

/* Through nginx: get('/events?limit=1'), post('/events', {...}). */
export const get = (path, options) => request('GET', `${BASE_URL}/v1${path}`, options)
export const post = (path, body, options) => request('POST', `${BASE_URL}/v1${path}`, { body, ...options })

/* Of PostgREST itself. */
export const getDirectly = (path, options) => request('GET', `${POSTGREST_URL}${path}`, options)
export const postDirectly = (path, body, options) => request('POST', `${POSTGREST_URL}${path}`, { body, ...options })

/* Runs SQL as superuser, and returns what psql prints, without alignment. */
export function sql(statement) {
	return execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', PGURI],
		{ input: statement, encoding: 'utf8', env: { ...process.env, PGOPTIONS: '-c client_min_messages=warning' } }).trim()
}

/* Asks until the answer is true, for a minute at most, and returns it. */
export async function waitFor(what, condition) {
	const deadline = Date.now() + 60_000
	for (;;) {
		const answer = await condition()
		if (answer) return answer
		assert.ok(Date.now() < deadline, `not within a minute: ${what}`)
		await new Promise((resolve) => setTimeout(resolve, 50))
	}
}

/* Where the header Link of an answer leads; null when there is none. */
export function nextOf(answer) {
	const link = answer.headers.get('link')
	return link === null ? null : link.match(/^<(\S+)>; rel="next"$/)[1]
}

/* The answers from a URL on, along rel="next" until there is none, so many at most. */
export async function followLinks(first, as, most) {
	const answers = []
	for (let url = first, next; url; url = next && new URL(next, first).href) {
		const answer = await request('GET', url, { as })
		assert.equal(answer.status, 200, answer.text)
		answers.push(answer)
		assert.ok(answers.length <= most, 'the pages do not end')
		next = nextOf(answer)
	}
	return answers
}

/* An event that is accepted; fields add to it or replace. Its name is its own. */
export const event = (fields = {}) =>
	({ objectType: 'CUSTOMER', objectId: CUSTOMER, name: `Test ${randomUUID()}`, ...fields })

/* The one form of an error, through nginx; errors only with 400. */
export function assertError(answer, status, expected = {}) {
	assert.equal(answer.status, status, answer.text)
	const { errors, ...rest } = answer.json
	assert.deepEqual(Object.keys(rest).sort(), ['code', 'details', 'hint', 'message', 'requestId'])
	assert.equal(Array.isArray(errors), status === 400)
	assert.match(rest.requestId, /^[0-9a-f]{32}$/)
	assert.equal(answer.headers.get('x-request-id'), rest.requestId)
	for (const [key, value] of Object.entries(expected))
		value instanceof RegExp ? assert.match(String(rest[key] ?? errors), value) : assert.deepEqual(answer.json[key], value)
}

/* The sample request of the Events API. */
export const SAMPLE = `{"objectType": "CUSTOMER", "objectId": "c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e",
 "name": "Atlas Helpcenter", "description": "Viewed HelpCenter Article - How does it work?",
 "icon": "📖", "externalId": "195959",
 "payload": {"company": "Atlas", "hq": "Dellas", "give": "superpower", "to": "your agents", "filter": "all the agents"}}`

/* Tokens of a new tenant, in whose logs, timelines and rejections is nothing yet. */
export function newTenant() {
	const tenant = `tenant-${randomUUID()}`
	const as = (role, claims) => token({ role: `atlas_${role}`, tenant, ...claims })
	return { tenant, as, submitter: as('submitter'), reader: as('reader'), admin: as('admin') }
}

const DATABASE = new URL(PGURI).pathname.slice(1)

/* Runs a function while no event is linked, so that events stay PENDING. */
export async function withLinkingOff(run) {
	const state = () => sql('SELECT worker_state FROM atlas_events_status')
	sql(`ALTER DATABASE "${DATABASE}" SET atlas_events.linking = off; SELECT pg_reload_conf()`)
	try {
		await waitFor('no event is linked', () => state() === 'off')
		return await run()
	} finally {
		sql(`ALTER DATABASE "${DATABASE}" RESET atlas_events.linking; SELECT pg_reload_conf()`)
	}
}

/* Runs a function with a tenant whose log takes a minute to read, if nothing ends that. */
export async function withSlowReads(run) {
	const slow = newTenant()
	await post('/events', event(), { as: slow.submitter })
	sql(`CREATE FUNCTION public.http_test_slow(tenant text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
			IF tenant = '${slow.tenant}' THEN PERFORM pg_sleep(60); END IF;
			RETURN true;
		END $$;
		CREATE POLICY http_test_slow ON atlas_events AS RESTRICTIVE FOR SELECT USING (public.http_test_slow(tenant_id))`)
	try {
		await run(slow)
	} finally {
		sql('DROP POLICY http_test_slow ON atlas_events; DROP FUNCTION public.http_test_slow')
	}
}

export async function freePort() {
	const server = createServer().listen(0, '127.0.0.1')
	await once(server, 'listening')
	const { port } = server.address()
	server.close()
	await once(server, 'close')
	return port
}

export const nginxConf = () => readFileSync(join(SERVER, 'nginx/nginx.conf'), 'utf8')

/*
 * Starts another nginx, from a copy of the running configuration that edit()
 * has changed, until test t ends. prepare() may put files beside the copy.
 * Answers with its address, and its folder.
 */
export async function startNginx(t, edit = (conf) => conf, prepare = () => {}) {
	const folder = mkdtempSync(join(tmpdir(), 'atlas_nginx.'))
	t.after(() => rmSync(folder, { recursive: true, force: true }))
	chmodSync(folder, 0o755)
	prepare(folder)
	const port = await freePort()
	const conf = nginxConf().replace(/listen 127\.0\.0\.1:\d+;/, `listen 127.0.0.1:${port};`)
		.replaceAll(' logs/', ' ')
	writeFileSync(join(folder, 'nginx.conf'), edit(conf, port))
	const nginx = spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf'), '-g', 'daemon off;'],
		{ env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }, stdio: ['ignore', 'ignore', 'inherit'] })
	t.after(async () => {
		if (nginx.exitCode !== null) return
		nginx.kill('SIGTERM')
		await once(nginx, 'exit')
	})
	const base = `http://127.0.0.1:${port}`
	await waitFor('nginx listens', async () => {
		assert.equal(nginx.exitCode, null, 'nginx did not start')
		return fetch(base).then((answer) => answer.text().then(() => true), () => false)
	})
	return { base, port, folder }
}

/*
 * Sends bytes, and reads until the server closes. The answer has status,
 * reason, head (status line and headers), headerList, headers, text and json;
 * without an answer the status is 0.
 */
export const raw = async (base, bytes) => parseAnswer(await rawBytes(base, bytes))

/* All that is answered until the connection is closed. */
export function rawBytes(base, bytes) {
	const { hostname, port } = new URL(base)
	return new Promise((resolve) => {
		const parts = []
		const socket = connect(Number(port), hostname, () => socket.write(bytes))
		socket.on('data', (part) => parts.push(part))
		socket.on('error', () => {})
		socket.on('close', () => resolve(Buffer.concat(parts)))
	})
}

function parseAnswer(bytes) {
	const end = bytes.indexOf('\r\n\r\n')
	const head = bytes.subarray(0, Math.max(end, 0)).toString('latin1')
	const [, status = 0, reason = ''] = head.match(/^HTTP\/1\.[01] (\d{3}) ([^\r\n]*)/) ?? []
	const headerList = head.split('\r\n').slice(1).map((line) => line.split(/:[ \t]*(.*)/s, 2))
	const headers = new Headers(headerList)
	const body = bytes.subarray(end + 4)
	const text = (headers.get('transfer-encoding') === 'chunked' ? joinChunks(body) : body).toString()
	const isJson = headers.get('content-type')?.includes('json') && text !== ''
	return { status: Number(status), reason, head, headerList, headers, text, json: isJson ? JSON.parse(text) : undefined }
}

/* What follows the last chunk stays, to be seen. */
function joinChunks(body) {
	const parts = []
	for (let at = 0; ;) {
		const lineEnd = body.indexOf('\r\n', at)
		const size = parseInt(body.subarray(at, lineEnd).toString('latin1'), 16)
		if (!size) return Buffer.concat([...parts, body.subarray(lineEnd + 4)])
		parts.push(body.subarray(lineEnd + 2, lineEnd + 2 + size))
		at = lineEnd + 4 + size
	}
}
