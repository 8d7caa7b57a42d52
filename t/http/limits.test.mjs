/*
 * limits.test.mjs
 *		Clients that take more than their share: connections without a token,
 *		bodies that never come, reads that take too long. Others are served.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { BASE_URL, POSTGREST_URL, assertError, event, get, newTenant, nginxConf, post, raw, request, sql, startNginx, waitFor,
	withSlowReads } from './atlas.mjs'

const READERS = Number(nginxConf().match(/limit_conn readers (\d+);/)[1])
const POOL = 10

/* A connection, from an address of the loopback, on which these bytes are sent; text is what came back. */
async function open(base, bytes, localAddress = '127.0.0.1') {
	const { hostname, port } = new URL(base)
	const socket = connect({ host: hostname, port: Number(port), localAddress }).setEncoding('latin1')
	const connection = { socket, text: '', isClosed: false }
	socket.on('data', (data) => { connection.text += data })
	socket.on('error', () => {})
	socket.on('close', () => { connection.isClosed = true })
	await once(socket, 'connect')
	socket.write(bytes)
	return connection
}

/* The beginning of a submission; the body does not come. */
const slowSubmit = (as) => `POST /v1/events HTTP/1.1\r\nHost: x\r\n${as ? `Authorization: Bearer ${as}\r\n` : ''}Content-Length: 1000\r\n\r\n{`

const health = (base = BASE_URL) => request('GET', `${base}/health`, { as: null })
const statusOf = ({ text }) => Number(text.match(/^HTTP\/1\.1 (\d+)/)?.[1])

test('a request without a token is answered before its body comes', async () => {
	for (const path of ['/v1/events', '/v1/events/batch', '/v1/rpc/submit_event', '/v1/nothing']) {
		const connection = await open(BASE_URL, slowSubmit(null).replace('/v1/events', path))
		await waitFor('the answer', () => connection.text.endsWith('}\n'))
		assert.equal(statusOf(connection), 401)
		assert.match(connection.text, /\r\nWWW-Authenticate: Bearer\r\n/)
		connection.socket.destroy()
	}
	const answer = await raw(BASE_URL, 'GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization:\r\nConnection: close\r\n\r\n')
	assertError(answer, 401, { code: 'PT401', message: 'Unauthorized', details: 'There is no token.', hint: /Authorization: Bearer/ })
	assert.equal((await health()).status, 200)
})

test('2,100 slow connections without a token, and ten expensive reads: health answers, other tenants\' submits pass', async () => {
	const { submitter, reader } = newTenant()
	const connections = []
	try {
		for (let n = 0; n < 21; n++) {
			const bytes = n % 3 === 0 ? slowSubmit(null) : n % 3 === 1 ? 'POST /v1/events HTTP/1.1\r\nHost: x\r\n' : ''
			connections.push(...await Promise.all(Array.from({ length: 100 }, () => open(BASE_URL, bytes))))
		}
		assert.equal((await health()).status, 200)
		assert.equal((await post('/events', event(), { as: submitter })).status, 200)
		await withSlowReads(async (slow) => {
			const reads = Array.from({ length: 10 }, () => get('/events', { as: slow.reader }))
			await waitFor('the reads are at work', () =>
				sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") === `${READERS}`)
			const others = await Promise.all([health(), ...Array.from({ length: 20 }, () => post('/events', event(), { as: submitter }))])
			assert.deepEqual(others.map(({ status }) => status), others.map(() => 200))
			const statuses = (await Promise.all(reads)).map(({ status }) => status).sort()
			assert.deepEqual(statuses, [...Array(10 - READERS).fill(429), ...Array(READERS).fill(503)])
		})
		assert.equal((await get('/events', { as: reader })).json.length, 21)
	} finally {
		for (const { socket } of connections) socket.destroy()
	}
})

test('one address has fewer reads at once than PostgREST has connections, and others have theirs', async (t) => {
	assert.ok(READERS < POOL, `${READERS}`)
	const { base, port } = await startNginx(t, (conf) => conf.replace(`limit_conn readers ${READERS};`, 'limit_conn readers 1;'))
	const { reader } = newTenant()
	const ofOther = `GET /v1/events HTTP/1.1\r\nHost: x:${port}\r\nAuthorization: Bearer ${reader}\r\nConnection: close\r\n\r\n`
	await withSlowReads(async (slow) => {
		const first = request('GET', `${base}/v1/events`, { as: slow.reader })
		await waitFor('it is at work', () => sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") === '1')
		for (const path of ['/v1/events', '/v1/event_logs', '/v1/timeline', '/v1/search', '/v1/objects', '/v1/rejections', '/v1/rules', '/v1/rule-matches', '/v1/'])
			assertError(await request('GET', base + path, { as: reader }), 429, { details: /at once/ })
		for (const path of ['/v1/rpc/timeline', '/v1/rules/test']) assertError(await request('POST', base + path, { as: reader, body: {} }), 429)
		const other = await open(base, ofOther, '127.0.0.2')
		await waitFor('the other address has its answer', () => other.isClosed)
		assert.equal(statusOf(other), 200)
		assert.equal((await request('POST', `${base}/v1/events`, { as: slow.submitter, body: event() })).status, 200)
		assert.equal((await first).status, 503)
	})
})

test('one address has so many connections, and others have theirs', async (t) => {
	assert.match(nginxConf(), /limit_conn connections \d+;/)
	const { base } = await startNginx(t, (conf) => conf.replace(/limit_conn connections \d+;/, 'limit_conn connections 3;'))
	const { submitter } = newTenant()
	const held = await Promise.all(Array.from({ length: 3 }, () => open(base, slowSubmit(submitter))))
	try {
		await waitFor('the fourth is refused', async () => {
			/* If the fourth came first, one of the three was refused in its place. */
			for (const [i, one] of held.entries())
				if (one.isClosed || one.text) held[i] = await open(base, slowSubmit(submitter))
			return (await request('POST', `${base}/v1/events`, { as: submitter, body: event() })).status === 429
		})
		assert.equal((await health(base)).status, 200)
		const body = JSON.stringify(event())
		const other = await open(base, `POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${submitter}\r\n` +
			`Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`, '127.0.0.2')
		await waitFor('the other address has its answer', () => other.isClosed)
		assert.equal(statusOf(other), 200)
	} finally {
		for (const { socket } of held) socket.destroy()
	}
	await waitFor('the place of the others is free again', async () =>
		(await request('POST', `${base}/v1/events`, { as: submitter, body: event() })).status === 200)
})

test('a body that does not come ends its connection', async (t) => {
	assert.match(nginxConf(), /client_body_timeout 10s;/)
	const { base } = await startNginx(t, (conf) => conf.replace('client_body_timeout 10s;', 'client_body_timeout 300ms;'))
	const connection = await open(base, slowSubmit(newTenant().submitter))
	await waitFor('it is closed', () => connection.isClosed)
	assert.equal(connection.text, '')
})

test('nginx has connections and descriptors for many more', () => {
	const connections = Number(nginxConf().match(/worker_connections (\d+);/)[1])
	const descriptors = Number(nginxConf().match(/worker_rlimit_nofile (\d+);/)[1])
	assert.ok(connections >= 10_000 && descriptors > connections)
})

test('a 429 leaves no query in the error log', async (t) => {
	const { base, folder } = await startNginx(t, (conf) => conf.replace('rate=2000r/s', 'rate=1r/m').replace('burst=4000', 'burst=1')
		.replace(`limit_conn readers ${READERS};`, 'limit_conn readers 1;'))
	const { reader } = newTenant()
	const ask = (as) => request('GET', `${base}/v1/events?select=whispered:name&limit=1`, { as })
	const answers = await Promise.all(Array.from({ length: 20 }, () => ask(reader)))
	assert.ok(answers.filter(({ status }) => status === 429).length >= 18)
	await withSlowReads(async (slow) => {
		const first = ask(slow.reader)
		await waitFor('it is at work', () => sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") === '1')
		assertError(await ask(newTenant().reader), 429)
		await first
	})
	assert.doesNotMatch(readFileSync(join(folder, 'error.log'), 'utf8'), /whispered/)
	const lines = await waitFor('the access log is written', () => {
		const text = readFileSync(join(folder, 'access.log'), 'utf8')
		return text.split('"status":429').length > 18 && text
	})
	assert.doesNotMatch(lines, /whispered/)
})

test('PostgREST has as many connections as this thinks', async () => {
	await withSlowReads(async (slow) => {
		const reads = Array.from({ length: POOL + 2 }, () => request('GET', `${POSTGREST_URL}/event_logs`, { as: slow.reader }))
		await waitFor('all of the pool is at work', () =>
			sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") === `${POOL}`)
		for (const { status } of await Promise.all(reads)) assert.equal(status, 500)
	})
})
