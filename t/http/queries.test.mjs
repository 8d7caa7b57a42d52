/*
 * queries.test.mjs
 *		What a query may ask for: no regular expressions, no names of the
 *		database's objects, no parameters that the OpenAPI document does not
 *		have, and nothing that takes longer than five seconds.
 */
import { before, test } from 'node:test'
import assert from 'node:assert/strict'
import { BASE_URL, CUSTOMER, POSTGREST_URL, assertError, event, get, newTenant, post, request, sql, withSlowReads } from './atlas.mjs'

const { submitter, reader } = newTenant()
const nobody = newTenant()
let eventId, api

before(async () => {
	eventId = (await post('/events', event({ name: 'customers', payload: { a: 'customers' } }), { as: submitter })).json.eventId
	await post('/events', event({ icon: 'ab' }), { as: submitter })
	api = (await get('/', { as: reader })).json
})

const percent = (text) => [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

/* A query as it is: fetch() encodes some of it, but changes nothing that is encoded. */
async function refusedBoth(query, details, as = reader) {
	const answer = await get(`/events?${query}`, { as })
	assertError(answer, 400, { code: 'PT400', details })
	const direct = await request('GET', `${POSTGREST_URL}/event_logs?${query}`, { as })
	assert.deepEqual([direct.status, direct.json?.code, direct.json?.details], [400, 'PT400', answer.json.details], query)
}

const REGEX = 'The operators match and imatch are not taken.'
const NAMES = 'Values are not cast to names of objects and roles of the database.'

for (const query of ['name=match.x', 'description=match.(.%2B)\\1b$', 'name=imatch.x', 'name=not.match.x', 'name=not.imatch.x',
	'name=m%61tch.x', 'name=%6d%61%74%63%68.x', `name=${percent('not.imatch.x')}`, `${percent('name')}=${percent('match.x')}`,
	'or=(name.match.x,name.eq.1)', 'or=(name.eq.customers,not.and(name.imatch.x,name.eq.1))', 'and=(name.eq.1,or(name.eq.2,description.match.x))',
	'and=(not.or(name.match.x,name.eq.1),name.eq.2)', 'not.or=(name.match.x,name.eq.1)', 'not.and=(name.not.match.x)', `or=${percent('(name.match.x,name.eq.1)')}`,
	'or=(name.match."x,y",name.eq.1)', 'or=(%20name.match.x%20,%09name.eq.1)', 'payload-%3E%3Ea=match.x', 'payload-%3E%3Ea=not.imatch.x', 'or=(payload-%3E%3Ea.match.x)',
	'name=eq.a&name=match.x', 'limit=1&name=match.x;order=name', 'limit=0&name=match.x', 'order=name&select=name&name=match.x', 'name=match.', 'name=match.a+b', 'name=match.%2B'])
	test(`a regular expression is 400, and never run: ${query}`, async () => {
		await refusedBoth(query, REGEX)
		await refusedBoth(query, REGEX, nobody.reader)
	})

test('so are those of every column of text, and of every view', async () => {
	for (const [path, view, column] of [['/rejections', '/rejections', 'request'], ['/object-types', '/object_types', 'relation'],
		['/object-types', '/object_types', 'objectType'], ['/status', '/status', 'advice'], ['/status', '/status', 'lastError']])
		for (const operator of ['match', 'imatch', 'not.match']) {
			const { admin } = newTenant()
			assertError(await get(`${path}?${column}=${operator}.x`, { as: admin }), 400, { details: REGEX })
			const direct = await request('GET', `${POSTGREST_URL}${view}?${column}=${operator}.x`, { as: admin })
			assert.deepEqual([direct.status, direct.json.details], [400, REGEX], view)
		}
	for (const { column, type } of JSON.parse(sql(`SELECT json_agg(json_build_object('column', attname, 'type', atttypid::regtype))
		FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_type t ON t.oid = atttypid
		WHERE relnamespace = 'atlas_api'::regnamespace AND relkind = 'v' AND typcategory = 'S'`)))
		assert.equal(type, 'text', `${column}: there is an operator that refuses for text`)
})

test('with any and all a regular expression is refused at the first row', async () => {
	for (const query of ['name=match(any).{x,y}', 'name=imatch(all).{x,y}', 'or=(name.not.match(any).{x,y})'])
		await refusedBoth(query, REGEX)
})

test('other operators are taken', async () => {
	for (const query of ['name=like.cust*', 'name=ilike.CUST*', 'name=eq.match.x', 'name=neq.match.x', 'name=in.(customers,match.x)', 'or=(name.eq."match.x",name.eq.customers)',
		'payload=cs.{"a":"customers"}', 'name=gte.a', 'name=not.eq.imatch.x', 'description=is.null', 'name=isdistinct.match', 'select=name::text,match:name', 'name=wfts.customers'])
		assert.equal((await get(`/events?${query}`, { as: reader })).status, 200, query)
})

const types = sql("SELECT string_agg(typname, ' ') FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname ~ '^(reg|aclitem)'").split(' ')

test('no value is cast to the name of an object or a role', async () => {
	assert.ok(types.length >= 12 && types.includes('regclass') && types.includes('regrole'), `${types}`)
	for (const type of types)
		for (const query of [`select=name::${type}`, `select=what:name::${type}`, `select=name::%20${percent(type)}%20`, `select=payload-%3E%3Ea::${type}`,
			`select=eventId::${type}`, `select=attempts::${type}`, `select=name::${type.toUpperCase()}`])
			await refusedBoth(query, NAMES)
	await refusedBoth('select=name::regclass', NAMES, nobody.reader)
	for (const query of ['select=name::_regclass', 'select=name::regclass%20array', 'select=name::setof%20regclass', 'select=name::_regrole']) {
		const texts = []
		for (const name of ['{customers}', '{no_such_table}']) {
			const tenant = newTenant()
			await post('/events', event({ name }), { as: tenant.submitter })
			const { status, text } = await get(`/events?${query}`, { as: tenant.reader })
			assert.equal(status, 400, text)
			texts.push(text.replace(/"requestId":"[^"]*"/, '').replaceAll(name, ''))
		}
		assert.equal(texts[0], texts[1], query)
	}
})

const pathOf = (path) => path.replace('{eventId}', eventId)
const required = { '/timeline': `objectType=CUSTOMER&objectId=${CUSTOMER}`, '/search': 'objectType=CUSTOMER', '/objects': 'objectType=CUSTOMER',
	'/rule-matches': `objectType=CUSTOMER&objectId=${CUSTOMER}` }
const BODIES = { '/events': event(), '/events/batch': [event()] }

test('of every path of the OpenAPI document, parameters that it does not have are 400, and named', async () => {
	const operations = Object.entries(api.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => [method, path]))
	assert.ok(operations.length >= 9)
	const count = () => sql('SELECT count(*) FROM atlas_events')
	const before = count()
	for (const [method, path] of operations)
		for (const [query, names] of [['nope=eq.1', 'nope'], ['n%6fpe=eq.1&zz+z=is.null', 'nope, zz z'], ['tenant=eq.1&x=is.null', 'tenant, x'], [`${'n'.repeat(200)}=is.null`, 'n'.repeat(100)]]) {
			const url = `${BASE_URL}/v1${pathOf(path)}?${required[path] ? `${required[path]}&` : ''}${query}`
			const answer = await request(method.toUpperCase(), url, { body: method === 'post' ? BODIES[path] : undefined })
			assertError(answer, 400, { code: 'PT400', details: `Unknown query parameters: ${names}.`, hint: /^The path takes/ })
		}
	assert.equal(count(), before)
	const head = await request('HEAD', `${BASE_URL}/v1/timeline?${required['/timeline']}&nope=1`)
	assert.equal(head.status, 400)
})

/* The parameters of an operation, and if it has select those of the columns of its answer. */
function parametersOf(operation) {
	const resolve = ({ $ref, ...found }) => $ref ? $ref.slice(2).split('/').reduce((at, name) => at[name], api) : found
	const names = (operation.parameters ?? []).map(resolve).filter((found) => found.in === 'query').map(({ name }) => name)
	const columns = names.includes('select') ? Object.keys(resolve(operation.responses['200'].content['application/json'].schema.items).properties) : []
	return { names, columns }
}

test('every parameter, and every column, that the document has is taken', async () => {
	const values = { select: '*', limit: '1', offset: '0', objectType: 'CUSTOMER', objectId: CUSTOMER, before: eventId,
		externalId: '195959', name: 'Checkout', q: 'checkout', times: '2', since: '2026-03-01T00:00:00Z', until: '2026-03-01T00:00:00Z',
		ruleName: 'At risk', ruleId: '1', eventId, 'before /rule-matches': `${eventId},1,${CUSTOMER}` }
	let tried = 0
	for (const [path, { get: operation }] of Object.entries(api.paths)) {
		if (!operation) continue
		const { names, columns } = parametersOf(operation)
		const queries = columns.map((column) => `${column}=is.null`)
		for (const name of names)
			if (columns.length === 0) queries.push(`${name}=${values[`${name} ${path}`] ?? values[name]}`)
			else if (/and|or$/.test(name) && name !== 'order') queries.push(`${name}=(${columns[0]}.is.null,${columns[1]}.is.null)`)
			else if (!columns.includes(name)) queries.push(`${name}=${values[name] ?? columns[0]}`)
		for (const query of queries) {
			const rest = (required[path] ?? '').split('&').filter((pair) => pair !== '' && !query.startsWith(pair.replace(/=.*/, '=')))
			const answer = await get(`${pathOf(path)}?${[query, ...rest].join('&')}`)
			assert.equal(answer.status, 200, `${path}?${query}: ${answer.text}`)
			tried++
		}
	}
	assert.ok(tried > 60, `${tried}`)
})

test('every column of a view is a parameter of its path', () => {
	const renamed = { event_logs: '/events', event_logs_of_period: '/events', pending_events: '/events', object_types: '/object-types' }
	for (const { view, columns } of JSON.parse(sql(`SELECT json_agg(v) FROM (SELECT relname AS view, json_agg(attname ORDER BY attname COLLATE "C") AS columns
		FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'atlas_api'::regnamespace AND relkind = 'v' GROUP BY relname) v`)))
		assert.deepEqual(parametersOf(api.paths[renamed[view] ?? `/${view}`].get).columns.sort(), columns, view)
})

test('parts of a column filter, and names in another writing are not taken', async () => {
	for (const query of ['payload->>a=eq.customers', 'payload->a=not.is.null', 'p%61yload-%3E%3Ea=eq.customers', 'relatedObjects->0->>objectId=is.null'])
		assert.equal((await get(`/events?${query}`, { as: reader })).json.length, 1, query)
	for (const query of ['objecttype=eq.CUSTOMER', 'OBJECTID=eq.1', 'nope->>a=eq.1', '"name"=eq.x'])
		assertError(await get(`/events?${query}`, { as: reader }), 400, { details: /^Unknown query parameters: / })
	assertError(await get(`/timeline?objecttype=CUSTOMER&objectId=${CUSTOMER}`, { as: reader }), 400, { details: 'Unknown query parameters: objecttype.' })
})

test('a read is cancelled after five seconds, and 503 that says how to ask', () => withSlowReads(async (slow) => {
	const [answer, one, direct] = await Promise.all([get('/events', { as: slow.reader }), get(`/events/${eventId}`, { as: reader }),
		request('GET', `${POSTGREST_URL}/event_logs?limit=1`, { as: slow.reader })])
	assertError(answer, 503, { code: 'PT503', message: 'Service Unavailable', details: 'The request took too long and was cancelled.', hint: 'Narrow the filter.' })
	assert.match(answer.headers.get('retry-after'), /^[1-9]\d*$/)
	assert.equal(one.status, 200)
	assert.deepEqual([direct.status, direct.json.code, direct.json.message], [500, '57014', 'canceling statement due to statement timeout'])
	assert.equal(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), '0')
}))
