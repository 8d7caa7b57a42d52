/*
 * openapi.test.mjs
 *		GET /v1/: the description of the API is valid, complete, and true.
 */
import { before, test } from 'node:test'
import assert from 'node:assert/strict'
import { Validator } from '@seriousme/openapi-schema-validator'
import { BASE_URL, CUSTOMER, event, get, getDirectly, newTenant, nginxConf, post, reader, request, sql, submitter,
	waitFor } from './atlas.mjs'

const RELATED = [{ objectType: 'TICKET', objectId: '19734' }, { objectType: 'ACCOUNT', externalId: 'ACC-999999' }]
const tenant = newTenant()
let api, eventId

before(async () => {
	api = (await get('/')).json
	eventId = (await post('/events', event({ relatedObjects: RELATED }), { as: tenant.submitter })).json.eventId
	await post('/events', event({ icon: 'ab' }), { as: tenant.submitter })
	await post('/rules', { ...RULE, ruleName: 'Kept' }, { as: tenant.admin })
	await waitFor('the rule has begun', async () => (await get('/rules', { as: tenant.reader })).json[0].since !== null)
	await post('/events', event({ name: RULE.eventName }), { as: tenant.submitter })
	await waitFor('the rule has matched', async () => (await get('/rule-matches', { as: tenant.reader })).json.length > 0)
	await waitFor('the event is linked', async () =>
		(await get(`/events/${eventId}`, { as: tenant.reader })).json.processingStatus === 'LINKED')
	await waitFor('the event is found', async () => (await get('/search?q=test', { as: tenant.reader })).json.length > 0)
})

test('the description passes the validator', async () => {
	const { valid, errors } = await new Validator().validate(structuredClone(api))
	assert.ok(valid, JSON.stringify(errors))
	assert.match(api.openapi, /^3\.0\.\d$/)
})

test('submitters and readers may read it', async () => {
	for (const as of [submitter, reader]) assert.deepEqual((await get('/', { as })).json, api)
	assert.deepEqual((await getDirectly('/rpc/openapi')).json, api)
})

const RULE = { ruleName: 'Described', objectType: 'CUSTOMER', eventName: 'Described' }
const BODIES = { 'post /events': event(), 'post /events/batch': [event()], 'post /rules': RULE, 'patch /rules': { isEnabled: true },
	'post /rules/test': { objectType: 'CUSTOMER' } }
const QUERIES = { '/timeline': `?objectType=CUSTOMER&objectId=${CUSTOMER}`, '/search': '?q=test', '/objects': '?objectType=CUSTOMER&q=test' }
const pathOf = (path, method = 'get') => path.replace('{eventId}', eventId) +
	(['patch', 'delete'].includes(method) ? `?ruleName=eq.${RULE.ruleName}` : QUERIES[path] ?? '')

test('every path and method that it names is there', async () => {
	const [server] = api.servers
	for (const [path, methods] of Object.entries(api.paths))
		for (const method of Object.keys(methods)) {
			const answer = await request(method.toUpperCase(), BASE_URL + server.url + pathOf(path, method),
				{ as: tenant.admin, body: BODIES[`${method} ${path}`] })
			assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`)
		}
})

test('every path of nginx.conf is in it, with the methods that are allowed there', async () => {
	const locations = [...nginxConf().matchAll(/location (=|~) "?(\^?\/v1\/\S*?)"? \{/g)]
		.map(([, kind, path]) => [kind, path])
	const exact = locations.filter(([kind]) => kind === '=').map(([, path]) => path.slice('/v1'.length))
	assert.ok(exact.length >= 5, `${exact}`)
	for (const path of exact) assert.ok(api.paths[path], `${path} is not described`)
	assert.equal(locations.length - exact.length, 2, 'of an event, and of the names that PostgREST knows')
	assert.ok(api.paths['/events/{eventId}'].get)

	for (const [path, methods] of Object.entries(api.paths)) {
		const { headers } = await request('PUT', `${BASE_URL}/v1${pathOf(path)}`)
		assert.deepEqual(headers.get('allow').split(', ').filter((method) => method !== 'HEAD'),
			Object.keys(methods).map((method) => method.toUpperCase()).sort(), path)
	}
})

test('every view of the API has a path in it', () => {
	const renamed = { event_logs: '/events', event_logs_of_period: '/events', pending_events: '/events', object_types: '/object-types' }
	const views = sql(`SELECT relname FROM pg_class
		WHERE relnamespace = 'atlas_api'::regnamespace AND relkind = 'v'`).split('\n')
	assert.ok(views.length >= 4)
	for (const view of views) assert.ok(api.paths[renamed[view] ?? `/${view}`], `${view} is not described`)
})

const resolve = ({ $ref, ...schema }) => $ref ? api.components.schemas[$ref.split('/').at(-1)] : schema

/* Exactly the described fields; those of arrays within as well. */
function assertDescribed(value, schema) {
	if (schema.$ref) return assertDescribed(value, resolve(schema))
	if (schema.allOf) {
		const properties = Object.assign({}, ...schema.allOf.map((part) => resolve(part).properties))
		return assertDescribed(value, { type: 'object', properties })
	}
	if (value === null) return assert.ok(schema.nullable, JSON.stringify(schema))
	if (schema.enum) assert.ok(schema.enum.includes(value), value)
	if (schema.type === 'array') for (const item of value) assertDescribed(item, schema.items)
	if (schema.type === 'integer') assert.ok(Number.isInteger(value), `${value}`)
	if (['string', 'boolean'].includes(schema.type)) assert.equal(typeof value, schema.type)
	if (schema.type !== 'object' || !schema.properties) return
	for (const name of schema.required ?? []) assert.ok(name in value, `${name} is required`)
	for (const [name, field] of Object.entries(value)) {
		assert.ok(schema.properties[name], `${name} is not described`)
		assertDescribed(field, schema.properties[name])
	}
}

test('answers are what it describes', async () => {
	const schemaOf = (path, method, status = '200') =>
		api.paths[path][method].responses[status].content['application/json'].schema
	for (const path of ['/events', '/events/{eventId}', '/timeline', '/search', '/objects', '/rejections', '/object-types', '/rules', '/rule-matches']) {
		const { json } = await get(pathOf(path), { as: tenant.reader })
		assert.notEqual(json.length, 0, `${path} has nothing to look at`)
		assertDescribed(json, schemaOf(path, 'get'))
	}
	const stored = await post('/events', event(), { as: tenant.submitter })
	assertDescribed(stored.json, schemaOf('/events', 'post'))
	const none = await post('/events/batch', [{}], { as: tenant.submitter })
	assertDescribed(none.json, schemaOf('/events/batch', 'post', '400'))
	const made = await post('/rules', { ...RULE, ruleName: 'Answered' }, { as: tenant.admin })
	assertDescribed(made.json, schemaOf('/rules', 'post'))
	const tried = await post('/rules/test', { objectType: 'CUSTOMER' }, { as: tenant.reader })
	assert.ok(tried.json.matches.length > 0)
	assertDescribed(tried.json, schemaOf('/rules/test', 'post'))
	const { Error } = api.components.schemas
	for (const answer of [await get('/nope'), await post('/events', '{'), await get('/events', { as: null }),
		await request('DELETE', `${BASE_URL}/v1/events`)])
		assertDescribed(answer.json, Error)
})

test('the examples of answers are what it describes', () => {
	let examples = 0
	for (const methods of Object.values(api.paths))
		for (const { responses } of Object.values(methods))
			for (const { content } of Object.values(responses)) {
				const { example, schema } = content?.['application/json'] ?? {}
				if (!example) continue
				assertDescribed(example, schema)
				assert.deepEqual(Object.keys(example[0]), Object.keys(resolve(schema.items).properties))
				examples++
			}
	assert.ok(examples >= 2)
})

test('every field of the columns and of an event is in it', async () => {
	const { schemas } = api.components
	const { json: [logged] } = await get('/events?limit=1', { as: tenant.reader })
	assert.deepEqual(Object.keys(schemas.LoggedEvent.properties), Object.keys(logged))
	const { json: [seen] } = await get(pathOf('/timeline'), { as: tenant.reader })
	assert.deepEqual(Object.keys(schemas.TimelineEvent.properties), Object.keys(seen))
	for (const [path, schema] of [['/search', schemas.FoundEvent], ['/objects', schemas.FoundObject]]) {
		const { json: [found] } = await get(pathOf(path), { as: tenant.reader })
		assert.deepEqual(Object.keys(schema.properties), Object.keys(found))
	}
	const { json: [rejected] } = await get('/rejections?limit=1', { as: tenant.reader })
	assert.deepEqual(Object.keys(schemas.Rejection.properties), Object.keys(rejected))
	for (const [path, schema] of [['/rules', schemas.Rule], ['/rule-matches', schemas.RuleMatch]]) {
		const { json: [seen] } = await get(path, { as: tenant.reader })
		assert.deepEqual(Object.keys(schema.properties), Object.keys(seen))
	}
	const whole = { ...RULE, ruleName: 'Whole', condition: '$.a == 1', times: 2, within: 'P1D', role: 'ANY', channel: 'atlas_whole', cooldown: 'PT1H' }
	assert.deepEqual(Object.keys(schemas.NewRule.properties), Object.keys(whole))
	assert.equal((await post('/rules', whole, { as: tenant.admin })).status, 200)
	const { ruleName, channel, cooldown, ...tried } = { ...whole, since: '2026-01-01T00:00:00Z', until: '2036-01-01T00:00:00Z', maxEvents: 5 }
	assert.deepEqual(Object.keys(schemas.TriedRule.properties), Object.keys(tried))
	assert.equal((await post('/rules/test', tried, { as: tenant.reader })).status, 200)
	const everything = { ...event(), externalId: '195959', description: 'd', icon: '📖', payload: {},
		relatedObjects: [], occurredAt: new Date().toISOString(), idempotencyKey: `${Math.random()}` }
	assert.deepEqual(Object.keys(schemas.Event.properties).sort(), Object.keys(everything).sort())
	assert.equal((await post('/events', everything, { as: tenant.submitter })).status, 200)
})

test('it names every status of an error that there is', () => {
	const { description } = api.components.responses.Error
	for (const status of [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 416, 429, 500, 503])
		assert.match(description, new RegExp(`\\b${status}\\b`))
})

test('PostgREST describes its resources at its root', async () => {
	const { status, json } = await getDirectly('/')
	assert.equal(status, 200)
	assert.equal(json.swagger, '2.0')
	const { valid, errors } = await new Validator().validate(structuredClone(json))
	assert.ok(valid, JSON.stringify(errors))
	for (const path of ['/event_logs', '/rejections', '/object_types', '/rpc/submit_event', '/rpc/submit_events',
		'/rpc/timeline', '/rpc/search', '/rpc/objects', '/rpc/event', '/rules', '/rpc/create_rule', '/rpc/change_rule', '/rpc/drop_rule',
		'/rpc/test_rule', '/rpc/rule_matches'])
		assert.ok(json.paths[path], `${path} is not described`)
	assert.match(json.paths['/rpc/timeline'].get.summary, /^The timeline of an object$/)
	assert.match(json.definitions.event_logs.properties.eventId.description, /UUIDv7/)
})
