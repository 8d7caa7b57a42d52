/*
 * attacks.test.mjs
 *		Requests that somebody sends who means no good, or whose program is
 *		broken: through nginx and to PostgREST itself. Each has an answer that
 *		is fixed beforehand, and none stores an event but those with 200.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { randomUUID } from 'node:crypto'
import { BASE_URL, POSTGREST_URL, SERVER, CUSTOMER, admin, reader, assertError, event, get, getDirectly, post,
	postDirectly, raw, rawBytes, request, sql, waitFor } from './atlas.mjs'

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
	['gzip', gzipSync(json()), 400],
	['a byte order mark, which is skipped before the whole', '\ufeff' + json(), [200, 400, 200, 400]],
]))

test('a body that is compressed is 415, which PostgREST says if it did not have to parse it first', () => assertStatuses([
	['gzip', gzipSync(json()), [415, 415, 415, 400], { 'Content-Encoding': 'gzip' }],
	['what is not gzip', json(), 415, { 'Content-Encoding': 'gzip' }],
	['several', json(), 415, { 'Content-Encoding': 'identity, gzip' }],
	['an encoding that there is not', json(), 415, { 'Content-Encoding': 'x /v1/' }],
	['identity', json(), 200, { 'Content-Encoding': 'identity' }],
	['Identity', json(), 200, { 'Content-Encoding': 'Identity' }],
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
]))

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

test('what is no JSON object is 400', () => assertStatuses(
	['null', '1', '"x"', '[1]', 'nonsense', json() + 'x', json() + json(), '{', `{${json()}}`]
		.map((body) => [body, body, 400])))

/* Text that would do something if it were taken for more than text. */
const hostile = ['a\r\nEvil: 1', 'a\nEvil: 1', 'Ä€😀', "'; DROP TABLE customers; --", "' OR '1'='1", '$1', '%s%n', '\\\'', '%0d%0aEvil: 1',
	'<script>', '"}],"code":"PT200"', 'a\u2028b', 'a\x7fb']
const fieldStatuses = { objectType: 400, objectId: 404, externalId: 409, name: 200, description: 200, icon: 400, payload: 400,
	relatedObjects: 400, occurredAt: 400 }

/* Names are of one line; a related object is looked up later, whatever it is. */
const statusOf = (field, text) => field === 'name' && /[\p{Cc}\u2028]/u.test(text) ? 400 : fieldStatuses[field]

test('CRLF, SQL and other than ASCII have the status of the field they are in, and are text', async () => {
	/* A batch of which nothing is stored is 400, whatever the reason. */
	const each = (status) => status === 200 ? 200 : [status, 400, status, status]
	await assertStatuses(hostile.flatMap((text) => Object.keys(fieldStatuses).map((field) => [
		`${field} ${JSON.stringify(text)}`, json({ [field]: text }), each(statusOf(field, text))])))
	await assertStatuses(hostile.map((text) => [`as a related object: ${text}`,
		json({ relatedObjects: [{ objectType: text, objectId: text, [text]: text }] }), 200]))
	await assertStatuses(hostile.map((text) => [`as the name of a field: ${text}`, json({ [text]: 1 }), 400]))
	for (const text of hostile) {
		const sent = event({ description: text, payload: { [text]: text }, idempotencyKey: text + randomUUID(),
			relatedObjects: [{ objectType: 'ACCOUNT', objectId: text, externalId: text }] })
		const { eventId } = (await post('/events', sent)).json
		const { json: logged } = await get(`/events/${eventId}`)
		assert.deepEqual([logged.description, logged.payload, logged.relatedObjects[0].objectId],
			[text, { [text]: text }, text])
	}
})

/* A request byte for byte. Header values are bytes, one character each. */
function rawRequest(base, method, path, { headers = {}, body = '', as = admin } = {}) {
	const lines = { Host: 'localhost', Authorization: `Bearer ${as}`, Connection: 'close',
		...(body && !('Transfer-Encoding' in headers) && { 'Content-Length': Buffer.byteLength(body) }), ...headers }
	const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`).join('')
	return raw(base, Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1'), Buffer.from(body)]))
}

const phrases = {}
const knownHeaders = new Set([
	'server', 'date', 'content-type', 'content-length', 'transfer-encoding', 'connection', 'content-range',
	'content-location', 'x-request-id', 'x-error-details', 'x-error-hint', 'link', 'allow', 'preference-applied',
	'cache-control', 'x-content-type-options', 'content-security-policy', 'referrer-policy', 'retry-after',
	'www-authenticate', 'vary', 'content-profile', 'access-control-allow-origin',
])

/* One answer, whose head is ASCII, with the phrase of its status, and with no header that nobody meant to send. */
function assertHead(answer, status, server = 'nginx') {
	assert.equal(answer.status, status, answer.text.slice(0, 1000))
	assert.match(answer.head, /^[\x20-\x7e\r\n]*$/)
	assert.match(answer.reason, /^[A-Za-z -]+$/)
	phrases[`${server} ${status}`] ??= answer.reason
	assert.equal(answer.reason, phrases[`${server} ${status}`])
	for (const [name] of answer.headerList) assert.ok(knownHeaders.has(name.toLowerCase()), answer.head)
	assert.equal(answer.text.match(/HTTP\/1\.[01] \d\d\d/g), null, 'a second answer')
}

/* Through nginx, with the one body of errors. */
async function assertRaw(method, path, options, status) {
	const answer = await rawRequest(BASE_URL, method, path, options)
	assertHead(answer, status)
	if (status >= 400 && method !== 'HEAD') assertErrorBody(answer, status)
	return answer
}

test('nothing of an event reaches the status line or a header', async () => {
	for (const text of hostile)
		for (const field of [...Object.keys(fieldStatuses), text]) {
			const status = statusOf(field, text) ?? 400
			const body = json({ [field]: text })
			assertHead(await rawRequest(BASE_URL, 'POST', '/v1/events', { body }), status)
			assertHead(await rawRequest(POSTGREST_URL, 'POST', '/rpc/submit_event',
				{ body, headers: { 'Content-Type': 'text/plain' } }), status, 'PostgREST')
		}
	assertHead(await rawRequest(BASE_URL, 'POST', '/v1/events', { body: json({ payload: { a: '\r\nÄ'.repeat(100_000) } }) }), 413)
})

test('the header Idempotency-Key is ASCII, or 400', async () => {
	const submit = (key, status) => assertRaw('POST', '/v1/events', { body: json(), headers: { 'Idempotency-Key': key } }, status)
	await submit("'; DROP TABLE customers; --" + randomUUID(), 200)
	await submit('a'.repeat(223) + randomUUID().slice(0, 32), 200)
	for (const key of ['a'.repeat(256), 'a'.repeat(7000), 'a\0b', 'a\rb', 'a\x01b', '\xe4', '\xc3\xa4', '\xff\xfe', '\xed\xa0\x80'])
		await submit(key, 400)
	assert.equal((await postDirectly('/rpc/submit_event', event(), { headers: { 'Idempotency-Key': '' } })).status, 400)
	await assertRaw('POST', '/v1/events/batch', { body: `[${json()}]`, headers: { 'Idempotency-Key': 'x' } }, 400)

	const key = "' OR 1=1 --" + randomUUID()
	const sent = event()
	const first = await post('/events', { ...sent, idempotencyKey: key })
	const second = await assertRaw('POST', '/v1/events', { body: JSON.stringify(sent), headers: { 'Idempotency-Key': key } }, 200)
	assert.deepEqual([second.json.eventId, second.json.duplicate], [first.json.eventId, true])

	const before = storedEvents()
	for (const lines of [['Idempotency-Key: a', 'Idempotency-Key: b'], ['Idempotency-Key: a', 'idempotency-key: a'],
		[...Array.from({ length: 200 }, (_, i) => `X-${i}: x`), 'Idempotency-Key: a', 'IDEMPOTENCY-KEY:']]) {
		const answer = await raw(BASE_URL, `POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\n` +
			`${lines.join('\r\n')}\r\nConnection: close\r\nContent-Length: ${json().length}\r\n\r\n${json()}`)
		assertError(answer, 400, { code: 'PT400', details: 'There are two headers Idempotency-Key.' })
	}
	assert.equal(storedEvents(), before)
})

test('headers that are no UTF-8 or too large are no reason for 500', async () => {
	for (const name of ['User-Agent', 'Cookie', 'Referer', 'X-Whatever'])
		await assertRaw('GET', '/v1/events?limit=0', { headers: { [name]: '\xe4\xff' } }, 200)
	for (const size of [9_000, 40_000]) {
		const answer = await rawRequest(BASE_URL, 'GET', '/v1/events?limit=0', { headers: { 'X-Large': 'a'.repeat(size) } })
		assert.ok([400, 431].includes(answer.status), answer.text)
		assertErrorBody(answer, answer.status)
	}
	await assertRaw('GET', '/v1/events?limit=0', { as: 'a'.repeat(7_000) }, 401)
})

test('a Link leads to the next page whatever the id is, in ASCII and one line', async () => {
	for (const id of ['a\r\nEvil: 1 Ä€"<>;,&=?#%+', '😀', '%0d%0aEvil: 1', 'eq.1', 'is.null', 'in.(1,2)', '>; rel="evil"']) {
		sql(`INSERT INTO attack_notes VALUES ('${id}') ON CONFLICT DO NOTHING`)
		for (let i = 0; i < 2; i++)
			assert.equal((await post('/events', event({ objectType: 'attack_note', objectId: id }))).status, 200)
		const query = `objectType=attack_note&objectId=${encodeURIComponent(id)}`
		const page = await assertRaw('GET', `/v1/timeline?${query}&limit=1`, {}, 200)
		const link = page.headerList.find(([name]) => name === 'Link')[1]
		assert.match(link, /^<\/v1\/timeline\?[\x21-\x3b\x3d\x3f-\x7e]+>; rel="next"$/)
		const next = await request('GET', BASE_URL + link.slice(1, link.indexOf('>')))
		assert.equal(next.json.length, 1)
		assert.ok(next.json[0].eventId < page.json[0].eventId)
	}
})

test('X-Forwarded-Prefix and X-Request-Id of a client are not believed, or only if they are plain', async () => {
	const query = `objectType=CUSTOMER&objectId=${CUSTOMER}`
	for (let i = 0; i < 2; i++) await post('/events', event())
	for (const prefix of ['/evil', '//evil.example', 'http://evil.example', '/x>; rel="evil"', '/a b', '/\x01']) {
		const headers = { 'X-Forwarded-Prefix': prefix, 'X-Request-Id': prefix }
		const link = (answer) => answer.headerList.find(([name]) => name === 'Link')[1]
		assert.match(link(await assertRaw('GET', `/v1/timeline?${query}&limit=1`, { headers }, 200)), /^<\/v1\/timeline\?/)
		const direct = await rawRequest(POSTGREST_URL, 'GET', `/rpc/timeline?${query}&pageSize=1`, { headers })
		assertHead(direct, 200, 'PostgREST')
		assert.match(link(direct), /^<\/[^>"\s]*\/timeline\?[^>"\s]*>; rel="next"$/)
	}
	for (const id of ['LOG: forged line', 'x'.repeat(5_000), '%0aforged', "'; forged", 'a\tforged', 'forgé\x01']) {
		for (const answer of [await rawRequest(BASE_URL, 'POST', '/v1/events', { body: '{}', headers: { 'X-Request-Id': id } }),
			await rawRequest(POSTGREST_URL, 'POST', '/rpc/submit_event', { body: '{}',
				headers: { 'X-Request-Id': Buffer.from(id).toString('latin1'), 'Content-Type': 'text/plain' } })]) {
			assertHead(answer, 400, answer.headers.get('server'))
			assert.match(answer.json.requestId, /^[0-9a-f-]{32,36}$/)
		}
	}
	assert.doesNotMatch(textSince(serverLog, serverLogBegin), /forged|forgé/)
})

test('the query of a timeline is checked', async () => {
	const badQueries = ['', 'objectType=', 'objectType=CUSTOMER', 'objectType=&objectId=1', 'objectType=no%20such&objectId=1',
		'objectType=CUSTOMER%0d%0aEvil:%201&objectId=1', 'objectType=CUSTOMER&objectId=%00', 'objectType=CUSTOMER&objectId=%ff',
		'objectType=CUSTOMER&objectId=\xff', 'objectType=CUSTOMER&objectId=1&before=x', 'objectType=CUSTOMER&objectId=1&limit=0',
		'objectType=CUSTOMER&objectId=1&limit=-1', 'objectType=CUSTOMER&objectId=1&limit=1001', 'objectType=CUSTOMER&objectId=1&limit=1.5',
		'objectType=CUSTOMER&objectId=1&limit=99999999999999', 'objectType=CUSTOMER&objectId=1&limit=1%3Bdrop', 'objectType=CUSTOMER&objectId=a b']
	for (const query of badQueries) await assertRaw('GET', `/v1/timeline?${query}`, {}, 400)
	for (const id of ['%27%20OR%201=1--', '%27%3BDROP%20TABLE%20customers', '%', '%zz', '%c3%a4', 'a'.repeat(3000), 'eq.1', '1%26select=x'])
		assert.deepEqual((await assertRaw('GET', `/v1/timeline?objectType=CUSTOMER&objectId=${id}`, {}, 200)).json, [])
})

test('a filter, an order or a choice of columns is no way to run SQL', async () => {
	const refused = ['select=version()', 'select=pg_sleep(60)', 'select=current_setting', 'select=name.count()', 'select=count()',
		'select=*,rejections(*)', 'select=*,pg_tables(*)', 'select=*,customers(*)', 'select=ctid', 'select=tenant_id',
		'select=name::int', 'select=name::%22int;drop%22', 'select=name::public.x', 'tenant_id=eq.x', 'name=pg_sleep.60',
		'name=match.(', 'payload=cs.{x', 'eventId=eq.x', 'or=(name.eq.a,pg_sleep(60))', 'or=(', 'order=pg_sleep(60)',
		'order=nix', 'occurredAt=gt.nonsense', 'name=eq.%ff', 'name=eq.%c3', 'name=eq.%ed%a0%80', '%ff=eq.1', 'name=eq.a b',
		"name=eq.'; DROP TABLE customers; --", 'or=' + '(and'.repeat(500), 'a.b.c=eq.1', 'name=is.unknown']
	for (const query of refused) await assertRaw('GET', `/v1/events?limit=1&${query}`, { as: reader }, 400)
	for (const query of ['name=eq.%27%20OR%201=1--', 'name=eq.%27%3BDROP%20TABLE%20customers', 'name=in.(%27x,%22%27%22)',
		"name=like.*'%3BDROP%20TABLE%20x--*", 'name=eq.$1x', 'name=eq.%25sx'])
		assert.deepEqual((await assertRaw('GET', `/v1/events?${query}`, { as: reader }, 200)).json, [])
	assert.equal(sql("SELECT to_regclass('customers') IS NOT NULL"), 't')
})

test('a query as long as nginx takes is answered, a longer one is 414', async () => {
	const ids = (n) => Array.from({ length: n }, () => randomUUID()).join(',')
	for (const n of [100, 200]) await assertRaw('GET', `/v1/events?eventId=in.(${ids(n)})`, {}, 200)
	await assertRaw('GET', `/v1/events?eventId=in.(${ids(500)})`, {}, 414)
	await assertRaw('GET', `/v1/events?name=eq.${'a'.repeat(100_000)}`, {}, 414)
})

test('no other function can be called, by nobody', async () => {
	const functions = ['set_config', 'current_setting', 'pg_sleep', 'pg_read_file', 'pg_terminate_backend', 'pg_reload_conf', 'lo_import',
		'query_to_xml', 'dblink', 'check_request', 'create_roles', 'store_event', 'store_events', 'answer_error', 'note_rejections',
		'set_status', 'set_next_page', 'tenant', 'atlas_tenant', 'atlas_status', 'atlas_link_events', 'atlas_register_object_type']
	const before = sql('SELECT count(*), max(rejection_id) FROM atlas_rejections')
	for (const name of functions)
		for (const as of [reader, admin]) {
			const query = 'setting_name=atlas_events.tenant&new_value=victim&is_local=false'
			await assertRaw('GET', `/v1/rpc/${name}?${query}`, { as }, 404)
			for (const path of [`/rpc/${name}`, `/rpc/atlas_api_private.${name}`, `/rpc/pg_catalog.${name}`])
				for (const body of ['{}', '{"setting_name":"atlas_events.tenant","new_value":"victim","is_local":false}'])
					assert.equal((await postDirectly(path, body, { as })).status, 404, path)
		}
	assert.equal((await postDirectly('/rpc/submit_event', event(), { as: reader })).status, 403)
	assertError(await post('/events', event(), { as: reader }), 403)
	assertError(await post('/events/batch', [event()], { as: reader }), 403)
	assert.equal(sql('SELECT count(*), max(rejection_id) FROM atlas_rejections'), before)
})

test('no other schema can be reached', async () => {
	for (const schema of ['public', 'pg_catalog', 'information_schema', 'atlas_api_private', '"'])
		for (const [method, path, profile] of [['GET', '/event_logs', 'Accept-Profile'], ['GET', '/pg_tables', 'Accept-Profile'],
			['POST', '/rpc/submit_event', 'Content-Profile'], ['POST', '/rpc/check_request', 'Content-Profile']]) {
			const body = method === 'POST' ? '{}' : undefined
			const direct = await request(method, POSTGREST_URL + path, { body, headers: { [profile]: schema } })
			assert.equal(direct.status, 406, `${path} ${schema}`)
			const answer = await request(method, `${BASE_URL}/v1${path}`, { body, headers: { [profile]: schema } })
			assert.ok([200, 400, 404, 405, 406].includes(answer.status), answer.text)
			if (answer.status === 200) assert.ok(answer.json.every((row) => 'eventId' in row))
		}
	for (const table of ['pg_tables', 'customers', 'atlas_events', 'atlas_event_logs'])
		await assertRaw('GET', `/v1/${table}`, {}, 404)
	for (const table of ['pg_catalog.pg_tables', 'public.customers', 'public.atlas_rejections', 'atlas_api_private.rejections'])
		assert.equal((await getDirectly(`/${table}`)).status, 404)
})

const paths = {
	'/events': ['GET', 'HEAD', 'POST'], '/events/batch': ['POST'], '/events/00000000-0000-7000-8000-000000000000': ['GET', 'HEAD'],
	[`/timeline?objectType=CUSTOMER&objectId=${CUSTOMER}`]: ['GET', 'HEAD'], '/rejections': ['GET', 'HEAD'],
	'/search?q=a': ['GET', 'HEAD'], '/objects?objectType=CUSTOMER': ['GET', 'HEAD'],
	'/rules': ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST'], '/rules/test': ['POST'], '/rule-matches': ['GET', 'HEAD'],
	'/object-types': ['GET', 'HEAD'], '/status': ['GET', 'HEAD'], '/': ['GET', 'HEAD'], '/event_logs': ['GET', 'HEAD'],
	'/rpc/submit_event': ['POST'], '/rpc/submit_events': ['POST'], '/rpc/timeline': ['GET', 'HEAD', 'POST'],
	'/rpc/search': ['GET', 'HEAD', 'POST'], '/rpc/objects': ['GET', 'HEAD', 'POST'],
}

test('a method that a path does not have is 405, and says which it has', async () => {
	const before = storedEvents()
	for (const [path, allowed] of Object.entries(paths))
		for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PROPFIND', 'NONSENSE']) {
			if (allowed.includes(method)) continue
			const answer = await assertRaw(method, `/v1${path}`, { body: method === 'HEAD' ? '' : json() }, 405)
			if (method !== 'TRACE' && method !== 'CONNECT') assert.equal(answer.headers.get('allow'), allowed.join(', '), `${method} ${path}`)
		}
	await assertRaw('get', '/v1/events', {}, 400)
	assert.equal(storedEvents(), before)
})

test('PostgREST itself changes nothing by PUT, PATCH, DELETE and POST to a view', async () => {
	const counts = () => sql('SELECT (SELECT count(*) FROM atlas_events), (SELECT count(*) FROM atlas_rejections), (SELECT count(*) FROM atlas_object_types), (SELECT count(*) FROM atlas_rules)')
	const before = counts()
	for (const view of ['/event_logs', '/rejections', '/object_types', '/status', '/rpc/timeline', '/rpc/search', '/rpc/objects', '/rpc/event', '/rules', '/rpc/rule_matches'])
		for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
			if (method === 'POST' && view.startsWith('/rpc/')) continue
			const answer = await request(method, `${POSTGREST_URL}${view}?name=eq.x`, { body: { name: 'x' } })
			assert.ok(answer.status >= 400, `${method} ${view}: ${answer.status}`)
		}
	assert.equal(counts(), before)
})

test('HEAD has the status and the headers of GET, and no body', async () => {
	for (const [path, allowed] of Object.entries(paths)) {
		/* PostgREST calls no function for a HEAD of its own paths. */
		if (!allowed.includes('HEAD') || path.startsWith('/rpc/')) continue
		const [ofGet, ofHead] = [await rawRequest(BASE_URL, 'GET', `/v1${path}`), await rawRequest(BASE_URL, 'HEAD', `/v1${path}`)]
		assertHead(ofHead, ofGet.status)
		assert.equal(ofHead.text, '')
		assert.equal(ofHead.headers.get('content-type'), ofGet.headers.get('content-type'))
	}
})

test('an event that comes right behind a HEAD, on the same connection, is answered', async () => {
	const head = `Host: localhost\r\nAuthorization: Bearer ${admin}\r\n`
	for (const path of ['/events', '/event_logs', '/object-types', '/status', '/rejections', '/search?q=x']) {
		const body = json()
		const answers = await rawBytes(BASE_URL, `HEAD /v1${path} HTTP/1.1\r\n${head}\r\n` +
			`POST /v1/events HTTP/1.1\r\n${head}Connection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
		assert.match(answers.toString(), /^HTTP\/1\.1 200 [^]*\nHTTP\/1\.1 200 [^]*"Event Linked"/, path)
	}
})

test('whatever is preferred or accepted, a 200 has its row and its receipt', async () => {
	const preferences = ['tx=rollback', 'tx=rollback, handling=strict', 'handling=strict, nonsense=1', 'return=minimal', 'return=headers-only',
		'params=single-object', 'params=multiple-objects', 'count=exact', 'resolution=merge-duplicates', 'missing=default', 'timezone=Nowhere/Nix', 'max-affected=0']
	const types = ['text/csv', 'text/plain', 'application/octet-stream', 'application/vnd.pgrst.plan+json; options=analyze',
		'application/vnd.pgrst.object+json', 'application/geo+json', 'text/xml', 'image/png', 'nonsense', '*/*']
	const headers = [...preferences.map((value) => ({ Prefer: value })), ...types.map((value) => ({ Accept: value }))]
	const isStored = (name) => sql(`SELECT count(*) FROM atlas_events WHERE name = '${name}'`) === '1'
	for (const header of headers)
		for (const [way, send] of Object.entries({ ...ways, rpc: (body, headers) => post('/rpc/submit_event', body, { headers }) })) {
			const sent = event()
			const answer = await send(JSON.stringify(sent), header)
			const what = `${way} ${JSON.stringify(header)}: ${answer.text}`
			assert.equal(isStored(sent.name), answer.status === 200, what)
			if (isThroughNginx(way)) assert.equal((answer.json.results ?? [answer.json])[0].message, 'Event Linked', what)
			else assert.ok(answer.status === 200 || (answer.status >= 400 && answer.status < 500), what)
		}
})

test('a query beside an event is 400 and named, or does not change what becomes of it', async () => {
	for (const query of ['limit=0', 'offset=5', 'select=nothing', 'columns=name', 'name=eq.x', 'order=name', 'on_conflict=name'])
		for (const path of ['/events', '/events/batch', '/rpc/submit_event', '/rpc/submit_events']) {
			const sent = event()
			const answer = await post(`${path}?${query}`, path === '/events/batch' ? [sent] : path.endsWith('s') && path !== '/events' ? { events: [sent] } : sent)
			const rows = Number(sql(`SELECT count(*) FROM atlas_events WHERE name = '${sent.name}'`))
			const receipt = answer.json?.results?.[0] ?? answer.json
			assert.equal(rows, answer.status === 200 && receipt?.message === 'Event Linked' ? 1 : 0, `${path}?${query}: ${answer.status} ${answer.text}`)
			assert.equal(answer.status === 200, receipt?.message === 'Event Linked', `${path}?${query}: ${answer.text}`)
			if (path.startsWith('/events'))
				assertError(answer, 400, { details: `Unknown query parameters: ${query.split('=')[0]}.`, hint: 'The path takes none.' })
		}
})

test('the type of a body does not matter through nginx; PostgREST takes JSON, text and bytes', async () => {
	const types = { 'application/json': 200, 'text/plain': 200, 'application/json; charset=utf-16': 200, 'text/xml': 404,
		'application/octet-stream': 200, 'application/x-www-form-urlencoded': 404, 'multipart/form-data; boundary=x': 400,
		'text/csv': 400, nonsense: 400 }
	for (const [type, direct] of Object.entries(types)) {
		const headers = { 'Content-Type': type }
		await assertRaw('POST', '/v1/events', { body: json(), headers }, 200)
		await assertRaw('POST', '/v1/events/batch', { body: `[${json()}]`, headers }, 200)
		for (const body of ['<event/>', 'objectType=CUSTOMER&name=x', '--x\r\n\r\n\r\n--x--'])
			await assertRaw('POST', '/v1/events', { body, headers }, 400)
		const sent = event()
		const answer = await postDirectly('/rpc/submit_event', JSON.stringify(sent), { headers })
		assert.equal(answer.status, direct, `${type}: ${answer.text}`)
		assert.equal(sql(`SELECT count(*) FROM atlas_events WHERE name = '${sent.name}'`), direct === 200 ? '1' : '0')
	}
	await assertRaw('POST', '/v1/events', { body: json() }, 200)
	await assertRaw('POST', '/v1/events', { body: '' }, 400)
})

test('a path leads nowhere but to the API', async () => {
	const unknown = ['/', '/v1', '/v1/events/', '/v1/events;x', '/v1/EVENTS', '/V1/events', '/v1/events\\', '/v1/events/..%2f..%2frpc/openapi',
		'/error', '/unknown', '/ready', '/live', '/config', '/rpc/openapi', '/event_logs', '/v1/\xff', '/v1/%ff', '/v1/nothing',
		'/v1/rpc', '/v1/rpc/nothing', '/v1/events/nonsense', '/v1/events/------------------------------------', '/v1/rpc/rpc/timeline',
		'/v1/events/00000000-0000-7000-8000-000000000000%0d%0aEvil:1', '/v1/event_logs%3Flimit=1', '/.git/config', '/nginx.conf']
	for (const path of unknown) await assertRaw('GET', path, {}, 404)
	for (const path of ['/v1/events/%00', '/v1/events%00', '/v1/../../etc/passwd', '/../nginx.conf', '/v1/%2e%2e/%2e%2e/etc/passwd', '*', '/v1/%zz'])
		await assertRaw('GET', path, {}, 400)
	const logs = (await assertRaw('GET', '/v1/events?limit=1', {}, 200)).text
	for (const path of ['//v1/events', '/v1//events', '/v1/../v1/events', '/v1/%65vents', '/v1/x/../events', 'http://elsewhere.example/v1/events'])
		assert.equal((await assertRaw('GET', `${path}?limit=1`, {}, 200)).text, logs, path)
	for (const path of ['//v1/events', '/v1/%2e%2e/v1/events', '/v1%2Fevents'])
		await assertRaw('GET', path, { as: 'x' }, 401)
})

test('of a request with two lengths there is one answer, 400, and nothing of it is taken for another', async () => {
	const inner = json()
	const smuggled = `POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`
	const before = storedEvents()
	const chunked = `0\r\n\r\n${smuggled}`
	for (const headers of [{ 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }, { 'Transfer-Encoding': 'chunked', 'Content-Length': '5' },
		{ 'Content-Length': '5', 'Transfer-Encoding': ' chunked' }, { 'Transfer-Encoding': 'chunked', 'transfer-encoding': 'identity' },
		{ 'Content-Length': '2', 'content-length': '500' }, { 'Content-Length': '-1' }, { 'Content-Length': '9'.repeat(30) }])
		await assertRaw('POST', '/v1/events', { headers: { ...headers, Connection: 'keep-alive' }, body: chunked }, 400)
	for (const encoding of ['xchunked', 'gzip, chunked', 'chunked, identity']) {
		const answer = await rawRequest(BASE_URL, 'POST', '/v1/events', { headers: { 'Transfer-Encoding': encoding }, body: chunked })
		assertHead(answer, 501)
		assertErrorBody(answer, 501)
	}
	const malformed = await rawRequest(BASE_URL, 'POST', '/v1/events', { headers: { 'Transfer-Encoding': 'chunked' }, body: 'zz\r\n{}\r\n0\r\n\r\n' })
	assertHead(malformed, 400)
	assert.equal(storedEvents(), before)
	const sent = json()
	await assertRaw('POST', '/v1/events', { headers: { 'Transfer-Encoding': 'chunked' }, body: `${Buffer.byteLength(sent).toString(16)}\r\n${sent}\r\n0\r\n\r\n` }, 200)
})

test('nothing of this crashed a server, and no log line was forged', async () => {
	assertError(await post('/events', {}), 400)
	assert.equal((await post('/events', event())).status, 200)
	assert.equal((await get('/events?limit=1')).status, 200)
	assert.doesNotMatch(textSince(serverLog, serverLogBegin), /terminated by signal|PANIC|server process \(PID|TRAP:|Evil: 1$/m)
	const { headers } = await get('/object-types')
	const lines = await waitFor('nginx writes its log', () => {
		const text = textSince(accessLog, accessLogBegin)
		return text.includes(headers.get('x-request-id')) && text.slice(0, text.lastIndexOf('\n')).split('\n')
	})
	for (const line of lines) {
		const entry = JSON.parse(line)
		assert.match(entry.requestId, /^[0-9a-f]{32}$/)
		assert.ok(entry.status > 0)
	}
})
