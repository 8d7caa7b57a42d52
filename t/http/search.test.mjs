/*
 * search.test.mjs
 *		GET /v1/search and GET /v1/objects: what is found by each parameter, page
 *		by page along the header Link, also where the work of a page is spent
 *		before it is full; what is refused; and that tenants stay apart.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { BASE_URL, CUSTOMER, POSTGREST_URL, assertError, event, followLinks, get, getDirectly, newTenant, nextOf, post,
	postDirectly, request, sql, submitter, waitFor } from './atlas.mjs'

const TICKET = '19734'
const COUNT = 25
const shop = newTenant()
const START = Date.now() - 10 * 86_400_000

/* Event n happened n hours after START; every third is of a ticket, and related to the customer. */
const at = (n) => new Date(START + n * 3_600_000).toISOString()
const EVENTS = Array.from({ length: COUNT }, (_, n) => event({ name: n % 2 ? 'Checkout Failed' : 'Checkout Completed',
	description: `Zebra ${n % 5 ? 'crossing' : 'parking'}`, payload: { order: n, total: 50 }, occurredAt: at(n),
	...(n % 3 === 2 && { objectType: 'TICKET', objectId: TICKET, relatedObjects: [{ objectType: 'CUSTOMER', objectId: CUSTOMER }] }) }))

/* Submits events, and waits until the last one is linked and found by a word that is in all of them. */
async function submitAndFind({ submitter, reader }, events, word) {
	const { status, text } = await post('/events/batch', events, { as: submitter })
	assert.equal(status, 200, text)
	await waitFor('all are linked', async () => (await get('/events?processingStatus=eq.PENDING', { as: reader })).json.length === 0)
	await waitFor('all are found', async () => (await get(`/search?q=${word}&limit=1000`, { as: reader })).json.length === events.length)
}

before(() => submitAndFind(shop, EVENTS, 'zebra'))

/* Through nginx, and directly; the answers must be the same. */
async function both(resource, query, as = shop.reader) {
	const answer = await get(`/${resource}?${query}`, { as })
	const direct = await getDirectly(`/rpc/${resource}?${query.replace(/\blimit=/, 'pageSize=')}`, { as })
	assert.equal(direct.status, answer.status, direct.text)
	if (answer.status === 200) assert.deepEqual(direct.json, answer.json)
	assert.equal(nextOf(direct) === null, nextOf(answer) === null)
	return answer
}

/* The numbers of the events that were found. */
const orders = ({ status, json, text }) => {
	assert.equal(status, 200, text)
	return json.map(({ payload }) => payload.order)
}

const expected = (condition) => EVENTS.map((sent, n) => n).filter((n) => condition(EVENTS[n], n)).reverse()
const isTicket = ({ objectType }) => objectType === 'TICKET'

for (const [query, condition] of [
	['q=zebra', () => true], ['q=ZEBRA+parking', (sent, n) => n % 5 === 0], ['q=giraffe', () => false],
	['', () => true], ['q=', () => true], ['q=&objectType=&objectId=&name=', () => true],
	['objectType=TICKET', isTicket], ['objectType=ticket&q=zebra', isTicket], ['objectType=CUSTOMER&q=zebra', (sent) => !isTicket(sent)],
	['objectType=COMPANY&q=zebra', () => false],
	[`objectType=TICKET&objectId=${TICKET}&q=zebra`, isTicket], [`objectType=CUSTOMER&objectId=${CUSTOMER}&q=zebra`, () => true],
	[`objectType=CUSTOMER&objectId=${CUSTOMER}&q=parking`, (sent, n) => n % 5 === 0], ['objectType=CUSTOMER&objectId=nobody&q=zebra', () => false],
	['name=Checkout+Failed', (sent, n) => n % 2 === 1], ['name=Checkout%20Failed&q=parking', (sent, n) => n % 10 === 5], ['name=Checkout', () => false],
	[`since=${at(4)}&q=zebra`, (sent, n) => n >= 4], [`until=${at(4)}&q=zebra`, (sent, n) => n < 4],
	[`q=zebra&since=${at(4)}&until=${at(9)}`, (sent, n) => n >= 4 && n < 9], [`since=${at(9)}&until=${at(4)}`, () => false],
	[`q=zebra&limit=3`, (sent, n) => n >= COUNT - 3], ['q=zebra&limit=1000', () => true],
	[`q=parking&objectType=TICKET&name=checkout%20failed&since=${at(1)}&until=${at(24)}`, (sent, n) => n === 5],
])
	test(`a search for "${query}" finds what it should, newest first`, async () => {
		assert.deepEqual(orders(await both('search', query)), expected(condition))
	})

test('an event that is found has these fields, with the label of its object and the words marked', async () => {
	const { json: [found] } = await get('/search?q=zebra&limit=1', { as: shop.reader })
	const sent = EVENTS[COUNT - 1]
	const { headline, occurredAt, ...rest } = found
	assert.deepEqual(Object.keys(found), ['eventId', 'occurredAt', 'objectType', 'objectId', 'externalId', 'label', 'name', 'description',
		'icon', 'payload', 'headline', 'processingStatus'])
	assert.deepEqual(rest, { eventId: found.eventId, objectType: 'CUSTOMER', objectId: CUSTOMER, externalId: '195959', name: sent.name,
		description: sent.description, icon: null, payload: sent.payload, processingStatus: 'LINKED',
		label: sql(`SELECT name FROM customers WHERE id = '${CUSTOMER}'`) })
	assert.equal(Date.parse(occurredAt), Date.parse(sent.occurredAt))
	assert.match(headline, /<mark>.*Zebra.*<\/mark>/)
	assert.equal((await get('/search?limit=1', { as: shop.reader })).json[0].headline, null)
})

test('before leaves out an event and all that are newer', async () => {
	const { json } = await get('/search?q=zebra', { as: shop.reader })
	assert.deepEqual((await both('search', `q=zebra&before=${json[9].eventId}`)).json, json.slice(10))
	assert.deepEqual((await get('/search?q=zebra&before=&limit=&name=', { as: shop.reader })).json, json)
})

test('POST and GET of the functions give the same page', async () => {
	const search = { q: 'zebra', objectType: 'CUSTOMER', pageSize: 3 }
	const { json } = await get('/search?q=zebra&objectType=CUSTOMER&limit=3', { as: shop.reader })
	for (const way of [post, postDirectly])
		assert.deepEqual((await way('/rpc/search', search, { as: shop.reader })).json, json)
	const objects = await get('/objects?q=zebra&objectType=CUSTOMER', { as: shop.reader })
	for (const way of [post, postDirectly])
		assert.deepEqual((await way('/rpc/objects', { q: 'zebra', objectType: 'CUSTOMER' }, { as: shop.reader })).json, objects.json)
})

test('HEAD has the header Link and no body', async () => {
	for (const path of ['/search?q=zebra&limit=1', '/objects?objectType=CUSTOMER']) {
		const answer = await request('HEAD', `${BASE_URL}/v1${path}`, { as: shop.reader })
		assert.deepEqual([answer.status, answer.text], [200, ''])
		assert.equal(nextOf(answer) === null, path.startsWith('/objects'))
	}
})

test('answers are not for caches, and set no cookie', async () => {
	for (const path of ['/search?q=zebra', '/objects?objectType=CUSTOMER', '/search?limit=x']) {
		const { headers } = await get(path, { as: shop.reader })
		assert.deepEqual([headers.get('cache-control'), headers.get('set-cookie')], ['no-store', null])
	}
})

/* Pages of each size, through nginx and directly, are one large page; and all of them are full. */
async function assertChains(resource, query, { reader } = shop) {
	const { json } = await get(`/${resource}?${query}&limit=1000`, { as: reader })
	assert.ok(json.length > 2, `${query} finds ${json.length}`)
	for (const size of [1, 2, json.length - 1, json.length, json.length + 1])
		for (const first of [`${BASE_URL}/v1/${resource}?${query}&limit=${size}`, `${POSTGREST_URL}/rpc/${resource}?${query}&pageSize=${size}`]) {
			const pages = (await followLinks(first, reader, json.length + 1)).map((answer) => answer.json)
			assert.deepEqual(pages.flat(), json, first)
			assert.equal(pages.length, Math.ceil(json.length / size), first)
		}
}

for (const query of ['q=zebra', 'q=parking', 'q=', 'q=zebra&objectType=TICKET', `q=zebra&objectType=CUSTOMER&objectId=${CUSTOMER}`,
	'name=Checkout%20Failed', `q=zebra&since=${at(3)}&until=${at(20)}`, `q=Zebra+crossing&name=checkout+failed&since=${encodeURIComponent(at(0).replace('Z', '+00:00'))}`])
	test(`pages of "${query}" along the header Link are one large page`, () => assertChains('search', query))

test('the link has all parameters of the request, and can be followed as it is', async () => {
	const query = `q=${encodeURIComponent('"zebra crossing" -a&b=c;d <é😀> "')}&objectType=customer&objectId=${CUSTOMER}&name=Checkout%20Completed&since=${at(0)}&until=${at(COUNT)}`
	const link = nextOf(await get(`/search?${query.replace(/q=[^&]*/, 'q=zebra')}&limit=1`, { as: shop.reader }))
	const parameters = new URLSearchParams(link.replace(/^[^?]*\?/, ''))
	assert.deepEqual([...parameters.keys()], ['q', 'objectType', 'objectId', 'name', 'since', 'until', 'before', 'limit'])
	for (const [name, value] of new URLSearchParams(query)) if (name !== 'q') assert.equal(parameters.get(name), value)
	const { json: [first] } = await get('/search?limit=1&q=zebra', { as: shop.reader })
	assert.deepEqual((await request('GET', `${BASE_URL}${link}`, { as: shop.reader })).status, 200)
	assert.equal(parameters.get('before'), first.eventId)
})

test('a query of any characters goes on along the header Link', async () => {
	const tenant = newTenant()
	const words = 'Ünï <b>&=?#%+;,"\'\\ 返金 😀'
	await submitAndFind(tenant, ['1', '2', '3'].map((n) => event({ name: `Okapi ${words}`, payload: { n } })), 'okapi')
	const first = await get(`/search?q=${encodeURIComponent(`okapi OR ${words}`)}&limit=1`, { as: tenant.reader })
	assert.match(first.headers.get('link') ?? '', /^$|^<\/v1\/search\?[!-;=?-~]+>; rel="next"$/)
	const all = await get(`/search?q=${encodeURIComponent(`okapi OR ${words}`)}`, { as: tenant.reader })
	const pages = await followLinks(`${BASE_URL}/v1/search?q=${encodeURIComponent(`okapi OR ${words}`)}&limit=1`, tenant.reader, 4)
	assert.deepEqual(pages.flatMap(({ json }) => json), all.json)
})

test('without a limit a page has 50 events, and events that come while one pages do not disturb the pages', async () => {
	const tenant = newTenant()
	const names = Array.from({ length: 101 }, (_, n) => `Gnu ${n}`)
	await submitAndFind(tenant, names.map((name) => event({ name })), 'gnu')
	const first = await get('/search?q=gnu', { as: tenant.reader })
	assert.equal(first.json.length, 50)
	await submitAndFind(tenant, [event({ name: 'Gnu late Eland' })], 'eland')
	const rest = await followLinks(BASE_URL + nextOf(first), tenant.reader, 2)
	assert.deepEqual([first, ...rest].flatMap(({ json }) => json.map(({ name }) => name)), names.reverse())
})

/* ----- The work of a page ----- */

const MANY = 30_000
const large = newTenant()

/* Both words are in all events, and beside each other in the oldest one only; so is one of its own. */
async function submitMany() {
	sql(`SET atlas_events.tenant = '${large.tenant}';
		SELECT submit_events((SELECT json_agg(json_build_object('objectType', 'CUSTOMER', 'objectId', '${CUSTOMER}', 'name', 'Walrus',
				'description', CASE n WHEN 0 THEN 'tapir lemur only' ELSE 'tapir and lemur' END, 'payload', json_build_object('n', n),
				'occurredAt', to_char(now() AT TIME ZONE 'UTC' - interval '1 day' + interval '1 ms' * n, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
				ORDER BY n)::text FROM generate_series(m, m + 4999) n)) ->> 'accepted' FROM generate_series(0, ${MANY - 1}, 5000) m`)
	await waitFor('all have their documents', () => sql('SELECT count(*) FROM atlas_event_work') === '0')
}

test('a page that ends because its work is spent leads on to the next one, and nothing is left out', async () => {
	const budget = Number(sql('SELECT atlas_api_private.max_work()'))
	assert.ok(budget < MANY, `${budget}`)
	await submitMany()
	for (const [path, found] of [['/search?q=%22tapir+lemur%22', ({ payload }) => payload.n], ['/search?q=-and', ({ payload }) => payload.n],
		['/search?q=%22tapir+lemur%22&objectType=CUSTOMER&name=walrus', ({ payload }) => payload.n],
		['/objects?objectType=CUSTOMER&q=%22tapir+lemur%22', ({ events }) => events - 1]])
		for (const first of [`${BASE_URL}/v1${path}`, `${POSTGREST_URL}/rpc${path}`]) {
			const pages = await followLinks(first, large.reader, MANY)
			assert.ok(pages.length > 1, `${path} has no page that its work ends`)
			assert.deepEqual(pages.flatMap(({ json }) => json).map(found), [0], path)
			assert.deepEqual(pages[0].json, [])
			for (const { text } of pages) assert.doesNotMatch(text, /searched/)
			const befores = pages.slice(0, -1).map((page) => new URL(nextOf(page), first).searchParams.get('before'))
			assert.deepEqual(befores, [...befores].sort().reverse())
			assert.equal(new Set(befores).size, befores.length)
		}
})

test('a page that is full before its work is spent leads on behind its last event', async () => {
	const first = await get('/search?q=tapir&limit=1000', { as: large.reader })
	const second = await request('GET', BASE_URL + nextOf(first), { as: large.reader })
	assert.deepEqual([...first.json, ...second.json].map(({ payload }) => payload.n), Array.from({ length: 2_000 }, (_, n) => MANY - 1 - n))
})

/* ----- Objects ----- */

const customers = sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM (SELECT id FROM customers ORDER BY id LIMIT 7) c").split(' ')
const labels = Object.fromEntries(customers.map((id) => [id, sql(`SELECT name FROM customers WHERE id = '${id}'`)]))
const fleet = newTenant()

/* Customer n has n + 1 events; every other one is of a ticket that the customer is related to. One is 40 days old. */
const RIDES = [event({ objectId: customers[0], name: 'Ride', description: 'Bongo', occurredAt: new Date(Date.now() - 40 * 86_400_000).toISOString() })]
for (let round = 0; round < customers.length; round++)
	customers.forEach((id, n) => {
		if (n < round) return
		const fields = { name: round % 2 ? 'Ride' : 'Tour', description: 'Bongo', occurredAt: at(RIDES.length) }
		RIDES.push(RIDES.length % 2 ? event({ ...fields, objectId: id })
			: event({ ...fields, objectType: 'TICKET', objectId: TICKET, relatedObjects: [{ objectType: 'CUSTOMER', objectId: id }] }))
	})
const customerOf = ({ objectId, relatedObjects }) => relatedObjects ? relatedObjects[0].objectId : objectId

before(() => submitAndFind(fleet, RIDES, 'bongo'))

/* Customer and number of events, the one with the newest event first. */
function expectedObjects(condition, times = 1) {
	const found = new Map()
	for (const ride of RIDES.slice().sort((a, b) => a.occurredAt < b.occurredAt ? 1 : -1).filter(condition))
		found.set(customerOf(ride), (found.get(customerOf(ride)) ?? 0) + 1)
	return [...found].filter(([, events]) => events >= times)
}

const isRecent = ({ occurredAt }) => Date.parse(occurredAt) > Date.now() - 30 * 86_400_000

for (const [query, condition, times] of [
	['', isRecent], ['q=bongo', isRecent], ['q=giraffe', () => false], ['q=&name=', isRecent],
	['q=bongo&name=Ride', (ride) => isRecent(ride) && ride.name === 'Ride'], ['q=bongo&times=4', isRecent, 4], ['times=8', isRecent, 8],
	['name=ride&times=2', (ride) => isRecent(ride) && ride.name === 'Ride', 2],
	['q=bongo&since=2020-01-01T00:00:00Z', () => true], ['since=2020-01-01T00:00:00Z&times=2', () => true, 2],
	[`since=${at(5)}&until=${at(20)}&q=bongo`, ({ occurredAt }) => occurredAt >= at(5) && occurredAt < at(20)],
	[`since=2020-01-01T00:00:00Z&until=${at(0)}`, (ride) => !isRecent(ride)], ['limit=1000', isRecent],
])
	test(`"${query}" finds the customers with such events, and counts them`, async () => {
		const { status, json, text } = await both('objects', `objectType=CUSTOMER&${query}`, fleet.reader)
		assert.equal(status, 200, text)
		assert.deepEqual(json.map(({ objectId, events }) => [objectId, events]), expectedObjects(condition, times))
	})

test('an object that is found has these fields, with its label and its newest event', async () => {
	const { json } = await get('/objects?objectType=customer&q=bongo', { as: fleet.reader })
	assert.equal(json.length, customers.length)
	assert.deepEqual((await get('/objects?objectType=customer&q=bongo&times=&before=&limit=', { as: fleet.reader })).json, json)
	for (const found of json) {
		assert.deepEqual(Object.keys(found), ['objectId', 'externalId', 'label', 'events', 'newestEvent', 'newestAt'])
		assert.equal(found.label, labels[found.objectId])
		const newest = (await get(`/timeline?objectType=CUSTOMER&objectId=${found.objectId}&limit=1`, { as: fleet.reader })).json[0]
		assert.deepEqual([found.newestEvent, found.newestAt], [newest.eventId, newest.occurredAt])
	}
	const tickets = await get('/objects?objectType=TICKET&q=bongo', { as: fleet.reader })
	assert.deepEqual(tickets.json.map(({ objectId, events }) => [objectId, events]), [[TICKET, RIDES.filter(isTicket).length]])
})

for (const query of ['', 'q=bongo', 'q=bongo&times=2', 'name=Ride&since=2020-01-01T00:00:00Z', `since=${at(2)}&until=${at(25)}`])
	test(`pages of objects with "${query}" along the header Link are one large page`, () =>
		assertChains('objects', `objectType=CUSTOMER&${query}`, fleet))

test('objects with the same newest event stand on one page', async () => {
	const tenant = newTenant()
	const related = (n, ids) => event({ objectType: 'TICKET', objectId: TICKET, name: 'Oryx', occurredAt: at(n), relatedObjects: ids.map((objectId) => ({ objectType: 'CUSTOMER', objectId })) })
	await submitAndFind(tenant, [event({ objectId: customers[0], name: 'Oryx', occurredAt: at(0) }), related(1, customers.slice(1, 5)), related(2, customers.slice(5, 7))], 'oryx')
	const { json } = await get('/objects?objectType=CUSTOMER&q=oryx', { as: tenant.reader })
	assert.deepEqual(json.map(({ objectId }) => objectId).sort(), customers.slice().sort())
	for (const limit of [1, 2, 3, 5, 6, 7])
		for (const first of [`${BASE_URL}/v1/objects?objectType=CUSTOMER&q=oryx&limit=${limit}`, `${POSTGREST_URL}/rpc/objects?objectType=CUSTOMER&q=oryx&pageSize=${limit}`]) {
			const pages = (await followLinks(first, tenant.reader, customers.length + 1)).map((page) => page.json)
			assert.deepEqual(pages.flat(), json, first)
		}
})

test('all pages of objects have the period of the first one, so that events that come meanwhile move no object', async () => {
	const tenant = newTenant()
	await submitAndFind(tenant, customers.map((objectId, n) => event({ objectId, name: `Kudu ${n}` })), 'kudu')
	for (const period of ['', '&since=2020-01-01T00:00:00Z']) {
		const { json } = await get('/objects?objectType=CUSTOMER&q=kudu' + period, { as: tenant.reader })
		const first = await get('/objects?objectType=CUSTOMER&q=kudu&limit=2' + period, { as: tenant.reader })
		const link = new URL(nextOf(first), BASE_URL)
		for (const name of ['since', 'until']) assert.match(link.searchParams.get(name), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$/)
		await submitAndFind(tenant, [event({ objectId: customers[0], name: `Kudu sable${period.length}` })], `sable${period.length}`)
		const rest = await followLinks(link.href, tenant.reader, customers.length)
		assert.deepEqual([first, ...rest].flatMap((page) => page.json), json)
	}
})

/* ----- What is refused ----- */

test('unknown parameters are 400, and named', async () => {
	for (const [query, names] of [['nope=1', 'nope'], ['Q=a', 'Q'], ['query=a&times=1', 'query, times'], ['select=name', 'select'], ['order=eventId', 'order'],
		['offset=1', 'offset'], ['externalId=1', 'externalId'], ['pageSize=1', 'pageSize'], ['max_work=1', 'max_work']])
		assertError(await get(`/search?${query}`, { as: shop.reader }), 400, { code: 'PT400', message: 'Bad Request',
			details: `Unknown query parameters: ${names}.`, hint: 'The path takes: before, limit, name, objectId, objectType, q, since, until.' })
	for (const path of ['/search?q=a;b=c', '/search?q=a;', '/objects?objectType=CUSTOMER;q=a', `/timeline?objectType=CUSTOMER&objectId=${CUSTOMER};limit=1`])
		assertError(await get(path, { as: shop.reader }), 400, { details: 'The query has a semicolon.', hint: 'Write it as %3B.' })
	for (const [query, names] of [['objectId=1', 'objectId'], ['nope=', 'nope'], ['condition=a&limit=1', 'condition']])
		assertError(await get(`/objects?objectType=CUSTOMER&${query}`, { as: shop.reader }), 400, { code: 'PT400', message: 'Bad Request',
			details: `Unknown query parameters: ${names}.`, hint: 'The path takes: before, limit, name, objectType, q, since, times, until.' })
})

test('a parameter that is repeated, or whose name is encoded, is 400: it would not be taken', async () => {
	for (const [path, names] of [['/search?q=a&q=b', 'q'], ['/search?limit=1&q=a&limit=2', 'limit'], ['/search?q=a&q=a&name=b&name=', 'name, q'], ['/search?q&q=a', 'q'],
		['/search?%71=zebra', '%71'], ['/objects?objectType=CUSTOMER&objectType=TICKET', 'objectType'], ['/objects?objectType=CUSTOMER&n%61me=a', 'n%61me'],
		[`/timeline?objectType=CUSTOMER&objectId=${CUSTOMER}&objectId=1`, 'objectId']])
		assertError(await get(path, { as: shop.reader }), 400, { code: 'PT400', message: 'Bad Request',
			details: `Query parameters that are repeated, or whose names are encoded: ${names}.`, hint: 'Give each parameter once, and write its name as it is.' })
	assert.equal((await get('/events?eventId=gt.00000000-0000-0000-0000-000000000000&eventId=lt.ffffffff-ffff-ffff-ffff-ffffffffffff', { as: shop.reader })).json.length, COUNT)
})

for (const [resource, query, fields] of [
	['search', 'objectType=NOPE', ['objectType']], ['search', 'q=a&objectId=1', ['objectType']], ['search', 'objectType=&objectId=1', ['objectType']],
	['objects', '', ['objectType']], ['objects', 'objectType=', ['objectType']], ['objects', 'objectType=NOPE', ['objectType']],
	['objects', 'objectType=CUSTOMER&times=0', ['times']], ['objects', 'objectType=CUSTOMER&times=-1', ['times']],
	['objects', 'times=0&limit=0&since=x', ['objectType', 'times', 'limit', 'since']],
	...['search', 'objects'].flatMap((resource) => [
		...['0', '-1', '1001'].map((value) => [resource, `objectType=CUSTOMER&limit=${value}`, ['limit']]),
		...['yesterday', '', 'infinity', '2026-03-01', '2026-02-30T12:00:00Z', '2026-03-01T12:00:00+01:00', '1969-12-31T23:59:59Z'].flatMap((value) => [
			[resource, `objectType=CUSTOMER&since=${value}`, ['since']], [resource, `objectType=CUSTOMER&until=${value}`, ['until']]]),
		[resource, 'objectType=CUSTOMER&since=x&until=y&limit=0', ['limit', 'since', 'until']],
	]),
])
	test(`/${resource}?${query} is 400, through nginx and directly`, async () => {
		const answer = await both(resource, query)
		assertError(answer, 400, { code: 'PT400', message: 'Invalid Event' })
		assert.deepEqual(answer.json.errors.map(({ field }) => field), fields.map((field) => `/${field}`))
	})

test('a malformed limit, number of times or before is 400', async () => {
	for (const query of ['limit=ten', 'limit=1.5', 'limit=99999999999', 'before=1', 'before=now', `before=${randomUUID()}x`, 'limit=%00'])
		for (const path of ['/search?', '/objects?objectType=CUSTOMER&'])
			assertError(await get(path + query, { as: shop.reader }), 400)
	for (const times of ['many', '1.5', '99999999999'])
		assertError(await get(`/objects?objectType=CUSTOMER&times=${times}`, { as: shop.reader }), 400)
})

test('who may not read may not search: 403, and 401 without a token', async () => {
	for (const path of ['/search?q=zebra', '/objects?objectType=CUSTOMER', '/search?nope=1', '/objects']) {
		for (const as of [submitter, shop.submitter]) {
			const answer = await get(path, { as })
			assertError(answer, path.includes('nope') ? 400 : 403)
			assert.doesNotMatch(answer.text, /zebra/i)
		}
		assertError(await get(path, { as: null }), 401)
		assert.equal((await getDirectly(`/rpc${path}`, { as: null })).status, 401)
	}
	for (const as of [shop.reader, shop.admin]) assert.equal((await get('/search?q=zebra', { as })).json.length, COUNT)
})

/* ----- Any text is a query ----- */

const HOSTILE = ["'", '"', '\\', '""', "' OR '1'='1", "'; DROP TABLE customers; --", '$$', '$1', '%', '_', '*', '-', '--', '-*', ':', ':*', 'a:', ':a', '&', '|', '!', '<->', '<2>',
	'(', ')', '(((((', 'a & | b', "'a':*", 'OR', 'OR OR', 'a OR', '-"', '"a', 'a"b', 'field:"', 'name:', 'type:', 'tenant:x', 'eq.zebra', 'is.null', 'in.(1,2)', 'not.eq.1', '{"a":1}', '[1]', 'null', 'true',
	'😀', '👩‍👩‍👧', 'é', '\u0301', '返金', '\u200b', '\u202e', '\ufffe', '\u{10ffff}', '\t', '\r\nEvil: 1', '\x01', '\x7f', '<script>alert(1)</script>', '</mark>', '\x02', 'a'.repeat(2_000), '"'.repeat(1_000),
	'-'.repeat(1_000), '('.repeat(1_000), 'a '.repeat(1_000), 'a OR '.repeat(400), '😀'.repeat(400), 'x:y '.repeat(400)]

test('whatever is searched, the answer is 200, and none of it is run', async () => {
	for (const text of HOSTILE) {
		const q = encodeURIComponent(text)
		for (const path of [`/search?q=${q}`, `/objects?objectType=CUSTOMER&q=${q}`]) {
			const answer = await get(path, { as: shop.reader })
			assert.equal(answer.status, 200, `${text.slice(0, 30)}: ${answer.text}`)
			assert.ok(Array.isArray(answer.json))
			assert.equal(answer.headers.get('evil'), null)
		}
		const direct = await postDirectly('/rpc/search', { q: text }, { as: shop.reader })
		assert.equal(direct.status, 200, `${text.slice(0, 30)}: ${direct.text}`)
	}
	assert.equal(sql("SELECT to_regclass('customers') IS NOT NULL"), 't')
})

test('whatever is a name or an id, the answer is 200', async () => {
	for (const text of HOSTILE.filter((hostile) => hostile.length < 256))
		for (const query of [`name=${encodeURIComponent(text)}`, `objectType=CUSTOMER&objectId=${encodeURIComponent(text)}`]) {
			const { status, json, text: body } = await get(`/search?${query}`, { as: shop.reader })
			assert.deepEqual([status, json], [200, []], `${query}: ${body}`)
		}
})

test('bytes that are no text are 400, and what is too long for a URL is 414', async () => {
	for (const q of ['%00', 'a%00b', '%ff', '%c3', '%ed%a0%80'])
		for (const path of [`/search?q=${q}`, `/objects?objectType=CUSTOMER&q=${q}`, `/search?name=${q}`])
			assertError(await get(path, { as: shop.reader }), 400)
	assertError(await get(`/search?q=${'a'.repeat(10_000)}`, { as: shop.reader }), 414)
	const words = Array.from({ length: 1_000 }, (_, n) => `w${n}`).join(' ')
	assert.equal((await get(`/search?q=${encodeURIComponent(words).slice(0, 7_000)}`, { as: shop.reader })).status, 200)
	const direct = await postDirectly('/rpc/search', { q: `${words} `.repeat(100) }, { as: shop.reader })
	assert.equal(direct.status, 200, direct.text)
})

test('in a headline everything is escaped but the marks', async () => {
	const tenant = newTenant()
	const evil = '<script>alert("ibex")</script> & \'ibex\' </mark><img src=x onerror=alert(1)> ibex'
	await submitAndFind(tenant, [event({ name: `Ibex ${evil}` }), event({ description: evil, payload: { ibex: evil } }),
		event({ payload: { a: evil, b: 'ibex' } })], 'ibex')
	for (const q of ['ibex', 'script', 'alert', '"ibex', 'ib*'])
		for (const { headline } of (await get(`/search?q=${encodeURIComponent(q)}`, { as: tenant.reader })).json)
			if (headline !== null) assert.doesNotMatch(headline.replace(/<\/?mark>/g, ''), /[<>]/)
	const { json } = await get('/search?q=ibex', { as: tenant.reader })
	assert.equal(json.length, 3)
	for (const { headline } of json) assert.match(headline, /<mark>/)
})

/* ----- Tenants ----- */

const parcels = `parcels_${randomUUID().slice(0, 8)}`
const TYPE = parcels.toUpperCase()
const [alice, bob] = [newTenant(), newTenant()]
const secret = `pangolin${randomUUID().slice(0, 8)}`

before(async () => {
	sql(`CREATE TABLE ${parcels} (tenant text, id text, name text, PRIMARY KEY (tenant, id));
		INSERT INTO ${parcels} VALUES ('${alice.tenant}', '1', 'Parcel of Alice'), ('${bob.tenant}', '1', 'Parcel of Bob'), ('${alice.tenant}', '2', 'Second of Alice');
		SELECT atlas_register_object_type('${TYPE}', '${parcels}', tenant_column => 'tenant', label_column => 'name')`)
	const parcel = (objectId, name) => event({ objectType: TYPE, objectId, name, payload: { secret: name } })
	await submitAndFind(alice, [parcel('1', `Numbat ${secret}`), parcel('2', 'Numbat')], 'numbat')
	await submitAndFind(bob, [parcel('1', 'Numbat')], 'numbat')
})

after(() => {
	sql(`SELECT atlas_unregister_object_type('${TYPE}'); DROP TABLE ${parcels}`)
})

test('a search finds the events of the tenant of the token, with the labels of its own objects', async () => {
	const found = async (path, { reader }) => {
		const { status, json, text } = await get(path, { as: reader })
		assert.equal(status, 200, text)
		return json.map(({ label }) => label)
	}
	for (const path of ['/search?q=numbat', `/objects?objectType=${TYPE}&q=numbat`]) {
		assert.deepEqual(await found(path, alice), ['Second of Alice', 'Parcel of Alice'])
		assert.deepEqual(await found(path, bob), ['Parcel of Bob'])
	}
	assert.deepEqual(await found(`/search?q=numbat&objectType=${TYPE}&objectId=1`, bob), ['Parcel of Bob'])
	assert.deepEqual(await found(`/search?objectType=${TYPE}&objectId=2`, bob), [])
})

test('no query finds an event of another tenant', async () => {
	for (const q of [secret, `${secret.slice(0, -2)}*`, `-nothing`, `secret:"Numbat ${secret}"`, `name:"Numbat ${secret}"`, `tenant:${alice.tenant}`, `"${alice.tenant}"`,
		`numbat OR ${secret}`, `\x01${alice.tenant}`, `numbat OR -${secret}`])
		for (const [tenant, labels] of [[bob, ['Parcel of Bob']], [newTenant(), []]])
			for (const path of [`/search?q=${encodeURIComponent(q)}`, `/objects?objectType=${TYPE}&q=${encodeURIComponent(q)}`]) {
				const { status, json, text } = await get(path, { as: tenant.reader })
				assert.equal(status, 200, text)
				for (const { label } of json) assert.ok(labels.includes(label), text)
				assert.ok(!text.includes(secret) && !text.includes('Alice'), `${path}: ${text}`)
			}
})

test('before with the event of another tenant pages one\'s own events and nothing else', async () => {
	const [theirs] = (await get('/search?q=numbat', { as: bob.reader })).json
	const all = (await get('/search?q=numbat', { as: alice.reader })).json
	assert.deepEqual((await get(`/search?q=numbat&before=${theirs.eventId}`, { as: alice.reader })).json, all.filter(({ eventId }) => eventId < theirs.eventId))
})
