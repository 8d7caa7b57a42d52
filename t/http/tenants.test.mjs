/*
 * tenants.test.mjs
 *		Two tenants in one database, told apart by the claim "tenant" of their
 *		tokens: what one of them can find out about the other is nothing, by no
 *		path of the API, and not with a role that may use SQL either.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { BASE_URL, PGURI, assertError, event, get, getDirectly, newTenant, post, request, sql, token, waitFor } from './atlas.mjs'

const parcels = `parcels_${randomUUID().slice(0, 8)}`
const TYPE = parcels.toUpperCase()
const SQL_ROLE = `atlas_test_${randomUUID().slice(0, 8)}`
const [alice, bob] = [newTenant(), newTenant()]
const noTenant = { admin: token(), reader: token({ role: 'atlas_reader' }) }
const secret = `Secret ${randomUUID()}`
const parcel = (id, fields) => event({ objectType: TYPE, objectId: id, ...fields })
let aliceEvent

/* Both tenants have a parcel 1; of 2 and 3 each has one. */
before(async () => {
	sql(`CREATE TABLE ${parcels} (tenant text, id text, number text, PRIMARY KEY (tenant, id), UNIQUE (tenant, number));
		INSERT INTO ${parcels} VALUES ('${alice.tenant}', '1', 'n1'), ('${alice.tenant}', '2', 'n2'),
			('${bob.tenant}', '1', 'n1'), ('${bob.tenant}', '3', 'n3');
		SELECT atlas_register_object_type('${TYPE}', '${parcels}', external_id_column => 'number', tenant_column => 'tenant');
		CREATE ROLE ${SQL_ROLE} LOGIN;
		GRANT atlas_reader, atlas_submitter TO ${SQL_ROLE}`)
	const sent = parcel('2', { name: secret, description: secret, payload: { secret }, idempotencyKey: 'shared key',
		relatedObjects: [{ objectType: TYPE, objectId: '1' }] })
	aliceEvent = (await post('/events', sent, { as: alice.submitter })).json.eventId
	await waitFor('the event is linked', async () =>
		(await get(`/events/${aliceEvent}`, { as: alice.reader })).json.processingStatus === 'LINKED')
	assert.equal((await post('/events', parcel('1', { name: 'of Bob' }), { as: bob.submitter })).status, 200)
	assertError(await post('/events', { name: secret }, { as: alice.submitter }), 400)
})

after(() => {
	sql(`SELECT atlas_unregister_object_type('${TYPE}'); DROP TABLE ${parcels}; DROP ROLE ${SQL_ROLE}`)
})

const others = () => [['another tenant', bob], ['a token without a tenant', noTenant]]
const withoutId = ({ text, json }) => text.replace(json.requestId, 'the id of the request')

test('the tenant of the token sees its events everywhere', async () => {
	const logs = (await get('/events', { as: alice.reader })).json
	assert.deepEqual(logs.map(({ eventId }) => eventId), [aliceEvent])
	for (const id of ['1', '2'])
		assert.equal((await get(`/timeline?objectType=${TYPE}&objectId=${id}`, { as: alice.reader })).json[0].eventId, aliceEvent)
})

test('an object of another tenant is answered with the bytes of one that does not exist', async () => {
	for (const [who, { admin }] of others())
		for (const fields of [{ objectId: '2' }, { objectId: undefined, externalId: 'n2' }, { externalId: 'n2', objectId: '2' }]) {
			const theirs = await post('/events', parcel('2', fields), { as: admin })
			assertError(theirs, 404)
			const absent = JSON.parse(JSON.stringify(parcel('2', fields)).replace('"2"', '"9"').replace('"n2"', '"n9"'))
			assert.equal(withoutId(theirs), withoutId(await post('/events', absent, { as: admin })), who)
			const [item, absentItem] = (await post('/events/batch', [parcel('2', fields), absent], { as: admin })).json.results
			assert.deepEqual({ ...item, index: 0 }, { ...absentItem, index: 0 })
		}
	assertError(await post('/events', parcel('1', { externalId: 'n2' }), { as: bob.admin }), 409)
	assertError(await post('/events', parcel('1', { externalId: 'n9' }), { as: bob.admin }), 409)
})

test('a related object of another tenant is NOT_FOUND, and the event is not on its timeline', async () => {
	const { eventId } = (await post('/events', parcel('3', { relatedObjects: [{ objectType: TYPE, objectId: '2' },
		{ objectType: TYPE, externalId: 'n2' }, { objectType: TYPE, objectId: '9' }, { objectType: TYPE, objectId: '1' }] }),
	{ as: bob.submitter })).json
	const logged = await waitFor('the event is linked', async () => {
		const { json } = await get(`/events/${eventId}`, { as: bob.reader })
		return json.processingStatus === 'LINKED' && json
	})
	const outcome = ({ outcome, reason }) => [outcome, reason]
	const [byId, byNumber, absent, own] = logged.relatedObjects
	assert.deepEqual(outcome(byId), outcome(absent))
	assert.deepEqual(outcome(byNumber), outcome(absent))
	assert.deepEqual([absent.outcome, own.outcome], ['NOT_FOUND', 'LINKED'])
	for (const id of ['1', '2'])
		assert.deepEqual((await get(`/timeline?objectType=${TYPE}&objectId=${id}`, { as: alice.reader })).json.map((e) => e.eventId), [aliceEvent])
})

test('timelines and events of another tenant are those of nobody', async () => {
	for (const [who, { reader }] of others()) {
		for (const id of ['2', '9', aliceEvent])
			assert.deepEqual((await get(`/timeline?objectType=${TYPE}&objectId=${id}`, { as: reader })).json, [], who)
		const theirs = await get(`/events/${aliceEvent}`, { as: reader })
		assertError(theirs, 404)
		assert.equal(withoutId(theirs), withoutId(await get(`/events/${randomUUID()}`, { as: reader })))
	}
})

test('before with the event of another tenant pages one\'s own timeline and nothing else', async () => {
	const mine = (await post('/events', parcel('1'), { as: bob.submitter })).json.eventId
	const page = (query) => get(`/timeline?objectType=${TYPE}&objectId=1${query}`, { as: bob.reader })
	const all = (await page('')).json.map(({ eventId }) => eventId)
	assert.ok(all.includes(mine))
	const older = (await page(`&before=${aliceEvent}`)).json.map(({ eventId }) => eventId)
	assert.deepEqual(older, all.filter((id) => id < aliceEvent))
	const newer = (await page('&before=ffffffff-ffff-ffff-ffff-ffffffffffff&limit=1000')).json.map(({ eventId }) => eventId)
	assert.deepEqual(newer, all)
})

const text = encodeURIComponent(secret)
const filters = () => [
	`eventId=eq.${aliceEvent}`, `eventId=in.(${aliceEvent})`, `eventId=gte.${aliceEvent}&eventId=lte.${aliceEvent}`,
	`eventId=not.neq.${aliceEvent}`, `eventId=isdistinct.00000000-0000-0000-0000-000000000000&name=eq.${text}`,
	`name=eq.${text}`, `name=like.${text.slice(0, 20)}*`, `name=ilike.*${text.slice(10).toUpperCase()}`, `name=in.("${text}")`, `name=not.neq.${text}`, `name=like(any).{${text},x}`, `name=gte.${text}&name=lte.${text}`,
	`name=eq(any).{${text}}`, `description=fts.${text.split('%20')[1]}`, `description=plfts.${text}`, `description=phfts.${text}`,
	`description=wfts(english).${text}`, `objectId=eq.2&objectType=eq.${TYPE}`, `externalId=eq.n2`, `payload->>secret=eq.${text}`,
	`payload=cs.{"secret":"${text}"}`, `payload->secret=eq."${text}"`, `payload=cd.{"secret":"${text}"}&payload=not.is.null&name=eq.${text}`,
	`relatedObjects=cs.[{"objectType":"${TYPE}","objectId":"1"}]&objectId=eq.2`, `or=(name.eq.${text},eventId.eq.${aliceEvent})`,
	`not.or=(name.neq.${text})`, `and=(name.eq.${text},or(attempts.eq.0,attempts.gt.0))`, `not.and=(name.neq.${text},name.neq.x)`,
	`processingStatus=eq.LINKED&name=eq.${text}`, `processingStatus=in.(PENDING,LINKED,FAILED)&name=eq.${text}`,
	`name=eq.${text}&order=name.asc.nullsfirst,eventId`, `name=eq.${text}&select=name::text,payload->secret`,
]
const all = ['order=name.asc', 'order=payload->>secret.desc.nullslast', 'or=(attempts.eq.0,attempts.neq.0)', 'eventId=not.is.null', 'processingStatus=eq.LINKED',
	'select=name', 'select=payload->>secret,description,externalId', 'limit=1000', 'offset=0&limit=1000&order=eventId.asc', 'eventId=neq.00000000-0000-0000-0000-000000000000']

test('no filter, order or choice of columns of the logs finds an event of another tenant', async () => {
	for (const filter of filters()) {
		const found = await get(`/events?${filter}`, { as: alice.reader })
		assert.equal(found.json.length, 1, `${filter}: ${found.text}`)
		for (const [who, { reader }] of others()) {
			for (const read of [get, getDirectly]) {
				const answer = await read(`${read === get ? '/events' : '/event_logs'}?${filter}`, { as: reader })
				assert.deepEqual([answer.status, answer.json], [200, []], `${who}: ${filter}`)
			}
		}
	}
	for (const query of all)
		for (const [who, { reader }] of others()) {
			const answer = await get(`/events?${query}`, { as: reader })
			assert.equal(answer.status, 200, answer.text)
			for (const known of [secret, aliceEvent, alice.tenant]) assert.ok(!answer.text.includes(known), `${who}: ${query}`)
		}
})

test('an error does not say what is in an event of another tenant', async () => {
	for (const [, { reader }] of others())
		for (const query of [`name=eq.${text}&select=name::int`, `name=like.Secret*&select=payload->>secret::int`, `eventId=eq.${aliceEvent}&select=description::date`]) {
			const answer = await get(`/events?${query}`, { as: reader })
			assert.deepEqual([answer.status, answer.json], [200, []], answer.text)
		}
})

test('no count, exact, planned or estimated, tells whether another tenant has an event', async () => {
	const count = async (filter, kind, as) => {
		const { status, headers } = await get(`/events?limit=0&${filter}`, { as, headers: { Prefer: `count=${kind}` } })
		return status < 400 ? headers.get('content-range').split('/')[1] : status
	}
	const many = Array.from({ length: 300 }, () => parcel('2', { name: secret }))
	assert.equal((await post('/events/batch', many, { as: alice.submitter })).json.accepted, 300)
	sql('ANALYZE atlas_events')
	for (const filter of [`name=eq.${text}`, `objectType=eq.${TYPE}&objectId=eq.2`]) {
		assert.equal(await count(filter, 'exact', alice.reader), '301')
		assert.equal(await count(filter, 'exact', bob.reader), '0')
		assert.equal(await count(filter, 'exact', noTenant.reader), '0')
		const absent = filter.replace(text, `Secret%20${randomUUID()}`).replace('objectId=eq.2', 'objectId=eq.9')
		for (const kind of ['planned', 'estimated'])
			assert.equal(await count(filter, kind, bob.reader), await count(absent, kind, bob.reader), `${kind} ${filter}`)
	}
})

test('rejections are those of the tenant', async () => {
	const mine = (await get('/rejections', { as: alice.reader })).json
	assert.ok(mine.length > 0 && mine.some(({ request }) => request.includes(secret)))
	for (const [who, { reader, admin }] of others())
		for (const as of [reader, admin])
			for (const query of ['limit=1000', `request=like.*${text}*`, `rejectionId=eq.${mine[0].rejectionId}`, `requestId=eq.${mine[0].requestId}`,
				`or=(status.eq.400,status.neq.400)&order=rejectionId.asc`]) {
				const answer = await get(`/rejections?${query}`, { as })
				assert.equal(answer.status, 200, answer.text)
				assert.ok(!answer.text.includes(secret) && !answer.text.includes(mine[0].requestId), `${who}: ${query}`)
			}
})

test('an idempotency key of another tenant is free', async () => {
	const key = randomUUID()
	const sent = parcel('1', { idempotencyKey: key })
	const [first, second] = [await post('/events', sent, { as: alice.submitter }), await post('/events', sent, { as: bob.submitter })]
	assert.deepEqual([first.json.duplicate, second.json.duplicate], [false, false])
	assert.notEqual(first.json.eventId, second.json.eventId)
	assert.equal((await post('/events', parcel('3', { idempotencyKey: 'shared key' }), { as: bob.submitter })).status, 200)
	const again = await post('/events', sent, { as: bob.submitter })
	assert.deepEqual([again.json.duplicate, again.json.eventId], [true, second.json.eventId])
})

test('requests of both tenants at once stay apart', async () => {
	const answers = []
	/* As many at once as nginx lets one address read. */
	await Promise.all(Array.from({ length: 8 }, async () => {
		for (let i = 0; i < 16; i++) {
			const { reader, tenant } = i % 2 ? alice : bob
			const { json } = await get('/events?order=eventId&limit=1&select=eventId,objectType', { as: reader })
			answers.push([tenant, json[0].eventId])
		}
	}))
	for (const [tenant, id] of answers)
		assert.equal(sql(`SELECT tenant_id FROM atlas_events WHERE event_id = '${id}'`), tenant)
})

test('the tenant is that of the claim to the letter, or the token is refused', async () => {
	for (const tenant of [alice.tenant.toUpperCase(), alice.tenant + ' ', ' ' + alice.tenant, `${alice.tenant}%`, '%', `' OR '1'='1`, 'Ä😀', 'a\r\nb'])
		assert.deepEqual((await get('/events', { as: token({ tenant }) })).json, [], tenant)
	for (const tenant of ['', null, 1, [alice.tenant], { tenant: alice.tenant }, true, 'x'.repeat(256)])
		assertError(await get('/events', { as: token({ tenant }) }), 401)
	for (const headers of [{ tenant: alice.tenant }, { 'X-Tenant': alice.tenant }, { 'atlas_events.tenant': alice.tenant }, { Cookie: `tenant=${alice.tenant}` }])
		assert.deepEqual((await get(`/events?eventId=eq.${aliceEvent}`, { as: bob.reader, headers })).json, [])
	const answer = await request('GET', `${BASE_URL}/v1/events?tenant=eq.${alice.tenant}`, { as: bob.reader })
	assertError(answer, 400)
})

/* Runs SQL as the role that may log in, and returns what psql prints, errors too. */
function sqlAsReader(statements) {
	const url = new URL(PGURI)
	url.username = SQL_ROLE
	return execFileSync('sh', ['-c', 'exec psql -X -q -A -t -d "$0" 2>&1', url.href],
		{ input: statements, encoding: 'utf8', maxBuffer: 2 ** 26 })
}

const core = () => sql("SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'atlas_events'")
const logsOf = () => `SELECT count(*) FROM ${core()}.atlas_event_logs WHERE event_id = '${aliceEvent}';
	SELECT count(*) FROM ${core()}.atlas_timeline('${TYPE}', '2');
	SELECT count(*) FROM atlas_api.event_logs WHERE "eventId" = '${aliceEvent}';
	SELECT count(*) FROM atlas_api.rejections WHERE request LIKE '%${secret}%'`

test('a role that may use SQL cannot become a tenant', () => {
	const claims = JSON.stringify({ role: 'atlas_reader', aud: 'atlas_events', tenant: alice.tenant, sub: 'test' })
	const settings = `SET app.settings.audience = 'atlas_events'; SET request.jwt.claims = '${claims}';`
	const attempts = {
		'SET': [`SET atlas_events.tenant = '${alice.tenant}'`, /permission denied to set parameter/],
		'SET LOCAL': [`BEGIN; SET LOCAL atlas_events.tenant = '${alice.tenant}'; COMMIT`, /permission denied to set parameter/],
		'set_config': [`SELECT set_config('atlas_events.tenant', '${alice.tenant}', false)`, /permission denied to set parameter/],
		'ALTER ROLE': [`ALTER ROLE ${SQL_ROLE} SET atlas_events.tenant = '${alice.tenant}'`, /permission denied to set parameter/],
		'claims': [settings + 'SELECT atlas_api_private.check_request()', /is for PostgREST/],
		'claims as atlas_reader': [settings + 'SET ROLE atlas_reader; SELECT atlas_api_private.check_request()', /is for PostgREST/],
		'SET ROLE': ['SET ROLE atlas_authenticator', /permission denied to set role/],
		'SET SESSION AUTHORIZATION': ['SET SESSION AUTHORIZATION atlas_authenticator', /permission denied to set session authorization/],
		'UPDATE pg_settings': [`UPDATE pg_settings SET setting = '${alice.tenant}' WHERE name = 'atlas_events.tenant'`, /permission denied to set parameter/],
		'CREATE FUNCTION ... SET': [`CREATE FUNCTION pg_temp.f() RETURNS bigint LANGUAGE sql SET atlas_events.tenant = '${alice.tenant}' AS 'SELECT 1'`, /permission denied/],
		'row_security': ['SET row_security = off', /^/],
	}
	for (const [what, [statements, error]] of Object.entries(attempts)) {
		const printed = sqlAsReader(`${statements};\n${logsOf()};\nSELECT atlas_api_private.tenant()`)
		assert.match(printed, error, what)
		for (const known of [secret, alice.tenant]) assert.ok(!printed.replaceAll(statements, '').includes(`\n${known}`), what)
		assert.doesNotMatch(printed, /^[1-9]\d*$/m, `${what}: ${printed}`)
	}
	const url = new URL(PGURI)
	url.username = SQL_ROLE
	const env = { ...process.env, PGOPTIONS: `-c atlas_events.tenant=${alice.tenant}` }
	assert.throws(() => execFileSync('psql', ['-X', '-d', url.href, '-c', 'SELECT 1'], { stdio: 'pipe', env }), /permission denied to set parameter/)
})

test('a function that a role with SQL plants in a query sees no row of a tenant', async () => {
	const ofNobody = event()
	await post('/events', ofNobody)
	const printed = sqlAsReader(`CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
			'BEGIN RAISE NOTICE ''leaked %'', left($1, 100); RETURN true; END';
		SELECT count(*) FROM atlas_api.event_logs WHERE pg_temp.leak(name);
		SELECT count(*) FROM atlas_api.rejections WHERE pg_temp.leak(request);
		SELECT count(*) FROM ${core()}.atlas_events WHERE pg_temp.leak(payload::text);
		SELECT count(*) FROM ${core()}.atlas_event_links WHERE pg_temp.leak(tenant_id || object_id)`)
	assert.ok(printed.includes(`leaked ${ofNobody.name}`))
	for (const known of [secret, aliceEvent, alice.tenant]) assert.ok(!printed.includes(known), printed)
	for (const table of ['atlas_api_private.rejections', `${core()}.atlas_rejections`, `${core()}.atlas_event_keys`])
		assert.match(sqlAsReader(`SELECT * FROM ${table}`), /permission denied/)
	const partition = sql("SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'atlas_events'::regclass LIMIT 1")
	assert.match(sqlAsReader(`SELECT * FROM ${partition}`), /permission denied/)
})
