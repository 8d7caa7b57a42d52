/*
 * faults.test.mjs
 *		PostgREST, PostgreSQL and nginx are killed and restarted while clients
 *		submit events. What was answered with 200 is stored, what has an
 *		idempotency key is stored once, and all goes on by itself.
 *
 * The clients are eight loops. Every other event has a key and is sent again
 * until it is answered, as the documentation advises; the others are sent
 * once, and without an answer nobody knows what became of them.
 */
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { randomUUID } from 'node:crypto'
import { BASE_URL, SERVER, event, post, postDirectly, sql, waitFor } from './atlas.mjs'

const { PG_CTL } = process.env
const CLIENTS = 8
const DATA = `${SERVER}/data`

/* The servers belong to the account that the data folder belongs to. */
const { uid, gid } = statSync(DATA)
const account = process.getuid() === uid ? {} : { uid, gid }
const environment = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

const pgCtl = (...args) =>
	promisify(execFile)(PG_CTL, ['-D', DATA, '-l', `${DATA}.log`, '-s', '-w', ...args], { ...account, cwd: '/', env: environment })

function startInBackground(command, ...args) {
	spawn(command, args, { ...account, cwd: SERVER, env: environment, detached: true, stdio: 'ignore' }).unref()
}

const pidIn = (file) => Number(readFileSync(file, 'utf8'))
/* The first thread may be a zombie while the others have the port still. */
function isRunning(pid) {
	try {
		return readdirSync(`/proc/${pid}/task`).length > 1 || !/^\S+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
	} catch {
		return false
	}
}
const childrenOf = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)

async function stop(pids, signal) {
	for (const pid of pids) process.kill(pid, signal)
	await waitFor('the processes end', () => !pids.some((pid) => isRunning(pid)))
}

const postgrest = {
	pid: () => pidIn(`${SERVER}/postgrest.pid`),
	start: () => startInBackground(`${SERVER}/run-postgrest`),
	async restart(signal) {
		await stop([this.pid()], signal)
		this.start()
	},
}

const nginx = {
	pid: () => pidIn(`${SERVER}/nginx/nginx.pid`),
	start: () => startInBackground('nginx', '-e', 'stderr', '-c', `${SERVER}/nginx/nginx.conf`, '-p', `${SERVER}/nginx/`),
	async restart(signal) {
		const master = this.pid()
		/* Workers outlive a master that was killed, and keep its port. */
		await stop(signal === 'SIGKILL' ? [master, ...childrenOf(master)] : [master], signal)
		this.start()
	},
}

/* One try: the receipt, or undefined if nobody knows. No fault of a server makes a valid event a bad one (4xx). */
async function submit(sent, { answers, refused }) {
	try {
		const { status, json, text } = await post('/events', sent)
		answers[status] = (answers[status] ?? 0) + 1
		if (status === 200) return json
		if (status < 500) refused.push(`${status} ${text}`)
	} catch {
		answers.none = (answers.none ?? 0) + 1
	}
	/* A client that finds nobody waits a little before it asks again. */
	await pause(20)
}

async function client(load) {
	while (!load.isOver) {
		const hasKey = load.sent.length % 2 === 0
		const sent = event({ name: `${load.name} ${randomUUID()}`, ...(hasKey && { idempotencyKey: randomUUID() }),
			...(load.sent.length % 3 === 0 && { relatedObjects: [{ objectType: 'ACCOUNT', externalId: 'ACC-000001' }] }) })
		load.sent.push(sent)
		let receipt = await submit(sent, load)
		while (hasKey && !receipt && Date.now() < load.deadline) receipt = await submit(sent, load)
		if (receipt) load.receipts.push({ ...receipt, name: sent.name })
	}
}

/* Runs a function while the clients submit, and counts both sides afterwards. */
async function underLoad(run) {
	const load = { name: `Fault ${randomUUID()}`, sent: [], receipts: [], answers: {}, refused: [], isOver: false, deadline: Date.now() + 60_000 }
	const clients = Promise.all(Array.from({ length: CLIENTS }, () => client(load)))
	const submitted = async (n) => {
		const goal = load.receipts.length + n
		await waitFor(`${n} more receipts`, () => load.receipts.length >= goal)
	}
	try {
		await submitted(50)
		await run(submitted)
		await submitted(50)
	} finally {
		load.isOver = true
		await clients
	}
	assertReceipts(load)
	assert.deepEqual(load.refused, [])
	await waitFor('all events are linked', () => sql(`SELECT count(*) FROM atlas_event_queue q
		JOIN atlas_events e USING (event_id) WHERE e.name LIKE '${load.name} %'`) === '0')
	return load
}

function assertReceipts({ name, sent, receipts }) {
	const rows = JSON.parse(sql(`SELECT json_object_agg(name, ids) FROM (
		SELECT name, json_agg(event_id) AS ids FROM atlas_events WHERE name LIKE '${name} %' GROUP BY name) e`))
	assert.equal(new Set(receipts.map(({ eventId }) => eventId)).size, receipts.length)
	for (const receipt of receipts) assert.deepEqual(rows[receipt.name], [receipt.eventId], 'a receipt, and its row')
	for (const [of, ids] of Object.entries(rows)) assert.equal(ids.length, 1, `${of} is stored twice`)
	const answered = new Set(receipts.map((receipt) => receipt.name))
	for (const { name, idempotencyKey } of sent)
		assert.ok(!idempotencyKey || answered.has(name), 'an event with a key was never answered with 200')
	const names = new Set(sent.map((sent) => sent.name))
	assert.ok(Object.keys(rows).every((name) => names.has(name)))
}

/* Does something, and waits until the API answers as if nothing had been. */
async function recoversFrom(what, fault) {
	await fault()
	await waitFor(`answers after ${what}`, async () => {
		const answers = await Promise.all([post('/events', event()), postDirectly('/rpc/submit_event', event()), fetch(`${BASE_URL}/health`)]
			.map((answer) => answer.then(({ status }) => status, () => 0)))
		return answers.every((status) => status === 200)
	})
}

before(() => assert.ok(PG_CTL, 'run by script/test, which says where pg_ctl is'))

/* Whatever has failed, the tests that come after this need their servers. */
after(async () => {
	if (!isRunning(postgrest.pid())) postgrest.start()
	if (!existsSync(`${SERVER}/nginx/nginx.pid`) || !isRunning(nginx.pid())) nginx.start()
	await pgCtl('status').catch(() => pgCtl('start'))
	await waitFor('the API answers', () => fetch(`${BASE_URL}/health`).then(({ status }) => status === 200, () => false))
})

test('PostgREST killed under load: every 200 has its row, a key is stored once', async () => {
	const { answers } = await underLoad(async (submitted) => {
		for (let i = 0; i < 4; i++) {
			await recoversFrom('kill -9 of PostgREST', () => postgrest.restart('SIGKILL'))
			await submitted(50)
		}
	})
	assert.ok(answers[503] > 0, 'nobody met the fault')
})

for (const mode of ['fast', 'immediate'])
	test(`PostgreSQL restarted under load, -m ${mode}: every 200 has its row, a key is stored once`, async () => {
		const { answers } = await underLoad(async (submitted) => {
			for (let i = 0; i < 3; i++) {
				await recoversFrom(`pg_ctl restart -m ${mode}`, () => pgCtl('-m', mode, 'restart'))
				await submitted(50)
			}
		})
		assert.ok(answers[503] > 0, 'nobody met the fault')
	})

test('nginx killed under load: every 200 has its row, a key is stored once', async () => {
	const { answers } = await underLoad(async (submitted) => {
		for (let i = 0; i < 3; i++) {
			await recoversFrom('kill -9 of nginx', () => nginx.restart('SIGKILL'))
			await submitted(50)
		}
	})
	assert.ok(answers.none > 0, 'nobody met the fault')
})

test('a backend killed under load is a restart of PostgreSQL that nothing answered is lost by', () =>
	underLoad(async (submitted) => {
		await recoversFrom('kill -9 of a backend', async () => {
			const pid = sql("SELECT pid FROM pg_stat_activity WHERE usename = 'atlas_authenticator' LIMIT 1")
			await stop([Number(pid)], 'SIGKILL')
		})
		await submitted(50)
	}))

test('backends terminated under load: every 200 has its row, a key is stored once', () =>
	underLoad(async (submitted) => {
		for (let i = 0; i < 3; i++) {
			await recoversFrom('pg_terminate_backend', async () =>
				sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'atlas_authenticator'"))
			await submitted(50)
		}
	}))

test('all three stopped gracefully under load: every 200 has its row, a key is stored once', () =>
	underLoad(async (submitted) => {
		await recoversFrom('nginx -s quit', () => nginx.restart('SIGQUIT'))
		await submitted(50)
		await recoversFrom('SIGTERM to PostgREST', () => postgrest.restart('SIGTERM'))
		await submitted(50)
		await recoversFrom('SIGINT to PostgREST', () => postgrest.restart('SIGINT'))
	}))
