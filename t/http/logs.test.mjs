/*
 * logs.test.mjs
 *		GET /v1/events: the event logs with PostgREST's filters, order, limits
 *		and counts, and of a period. GET /v1/events/{eventId}: one event.
 */
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import assert from 'node:assert/strict'
import { CUSTOMER, BASE_URL, POSTGREST_URL, assertError, event, get, getDirectly, newTenant, post, request,
	sql, withLinkingOff } from './atlas.mjs'

const { submitter, reader } = newTenant()
const DAY = (day) => `2026-03-0${day}T12:00:00Z`
const EVENTS = [
	event({ name: 'A', occurredAt: DAY(3), payload: { code: 'x', plan: 'free' } }),
	event({ name: 'B', occurredAt: DAY(1), description: 'oldest' }),
	event({ name: 'C', occurredAt: DAY(5), objectType: 'TICKET', objectId: '19734' }),
	event({ name: 'D', occurredAt: DAY(2), objectType: 'TICKET', objectId: '19733', payload: { plan: 'growth' } }),
	event({ name: 'E', occurredAt: DAY(4) }),
]
const NEWEST_FIRST = 'CEADB'
let ids

before(async () => {
	const { json } = await post('/events/batch', EVENTS, { as: submitter })
	ids = Object.fromEntries(json.results.map(({ eventId }, i) => [EVENTS[i].name, eventId]))
})

const percent = (text) => [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

const names = ({ json, text }) => {
	assert.ok(Array.isArray(json), text)
	return json.map(({ name }) => name).join('')
}

/* Through nginx and directly, which must be the same. */
async function logs(query, headers = {}) {
	const answer = await get(`/events${query}`, { as: reader, headers })
	const direct = await getDirectly(`/event_logs${query}`, { as: reader, headers })
	assert.equal(answer.status, direct.status)
	assert.deepEqual(answer.json, direct.json)
	assert.equal(answer.headers.get('content-range'), direct.headers.get('content-range'))
	return answer
}

test('the logs are newest first', async () => {
	const answer = await logs('')
	assert.equal(answer.status, 200)
	assert.equal(names(answer), NEWEST_FIRST)
})

test('a log has all fields of the API, in its names', async () => {
	const { json } = await logs('?name=eq.A')
	const { eventId, receivedAt, linkedAt, ...rest } = json[0]
	assert.equal(eventId, ids.A)
	assert.equal(receivedAt, linkedAt)
	assert.deepEqual(rest, {
		objectType: 'CUSTOMER', objectId: CUSTOMER, externalId: '195959', name: 'A', description: null, icon: null,
		payload: { code: 'x', plan: 'free' }, relatedObjects: null, processingStatus: 'LINKED', attempts: 0,
		lastError: null, occurredAt: '2026-03-03T12:00:00+00:00',
	})
})

for (const [query, expected] of [
	['?order=eventId.desc', 'CEADB'],
	['?order=eventId.asc', 'BDAEC'],
	['?order=name.asc', 'ABCDE'],
	['?order=objectType.asc,name.desc', 'DCEBA'],
	['?objectType=eq.CUSTOMER', 'EAB'],
	['?objectType=eq.CONVERSATION&order=eventId.desc', 'CD'],
	['?processingStatus=eq.LINKED&objectType=eq.CUSTOMER&order=eventId.desc', 'EAB'],
	['?processingStatus=eq.PENDING', ''],
	['?processingStatus=neq.LINKED', ''],
	['?objectType=eq.CONVERSATION&objectId=eq.19733', 'D'],
	['?objectId=in.(19733,19734)', 'CD'],
	['?externalId=eq.195959', 'EAB'],
	['?name=like.A*', 'A'],
	['?name=in.(A,B,nobody)', 'AB'],
	['?description=is.null', 'CEAD'],
	['?description=not.is.null', 'B'],
	['?payload->>plan=eq.growth', 'D'],
	['?payload=cs.{"plan":"free"}', 'A'],
	['?or=(name.eq.C,payload->>plan.eq.free)', 'CA'],
	[`?occurredAt=gte.${DAY(2)}&occurredAt=lt.${DAY(4)}`, 'AD'],
	['?limit=2', 'CE'],
	['?limit=2&offset=1', 'EA'],
	['?limit=2&offset=4', 'B'],
	['?limit=0', ''],
	['?limit=2&order=eventId.asc', 'BD'],
])
	test(`GET /v1/events${query} has ${expected || 'nothing'}`, async () => {
		const answer = await logs(query)
		assert.equal(answer.status, 200)
		assert.equal(names(answer), expected)
	})

/* Through nginx only: PostgREST takes since and until for columns. */
for (const [query, expected] of [
	[`since=${DAY(2)}&until=${DAY(4)}`, 'AD'],
	[`since=${DAY(4)}`, 'CE'],
	[`until=${DAY(2)}`, 'B'],
	[`since=${DAY(4)}&until=${DAY(4)}`, ''],
	[`since=${DAY(5)}&until=${DAY(1)}`, ''],
	['since=2026-03-04T12:00:00.000001Z', 'C'],
	['until=2026-03-04T12:00:00.000001Z', 'EADB'],
	['since=2026-03-04T12:00:00.001Z', 'C'],
	['since=2026-03-04T17:30:00%2B05:30', 'CE'],
	['since=2026-03-04t05:00:00-07:00', 'CE'],
	['since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z', 'CEADB'],
	[`since=${percent(DAY(2))}&until=${percent(DAY(4))}`, 'AD'],
	[`until=${DAY(4)};since=${DAY(2)}`, 'AD'],
	[`limit=1&since=${DAY(2)}&offset=1&until=${DAY(4)}`, 'D'],
	[`order=eventId.asc&since=${DAY(2)}&limit=2`, 'DA'],
	[`objectType=eq.CUSTOMER&since=${DAY(2)}&processingStatus=eq.LINKED`, 'EA'],
	[`or=(name.eq.C,payload->>plan.eq.free)&until=${DAY(5)}`, 'A'],
	[`since=${DAY(2)}&occurredAt=lt.${DAY(4)}`, 'AD'],
	[`description=is.null&until=${DAY(4)}&select=name`, 'AD'],
])
	test(`GET /v1/events?${query} has ${expected || 'nothing'}`, async () => {
		const answer = await get(`/events?${query}`, { as: reader })
		assert.equal(answer.status, 200, answer.text)
		assert.equal(names(answer), expected)
	})

test('the pages of a period, each after the last event of the one before, are the period', async () => {
	let pages = ''
	for (let before = ''; ;) {
		const { json } = await get(`/events?since=${DAY(2)}&until=${DAY(5)}&order=eventId.desc&limit=1${before}`, { as: reader })
		if (json.length === 0) break
		pages += json[0].name
		before = `&eventId=lt.${json[0].eventId}`
	}
	assert.equal(pages, 'EAD')
})

test('a period is counted, has its own headers, and is over with the request', async () => {
	const query = `/events?since=${DAY(2)}&until=${DAY(5)}&limit=2`
	for (let n = 0; n < 30; n++) {
		const answer = await get(query, { as: reader, headers: { Prefer: 'count=exact' } })
		assert.deepEqual([answer.status, answer.headers.get('content-range'), names(answer)], [206, '0-1/3', 'EA'])
		const all = await getDirectly('/event_logs', { as: reader })
		assert.equal(names(all), NEWEST_FIRST)
	}
	const head = await request('HEAD', BASE_URL + '/v1' + query, { as: reader, headers: { Prefer: 'count=exact' } })
	assert.deepEqual([head.status, head.headers.get('content-range'), head.text], [206, '0-1/3', ''])
})

test('a since or until that is no time of RFC 3339 is 400, and named', async () => {
	for (const name of ['since', 'until'])
		for (const [value, read = value] of [['yesterday'], [''], ['infinity'], ['2026-03-01'], ['2026-03-01T12:00:00'], ['2026-03-01 12:00:00Z'],
			['2026-02-30T12:00:00Z'], ['2026-03-01T12:00:00+01:00', '2026-03-01T12:00:00 01:00'], [`gte.${DAY(1)}`], ['1969-12-31T23:59:59Z'],
			['0000-01-01T00:00:00Z'], ['null'], ['1772323200'], [percent('x'.repeat(200)), 'x'.repeat(100)]])
			for (const query of [`${name}=${value}`, `limit=0&${name}=${value}&select=name`])
				assertError(await get(`/events?${query}`, { as: reader }), 400, { code: 'PT400', message: 'Bad Request',
					details: `The parameter ${name} is not a time of RFC 3339 from 1970 on: ${read}`, hint: /2026-11-20T09:30:00Z/ })
	assertError(await get(`/events?since=${DAY(1)}&since=${DAY(2)}`, { as: reader }), 400)
	assertError(await get(`/events?Since=${DAY(1)}`, { as: reader }), 400)
})

test('paths without a period have no since and until', async () => {
	for (const path of ['/rejections', '/object-types', `/events/${ids.A}`])
		assertError(await get(`${path}?since=${DAY(1)}`, { as: reader }), 400)
	assertError(await request('POST', `${BASE_URL}/v1/events?since=${DAY(1)}`, { as: submitter, body: event() }), 400,
		{ details: 'Unknown query parameters: since.' })
})

test('event ids page through the logs', async () => {
	const { json } = await logs(`?eventId=lt.${ids.A}&order=eventId.desc&limit=1`)
	assert.equal(json[0].eventId, ids.D)
})

test('select chooses columns, and parts of the payload', async () => {
	const { json } = await logs('?select=eventId,what:name,payload->>plan&name=eq.A')
	assert.deepEqual(json, [{ eventId: ids.A, what: 'A', plan: 'free' }])
})

test('Prefer: count=exact counts: 206 and a Content-Range for a part, 200 for all', async () => {
	const prefer = { Prefer: 'count=exact' }
	const part = await logs('?limit=2&offset=1', prefer)
	assert.equal(part.status, 206)
	assert.equal(part.headers.get('content-range'), '1-2/5')
	const all = await logs('?objectType=eq.CUSTOMER', prefer)
	assert.equal(all.status, 200)
	assert.equal(all.headers.get('content-range'), '0-2/3')
	const none = await logs('?name=eq.nobody', prefer)
	assert.equal(none.headers.get('content-range'), '*/0')
})

test('a header Range asks for a part', async () => {
	const answer = await logs('', { 'Range-Unit': 'items', Range: '1-2' })
	assert.equal(names(answer), 'EA')
})

for (const [query, headers] of [['offset=1001'], ['limit=1&offset=99999999999999999999'], ['offset=1&offset=1001'], ['o%66fset=1001'], ['offset=%31001'],
	['offset=-1'], ['offset=0x3E9'], ['offset=(1001)'], ['offset=some'], ['since=2026-03-01T00:00:00Z&offset=1001'], ['processingStatus=eq.PENDING&offset=1001'],
	['', { Range: '1001-1050' }], ['', { Range: '1001-' }], ['offset=1', { 'Range-Unit': 'items', Range: '001001-2000' }]])
	test(`an offset beyond 1,000 is 400, and says how to go on: ${query} ${headers?.Range ?? ''}`, async () => {
		const expected = { code: 'PT400', message: 'Bad Request', details: /from 0 to 1000/, hint: /eventId=lt\./ }
		assertError(await get(`/events?${query}`, { as: reader, headers }), 400, expected)
		assertError(await get(`/event_logs?${query.replace(/since=[^&]*&/, '')}`, { as: reader, headers }), 400, expected)
		assert.equal((await request('HEAD', `${BASE_URL}/v1/events?${query}`, { as: reader, headers })).status, 400)
	})

test('an offset of 1,000 is taken, and other paths take any', async () => {
	for (const [query, headers] of [['offset=1000'], ['offset=0001000&limit=5'], ['', { Range: '1000-1049' }], ['', { Range: 'rows=1001-1050' }], ['offset=1000', { Range: '1000-' }]]) {
		const answer = await get(`/events?${query}`, { as: reader, headers })
		assert.equal(answer.status, 200, answer.text)
	}
	for (const path of ['/rejections', '/object-types'])
		assert.equal((await get(`${path}?offset=1001`, { as: reader, headers: { Range: '1001-1050' } })).status, 200, path)
	const direct = await request('GET', `${POSTGREST_URL}/event_logs`, { as: reader, headers: { Range: '1001-1050' } })
	assert.deepEqual([direct.status, direct.json.code], [400, 'PT400'])
})

/* What is LINKED has no part in it; the log has the same rows for each of these. */
test('what is PENDING, and what has FAILED, is read from the queue, and is what the log has', () => withLinkingOff(async () => {
	const { tenant, submitter, reader } = newTenant()
	const relatedObjects = [{ objectType: 'CONVERSATION', objectId: '19733' }]
	for (let day = 1; day <= 6; day++)
		await post('/events', event({ name: `on day ${day}`, occurredAt: DAY(day), ...(day > 2 && { relatedObjects }) }), { as: submitter })
	sql(`UPDATE atlas_event_queue SET next_attempt_at = 'infinity', attempts = 5, last_error = 'for a test',
			submitted_xid = (hashtextextended(tenant_id, 0) & 9223372036854775807)::text::xid8
		WHERE tenant_id = '${tenant}' AND event_id IN (SELECT event_id FROM atlas_events WHERE tenant_id = '${tenant}' AND name IN ('on day 3', 'on day 5'))`)
	const namesOf = async (query, headers) => {
		const { status, json, text } = await get(`/events?${query}`, { as: reader, headers })
		assert.equal(status, 200, text)
		return json.map(({ name }) => name.at(-1)).join('')
	}
	for (const [status, all, period] of [['PENDING', '64', '4'], ['FAILED', '53', '3']]) {
		const filter = `processingStatus=eq.${status}`
		assert.equal(await namesOf(filter), all)
		assert.equal(await namesOf(`order=eventId.asc&${filter}`), [...all].reverse().join(''))
		assert.equal(await namesOf(`${filter}&since=${DAY(3)}&until=${DAY(5)}`), period)
		assert.equal(await namesOf(`until=${DAY(5)};${filter};since=${DAY(3)}`), period)
		assert.equal(await namesOf(`${filter}&limit=1&offset=1`), all[1])
		assert.equal(await namesOf(filter, { Range: '1-1' }), all[1])
		assert.equal(await namesOf(`${filter}&processingStatus=eq.LINKED`), '')
		assert.equal(await namesOf(`${filter}&or=(name.eq.on day 3,name.eq.on day 4)`), all[1])
		const [newest] = (await get(`/events?${filter}&limit=1`, { as: reader })).json
		assert.equal(await namesOf(`${filter}&eventId=lt.${newest.eventId}&order=eventId.desc`), all[1])
		/* The encoded dot is for the log. */
		const encoded = `processingStatus=eq%2E${status}`
		assert.deepEqual((await get(`/events?${filter}`, { as: reader })).text, (await get(`/events?${encoded}`, { as: reader })).text)
		assert.match((await get(`/events?${filter}`, { as: reader })).text, /^\[\{"eventId":.*"objectType":.*"linkedAt":null/)
		assert.equal((await get(`/events?${filter}`, { as: reader, headers: { Prefer: 'count=exact' } })).headers.get('content-range'), '0-1/2')
	}
	/* PostgREST names the view that it was asked for. */
	const viewOf = async (query) => (await get(`/events?${query}&select=nope`, { as: reader })).json.message.match(/column (\w+)\.nope/)[1]
	for (const [query, view] of [['processingStatus=eq.PENDING', 'pending_events'], ['limit=1&processingStatus=eq.FAILED', 'pending_events'],
		[`processingStatus=eq.FAILED&since=${DAY(3)}`, 'pending_events'], [`processingStatus=eq.LINKED&until=${DAY(3)}`, 'event_logs_of_period'],
		...['eq.LINKED', 'neq.PENDING', 'not.eq.PENDING', 'eq.PENDINGS', 'in.(PENDING)'].map((filter) => [`processingStatus=${filter}`, 'event_logs']),
		['or=(processingStatus.eq.PENDING,name.eq.A)', 'event_logs'], ['name=eq.processingStatus=eq.PENDING', 'event_logs']])
		assert.equal(await viewOf(query), view, query)
	assert.equal(await namesOf('processingStatus=eq.LINKED'), '21')
	assert.equal(await namesOf('processingStatus=in.(PENDING,FAILED)'), '6543')
	assert.equal(await namesOf('processingStatus=neq.LINKED&order=eventId.asc'), '3456')
	assert.equal(await namesOf('processingStatus=eq.pending'), '')
	sql(`DELETE FROM atlas_event_queue WHERE tenant_id = '${tenant}' AND next_attempt_at = 'infinity'`)
}))

test('an offset beyond the count is 416', async () => {
	const answer = await get('/events?offset=9&limit=1', { as: reader, headers: { Prefer: 'count=exact' } })
	assertError(answer, 416)
	assert.equal(answer.headers.get('content-range'), '*/5')
})

test('HEAD has the headers, and no body', async () => {
	const answer = await request('HEAD', `${BASE_URL}/v1/events`, { as: reader, headers: { Prefer: 'count=exact' } })
	assert.equal(answer.status, 200)
	assert.equal(answer.headers.get('content-range'), '0-4/5')
	assert.equal(answer.text, '')
})

test('the logs can be had as CSV, and as one object', async () => {
	const csv = await get('/events?select=name&order=name', { as: reader, headers: { Accept: 'text/csv' } })
	assert.equal(csv.text, 'name\nA\nB\nC\nD\nE')
	const headers = { Accept: 'application/vnd.pgrst.object+json' }
	const one = await get('/events?select=name&name=eq.A', { as: reader, headers })
	assert.deepEqual(one.json, { name: 'A' })
})

test('unknown columns, operators and malformed values are 400', async () => {
	for (const query of ['?nope=eq.1', '?name=zz.1', '?eventId=eq.abc', '?occurredAt=gt.yesterdayish', '?select=nope',
		'?order=nope', '?payload->>plan=1'])
		assertError(await get(`/events${query}`, { as: reader }), 400)
})

test('processingStatus=eq.PENDING has what waits, and only that', async () => {
	const { submitter, reader } = newTenant()
	const query = '/events?processingStatus=eq.PENDING&objectType=eq.CUSTOMER&order=eventId.desc'
	await withLinkingOff(async () => {
		const waiting = [1, 2].map(() => event({ relatedObjects: [{ objectType: 'TICKET', objectId: '19734' }] }))
		await post('/events/batch', [event(), ...waiting], { as: submitter })
		const { json } = await get(query, { as: reader })
		assert.deepEqual(json.map(({ name }) => name), waiting.map(({ name }) => name).reverse())
		const linked = await get('/events?processingStatus=eq.LINKED', { as: reader })
		assert.equal(linked.json.length, 1)
	})
})

test('GET /v1/events/{eventId} is the event, as it is in the logs', async () => {
	const { json: [logged] } = await logs('?name=eq.C')
	for (const answer of [
		await get(`/events/${ids.C}`, { as: reader }),
		await get(`/events/${ids.C.toUpperCase()}`, { as: reader }),
		await getDirectly(`/rpc/event?eventId=${ids.C}`, { as: reader }),
	]) {
		assert.equal(answer.status, 200)
		assert.deepEqual(answer.json, logged)
	}
})

test('GET /v1/events/{eventId} of an absent event is 404', async () => {
	const path = randomUUID()
	assertError(await get(`/events/${path}`, { as: reader }), 404, { code: 'PT404', message: 'Object Not Found' })
	const direct = await request('GET', `${POSTGREST_URL}/rpc/event?eventId=${path}`, { as: reader })
	assert.equal(direct.status, 404)
	assert.equal(direct.json.code, 'PT404')
})

test('GET /v1/events/{eventId} of what is no event id is 404', async () => {
	for (const id of ['1', 'x'.repeat(36), '-'.repeat(36), `${ids.A}0`, ids.A.replaceAll('-', ''), `{${ids.A}}`,
		`${ids.A.slice(0, -1)}-`])
		assertError(await get(`/events/${id}`, { as: reader }), 404, { code: 'PT404' })
})

test('GET /v1/events/{eventId} of another tenant is 404, with the bytes of an absent one', async () => {
	const bytes = ({ text }) => text.replace(/"requestId":"[0-9a-f]{32}"/, '')
	const other = await get(`/events/${ids.A}`, { as: newTenant().reader })
	assertError(other, 404, { code: 'PT404' })
	assert.equal(bytes(other), bytes(await get(`/events/${randomUUID()}`, { as: reader })))
})
