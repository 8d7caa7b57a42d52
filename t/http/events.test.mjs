/*
 * events.test.mjs
 *		POST /v1/events: one event, its receipt, what is stored of it, and
 *		idempotency keys in the field and in the header.
 */
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { CUSTOMER, SAMPLE, assertError, event, get, getDirectly, newTenant, post, postDirectly, request, sql,
	waitFor, withLinkingOff, BASE_URL, POSTGREST_URL } from './atlas.mjs'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const TIMELINE = `/timeline?objectType=CUSTOMER&objectId=${CUSTOMER}`
const TEXT = { headers: { 'Content-Type': 'text/plain' } }

const RELATED = [
	{ objectType: 'TICKET', objectId: '19734' },
	{ objectType: 'ACCOUNT', externalId: 'ACC-000001' },
	{ objectType: 'ACCOUNT', externalId: 'ACC-999999' },
]

function assertReceipt(answer, expected = {}) {
	assert.equal(answer.status, 200, answer.text)
	const { eventId, ...rest } = answer.json
	assert.match(eventId, UUID_V7)
	assert.deepEqual(rest, { message: 'Event Linked', processingStatus: 'LINKED', duplicate: false, ...expected })
	return eventId
}

async function readEvent(eventId, as) {
	const answer = await get(`/events/${eventId}`, { as })
	assert.equal(answer.status, 200, answer.text)
	return answer.json
}

const outcomes = (logged) => logged.relatedObjects.map(({ outcome }) => outcome)

test('the sample request is answered with a receipt, and the next GET of the timeline has it', async () => {
	const { submitter, reader } = newTenant()
	const before = Date.now()
	const eventId = assertReceipt(await post('/events', SAMPLE, { as: submitter }))
	const after = Date.now()
	const timeline = await get(TIMELINE, { as: reader })
	assert.equal(timeline.status, 200)
	assert.equal(timeline.json.length, 1)
	const { occurredAt, ...rest } = timeline.json[0]
	assert.ok(new Date(occurredAt) >= before && new Date(occurredAt) <= after, occurredAt)
	assert.deepEqual(rest, {
		eventId, role: 'PRIMARY', name: 'Atlas Helpcenter', icon: '📖', objectType: 'CUSTOMER', objectId: CUSTOMER,
		externalId: '195959', description: 'Viewed HelpCenter Article - How does it work?', processingStatus: 'LINKED',
		payload: { company: 'Atlas', hq: 'Dellas', give: 'superpower', to: 'your agents', filter: 'all the agents' },
	})
})

test('the sample request is taken by PostgREST itself, as text and as JSON', async () => {
	const { submitter, reader } = newTenant()
	const ids = [
		assertReceipt(await postDirectly('/rpc/submit_event', SAMPLE, { as: submitter, ...TEXT })),
		assertReceipt(await postDirectly('/rpc/submit_event', SAMPLE, { as: submitter })),
	]
	const timeline = await getDirectly(`/rpc${TIMELINE}`, { as: reader })
	assert.deepEqual(timeline.json.map(({ eventId, icon }) => [eventId, icon]), ids.reverse().map((id) => [id, '📖']))
})

test('any Content-Type, Accept and Prefer are taken for an event', async () => {
	const { submitter } = newTenant()
	for (const headers of [
		{ 'Content-Type': 'application/x-www-form-urlencoded' }, { 'Content-Type': 'text/csv' },
		{ 'Content-Type': 'application/json; charset=utf-8' }, { Accept: 'text/html' },
		{ Prefer: 'params=single-object' }, { Prefer: 'return=minimal, tx=rollback' },
		{ Prefer: 'handling=strict, unknown=1' },
	])
		assertReceipt(await post('/events', event(), { as: submitter, headers }))
})

test('related objects are PENDING in the log first, and then LINKED or NOT_FOUND each', async () => {
	const { submitter, reader } = newTenant()
	const eventId = await withLinkingOff(async () => {
		const receipt = await post('/events', event({ relatedObjects: RELATED }), { as: submitter })
		const eventId = assertReceipt(receipt, { processingStatus: 'PENDING' })
		const pending = await readEvent(eventId, reader)
		assert.equal(pending.processingStatus, 'PENDING')
		assert.equal(pending.linkedAt, null)
		assert.deepEqual(outcomes(pending), ['PENDING', 'PENDING', 'PENDING'])
		const others = await get('/timeline?objectType=TICKET&objectId=19734', { as: reader })
		assert.deepEqual(others.json, [])
		return eventId
	})
	const linked = await waitFor('the event is linked', async () => {
		const logged = await readEvent(eventId, reader)
		return logged.processingStatus === 'LINKED' && logged
	})
	assert.deepEqual(outcomes(linked), ['LINKED', 'LINKED', 'NOT_FOUND'])
	assert.deepEqual(linked.relatedObjects[0], { objectType: 'CONVERSATION', objectId: '19734', outcome: 'LINKED' })
	assert.equal(linked.relatedObjects[2].reason, 'there is no such object')
	assert.ok(new Date(linked.linkedAt) >= new Date(linked.receivedAt))
	const others = await get('/timeline?objectType=TICKET&objectId=19734', { as: reader })
	assert.deepEqual(others.json.map(({ eventId, role }) => [eventId, role]), [[eventId, 'RELATED']])
})

test('a payload is stored digit by digit, through nginx and directly', async () => {
	const { submitter, reader } = newTenant()
	const body = `{"objectType": "CUSTOMER", "externalId": "195959", "name": "Exact", "payload":
		{"n": 12345678901234567890, "d": 0.1000000000000000000001,
		 "s": "\\ud83d\\udcd6 é\\n", "deep": [[{"x": -0.0}]]}}`
	const path = '/event_logs?select=payload&order=eventId.desc&limit=1'
	for (const send of [
		() => post('/events', body, { as: submitter }),
		() => postDirectly('/rpc/submit_event', body, { as: submitter }),
		() => postDirectly('/rpc/submit_event', body, { as: submitter, ...TEXT }),
	]) {
		assertReceipt(await send())
		const { text, json } = await getDirectly(path, { as: reader })
		assert.match(text, /"n": ?12345678901234567890\D/)
		assert.match(text, /"d": ?0\.1000000000000000000001\D/)
		assert.equal(json[0].payload.s, '📖 é\n')
	}
})

test('every field of an event is in its log', async () => {
	const { submitter, reader } = newTenant()
	const fields = {
		objectType: 'CUSTOMER', objectId: CUSTOMER, externalId: '195959', name: 'Größe "L" \\ 📦',
		description: '<b>2 items</b>\r\nof 3', icon: 'https://cdn.example/icon.svg', payload: { a: [1, null, 'x'] },
		occurredAt: '2026-01-02T03:04:05.678901+01:00',
	}
	const { eventId } = (await post('/events', fields, { as: submitter })).json
	const logged = await readEvent(eventId, reader)
	const { occurredAt, ...rest } = fields
	for (const [field, value] of Object.entries(rest))
		assert.deepEqual(logged[field], value)
	assert.equal(logged.occurredAt, '2026-01-02T02:04:05.678901+00:00')
	assert.equal(logged.relatedObjects, null)
})

for (const [place, first, second] of [
	['the header', { key: true }, { key: true }],
	['the field', { field: true }, { field: true }],
	['the header, then the field', { key: true }, { field: true }],
	['both', { key: true, field: true }, { key: true, field: true }],
])
	test(`a key in ${place} makes a replay safe: 200, and the same id`, async () => {
		const { submitter, reader } = newTenant()
		const key = `key-${randomUUID()}`
		const body = event()
		const send = ({ key: inHeader, field }) => post('/events', { ...body, ...(field && { idempotencyKey: key }) },
			{ as: submitter, headers: inHeader ? { 'Idempotency-Key': key } : {} })
		const eventId = assertReceipt(await send(first))
		assert.equal(assertReceipt(await send(second), { duplicate: true }), eventId)
		assert.equal((await get('/events', { as: reader })).json.length, 1)
	})

test('a key that was used for another event is a conflict: 409', async () => {
	const { submitter, reader } = newTenant()
	const headers = { 'Idempotency-Key': randomUUID() }
	assertReceipt(await post('/events', event(), { as: submitter, headers }))
	assertError(await post('/events', event(), { as: submitter, headers }), 409,
		{ code: 'PT409', message: 'Conflict', details: /idempotency key/ })
	assert.equal((await get('/events', { as: reader })).json.length, 1)
})

test('another tenant may use the same key', async () => {
	const headers = { 'Idempotency-Key': randomUUID() }
	for (const { submitter } of [newTenant(), newTenant()])
		assertReceipt(await post('/events', event(), { as: submitter, headers }))
})

test('a key in the header that is not that of the field, too long or empty is 400', async () => {
	const { submitter, reader } = newTenant()
	const send = (key, fields) => post('/events', event(fields), { as: submitter, headers: { 'Idempotency-Key': key } })
	for (const answer of [await send('a', { idempotencyKey: 'b' }), await send('x'.repeat(256))]) {
		assertError(answer, 400, { code: 'PT400' })
		assert.deepEqual(answer.json.errors.map(({ field }) => field), ['/idempotencyKey'])
	}
	const empty = await postDirectly('/rpc/submit_event', event(),
		{ as: submitter, headers: { 'Idempotency-Key': '' } })
	assert.equal(empty.status, 400, empty.text)
	assert.deepEqual((await get('/events', { as: reader })).json, [])
})

test('the error of malformed JSON names line and column', async () => {
	const { submitter } = newTenant()
	const body = '{"objectType": "CUSTOMER",\n "name": "x",,\n "objectId": "1"}'
	for (const answer of [
		await post('/events', body, { as: submitter }),
		await postDirectly('/rpc/submit_event', body, { as: submitter, ...TEXT }),
	]) {
		assert.equal(answer.status, 400, answer.text)
		const [problem, ...more] = answer.json.errors
		assert.deepEqual(more, [])
		assert.equal(problem.code, 'malformed_json')
		assert.match(problem.message, /^line 2, column 1[234]: /)
		assert.equal(answer.json.details, problem.message)
	}
})

test('PostgREST itself refuses malformed application/json, with 400', async () => {
	const answer = await request('POST', `${POSTGREST_URL}/rpc/submit_event`, { body: '{"a":' })
	assert.equal(answer.status, 400, answer.text)
	assert.equal(answer.json.code, 'PGRST102')
})

test('an empty body is 400', async () => {
	assertError(await request('POST', `${BASE_URL}/v1/events`), 400, { code: 'PT400' })
	assertError(await post('/events', ''), 400, { code: 'PT400' })
})

test('all problems of an event are named, each with its field', async () => {
	const answer = await post('/events', { objectType: 'NOPE', unknown: 1, payload: [], icon: 'ab',
		relatedObjects: [{ objectType: 'ACCOUNT' }] })
	assertError(answer, 400, { code: 'PT400', message: 'Invalid Event' })
	assert.deepEqual(answer.json.errors.map(({ field, code }) => `${field} ${code}`).sort(), [
		'/icon invalid', '/name required', '/objectId required', '/objectType unknown_type', '/payload invalid',
		'/relatedObjects/0/objectId required', '/unknown unknown_field',
	])
	for (const { field, message } of answer.json.errors)
		assert.ok(answer.json.details.includes(`${field}: ${message}`), answer.json.details)
})

test('nothing of a refused event is stored', async () => {
	const { submitter, tenant } = newTenant()
	assertError(await post('/events', event({ objectId: randomUUID() }), { as: submitter }), 404)
	assertError(await post('/events', event({ icon: 'ab' }), { as: submitter }), 400)
	assertError(await post('/events', event({ externalId: '195313' }), { as: submitter }), 409)
	assert.equal(sql(`SELECT count(*) FROM atlas_events WHERE tenant_id = '${tenant}'`), '0')
})
