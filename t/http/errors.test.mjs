/*
 * errors.test.mjs
 *		Every status that is no success: one form of the body, what each
 *		says, and that nothing of the inside is in it. Further nginx servers,
 *		from copies of the running configuration, show 429, 503 and TLS.
 */
import { execFile, execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import assert from 'node:assert/strict'
import { BASE_URL, CUSTOMER, PGURI, SERVER, assertError, event, freePort, get, newTenant, nginxConf, post, postDirectly,
	request, sql, startNginx, submitter, token, waitFor } from './atlas.mjs'

const run = promisify(execFile)

const INSIDE = /nginx|postgres|pgrst_|atlas_api_private|plpgsql|secret/i
const bytes = ({ text }) => text.replace(/"requestId":"[^"]*"/, '')

/* A table of a tenant and under row security, whose owner is not above it. */
before(() => {
	sql(`DO $$ BEGIN
			IF to_regrole('http_test_owner') IS NULL THEN CREATE ROLE http_test_owner; END IF;
		END $$;
		DROP SCHEMA IF EXISTS http_test CASCADE;
		CREATE SCHEMA http_test AUTHORIZATION http_test_owner;
		SET ROLE http_test_owner;
		CREATE TABLE http_test.parcels (id text PRIMARY KEY, shop_id text, tenant text NOT NULL,
			is_hidden boolean NOT NULL);
		CREATE INDEX ON http_test.parcels (shop_id);
		ALTER TABLE http_test.parcels ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
		CREATE POLICY shown ON http_test.parcels USING (NOT is_hidden) WITH CHECK (true);
		INSERT INTO http_test.parcels VALUES ('mine', 's1', 'http-test', false), ('hidden', 's2', 'http-test', true),
			('theirs', 's3', 'other', false), ('twice-1', 'twice', 'http-test', false),
			('twice-2', 'twice', 'http-test', false);
		RESET ROLE;
		SELECT atlas_register_object_type('HTTP_TEST_PARCEL', 'http_test.parcels',
			external_id_column => 'shop_id', tenant_column => 'tenant')`)
})

after(() => {
	sql(`SELECT atlas_unregister_object_type('HTTP_TEST_PARCEL');
		DROP SCHEMA http_test CASCADE; DROP ROLE http_test_owner`)
})

const mine = token({ role: 'atlas_admin', tenant: 'http-test' })
const parcel = (fields) => event({ objectType: 'HTTP_TEST_PARCEL', objectId: undefined, ...fields })

test('404 has the same bytes for an absent, a hidden and another tenant\'s object', async () => {
	assert.equal((await post('/events', parcel({ objectId: 'mine' }), { as: mine })).status, 200)
	assert.equal((await post('/events', parcel({ externalId: 's1' }), { as: mine })).status, 200)
	for (const [send, field, ids] of [
		[post, 'objectId', ['absent', 'hidden', 'theirs']],
		[post, 'externalId', ['absent', 's2', 's3']],
	]) {
		const answers = []
		for (const id of ids) answers.push(await send('/events', parcel({ [field]: id }), { as: mine }))
		for (const answer of answers) {
			assertError(answer, 404, { code: 'PT404', message: 'Object Not Found' })
			assert.equal(bytes(answer), bytes(answers[0]))
		}
	}
	const direct = []
	for (const objectId of ['absent', 'hidden', 'theirs'])
		direct.push(bytes(await postDirectly('/rpc/submit_event', parcel({ objectId }), { as: mine })))
	assert.equal(new Set(direct).size, 1)
})

test('in a batch, and as related objects, the three are told apart no better', async () => {
	const ids = ['absent', 'hidden', 'theirs']
	const batch = await post('/events/batch', ids.map((objectId) => parcel({ objectId })), { as: mine })
	assert.equal(batch.status, 400)
	const [first, ...others] = batch.json.results.map(({ index, ...result }) => result)
	for (const result of others) assert.deepEqual(result, first)

	const relatedObjects = ids.map((objectId) => ({ objectType: 'HTTP_TEST_PARCEL', objectId }))
	const { json: { eventId } } = await post('/events', event({ relatedObjects }), { as: mine })
	const logged = await waitFor('the event is linked', async () => {
		const { json } = await get(`/events/${eventId}`, { as: mine })
		return json.processingStatus === 'LINKED' && json
	})
	const outcomes = logged.relatedObjects.map(({ outcome, reason }) => [outcome, reason])
	assert.deepEqual(outcomes, ids.map(() => ['NOT_FOUND', 'there is no such object']))
})

test('409: objectId and externalId of two objects, an external id of two rows', async () => {
	assertError(await post('/events', parcel({ objectId: 'mine', externalId: 'twice' }), { as: mine }), 409,
		{ code: 'PT409', message: 'Conflict', details: /two different objects/ })
	assertError(await post('/events', parcel({ externalId: 'twice' }), { as: mine }), 409,
		{ code: 'PT409', message: 'Conflict' })
})

test('413 of atlas_events names limit and actual, also through nginx', async () => {
	const body = JSON.stringify(event({ payload: { x: 'x'.repeat(300_000) } }))
	const details = `atlas_events.max_event_size is 262144 bytes, the event has ${body.length}.`
	const answer = await post('/events', body, { as: submitter })
	assertError(answer, 413, { code: 'PT413', message: 'Event Too Large', details, hint: /Shorten/ })
	assert.equal(answer.headers.get('x-error-details'), null)
	const direct = await postDirectly('/rpc/submit_event', body, { as: submitter })
	assert.equal(direct.status, 413)
	assert.equal(direct.json.details, details)

	const relatedObjects = Array.from({ length: 101 }, () => ({ objectType: 'ACCOUNT', externalId: 'x' }))
	assertError(await post('/events', event({ relatedObjects }), { as: submitter }), 413,
		{ code: 'PT413', details: /\b100\b.*\b101\b/ })
})

/* A view whose owner raises an SQLSTATE of ours, and says what he likes. */
const SAID = 'a "quoted" \\ back\\slash"},{"x":"\n\t\x01é😀\x7f'
const hostile = (field, state) => `CREATE OR REPLACE FUNCTION http_test.say() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN
		RAISE EXCEPTION USING ERRCODE = '${state}', MESSAGE = 'x', ${field} = $said$${SAID}$said$;
	END $f$`

test('what the code of a view says reaches the answer as text, whatever it is', async () => {
	sql(`${hostile('DETAIL', 'PT413')};
		CREATE VIEW http_test.shouts AS SELECT id, http_test.say() AS said FROM http_test.parcels WHERE http_test.say() IS NOT NULL;
		ALTER VIEW http_test.shouts OWNER TO http_test_owner;
		SELECT atlas_register_object_type('HTTP_TEST_SHOUT', 'http_test.shouts', id_column => 'id')`)
	try {
		const { submitter } = newTenant()
		const submit = (way) => way('/events', event({ objectType: 'HTTP_TEST_SHOUT', objectId: 'mine' }), { as: submitter })
		const heard = SAID.replace('😀', '?')
		for (const [field, key] of [['DETAIL', 'details'], ['HINT', 'hint']]) {
			sql(hostile(field, 'PT413'))
			const answer = await submit(post)
			assertError(answer, 413, { code: 'PT413', message: 'Event Too Large' })
			assert.ok([heard, SAID].includes(answer.json[key]), answer.text)
		}
		sql(hostile('DETAIL', 'PT413').replace(SAID, 'é'.repeat(100_000)))
		assertError(await submit(post), 413, { details: /^é{500}$/ })
		for (const detail of ['{"a":1}', '[1,2]', '"text"', 'null', '[', '[{"field":{"a":1}}]', '[null]']) {
			sql(hostile('DETAIL', 'PT400').replace(SAID, detail))
			assertError(await submit(post), 400, { code: 'PT400', message: 'Invalid Event' })
		}
	} finally {
		sql("SELECT atlas_unregister_object_type('HTTP_TEST_SHOUT'); DROP VIEW http_test.shouts; DROP FUNCTION http_test.say")
	}
})

test('413 of nginx, for a body that is told to be too long, and for one without a length', async () => {
	for (const [path, size] of [['/events', 1.5e6], ['/events/batch', 9e6]]) {
		const body = 'x'.repeat(size)
		assertError(await post(path, body, { as: submitter }), 413,
			{ code: 'PT413', message: 'Event Too Large', details: /larger/ })
		const text = execFileSync('curl', ['--silent', '--show-error', '--data-binary', '@-', '--header', 'Expect:',
			'--header', `Authorization: Bearer ${submitter}`, '--header', 'Transfer-Encoding: chunked',
			'--write-out', '%{http_code}', `${BASE_URL}/v1${path}`], { input: body, encoding: 'utf8' })
		assert.match(text, /^\{"code":"PT413","message":"Event Too Large",.*\}\n413$/)
	}
})

test('a chunked body that is not too long is taken', () => {
	const text = execFileSync('curl', ['--silent', '--data-binary', '@-', '--header', 'Transfer-Encoding: chunked',
		'--header', `Authorization: Bearer ${submitter}`, `${BASE_URL}/v1/events`],
	{ input: JSON.stringify(event()), encoding: 'utf8' })
	assert.equal(JSON.parse(text).message, 'Event Linked')
})

for (const [path, allow] of [
	['/', 'GET, HEAD'], ['/events', 'GET, HEAD, POST'], ['/events/batch', 'POST'],
	[`/events/${randomUUID()}`, 'GET, HEAD'], ['/timeline', 'GET, HEAD'], ['/rejections', 'GET, HEAD'],
	['/search', 'GET, HEAD'], ['/objects', 'GET, HEAD'],
	['/object-types', 'GET, HEAD'], ['/status', 'GET, HEAD'], ['/event_logs', 'GET, HEAD'],
	['/rpc/submit_event', 'POST'], ['/rpc/submit_events', 'POST'], ['/rpc/timeline', 'GET, HEAD, POST'],
	['/rpc/search', 'GET, HEAD, POST'], ['/rpc/objects', 'GET, HEAD, POST'],
])
	test(`405 with Allow: ${allow} for other methods of /v1${path}`, async () => {
		const allowed = allow.split(', ')
		for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
			if (allowed.includes(method)) continue
			const answer = await request(method, `${BASE_URL}/v1${path}`, { body: method === 'GET' ? undefined : {} })
			assertError(answer, 405, { code: 'PT405', message: 'Method Not Allowed', hint: `It takes: ${allow}.` })
			assert.equal(answer.headers.get('allow'), allow)
		}
	})

test('HEAD of what takes POST only is 405, without a body', async () => {
	const answer = await request('HEAD', `${BASE_URL}/v1/events/batch`)
	assert.deepEqual([answer.status, answer.text, answer.headers.get('allow')], [405, '', 'POST'])
})

test('paths that are not there are 404', async () => {
	for (const path of ['/', '/v1', '/v2/events', '/v1/Events', '/v1/events/', '/v1/events/batch/1', '/v1/nope',
		'/v1/rpc/nope', '/v1/rpc/', '/v1/timeline/x', '/v1/search/x', '/v1/objects/1', '/v1//events//x', '/error', '/unknown', '/v1/unknown',
		'/v1/error', '/health/x'])
		assertError(await request('GET', BASE_URL + path), 404)
})

test('406 for one object where there are several, or none', async () => {
	const one = { Accept: 'application/vnd.pgrst.object+json' }
	assertError(await get('/object-types', { headers: one }), 406)
	assertError(await get('/object-types?objectType=eq.NOPE', { headers: one }), 406)
})

/* PostgREST 12 answers 415 where others do with 406. */
test('415 for a media type that there is not', async () => {
	assertError(await get('/events?limit=1', { headers: { Accept: 'application/xml' } }), 415)
})

const serverLog = () => readFileSync(join(SERVER, 'data.log'), 'utf8')

const ODD = `CREATE OR REPLACE FUNCTION http_test.odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE EXCEPTION 'secret message' USING ERRCODE = 'XX001', DETAIL = 'secret detail', HINT = 'secret hint';
	END $$;
	CREATE OR REPLACE TRIGGER http_test_odd BEFORE INSERT ON atlas_events FOR EACH ROW
		WHEN (NEW.name = 'HTTP test: odd') EXECUTE FUNCTION http_test.odd()`

test('500 tells nothing of the inside, its requestId is in the server log; it is noted, nothing is stored', async () => {
	sql(ODD)
	const { submitter, reader } = newTenant()
	const odd = event({ name: 'HTTP test: odd' })
	try {
		for (const answer of [
			await post('/events', odd, { as: submitter }),
			await post('/events/batch', [event(), odd], { as: submitter }),
		]) {
			assertError(answer, 500, { code: 'PT500', message: 'Internal Server Error', hint: /idempotency key/ })
			assert.doesNotMatch(answer.text, INSIDE)
			assert.doesNotMatch(JSON.stringify([...answer.headers].filter(([name]) => name !== 'server')), INSIDE)
			assert.match(serverLog(), new RegExp(`request ${answer.json.requestId} failed: secret message`))
			const { json: [noted] } = await get(`/rejections?requestId=eq.${answer.json.requestId}`, { as: reader })
			assert.deepEqual([noted.status, noted.code, noted.index], [500, 'PT500', null])
			assert.doesNotMatch(JSON.stringify(noted), /secret/)
			assert.match(noted.request, /HTTP test: odd/)
		}
		const direct = await postDirectly('/rpc/submit_event', odd, { as: submitter })
		assert.deepEqual([direct.status, direct.json.code], [500, 'PT500'])
		assert.doesNotMatch(direct.text, INSIDE)
		assert.ok(serverLog().includes(`request ${direct.json.requestId} failed: secret message`))
	} finally {
		sql('DROP FUNCTION http_test.odd CASCADE')
	}
	assert.deepEqual((await get('/events', { as: reader })).json, [])
})

test('500 of a reading request has nothing of the inside either', async () => {
	const { submitter, reader } = newTenant()
	const { json: { eventId } } = await post('/events', event({ name: 'HTTP test: odd' }), { as: submitter })
	sql(`GRANT USAGE ON SCHEMA http_test TO atlas_reader;
		CREATE FUNCTION http_test.is_odd(name text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
			IF name = 'HTTP test: odd' THEN RAISE EXCEPTION 'secret message' USING ERRCODE = 'XX001'; END IF;
			RETURN true;
		END $$;
		CREATE POLICY http_test_odd ON atlas_events AS RESTRICTIVE FOR SELECT USING (http_test.is_odd(name))`)
	try {
		for (const path of ['/events', `/events/${eventId}`]) {
			const answer = await get(path, { as: reader })
			assertError(answer, 500, { code: 'PT500', message: 'Internal Server Error' })
			assert.doesNotMatch(answer.text, INSIDE)
			assert.match(serverLog(), new RegExp(`${answer.json.requestId} ERROR:  secret message`))
		}
	} finally {
		sql('DROP POLICY http_test_odd ON atlas_events; DROP FUNCTION http_test.is_odd')
	}
	assert.equal((await get(`/events/${eventId}`, { as: reader })).status, 200)
})

test('429 with Retry-After for one token that asks too often, and not for others', async (t) => {
	const { base } = await startNginx(t,
		(conf) => conf.replace('rate=2000r/s', 'rate=1r/m').replace('burst=4000', 'burst=3'))
	const [often, seldom] = [newTenant(), newTenant()]
	const ask = ({ admin }, n) => n % 2 ? request('GET', `${base}/v1/events`, { as: admin })
		: request('POST', `${base}/v1/events`, { as: admin, body: event() })
	const answers = await Promise.all(Array.from({ length: 9 }, (_, n) => ask(often, n)))
	assert.equal(answers.filter(({ status }) => status === 200).length, 4)
	for (const answer of answers.filter(({ status }) => status !== 200)) {
		assertError(answer, 429, { code: 'PT429', message: 'Too Many Requests' })
		assert.match(answer.headers.get('retry-after'), /^[1-9]\d*$/)
	}
	assert.equal((await ask(seldom, 1)).status, 200)
	assert.equal((await request('GET', `${base}/health`, { as: null })).status, 200)
})

test('429 for one address that asks too often, whatever its tokens', async (t) => {
	const { base } = await startNginx(t,
		(conf) => conf.replace('rate=4000r/s', 'rate=1r/m').replace('burst=8000', 'burst=3'))
	const answers = await Promise.all(['none', ...Array.from({ length: 8 }, () => newTenant().reader)]
		.map((as) => request('GET', `${base}/v1/events`, { as })))
	const limited = answers.filter(({ status }) => status === 429)
	assert.equal(limited.length, answers.length - 4)
	for (const answer of limited) assertError(answer, 429, { code: 'PT429' })
})

test('503 with Retry-After while PostgREST is not there', async (t) => {
	const port = await freePort()
	const { base } = await startNginx(t,
		(conf) => conf.replaceAll(/server 127\.0\.0\.1:\d+;/g, `server 127.0.0.1:${port};`))
	for (const answer of [
		await request('GET', `${base}/v1/events`), await request('POST', `${base}/v1/events`, { body: event() }),
		await request('POST', `${base}/v1/events/batch`, { body: [] }), await request('GET', `${base}/v1/`),
		await request('GET', `${base}/v1/timeline`), await request('GET', `${base}/v1/search`),
		await request('GET', `${base}/v1/objects`), await request('GET', `${base}/health`, { as: null }),
	]) {
		assertError(answer, 503, { code: 'PT503', message: 'Service Unavailable' })
		assert.match(answer.headers.get('retry-after'), /^[1-9]\d*$/)
		assert.doesNotMatch(answer.text, INSIDE)
	}
})

test('a failure is told from a request that was cancelled by its time, also where the clock of nginx is late', async (t) => {
	const failing = createServer((_, answer) => answer.writeHead(500).end('{}')).listen(0, '127.0.0.1')
	t.after(() => failing.close())
	await once(failing, 'listening')
	const { base } = await startNginx(t, (conf) => conf.replaceAll(/server 127\.0\.0\.1:\d+;/g, `server 127.0.0.1:${failing.address().port};`)
		.replace('$upstream_status $upstream_response_time"', '$upstream_status $http_x_seconds"'))
	for (const [method, seconds, status] of [
		['GET', '0.001', 500], ['GET', '4.899', 500], ['GET', '4.900', 503], ['GET', '4.996', 503], ['GET', '5.000', 503], ['GET', '10.000', 503],
		['POST', '5.000', 500], ['POST', '29.899', 500], ['POST', '29.996', 503], ['POST', '30.000', 503], ['POST', '100.000', 503],
	]) {
		const answer = await request(method, `${base}/v1/events`, { headers: { 'X-Seconds': seconds }, body: method === 'POST' ? event() : undefined })
		assert.equal(answer.status, status, `${method} ${seconds}`)
		assert.equal(answer.json.details, status === 500 ? 'The request failed.' : 'The request took too long and was cancelled.')
	}
})

test('503 when the answer takes too long', async (t) => {
	const { base } = await startNginx(t, (conf) => conf.replace('proxy_read_timeout 60s', 'proxy_read_timeout 300ms'))
	const holder = execFile('psql', ['-X', '-q', '-d', PGURI])
	const ended = new Promise((resolve) => holder.once('exit', resolve))
	try {
		holder.stdin.write('BEGIN; LOCK TABLE http_test.parcels;\n')
		await waitFor('the table is locked', () => sql(`SELECT count(*) FROM pg_locks
			WHERE relation = 'http_test.parcels'::regclass AND mode = 'AccessExclusiveLock' AND granted`) === '1')
		const body = parcel({ objectId: 'mine' })
		assertError(await request('POST', `${base}/v1/events`, { as: mine, body }), 503, { code: 'PT503' })
	} finally {
		holder.stdin.end()
		await ended
	}
})

test('security headers are on every answer, once, and the version of nginx on none', async () => {
	const EXPECTED = { server: 'nginx', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff',
		'content-security-policy': "default-src 'none'; frame-ancestors 'none'", 'referrer-policy': 'no-referrer',
		'strict-transport-security': null, 'x-powered-by': null, 'content-location': null, 'x-error-details': null,
		'x-error-hint': null }
	for (const [status, answer] of [
		[200, await get('/events?limit=1')], [200, await post('/events', event())], [200, await get('/')],
		[200, await request('GET', `${BASE_URL}/health`, { as: null })],
		[200, await get(`/timeline?objectType=CUSTOMER&objectId=${CUSTOMER}`)],
		[200, await get('/search?q=test')], [200, await get('/objects?objectType=CUSTOMER')],
		[207, await post('/events/batch', [event(), {}])],
		[400, await post('/events', '{')], [400, await get('/events?nope=eq.1')],
		[401, await get('/events', { as: null })], [403, await get('/events', { as: submitter })],
		[404, await get('/nope')],
		[404, await get(`/events/${randomUUID()}`)], [404, await request('GET', `${BASE_URL}/`)],
		[405, await request('DELETE', `${BASE_URL}/v1/events`)],
		[409, await post('/events', event({ externalId: '195313' }))],
		[413, await post('/events', 'x'.repeat(1.5e6))],
		[413, await post('/events', event({ description: 'x'.repeat(300_000) }))],
	]) {
		assert.equal(answer.status, status, answer.text)
		for (const [name, value] of Object.entries(EXPECTED))
			assert.equal(answer.headers.get(name), value, `${name} with ${status}`)
		assert.match(answer.headers.get('x-request-id'), /^[0-9a-f]{32}$/)
		if (answer.text) assert.match(answer.headers.get('content-type'), /^application\/json/)
	}
})

test('each request has an id of its own, whatever the client calls it', async () => {
	const ids = []
	for (let n = 0; n < 3; n++) {
		const answer = await get('/nope', { headers: { 'X-Request-Id': 'my-own-request-id' } })
		ids.push(answer.json.requestId)
	}
	assert.equal(new Set(ids).size, 3)
	assert.ok(!ids.includes('my-own-request-id'))
})

/* What fetch cannot send, and the answer to it. */
async function raw(text, port = new URL(BASE_URL).port) {
	const socket = connect(port, '127.0.0.1', () => socket.write(text)).setEncoding('utf8')
	let answer = ''
	for await (const data of socket) answer += data
	const [head, body] = answer.split('\r\n\r\n')
	const headers = new Headers(head.split('\r\n').slice(1).map((line) => line.split(/: (.*)/, 2)))
	assert.equal(headers.get('content-type'), 'application/json', answer)
	return { status: Number(head.split(' ')[1]), headers, text: body, json: JSON.parse(body) }
}

for (const [what, status, text] of [
	['no HTTP', 400, 'nonsense\r\n\r\n'],
	['two headers Host', 400, 'GET /v1/events HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
	['no header Host', 400, 'GET /v1/events HTTP/1.1\r\n\r\n'],
	['a header of 40 kB', 400, `GET /v1/events HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`],
	['a path of 40 kB', 414, `GET /v1/events?${'x'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`],
	['another version of HTTP', 505, 'GET /v1/events HTTP/3.9\r\nHost: a\r\n\r\n'],
	['a Transfer-Encoding that there is not', 501,
		'POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nConnection: close\r\n\r\n'],
])
	test(`${what} is ${status}, with the body of every error`, async () => {
		assertError(await raw(text), status)
	})

/* nginx with its lines for TLS, and a certificate of its own. */
const startTls = (t) => startNginx(t,
	(conf, port) => conf.replace(/^.*listen 127\.0\.0\.1.*\n/m, '').replaceAll('#tls ', '')
		.replace('listen 443', `listen 127.0.0.1:${port}`),
	(folder) => execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
		'-nodes', '-keyout', join(folder, 'server.key'), '-out', join(folder, 'server.crt'), '-days', '2',
		'-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'], { stdio: 'pipe' }))

test('with its lines for TLS nginx serves HTTPS, and says that it always will', async (t) => {
	assert.match(nginxConf(), /#tls listen 443 ssl/)
	const { port, folder } = await startTls(t)
	const url = `https://127.0.0.1:${port}/v1/events`
	const curl = async (...options) => {
		const { stdout } = await run('curl', ['--silent', '--show-error', '--include',
			'--cacert', join(folder, 'server.crt'), '--header', `Authorization: Bearer ${submitter}`, ...options, url])
		return stdout
	}
	const stored = await curl('--http2', '--data', JSON.stringify(event()))
	assert.match(stored, /^HTTP\/2 200 /)
	assert.match(stored, /"message":"Event Linked"/)
	assert.match(stored, /^strict-transport-security: max-age=\d{8,}\r$/mi)
	const refused = await curl('--http1.1')
	assert.match(refused, /^HTTP\/1\.1 403 /)
	assert.match(refused, /^strict-transport-security: max-age=\d{8,}\r$/mi)
	await assert.rejects(run('curl', ['--silent', url]), 'a certificate that is not known is taken')
	assertError(await raw('GET /v1/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', port), 400)
})
