/*
 * atlas.mjs
 *		What the HTTP tests have in common: where the servers are, requests,
 *		tokens, SQL, and waiting for a condition.
 *
 * script/test starts PostgreSQL, PostgREST and nginx and says where they are:
 * ATLAS_BASE_URL (nginx), ATLAS_POSTGREST_URL, ATLAS_PGURI (as superuser),
 * ATLAS_JWT_SECRET, ATLAS_SERVER (the folder of all three).
 */
import { execFileSync } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
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
		{ input: statement, encoding: 'utf8' }).trim()
}

/* Asks until the answer is true, for 20 s at most, and returns it. */
export async function waitFor(what, condition) {
	const deadline = Date.now() + 20_000
	for (;;) {
		const answer = await condition()
		if (answer) return answer
		assert.ok(Date.now() < deadline, `not within 20 s: ${what}`)
		await new Promise((resolve) => setTimeout(resolve, 50))
	}
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
