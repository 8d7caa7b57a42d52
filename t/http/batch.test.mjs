/*
 * batch.test.mjs
 *		POST /v1/events/batch: each event for itself, with results by index:
 *		200 when all are stored, 207 when some are, 400 when none is.
 */
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { assertError, event, get, newTenant, post, postDirectly } from './atlas.mjs'

const nameless = () => event({ name: undefined })
const absent = () => event({ objectId: randomUUID() })
const conflicting = () => event({ externalId: '195313' })
const huge = () => event({ payload: { x: 'x'.repeat(300_000) } })

/* Both ways to submit a batch: the array through nginx, {events} directly. */
const WAYS = {
	'through nginx': (events, options) => post('/events/batch', events, options),
	'directly': (events, options) => postDirectly('/rpc/submit_events', { events }, options),
	'directly as text': (events, { as, headers }) => postDirectly('/rpc/submit_events', JSON.stringify(events),
		{ as, headers: { ...headers, 'Content-Type': 'text/plain' } }),
}

const statuses = ({ json }) => json.results.map(({ index, status }) => [index, status])

async function storedNames(reader) {
	const { json } = await get('/events?select=name', { as: reader })
	return json.map(({ name }) => name).sort()
}

for (const [way, submit] of Object.entries(WAYS)) {
	test(`a batch of which all are stored is 200, ${way}`, async () => {
		const { submitter, reader } = newTenant()
		const events = [event(), event({ description: 'has other keys' }), event()]
		const answer = await submit(events, { as: submitter })
		assert.equal(answer.status, 200, answer.text)
		assert.deepEqual([answer.json.accepted, answer.json.rejected], [3, 0])
		assert.deepEqual(statuses(answer), [[0, 200], [1, 200], [2, 200]])
		for (const [index, { eventId, ...receipt }] of answer.json.results.entries()) {
			const { json } = await get(`/events/${eventId}`, { as: reader })
			assert.equal(json.name, events[index].name)
			assert.deepEqual(receipt, { index, status: 200, message: 'Event Linked',
				processingStatus: 'LINKED', duplicate: false })
		}
	})

	test(`a batch of which some are stored is 207, with a result for each by its index, ${way}`, async () => {
		const { submitter, reader } = newTenant()
		const events = [nameless(), event(), absent(), conflicting(), huge(), event()]
		const answer = await submit(events, { as: submitter })
		assert.equal(answer.status, 207, answer.text)
		assert.deepEqual([answer.json.accepted, answer.json.rejected], [2, 4])
		assert.deepEqual(statuses(answer), [[0, 400], [1, 200], [2, 404], [3, 409], [4, 413], [5, 200]])
		assert.deepEqual(answer.json.results.map(({ code }) => code),
			['PT400', undefined, 'PT404', 'PT409', 'PT413', undefined])
		assert.equal(answer.json.results[0].details, '/name: name is required')
		assert.deepEqual(answer.json.results[0].errors,
			[{ field: '/name', code: 'required', message: 'name is required' }])
		assert.match(answer.json.results[4].details, /262144 bytes.* \d{6}\./)
		assert.deepEqual(await storedNames(reader), [events[1].name, events[5].name].sort())
	})

	test(`a batch of which none is stored is 400, with results and problems, ${way}`, async () => {
		const { submitter, reader } = newTenant()
		const answer = await submit([nameless(), absent(), event({ icon: 'ab' })], { as: submitter })
		assert.equal(answer.status, 400, answer.text)
		assert.deepEqual([answer.json.accepted, answer.json.rejected], [0, 3])
		assert.deepEqual(statuses(answer), [[0, 400], [1, 404], [2, 400]])
		assert.deepEqual(answer.json.errors.map(({ field }) => field), ['/0/name', '/2/icon'])
		assert.deepEqual([answer.json.code, answer.json.message], ['PT400', 'Invalid Event'])
		assert.equal(answer.json.requestId, answer.headers.get('x-request-id'))
		assert.deepEqual(await storedNames(reader), [])
	})

	test(`what an item is refused with has the shape of a single answer, and of the rejections, ${way}`, async () => {
		const { submitter, reader } = newTenant()
		const { submitter: other, reader: otherReader } = newTenant()
		const events = [nameless(), absent(), conflicting(), event({ name: undefined, icon: 'ab', payload: [] })]
		const { json: { results } } = await submit(events, { as: submitter })
		const { json: noted } = await get('/rejections?order=index', { as: reader })
		for (const [index, { status, ...result }] of results.entries()) {
			const { status: single, json: { requestId, ...answer } } = await postDirectly('/rpc/submit_event', events[index], { as: other })
			assert.deepEqual({ status, ...result }, { index, status: single, ...answer })
			const { code, message, details, hint, errors } = noted[index]
			assert.deepEqual({ code, message, details, hint, ...errors && { errors } }, answer)
		}
		assert.equal((await get('/rejections', { as: otherReader })).json.length, events.length)
	})

	test(`an empty batch is 200, ${way}`, async () => {
		const { submitter } = newTenant()
		const answer = await submit([], { as: submitter })
		assert.equal(answer.status, 200, answer.text)
		assert.deepEqual(answer.json, { accepted: 0, rejected: 0, results: [] })
	})

	test(`the header Idempotency-Key is not for batches: 400, ${way}`, async () => {
		const { submitter, reader } = newTenant()
		const answer = await submit([event()], { as: submitter, headers: { 'Idempotency-Key': 'a' } })
		assert.equal(answer.status, 400, answer.text)
		assert.match(answer.json.details, /Idempotency-Key/)
		assert.deepEqual(await storedNames(reader), [])
	})

	test(`each refused item is in the rejections, with its index and what was sent, ${way}`, async () => {
		const { submitter, reader } = newTenant()
		const events = [event(), nameless(), huge(), absent()]
		const answer = await submit(events, { as: submitter })
		const { json } = await get('/rejections?order=index', { as: reader })
		assert.deepEqual(json.map(({ index, status }) => [index, status]), [[1, 400], [2, 413], [3, 404]])
		const requestId = json[0].requestId
		if (way === 'through nginx') assert.equal(requestId, answer.headers.get('x-request-id'))
		for (const rejection of json) {
			assert.equal(rejection.requestId, requestId)
			assert.equal(rejection.request, JSON.stringify(events[rejection.index]).slice(0, 1000))
		}
		assert.deepEqual(json[0].errors, [{ field: '/name', code: 'required', message: 'name is required' }])
		assert.equal(json[2].errors, null)
	})
}

test('a body that is no array is 400 through nginx, {"events":[...]} too', async () => {
	const { submitter, reader } = newTenant()
	for (const body of [{}, { events: [event()] }, '"x"', '1', 'null', '', event()]) {
		const answer = await post('/events/batch', body, { as: submitter })
		assertError(answer, 400, { code: 'PT400', message: 'Invalid Event' })
		assert.equal(answer.json.errors.length, 1)
	}
	assert.deepEqual(await storedNames(reader), [])
})

test('items that are no objects are refused each', async () => {
	const { submitter } = newTenant()
	const answer = await post('/events/batch', [1, 'x', null, [], event()], { as: submitter })
	assert.equal(answer.status, 207, answer.text)
	assert.deepEqual(statuses(answer), [[0, 400], [1, 400], [2, 400], [3, 400], [4, 200]])
})

test('an item of malformed JSON is refused with its line and column, and the others are stored', async () => {
	const { submitter, reader } = newTenant()
	const [first, last] = [event(), event()]
	const answer = await post('/events/batch', `[${JSON.stringify(first)},\n{"name" "x"},\n${JSON.stringify(last)}]`,
		{ as: submitter })
	assert.equal(answer.status, 207, answer.text)
	assert.deepEqual(statuses(answer), [[0, 200], [1, 400], [2, 200]])
	assert.match(answer.json.results[1].details, /^line 2, column \d+: /)
	assert.deepEqual(await storedNames(reader), [first.name, last.name].sort())
})

test('a byte order mark is skipped, and what was sent is noted without it', async () => {
	const { submitter, reader } = newTenant()
	const answer = await post('/events/batch', `\ufeff${JSON.stringify([event(), nameless()])}`, { as: submitter })
	assert.equal(answer.status, 207, answer.text)
	assert.deepEqual(statuses(answer), [[0, 200], [1, 400]])
	const { json: [rejection] } = await get('/rejections', { as: reader })
	assert.match(rejection.request, /^\{"objectType"/)
	assert.equal((await post('/events', `\ufeff${JSON.stringify(event())}`, { as: submitter })).status, 200)
})

test('a batch that is cut off is 400 as a whole, with line and column', async () => {
	const { submitter, reader } = newTenant()
	const answer = await post('/events/batch', `[${JSON.stringify(event())},\n {"name": "x"`, { as: submitter })
	assertError(answer, 400, { code: 'PT400' })
	assert.match(answer.json.errors[0].message, /^line 2, column \d+: /)
	assert.deepEqual(await storedNames(reader), [])
	const { json: [rejection] } = await get('/rejections', { as: reader })
	assert.equal(rejection.index, null)
	assert.ok(rejection.request.startsWith('[{"objectType":'))
})

test('events of a batch have idempotency keys of their own', async () => {
	const { submitter, reader } = newTenant()
	const events = [event({ idempotencyKey: 'a' }), event({ idempotencyKey: 'b' })]
	const first = await post('/events/batch', events, { as: submitter })
	const second = await post('/events/batch', [...events, event({ idempotencyKey: 'a' })], { as: submitter })
	assert.deepEqual(statuses(second), [[0, 200], [1, 200], [2, 409]])
	assert.deepEqual(second.json.results.slice(0, 2).map(({ eventId, duplicate }) => [eventId, duplicate]),
		first.json.results.map(({ eventId }) => [eventId, true]))
	assert.equal((await storedNames(reader)).length, 2)
})

test('a batch of more events than are allowed is 413, which names limit and actual', async () => {
	const { submitter } = newTenant()
	const batch = `[${'{},'.repeat(10_000)}{}]`
	assertError(await post('/events/batch', batch, { as: submitter }), 413,
		{ code: 'PT413', details: /\b10000\b.*\b10001\b/ })
})
