/*
 * timeline.test.mjs
 *		GET /v1/timeline: the events of an object, newest first, page by page
 *		along the header Link; by either id, of a name, and of a period.
 */
import { before, test } from 'node:test'
import assert from 'node:assert/strict'
import { BASE_URL, CUSTOMER, POSTGREST_URL, assertError, event, followLinks, get, getDirectly, newTenant, nextOf, post,
	postDirectly, request, sql, waitFor } from './atlas.mjs'

const { submitter, reader } = newTenant()
const TICKET = '19734'
const EXTERNAL_ID = '195959'
const COUNT = 25
const OBJECT = `objectType=CUSTOMER&objectId=${CUSTOMER}`

/* Every third event is of another customer, and has ours as related object. */
before(async () => {
	const events = Array.from({ length: COUNT }, (_, n) => n % 3 === 2
		? event({ name: `${n}`, objectType: 'TICKET', objectId: TICKET,
			relatedObjects: [{ objectType: 'CUSTOMER', objectId: CUSTOMER }] })
		: event({ name: `${n}` }))
	const { status } = await post('/events/batch', events, { as: submitter })
	assert.equal(status, 200)
	await waitFor('all are linked', async () =>
		(await get('/events?processingStatus=eq.PENDING', { as: reader })).json.length === 0)
})

const NEWEST_FIRST = Array.from({ length: COUNT }, (_, n) => `${COUNT - 1 - n}`)

/* Follows rel="next" from a URL until there is none. */
const pages = async (first) => (await followLinks(first, reader, COUNT + 1)).map(({ json }) => json)

const assertPages = (found, pageSize) => {
	assert.deepEqual(found.flat().map(({ name }) => name), NEWEST_FIRST)
	assert.deepEqual(found.map(({ length }) => length), Array.from({ length: Math.ceil(COUNT / pageSize) },
		(_, n) => Math.min(pageSize, COUNT - n * pageSize)))
}

for (const pageSize of [1, 4, 5, COUNT - 1, COUNT, COUNT + 1]) {
	test(`pages of ${pageSize} along the header Link have every event once, in order`, async () => {
		assertPages(await pages(`${BASE_URL}/v1/timeline?${OBJECT}&limit=${pageSize}`), pageSize)
	})

	test(`pages of ${pageSize} of PostgREST itself have every event once, in order`, async () => {
		assertPages(await pages(`${POSTGREST_URL}/rpc/timeline?${OBJECT}&pageSize=${pageSize}`), pageSize)
	})
}

test('without a limit a page has 50 events', async () => {
	const { submitter, reader } = newTenant()
	await post('/events/batch', Array.from({ length: 51 }, () => event()), { as: submitter })
	for (const answer of [
		await get(`/timeline?${OBJECT}`, { as: reader }), await getDirectly(`/rpc/timeline?${OBJECT}`, { as: reader }),
	]) {
		assert.equal(answer.json.length, 50)
		assert.ok(nextOf(answer))
	}
})

test('a limit of 1000 is taken', async () => {
	const answer = await get(`/timeline?${OBJECT}&limit=1000`, { as: reader })
	assert.deepEqual(answer.json.map(({ name }) => name), NEWEST_FIRST)
	assert.equal(nextOf(answer), null)
})

test('before leaves out an event and all that are newer', async () => {
	const { json } = await get(`/timeline?${OBJECT}`, { as: reader })
	const rest = await get(`/timeline?${OBJECT}&before=${json[9].eventId}`, { as: reader })
	assert.deepEqual(rest.json, json.slice(10))
})

test('events that come while one pages do not disturb the pages', async () => {
	const { submitter, reader } = newTenant()
	const names = ['1', '2', '3', '4']
	for (const name of names) await post('/events', event({ name }), { as: submitter })
	const first = await get(`/timeline?${OBJECT}&limit=2`, { as: reader })
	await post('/events', event({ name: 'new' }), { as: submitter })
	const second = await request('GET', new URL(nextOf(first), BASE_URL).href, { as: reader })
	assert.deepEqual([...first.json, ...second.json].map(({ name }) => name), names.reverse())
})

test('the timeline of a related object says so, and names the primary object', async () => {
	const { json } = await get(`/timeline?${OBJECT}&limit=3`, { as: reader })
	assert.deepEqual(json.map(({ role, objectType, objectId }) => [role, objectType, objectId]), [
		['PRIMARY', 'CUSTOMER', CUSTOMER], ['RELATED', 'CONVERSATION', TICKET], ['PRIMARY', 'CUSTOMER', CUSTOMER],
	])
})

test('aliases and ids in any case lead to the same timeline', async () => {
	const { json } = await get(`/timeline?${OBJECT}`, { as: reader })
	assert.equal(json.length, COUNT)
	const upper = await get(`/timeline?objectType=customer&objectId=${CUSTOMER.toUpperCase()}`, { as: reader })
	assert.deepEqual(upper.json, json)
	const ticket = await get(`/timeline?objectType=ticket&objectId=${TICKET}`, { as: reader })
	const conversation = await get(`/timeline?objectType=CONVERSATION&objectId=${TICKET}`, { as: reader })
	assert.equal(ticket.json.length, 8)
	assert.deepEqual(ticket.json, conversation.json)
})

test('POST and GET of the function give the same page', async () => {
	const { json } = await getDirectly(`/rpc/timeline?${OBJECT}&pageSize=3`, { as: reader })
	const body = { objectType: 'CUSTOMER', objectId: CUSTOMER, pageSize: 3 }
	const posted = await postDirectly('/rpc/timeline', body, { as: reader })
	assert.deepEqual(posted.json, json)
	const throughNginx = await post('/rpc/timeline', body, { as: reader })
	assert.deepEqual(throughNginx.json, json)
})

test('an object without events, and one that does not exist, have an empty timeline', async () => {
	for (const query of [OBJECT, 'objectType=CUSTOMER&objectId=nobody', 'objectType=TICKET&objectId=999999999'])
		for (const answer of [
			await get(`/timeline?${query}`, { as: newTenant().reader }),
			await getDirectly(`/rpc/timeline?${query}`, { as: newTenant().reader }),
		]) {
			assert.equal(answer.status, 200)
			assert.deepEqual(answer.json, [])
			assert.equal(nextOf(answer), null)
		}
})

/* Both ways, through nginx and directly; the answers must be the same. */
async function timeline(query, as) {
	const answer = await get(`/timeline?${query}`, { as })
	const direct = await getDirectly(`/rpc/timeline?${query.replace('limit', 'pageSize')}`, { as })
	assert.equal(direct.status, answer.status, direct.text)
	if (answer.status === 200) assert.deepEqual(direct.json, answer.json)
	return answer
}

const names = ({ status, json, text }) => {
	assert.equal(status, 200, text)
	return json.map(({ name }) => name).join('')
}

test('an object can be named by its externalId, or by both ids', async () => {
	const byId = await timeline(`${OBJECT}&limit=5`, reader)
	for (const query of [`objectType=customer&externalId=${EXTERNAL_ID}`, `${OBJECT}&externalId=${EXTERNAL_ID}`])
		assert.deepEqual((await timeline(`${query}&limit=5`, reader)).json, byId.json)
	assert.deepEqual((await timeline(`${OBJECT}&externalId=&limit=5`, reader)).json, byId.json)
})

test('pages by externalId go on along the header Link', async () => {
	assertPages(await pages(`${BASE_URL}/v1/timeline?objectType=CUSTOMER&externalId=${EXTERNAL_ID}&limit=4`), 4)
	assertPages(await pages(`${POSTGREST_URL}/rpc/timeline?objectType=CUSTOMER&externalId=${EXTERNAL_ID}&pageSize=4`), 4)
})

test('an externalId that no object has is 404, and one of another object than objectId is 409', async () => {
	for (const query of ['objectType=CUSTOMER&externalId=nobody', 'objectType=CUSTOMER&objectId=nobody&externalId=195959', 'objectType=USER&externalId=1'])
		assertError(await timeline(query, reader), 404, { code: 'PT404' })
	const other = sql(`SELECT external_id FROM customers WHERE external_id <> '${EXTERNAL_ID}' LIMIT 1`)
	assertError(await timeline(`${OBJECT}&externalId=${other}`, reader), 409, { code: 'PT409' })
})

const DAY = (n) => `2026-03-0${n}T12:00:00Z`
const period = newTenant()

before(async () => {
	const events = [['A', 1], ['B', 2], ['A', 3], ['C d&e=é', 4], ['A', 5]].map(([name, day]) => event({ name, occurredAt: DAY(day) }))
	assert.equal((await post('/events/batch', events, { as: period.submitter })).status, 200)
})

for (const [query, expected] of [
	['name=A', 'AAA'], ['name=B', 'B'], ['name=b', ''], ['name=', 'AC d&e=éABA'], ['name=C+d%26e%3D%C3%A9', 'C d&e=é'],
	[`since=${DAY(2)}&until=${DAY(4)}`, 'AB'], [`until=${DAY(2)}`, 'A'], [`since=${DAY(4)}`, 'AC d&e=é'], [`until=${DAY(4)}&since=${DAY(2)}`, 'AB'],
	[`since=${DAY(4)}&until=${DAY(4)}`, ''], [`since=${DAY(5)}&until=${DAY(1)}`, ''],
	['since=2026-03-04T12:00:00.000001Z', 'A'], ['since=2026-03-04T17:30:00%2B05:30', 'AC d&e=é'], ['since=2026-03-04t05:00:00-07:00', 'AC d&e=é'],
	['since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z', 'AC d&e=éABA'], [`name=A&since=${DAY(2)}&until=${DAY(5)}`, 'A'],
])
	test(`the events of ${query} are selected`, async () => {
		assert.equal(names(await timeline(`${OBJECT}&${query}`, period.reader)), expected)
		assert.equal(names(await timeline(`${query}&${OBJECT}`, period.reader)), expected)
	})

test('a name is no filter of PostgREST', async () => {
	assert.equal(names(await get(`/timeline?${OBJECT}&name=eq.A`, { as: period.reader })), '')
})

test('pages of a name and a period go on along the header Link', async () => {
	for (const query of ['name=A', `name=A&since=${DAY(1)}&until=${DAY(6)}`, `since=${encodeURIComponent('2026-03-01T12:00:00+00:00')}&name=A`]) {
		const first = await get(`/timeline?${OBJECT}&limit=2&${query}`, { as: period.reader })
		const second = await request('GET', BASE_URL + nextOf(first), { as: period.reader })
		assert.equal(names(first) + names(second), 'AAA')
		assert.equal(nextOf(second), null)
	}
})

test('a since or until that is no time of RFC 3339 is 400, and named', async () => {
	for (const name of ['since', 'until'])
		for (const value of ['yesterday', '', 'infinity', '2026-03-01', '2026-03-01T12:00:00', '2026-03-01+12:00:00Z', '2026-02-30T12:00:00Z',
			'2026-03-01T12:00:00+01:00', '1969-12-31T23:59:59Z', '0000-01-01T00:00:00Z', 'null']) {
			const answer = await timeline(`${OBJECT}&${name}=${value}`, reader)
			assertError(answer, 400, { code: 'PT400' })
			assert.deepEqual(answer.json.errors.map((problem) => problem.field), [`/${name}`])
		}
})

for (const [what, query, field] of [
	['an unknown object type', 'objectType=NOPE&objectId=1', '/objectType'],
	['a missing objectType', 'objectId=1', '/objectType'],
	['an empty objectType', 'objectType=&objectId=1', '/objectType'],
	['a missing objectId', 'objectType=CUSTOMER', '/objectId'],
	['an empty objectId and externalId', 'objectType=CUSTOMER&objectId=&externalId=', '/objectId'],
	['limit=0', `${OBJECT}&limit=0`, '/limit'],
	['limit=1001', `${OBJECT}&limit=1001`, '/limit'],
	['limit=-1', `${OBJECT}&limit=-1`, '/limit'],
])
	test(`${what} is 400, through nginx and directly`, async () => {
		const answer = await get(`/timeline?${query}`, { as: reader })
		assertError(answer, 400, { code: 'PT400' })
		assert.deepEqual(answer.json.errors.map((problem) => problem.field), [field])
		const direct = await getDirectly(`/rpc/timeline?${query.replace('limit', 'pageSize')}`, { as: reader })
		assert.equal(direct.status, 400, direct.text)
		assert.deepEqual(direct.json.errors, answer.json.errors)
	})

test('a malformed limit or before is 400', async () => {
	for (const query of ['limit=ten', 'limit=1.5', 'limit=99999999999', 'before=1', 'before=now'])
		assertError(await get(`/timeline?${OBJECT}&${query}`, { as: reader }), 400)
})

test('ids of any characters are in the header Link so that it can be followed', async () => {
	const id = 'a b&c=d/é?"<>%,;'
	sql(`DROP TABLE IF EXISTS public.http_test_things;
		CREATE TABLE public.http_test_things (id text PRIMARY KEY);
		INSERT INTO public.http_test_things VALUES ($id$${id}$id$);
		SELECT atlas_register_object_type('HTTP_TEST_THING', 'public.http_test_things')`)
	try {
		const { submitter, reader } = newTenant()
		const events = ['1', '2', '3'].map((name) => event({ objectType: 'HTTP_TEST_THING', objectId: id, name }))
		assert.equal((await post('/events/batch', events, { as: submitter })).status, 200)
		const first = await get(`/timeline?objectType=http-test-thing&objectId=${encodeURIComponent(id)}&limit=2`,
			{ as: reader })
		assert.match(first.headers.get('link'), /^<\/v1\/timeline\?[!-~]+>; rel="next"$/)
		const second = await request('GET', BASE_URL + nextOf(first), { as: reader })
		assert.deepEqual([...first.json, ...second.json].map(({ name }) => name), ['3', '2', '1'])
	} finally {
		sql("SELECT atlas_unregister_object_type('HTTP_TEST_THING'); DROP TABLE public.http_test_things")
	}
})
