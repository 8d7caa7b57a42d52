/*
 * rejections.test.mjs
 *		GET /v1/rejections: what was refused, for those who ask where their
 *		event is; who sees what of it, and how long and how much is kept.
 */
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { BASE_URL, CUSTOMER, POSTGREST_URL, assertError, event, get, getDirectly, newTenant, post, postDirectly,
	request, sql } from './atlas.mjs'

const refuse = (as, fields = {}) => post('/events', event({ icon: 'ab', ...fields }), { as })
const rejections = async (as, query = '') => (await get(`/rejections${query}`, { as })).json
const subjects = (rows) => rows.map(({ subject }) => subject)

test('a refused event is in the rejections: who, when, status, code, errors, and what was sent', async () => {
	const { as, reader } = newTenant()
	const body = JSON.stringify({ objectType: 'CUSTOMER', objectId: CUSTOMER, icon: 'ab' })
	const before = Date.now()
	const answer = await post('/events', body, { as: as('submitter', { sub: 'shop' }) })
	const after = Date.now()
	assertError(answer, 400)
	const [{ rejectionId, rejectedAt, ...rest }, ...more] = await rejections(reader)
	assert.deepEqual(more, [])
	assert.ok(Number.isInteger(rejectionId))
	assert.ok(new Date(rejectedAt) >= before && new Date(rejectedAt) <= after, rejectedAt)
	const { code, message, details, hint, errors, requestId } = answer.json
	assert.deepEqual(rest, { requestId, role: 'atlas_submitter', subject: 'shop', index: null, status: 400,
		code, message, details, hint, errors, request: body })
})

for (const [status, body] of [
	[400, () => '{"objectType":'],
	[404, () => event({ objectId: randomUUID() })],
	[409, () => event({ externalId: '195313' })],
	[413, () => event({ payload: { x: 'x'.repeat(300_000) } })],
])
	test(`what is refused with ${status} is noted, through nginx and directly`, async () => {
		const { submitter, reader } = newTenant()
		const direct = await postDirectly('/rpc/submit_event', body(),
			{ as: submitter, headers: { 'Content-Type': 'text/plain' } })
		const answer = await post('/events', body(), { as: submitter })
		const noted = await rejections(reader)
		assert.deepEqual(noted.map(({ status, code, requestId }) => [status, code, requestId]), [
			[status, `PT${status}`, answer.json.requestId], [status, `PT${status}`, direct.json.requestId]])
		assert.deepEqual(noted[0].details, answer.json.details)
		assert.deepEqual(noted[0].errors ?? undefined, answer.json.errors)
	})

test('what is stored is not noted', async () => {
	const { submitter, reader } = newTenant()
	await post('/events', event(), { as: submitter })
	await post('/events/batch', [event(), event()], { as: submitter })
	assert.deepEqual(await rejections(reader), [])
})

test('a reader sees all of the tenant, a submitter those of the own subject', async () => {
	const { as, reader, admin } = newTenant()
	const [shop, billing] = ['shop', 'billing'].map((sub) => as('submitter', { sub }))
	await refuse(shop)
	await refuse(billing)
	await refuse(shop)
	await refuse(as('admin', { sub: 'shop' }))
	assert.deepEqual(subjects(await rejections(reader)), ['shop', 'shop', 'billing', 'shop'])
	assert.deepEqual(subjects(await rejections(admin)), ['shop', 'shop', 'billing', 'shop'])
	assert.deepEqual(subjects(await rejections(billing)), ['billing'])
	const own = await rejections(shop)
	assert.deepEqual(own.map(({ role, subject }) => [role, subject]),
		[['atlas_submitter', 'shop'], ['atlas_submitter', 'shop']])
	const direct = await getDirectly('/rejections', { as: shop })
	assert.deepEqual(direct.json, own)
})

test('a submitter without a subject sees none, not even with a filter', async () => {
	const { as, reader } = newTenant()
	const nobody = as('submitter', { sub: undefined })
	await refuse(nobody)
	await refuse(as('submitter', { sub: 'shop' }))
	assert.equal((await rejections(reader)).length, 2)
	assert.deepEqual(await rejections(nobody), [])
	assert.deepEqual(await rejections(nobody, '?or=(subject.is.null,subject.eq.shop)'), [])
})

test('nobody sees another tenant\'s', async () => {
	const { as } = newTenant()
	await refuse(as('submitter', { sub: 'shop' }))
	const other = newTenant()
	for (const who of [other.reader, other.admin, other.as('submitter', { sub: 'shop' })])
		assert.deepEqual(await rejections(who), [])
})

test('they are newest first, and can be filtered, ordered, limited and counted', async () => {
	const { submitter, reader } = newTenant()
	await refuse(submitter, { name: 'first' })
	await post('/events/batch', [event({ objectId: randomUUID() }), event({ name: undefined })], { as: submitter })
	const all = await rejections(reader)
	assert.equal(all.length, 3)
	assert.deepEqual(all, [...all].sort((a, b) => b.rejectionId - a.rejectionId))
	assert.deepEqual((await rejections(reader, '?status=eq.404')).map(({ index }) => index), [0])
	assert.deepEqual((await rejections(reader, '?index=is.null&select=status')), [{ status: 400 }])
	assert.deepEqual(await rejections(reader, '?order=rejectionId.asc&limit=1&offset=1'), [all[1]])
	const { requestId } = all[0]
	assert.equal((await rejections(reader, `?requestId=eq.${requestId}`)).length, 2)
	const counted = await get('/rejections?limit=1', { as: reader, headers: { Prefer: 'count=exact' } })
	assert.equal(counted.headers.get('content-range'), '0-0/3')
})

test('of a request its first 1,000 characters are kept, not bytes', async () => {
	const { submitter, reader } = newTenant()
	const body = JSON.stringify(event({ name: '📖'.repeat(2000) }))
	assertError(await post('/events', body, { as: submitter }), 400)
	await post('/events/batch', `[${body}]`, { as: submitter })
	await post('/events/batch', body, { as: submitter })
	for (const { request } of await rejections(reader))
		assert.equal(request, [...body].slice(0, 1000).join(''))
})

test('they cannot be written, changed or deleted', async () => {
	const { as, reader, admin } = newTenant()
	const shop = as('submitter', { sub: 'shop' })
	await refuse(shop)
	const before = await rejections(reader)
	for (const who of [shop, reader, admin])
		for (const [method, body] of [['POST', { status: 400 }], ['PATCH', { status: 200 }], ['DELETE'], ['PUT', {}]]) {
			assertError(await request(method, `${BASE_URL}/v1/rejections`, { as: who, body }), 405)
			const direct = await request(method, `${POSTGREST_URL}/rejections?status=eq.400`, { as: who, body })
			assert.ok(direct.status >= 400, `${method} directly: ${direct.status} ${direct.text}`)
		}
	assert.deepEqual(await rejections(reader), before)
})

/*
 * note_rejections() with settings of its own, as PostgREST calls it, in a
 * transaction that leaves nothing. Room is made at random: here always at the
 * same ones. Statements come as superuser, with the tenant that note() takes.
 */
function noteWith(settings, statements, condition = 'true') {
	const set = Object.entries(settings).map(([name, value]) => `set_config('app.settings.${name}', '${value}', true)`)
	return Number(sql(`\\o /dev/null
		BEGIN; DELETE FROM atlas_rejections; SELECT ${['setseed(0.5)', ...set].join(', ')};
		CREATE FUNCTION pg_temp.note(many int) RETURNS void LANGUAGE sql AS $$
			SELECT atlas_api_private.note_rejections(json_agg(json_build_object('index', n, 'status', 404,
				'code', 'PT404', 'message', 'Object Not Found'))) FROM generate_series(1, many) n $$;
		${statements.replaceAll(/SELECT pg_temp\.note[^;]*;/g,
		'SET LOCAL SESSION AUTHORIZATION atlas_authenticator; SET LOCAL ROLE atlas_submitter; $& RESET SESSION AUTHORIZATION;')}
		\\o
		SELECT count(*) FROM atlas_rejections WHERE ${condition}; ROLLBACK`))
}

test('as many of the newest as rejections_max_rows are kept when they come in batches', () => {
	const left = noteWith({ rejections_max_rows: '500' }, 'SELECT pg_temp.note(400) FROM generate_series(1, 20);')
	assert.ok(left >= 500 && left <= 900, `${left} are left`)
})

test('as many of the newest as rejections_max_rows are kept when they come one by one', () => {
	const left = noteWith({ rejections_max_rows: '500' }, 'SELECT pg_temp.note(1) FROM generate_series(1, 3000);')
	assert.ok(left >= 500 && left <= 1000, `${left} are left`)
})

test('a tenant with many does not push out those of another', () => {
	const left = noteWith({ rejections_max_rows: '500' },
		`SET LOCAL atlas_events.tenant = 'quiet'; SELECT pg_temp.note(10);
		SET LOCAL atlas_events.tenant = 'loud'; SELECT pg_temp.note(400) FROM generate_series(1, 10);`,
		"tenant_id = 'quiet'")
	assert.equal(left, 10)
})

test('no few thousand are deleted if nothing is set', () => {
	const left = noteWith({}, 'SELECT pg_temp.note(1000) FROM generate_series(1, 3);')
	assert.equal(left, 3000)
})

test('what is older than rejections_max_age is deleted', () => {
	const older = (interval) => `SELECT pg_temp.note(100);
		UPDATE atlas_rejections SET rejected_at = now() - interval '${interval}'; SELECT pg_temp.note(100);`
	assert.equal(noteWith({ rejections_max_age: '2 days' }, older('49 hours')), 100)
	assert.equal(noteWith({ rejections_max_age: '2 days' }, older('47 hours')), 200)
	assert.equal(noteWith({}, older('31 days')), 100)
	assert.equal(noteWith({}, older('29 days')), 200)
})

test('what is too old is not seen, even before it is deleted', async () => {
	const { tenant, submitter, reader } = newTenant()
	await refuse(submitter)
	await refuse(submitter)
	const [newest, oldest] = await rejections(reader)
	sql(`UPDATE atlas_rejections SET rejected_at = now() - interval '31 days'
		WHERE tenant_id = '${tenant}' AND rejection_id = ${oldest.rejectionId}`)
	assert.deepEqual(await rejections(reader), [newest])
})

test('an event is refused with its reason also if that cannot be noted', async () => {
	const { tenant, submitter, reader } = newTenant()
	sql(`CREATE FUNCTION public.http_test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
		CREATE TRIGGER http_test_refuse BEFORE INSERT ON atlas_rejections FOR EACH ROW
			WHEN (NEW.tenant_id = '${tenant}') EXECUTE FUNCTION public.http_test_refuse()`)
	try {
		assertError(await refuse(submitter), 400, { code: 'PT400' })
	} finally {
		sql('DROP FUNCTION public.http_test_refuse CASCADE')
	}
	assert.deepEqual(await rejections(reader), [])
})
