/*
 * auth.test.mjs
 *		Who may what: tokens that are none, or not for us, are 401; good ones
 *		whose role may not are 403.
 */
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { AUDIENCE, CUSTOMER, JWT_SECRET, assertError, admin, event, get, getDirectly, newTenant, post, postDirectly,
	reader, submitter, sql, token } from './atlas.mjs'

const OBJECT = `objectType=CUSTOMER&objectId=${CUSTOMER}`
const now = () => Math.floor(Date.now() / 1000)
const parts = () => token().split('.')

const BAD_TOKENS = {
	'no token': null,
	'a token that is none': 'abc',
	'a token of three parts that are none': 'a.b.c',
	'a token without its signature': parts().slice(0, 2).join('.') + '.',
	'a token with a signature of another': [...parts().slice(0, 2), token({ sub: 'other' }).split('.')[2]].join('.'),
	'an expired token': token({ exp: now() - 120 }),
	'a token for later': token({ nbf: now() + 3600 }),
	'a token that is not signed (alg none)': token({}, { header: { alg: 'none', typ: 'JWT' } }),
	'a token that is not signed, and has no signature': token({}, { header: { alg: 'none' } }).replace(/[^.]+$/, ''),
	'a token of another algorithm': token({}, { header: { alg: 'HS512', typ: 'JWT' } }),
	'a token of another secret': token({}, { secret: 'x'.repeat(JWT_SECRET.length) }),
	'a token without a role': token({ role: undefined }),
	'a token without an audience': token({ aud: undefined }),
	'a token for another audience': token({ aud: 'other' }),
	'a token for other audiences': token({ aud: ['other', `${AUDIENCE}2`] }),
	'a token for no audience': token({ aud: [] }),
	'a token with an object as audience': token({ aud: { [AUDIENCE]: true } }),
	'a token with a number as tenant': token({ tenant: 5 }),
	'a token with an array as tenant': token({ tenant: ['acme'] }),
	'a token with null as tenant': token({ tenant: null }),
	'a token with an empty tenant': token({ tenant: '' }),
	'a token with a tenant of 256 characters': token({ tenant: 'x'.repeat(256) }),
}

for (const [what, as] of Object.entries(BAD_TOKENS))
	test(`${what} is 401 with WWW-Authenticate, for reading and submitting, through nginx and directly`, async () => {
		for (const answer of [
			await get('/events', { as }), await post('/events', event(), { as }), await get('/object-types', { as }),
			await post('/events/batch', [event()], { as }), await get('/', { as }), await get('/timeline', { as }),
			await get('/search?q=a', { as }), await get('/objects', { as }),
		]) {
			assertError(answer, 401)
			assert.match(answer.headers.get('www-authenticate'), /^Bearer/)
		}
		for (const answer of [
			await getDirectly('/event_logs', { as }), await postDirectly('/rpc/submit_event', event(), { as }),
		]) {
			assert.equal(answer.status, 401, answer.text)
			assert.match(answer.headers.get('www-authenticate'), /^Bearer/)
		}
	})

test('credentials that are no bearer token are 401', async () => {
	for (const Authorization of ['Basic dXNlcjpwYXNz', 'Bearer', 'Bearer ', token()])
		assertError(await get('/events', { as: null, headers: { Authorization } }), 401)
})

test('nothing is stored for a bad token', async () => {
	const { name, ...rest } = event()
	for (const as of Object.values(BAD_TOKENS)) await post('/events', { name, ...rest }, { as })
	assert.equal(sql(`SELECT count(*) FROM atlas_events WHERE name = '${name}'`), '0')
})

for (const [what, claims] of [
	['an audience among others', { aud: ['other', AUDIENCE] }],
	['a tenant of 255 characters', { tenant: 'é'.repeat(255) }],
	['no subject', { sub: undefined }],
])
	test(`a token with ${what} is taken`, async () => {
		const answer = await get('/events?limit=1', { as: token(claims) })
		assert.equal(answer.status, 200, answer.text)
	})

test('the word Bearer may be in lower case', async () => {
	const answer = await get('/events?limit=1', { as: null, headers: { Authorization: `bearer ${reader}` } })
	assert.equal(answer.status, 200, answer.text)
})

/* PostgREST sets the role before it runs anything of ours, and answers itself. What is submitted, only we refuse. */
test('a role that does not exist, or is no string, is 400 to readers and 503 to submitters, by PostgREST itself', async () => {
	for (const role of [`no_such_role_${randomUUID()}`, 5, true, ['atlas_admin'], { atlas_admin: 1 }]) {
		const as = token({ role })
		assertError(await get('/events', { as }), 400, { code: '22023', message: /does not exist$/ })
		assertError(await post('/events', event(), { as }), 503, { code: '22023' })
		assert.equal((await getDirectly('/event_logs', { as })).status, 400)
	}
})

test('a role that atlas_authenticator may not become is 403', async () => {
	for (const role of ['postgres', 'pg_monitor', 'pg_read_all_data', 'pg_database_owner']) {
		const as = token({ role })
		assertError(await get('/events', { as }), 403, { code: '42501' })
		assertError(await post('/events', event(), { as }), 403, { code: '42501' })
		assert.equal((await getDirectly('/event_logs', { as })).status, 403)
	}
})

test('the role of the authenticator itself may do nothing: 403', async () => {
	const as = token({ role: 'atlas_authenticator' })
	for (const path of ['/events', '/rejections', '/object-types', '/status', '/', ...READING.slice(1)])
		assertError(await get(path, { as }), 403)
	assertError(await post('/events', event(), { as }), 403)
})

const READING = ['/events', `/events/${randomUUID()}`, `/timeline?${OBJECT}`, '/search?q=a', '/objects?objectType=CUSTOMER', '/rules',
	'/rule-matches']
const DIRECTLY = ['/event_logs', `/rpc/event?eventId=${randomUUID()}`, `/rpc/timeline?${OBJECT}`,
	'/rpc/search?q=a', '/rpc/objects?objectType=CUSTOMER', '/rules', '/rpc/rule_matches']

test('a reader who submits is 403, and nothing is stored', async () => {
	const { tenant, reader } = newTenant()
	assertError(await post('/events', event(), { as: reader }), 403)
	assertError(await post('/events/batch', [event()], { as: reader }), 403)
	assertError(await post('/rpc/submit_event', event(), { as: reader }), 403)
	assert.equal((await postDirectly('/rpc/submit_event', event(), { as: reader })).status, 403)
	assert.equal((await postDirectly('/rpc/submit_events', { events: [event()] }, { as: reader })).status, 403)
	assert.equal(sql(`SELECT count(*) FROM atlas_events WHERE tenant_id = '${tenant}'`), '0')
})

test('a submitter who reads logs or timelines, or searches, is 403', async () => {
	for (const path of READING)
		assertError(await get(path, { as: submitter }), 403)
	for (const path of DIRECTLY)
		assert.equal((await getDirectly(path, { as: submitter })).status, 403, path)
})

test('a reader reads, a submitter submits, an admin does both', async () => {
	const { submitter, reader, admin } = newTenant()
	for (const as of [submitter, admin])
		assert.equal((await post('/events', event(), { as })).status, 200)
	for (const as of [reader, admin])
		assert.equal((await get('/events', { as })).json.length, 2)
})

test('the state of the linking is for admins only', async () => {
	for (const as of [submitter, reader]) {
		assertError(await get('/status', { as }), 403)
		assert.equal((await getDirectly('/status', { as })).status, 403)
	}
	const { status, json } = await get('/status', { as: admin })
	assert.equal(status, 200)
	assert.equal(json.length, 1)
	assert.equal(json[0].preloaded, true)
})

test('object types are for all, names of tables and columns for readers only', async () => {
	for (const as of [reader, admin]) {
		const { json } = await get('/object-types?objectType=eq.CUSTOMER', { as })
		assert.deepEqual(json, [{ objectType: 'CUSTOMER', aliases: [], connected: true, relation: 'public.customers',
			idColumn: 'id', externalIdColumn: 'external_id', hasExternalId: true }])
	}
	const all = await get('/object-types', { as: submitter })
	for (const { relation, idColumn, externalIdColumn } of all.json)
		assert.deepEqual([relation, idColumn, externalIdColumn], [null, null, null])
	const named = Object.fromEntries(all.json.map(({ objectType, ...rest }) => [objectType, rest]))
	assert.deepEqual(named.CONVERSATION.aliases, ['TICKET'])
	assert.deepEqual(named.USER.aliases, ['AGENT', 'USER (AGENT)'])
	assert.equal(named.CUSTOMER.hasExternalId, true)
	assert.equal(named.USER.hasExternalId, false)
	for (const type of ['CONVERSATION', 'ACCOUNT', 'CUSTOMER', 'USER', 'CHATBOT', 'COMPANY', 'HELPCENTER',
		'SESSION_RECORDING'])
		assert.equal(named[type].connected, true)
	const filtered = await get('/object-types?relation=like.*customers*', { as: submitter })
	assert.deepEqual(filtered.json, [])
})

test('what a token may is only its role, whatever the request says', async () => {
	const { tenant } = newTenant()
	await post('/events', event(), { as: token({ tenant }) })
	for (const headers of [{ 'X-Tenant': tenant }, { tenant }, { role: 'atlas_admin' },
		{ 'Accept-Profile': 'atlas_api' }])
		assert.deepEqual((await get('/events', { as: newTenant().reader, headers })).json, [])
})

test('the roles can be made twice, and may log in only as the authenticator', () => {
	sql('SELECT atlas_api_private.create_roles()')
	assert.equal(sql(`SELECT rolname, rolcanlogin, rolinherit, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb
		FROM pg_roles WHERE rolname LIKE 'atlas\\_%' AND rolname NOT LIKE '%test%' ORDER BY rolname`), [
		'atlas_admin|f|t|f|f|f|f', 'atlas_authenticator|t|f|f|f|f|f', 'atlas_reader|f|t|f|f|f|f',
		'atlas_submitter|f|t|f|f|f|f'].join('\n'))
})

test('no client can reach more than the resources of the API', async () => {
	for (const path of ['/atlas_events', '/atlas_event_logs', '/atlas_object_types', '/customers', '/pg_roles',
		'/rpc/check_request', '/rpc/note_rejections', '/rpc/set_config', '/rpc/atlas_link_events', '/rpc/create_roles'])
		for (const answer of [await get(path), await getDirectly(path)])
			assert.equal(answer.status, 404, `${path}: ${answer.text}`)
	for (const schema of ['public', 'atlas_api_private', 'pg_catalog']) {
		const headers = { 'Accept-Profile': schema }
		assert.equal((await getDirectly('/rejections', { headers })).status, 406)
		assertError(await get('/customers', { headers }), 404)
	}
})
