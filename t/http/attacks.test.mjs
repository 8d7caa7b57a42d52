/*
 * attacks.test.mjs
 *		Requests that somebody sends who means no good, or whose program is
 *		broken: through nginx and to PostgREST itself. Each has an answer that
 *		is fixed beforehand, and none stores an event but those with 200.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import { readFileSync, statSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { randomUUID } from 'node:crypto'
import { BASE_URL, POSTGREST_URL, SERVER, CUSTOMER, admin, reader, assertError, event, get, getDirectly, post,
	postDirectly, raw, request, sql, waitFor } from './atlas.mjs'

const DEPTH = 100_000
const json = (fields) => JSON.stringify(event(fields))

/* An event with more text before its last brace. */
const eventWith = (text) => json().slice(0, -1) + ',' + text + '}'
const storedEvents = () => Number(sql('SELECT count(*) FROM atlas_events'))

const serverLog = `${SERVER}/data.log`
const accessLog = `${SERVER}/nginx/logs/access.log`
const textSince = (file, offset) => readFileSync(file).subarray(offset).toString()
let serverLogBegin, accessLogBegin

before(() => {
	serverLogBegin = statSync(serverLog).size
	accessLogBegin = statSync(accessLog).size
	sql(`CREATE TABLE IF NOT EXISTS attack_notes (id text PRIMARY KEY);
		SELECT atlas_register_object_type('attack_note', 'attack_notes')`)
})

after(() => {
	sql("SELECT atlas_unregister_object_type('attack_note'); DROP TABLE attack_notes")
})

/* The ways of an event into the database; each takes a body, and headers. */
const ways = {
	event: (body, headers) => post('/events', body, { headers }),
	batch: (body, headers) => post('/events/batch', Buffer.concat([Buffer.from('['), Buffer.from(body), Buffer.from(']')]),
		{ headers }),
	text: (body, headers) => postDirectly('/rpc/submit_event', body, { headers: { 'Content-Type': 'text/plain', ...headers } }),
	json: (body, headers) => postDirectly('/rpc/submit_event', body, { headers }),
}
const isThroughNginx = (way) => way === 'event' || way === 'batch'

/* A body of errors, that of a batch without its results. */
function assertErrorBody(answer, status, expected) {
	if (answer.json?.results) {
		const { accepted, rejected, results, ...body } = answer.json
		assert.deepEqual([accepted, rejected, results.length], [0, 1, 1])
		return assertError({ ...answer, json: body }, status, expected)
	}
	assertError(answer, status, expected)
}

/*
 * Sends each body each way, and compares the statuses with [event, batch,
 * text, json]; one status stands for all. Exactly those with 200 are stored.
 */
async function assertStatuses(cases) {
	const before = storedEvents()
	let accepted = 0
	for (const [what, body, statuses, headers] of cases) {
		const expected = Array.isArray(statuses) ? statuses : [statuses, statuses, statuses, statuses]
		for (const [i, [way, send]] of Object.entries(ways).entries()) {
			const answer = await send(body, headers)
			assert.equal(answer.status, expected[i], `${what}, ${way}: ${answer.text.slice(0, 500)}`)
			if (answer.status === 200) accepted++
			else if (isThroughNginx(way)) assertErrorBody(answer, expected[i])
			else assert.equal(typeof answer.json.message, 'string', what)
		}
	}
	assert.equal(storedEvents() - before, accepted, 'stored, and answered with 200')
}

/* Bytes after a beginning of a description. */
const withBytes = (...bytes) => Buffer.concat([Buffer.from(json().slice(0, -1) + ',"description":"'), Buffer.from([...bytes, 0x22, 0x7d])])

test('a body of 10 MB is 413', async () => {
	const big = json({ payload: { text: 'x'.repeat(10_000_000) } })
	await assertStatuses([['10 MB', big, 413]])
	const before = storedEvents()
	for (const path of ['/events', '/events/batch', '/rpc/submit_event', '/rpc/submit_events']) {
		const body = new Blob([big]).stream()
		const answer = await fetch(`${BASE_URL}/v1${path}`,
			{ method: 'POST', body, duplex: 'half', headers: { Authorization: `Bearer ${admin}` } })
		const text = await answer.text()
		assertError({ status: answer.status, headers: answer.headers, text, json: JSON.parse(text) }, 413)
	}
	assert.equal(storedEvents(), before)
})

test('JSON that is nested 100,000 levels deep is refused, wherever it is', async () => {
	const deep = '['.repeat(DEPTH) + ']'.repeat(DEPTH)
	const deepObjects = '{"a":'.repeat(DEPTH) + '1' + '}'.repeat(DEPTH)
	/* What is too deep for PostgreSQL's json type is 413 in PostgREST, before any function of ours. */
	await assertStatuses([
		['payload', eventWith(`"payload":{"a":${deep}}`), [400, 400, 400, 413]],
		['payload of objects', eventWith(`"payload":${deepObjects}`), [413, 400, 413, 413]],
		['a field', eventWith(`"description":${deep}`), [400, 400, 400, 413]],
		['related objects', eventWith(`"relatedObjects":${deep}`), [400, 400, 400, 413]],
		['an unknown field', eventWith(`"x":${deep}`), [400, 400, 400, 413]],
		['the whole', deep, 400],
		['the whole, never closed', '['.repeat(DEPTH), 400],
		['the whole, of objects', deepObjects, [413, 400, 413, 413]],
	])
	const answer = await post('/events/batch', `[${json()},${deep}]`)
	assert.deepEqual([answer.status, answer.json.accepted, answer.json.rejected], [207, 1, 1])
})

test('100,000 keys are 413 by their size; what fits is stored as payload, and 400 as fields', async () => {
	const keys = (n) => Array.from({ length: n }, (_, i) => `"k${i}":1`).join(',')
	await assertStatuses([
		['payload', eventWith(`"payload":{${keys(100_000)}}`), [413, 400, 413, 413]],
		['fields', eventWith(keys(100_000)), [413, 400, 413, 413]],
		['payload that fits', eventWith(`"payload":{${keys(20_000)}}`), 200],
		['fields that fit', eventWith(keys(20_000)), 400],
	])
})

test('bytes that are no UTF-8 are 400', () => assertStatuses([
	['0xff 0xfe', withBytes(0xff, 0xfe), 400],
	['latin1', withBytes(0xe4), 400],
	['overlong', withBytes(0xc0, 0xaf), 400],
	['a surrogate', withBytes(0xed, 0xa0, 0x80), 400],
	['beyond Unicode', withBytes(0xf4, 0x90, 0x80, 0x80), 400],
	['UTF-16', Buffer.from(json(), 'utf16le'), 400],
	['gzip', gzipSync(json()), 400, { 'Content-Encoding': 'gzip' }],
	['a byte order mark', '\ufeff' + json(), 400],
]))

test('NUL, lone surrogates and control characters are 400', () => assertStatuses([
	['a NUL byte', withBytes(0), 400],
	['a NUL byte in the payload', eventWith('"payload":{"a":"\0"}'), 400],
	['a NUL byte behind', json() + '\0', 400],
	['an escaped NUL', eventWith('"description":"a\\u0000b"'), 400],
	['an escaped NUL in the payload', eventWith('"payload":{"a":"\\u0000"}'), 400],
	['a lone high surrogate', eventWith('"description":"\\ud800"'), 400],
	['a lone low surrogate', eventWith('"payload":{"a":"\\udc00"}'), 400],
	['a control character', withBytes(10), 400],
	['two events', json() + json(), 400],
].map(([what, body, status]) => [what, body, what === 'two events' ? status : status])))

test('duplicate keys are 400, in the payload the last one counts', async () => {
	await assertStatuses([
		['a field', eventWith('"name":"again"'), 400],
		['a field by an escape', eventWith('"n\\u0061me":"again"'), 400],
		['a related object', eventWith('"relatedObjects":[{"objectType":"ACCOUNT","objectType":"USER","objectId":"1"}]'), 400],
		['payload', eventWith('"payload":{"a":1,"a":2}'), 200],
	])
	const { name } = JSON.parse(json())
	await post('/events', `{"objectType":"CUSTOMER","objectId":"${CUSTOMER}","name":"${name}","payload":{"a":1,"a":2}}`)
	assert.deepEqual((await get(`/events?name=eq.${encodeURIComponent(name)}`)).json[0].payload, { a: 2 })
})

test('a body of another type is 400', () => assertStatuses(
	['', ' ', 'null', '1', '"x"', '[]', 'nonsense', `${json()}x`, '{', `{${json()}}`]
		.filter((body) => body.trim() !== '' || body === ' ')
		.map((body) => [JSON.stringify(body), body, body === ' ' ? [400, 200, 400, 400] : 400])))
