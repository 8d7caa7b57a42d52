/*
 * clients.test.mjs
 *		Programs that know nothing of us: @supabase/postgrest-js, directly and
 *		through nginx, and curl.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import assert from 'node:assert/strict'
import postgrest from '@supabase/postgrest-js'
import { BASE_URL, CUSTOMER, POSTGREST_URL, SAMPLE, event, newTenant, token } from './atlas.mjs'

const { PostgrestClient } = postgrest
const TIMELINE = { objectType: 'CUSTOMER', objectId: CUSTOMER }

const clientOf = (url) => (as) => new PostgrestClient(url, { headers: { Authorization: `Bearer ${as}` } })
const directly = clientOf(POSTGREST_URL)
const throughNginx = clientOf(`${BASE_URL}/v1`)

/* What a call of the client brings; it reports errors instead of raising them. */
async function dataOf(call) {
	const { data, error } = await call
	assert.equal(error, null, JSON.stringify(error))
	return data
}

async function errorOf(call, status) {
	const answer = await call
	assert.equal(answer.data, null)
	assert.equal(answer.status, status, JSON.stringify(answer.error))
	for (const field of ['code', 'message', 'details', 'hint']) assert.ok(field in answer.error, `${field} is missing`)
	return answer.error
}

for (const [way, client] of [['directly', directly], ['through nginx', throughNginx]]) {
	test(`postgrest-js ${way}: rpc submit_event takes an event, and the timeline has it`, async () => {
		const { submitter, reader } = newTenant()
		const receipt = await dataOf(client(submitter).rpc('submit_event', JSON.parse(SAMPLE)))
		assert.equal(receipt.message, 'Event Linked')
		const [first, ...more] = await dataOf(client(reader).rpc('timeline', TIMELINE))
		assert.deepEqual(more, [])
		assert.deepEqual([first.eventId, first.icon], [receipt.eventId, '📖'])
		const { data, status } = await client(reader).rpc('timeline', { ...TIMELINE, pageSize: 1 }, { get: true })
		assert.deepEqual([status, data], [200, [first]])
		assert.deepEqual(await dataOf(client(reader).rpc('event', { eventId: receipt.eventId }, { get: true })),
			(await dataOf(client(reader).from('event_logs').select()))[0])
	})

	test(`postgrest-js ${way}: filters, order, limit and count of the logs`, async () => {
		const { submitter, reader } = newTenant()
		for (const name of ['A', 'B', 'C'])
			await dataOf(client(submitter).rpc('submit_event', event({ name, payload: { plan: name } })))
		const ticket = event({ objectType: 'TICKET', objectId: '19734', name: 'D' })
		await dataOf(client(submitter).rpc('submit_event', ticket))
		const from = () => client(reader).from(client === directly ? 'event_logs' : 'events')
		const names = async (call) => (await dataOf(call)).map(({ name }) => name).join('')

		assert.equal(await names(from().select()), 'DCBA')
		assert.equal(await names(from().select('eventId,name').eq('objectType', 'CUSTOMER').order('eventId')), 'ABC')
		const newest = from().select().eq('processingStatus', 'LINKED').order('eventId', { ascending: false }).limit(2)
		assert.equal(await names(newest), 'DC')
		assert.equal(await names(from().select().in('name', ['A', 'D']).range(1, 1)), 'A')
		assert.equal(await names(from().select().eq('payload->>plan', 'B')), 'B')
		assert.equal(await names(from().select().or('name.eq.A,objectId.eq.19734')), 'DA')
		const counted = await from().select('*', { count: 'exact' }).limit(1)
		assert.deepEqual([counted.status, counted.count, counted.data.length], [206, 4, 1])
		const head = await from().select('*', { count: 'exact', head: true })
		assert.equal(head.count, 4)
		const one = await from().select('name').eq('name', 'A').single()
		assert.deepEqual(one.data, { name: 'A' })
		assert.equal((await errorOf(from().select().single(), 406)).code, 'PGRST116')
	})

	test(`postgrest-js ${way}: errors have code, message, details and hint`, async () => {
		const { submitter, reader } = newTenant()
		const submit = (fields) => client(submitter).rpc('submit_event', event(fields))
		const absent = await errorOf(submit({ objectId: randomUUID() }), 404)
		assert.deepEqual([absent.code, absent.message], ['PT404', 'Object Not Found'])
		const invalid = await errorOf(submit({ icon: 'ab' }), 400)
		assert.equal(invalid.code, 'PT400')
		assert.deepEqual(invalid.errors.map(({ field }) => field), ['/icon'])
		assert.equal((await errorOf(submit({ externalId: '195313' }), 409)).code, 'PT409')
		assert.equal((await errorOf(submit({ description: 'x'.repeat(300_000) }), 413)).code, 'PT413')
		assert.equal((await errorOf(client(reader).rpc('submit_event', event()), 403)).code, '42501')
		assert.match((await errorOf(client('none').from('rejections').select(), 401)).code, /^PGRST30/)
		const noted = await dataOf(client(reader).from('rejections').select('status,requestId').order('rejectionId'))
		assert.deepEqual(noted.map(({ status }) => status), [404, 400, 409, 413])
		assert.equal(noted[1].requestId, invalid.requestId)
	})

	test(`postgrest-js ${way}: rpc submit_events takes {events}, with 200, 207 and 400`, async () => {
		const { submitter } = newTenant()
		const submit = (...events) => client(submitter).rpc('submit_events', { events })
		const all = await submit(event(), event({ description: 'has other keys' }))
		assert.deepEqual([all.status, all.data.accepted], [200, 2])
		const some = await submit(event(), event({ name: undefined }))
		assert.deepEqual([some.status, some.data.accepted, some.data.rejected], [207, 1, 1])
		const error = await errorOf(submit(event({ name: undefined })), 400)
		assert.deepEqual([error.code, error.results[0].status], ['PT400', 400])
	})

	test(`postgrest-js ${way}: rejections and object types`, async () => {
		const { submitter, reader } = newTenant()
		await client(submitter).rpc('submit_event', event({ icon: 'ab' }))
		const [rejection] = await dataOf(client(submitter).from('rejections').select().eq('status', 400))
		assert.equal(rejection.errors[0].field, '/icon')
		const type = await dataOf(client(reader).from('object_types').select().eq('objectType', 'CUSTOMER').single())
		assert.equal(type.relation, 'public.customers')
	})
}

const run = promisify(execFile)

/* curl as one would type it; answers with the status and the body. */
async function curl(as, path, ...options) {
	const { stdout } = await run('curl', ['--silent', '--show-error', '--write-out', '\n%{http_code}',
		'--header', `Authorization: Bearer ${as}`, ...options, `${BASE_URL}/v1${path}`])
	const [, body, status] = stdout.match(/^(.*)\n(\d+)$/s)
	return { status: Number(status), json: body.trim() === '' ? undefined : JSON.parse(body) }
}

test('curl sends the sample request, with -d or --json or from a file, and reads it back', async () => {
	const { submitter, reader } = newTenant()
	const ids = []
	for (const options of [['-d', SAMPLE], ['--json', SAMPLE],
		['--data-binary', SAMPLE, '-H', 'Content-Type: application/json']]) {
		const { status, json } = await curl(submitter, '/events', ...options)
		assert.deepEqual([status, json.message, json.processingStatus], [200, 'Event Linked', 'LINKED'])
		ids.unshift(json.eventId)
	}
	const timeline = await curl(reader, `/timeline?objectType=CUSTOMER&objectId=${CUSTOMER}`)
	assert.deepEqual(timeline.json.map(({ eventId, icon }) => [eventId, icon]), ids.map((id) => [id, '📖']))
	const log = await curl(reader, '/events', '--get', '--data-urlencode', 'name=eq.Atlas Helpcenter', '-d', 'limit=1')
	assert.deepEqual([log.status, log.json[0].eventId], [200, ids[0]])
})

test('curl sends an idempotency key as a header', async () => {
	const { submitter } = newTenant()
	const send = () => curl(submitter, '/events', '-d', SAMPLE, '-H', 'Idempotency-Key: k1')
	assert.equal((await send()).json.duplicate, false)
	assert.equal((await send()).json.duplicate, true)
})

test('curl gets each error as JSON', async () => {
	const { submitter, reader } = newTenant()
	for (const [status, as, path, ...options] of [
		[400, submitter, '/events', '-d', '{"objectType": "CUSTOMER"'],
		[400, submitter, '/events/batch', '-d', '[{}]'],
		[401, 'none', '/events'],
		[403, reader, '/events', '-d', SAMPLE],
		[404, submitter, '/events', '-d', JSON.stringify(event({ objectId: 'x' }))],
		[404, reader, `/events/${randomUUID()}`],
		[405, reader, '/events', '-X', 'DELETE'],
		[409, submitter, '/events', '-d', JSON.stringify(event({ externalId: '195313' }))],
	]) {
		const answer = await curl(as, path, ...options)
		assert.equal(answer.status, status, JSON.stringify(answer))
		for (const field of ['code', 'message', 'details', 'hint', 'requestId'])
			assert.ok(field in answer.json, `${field} with ${status}`)
	}
})

test('postgrest-js: the example of docs/http.md does what it says', async () => {
	const page = readFileSync(new URL('../../docs/http.md', import.meta.url), 'utf8')
	const [, example] = page.match(/^```js\nimport .*\n([^]*?)^```$/m)
	const answers = []
	class Client extends PostgrestClient {
		constructor(url, options) {
			super(url, { ...options, fetch: async (...request) => {
				const answer = await fetch(...request)
				answers.push([answer.status, await answer.clone().json()])
				return answer
			} })
		}
	}
	const run = new (async () => {}).constructor('PostgrestClient', 'BASE_URL', 'TOKEN', example)
	await run(Client, BASE_URL, token({ tenant: randomUUID() }))
	assert.deepEqual(answers.map(([status]) => status), [200, 200, 200, 200, 200], JSON.stringify(answers))
	assert.deepEqual(answers[2][1].map(({ name }) => name), ['Trial Ended', 'Trial Started'])
})
