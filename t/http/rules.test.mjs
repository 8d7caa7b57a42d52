/*
 * rules.test.mjs
 *		Rules over HTTP: /v1/rules, /v1/rules/test and /v1/rule-matches. Who may make,
 *		change and read them, what is refused, and what they matched.
 */
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { BASE_URL, CUSTOMER, POSTGREST_URL, assertError, event, followLinks, get, getDirectly, newTenant, nextOf, post, postDirectly,
	request, sql, token, waitFor } from './atlas.mjs'

const OTHER_CUSTOMER = sql("SELECT id FROM customers WHERE external_id = '190001'")
const SITE_ADMIN = `atlas_test_${randomUUID().slice(0, 8)}`
const rule = (fields = {}) => ({ ruleName: `Rule ${randomUUID()}`, objectType: 'CUSTOMER', ...fields })
const query = (ruleName) => `?ruleName=eq.${encodeURIComponent(ruleName)}`
const change = (ruleName, body, as) => request('PATCH', `${BASE_URL}/v1/rules${query(ruleName)}`, { as, body })
const drop = (ruleName, as) => request('DELETE', `${BASE_URL}/v1/rules${query(ruleName)}`, { as })
const read = async (ruleName, as) => (await get(`/rules${query(ruleName)}`, { as })).json
const problems = (answer) => {
	assertError(answer, 400, { code: 'PT400', message: 'Invalid Event' })
	return Object.fromEntries(answer.json.errors.map(({ field, code, message }) => [field, `${code}: ${message}`]))
}

/* Makes a rule and waits until it has begun, so that the events that follow count. */
async function begun(fields, as) {
	const made = await post('/rules', rule(fields), { as })
	assert.equal(made.status, 200, made.text)
	await waitFor('the rule has begun', async () => (await read(made.json.ruleName, as))[0].since !== null)
	return made.json
}

/* Submits events, and returns their ids. */
async function submit(tenant, ...events) {
	const { json } = await post('/events/batch', events.map((fields) => event(fields)), { as: tenant.submitter })
	assert.equal(json.rejected, 0, JSON.stringify(json))
	return json.results.map(({ eventId }) => eventId)
}

const matches = async (as, filter = '') => (await get(`/rule-matches${filter}`, { as })).json
const matched = (as, filter, count) => waitFor(`${count} matches`, async () => {
	const found = await matches(as, filter)
	return found.length === count && found
})

before(() => sql(`CREATE ROLE ${SITE_ADMIN}; GRANT atlas_admin TO ${SITE_ADMIN}; GRANT ${SITE_ADMIN} TO atlas_authenticator`))
after(() => sql(`DROP ROLE ${SITE_ADMIN}`))

test('a rule is made, answered as it is listed, and says what its condition comes to for the events there are', async () => {
	const tenant = newTenant()
	await submit(tenant, { name: 'Paid', payload: { amount: 200 } }, { name: 'Paid', payload: { amount: 'many' } },
		{ name: 'Paid', payload: { amount: 3 } }, { name: 'Other', payload: { amount: 200 } })
	const body = rule({ objectType: 'customer', eventName: 'Paid', condition: '$.payload.amount > 100', times: 3, within: '7 days', role: 'primary' })
	const { status, json: { trial, ...made } } = await post('/rules', body, { as: tenant.admin })
	assert.equal(status, 200)
	assert.deepEqual(trial, { events: 3, matched: 1, unknown: 1 })
	const { ruleId, createdAt, since, ...rest } = made
	assert.ok(Number.isInteger(ruleId) && new Date(createdAt) <= Date.now() + 1000 && since === null)
	assert.deepEqual(rest, { ruleName: body.ruleName, objectType: 'CUSTOMER', eventName: 'Paid',
		condition: '($."payload"."amount" > 100)', times: 3, within: 'P7D', role: 'PRIMARY', owner: 'atlas_admin', isEnabled: true,
		disabledReason: null, unknown: 0, errors: 0, lastError: null, lastErrorAt: null, action: null, channel: null, cooldown: null })
	const [listed, ...more] = await read(body.ruleName, tenant.admin)
	assert.deepEqual(more, [])
	assert.deepEqual({ ...listed, since: null }, made)
})

test('what is left out, or null, has its default', async () => {
	const { admin } = newTenant()
	for (const fields of [{}, { eventName: null, condition: null, times: null, within: null, role: null }]) {
		const { json } = await post('/rules', rule(fields), { as: admin })
		assert.deepEqual([json.eventName, json.condition, json.times, json.within, json.role], [null, null, 1, null, 'ANY'])
		assert.deepEqual(json.trial, { events: 0, matched: 0, unknown: 0 })
	}
})

test('within is read as PostgreSQL and as ISO 8601 write it, and answered as ISO 8601', async () => {
	const { admin } = newTenant()
	for (const [given, answered] of [['7 days', 'P7D'], ['P7D', 'P7D'], ['P1W', 'P7D'], ['10 min', 'PT10M'], ['PT10M', 'PT10M'],
		['00:00:01.5', 'PT1.5S'], ['1 day 02:30', 'P1DT2H30M']]) {
		const { status, text, json } = await post('/rules', rule({ times: 2, within: given }), { as: admin })
		assert.equal(status, 200, text)
		assert.equal(json.within, answered)
	}
})

test('a rule has 1 to 255 characters of name, by which it is read, changed and dropped', async () => {
	const { admin } = newTenant()
	for (const ruleName of ['x', 'ü'.repeat(255), 'a/b', '..', '.', '../rules', 'eq.x', 'a b+c&d=e;f?g#h%20', '"quoted"', "it's", '*', '%', '(a,b)',
		"'; DROP TABLE atlas_rules; --", '\\', 'a,b', '\u{1f4d6}', 'null']) {
		assert.equal((await post('/rules', rule({ ruleName }), { as: admin })).status, 200, ruleName)
		const [{ ruleId }] = await read(ruleName, admin)
		const off = await change(ruleName, { isEnabled: false }, admin)
		assert.equal(off.status, 200, off.text)
		assert.deepEqual([off.json.ruleName, off.json.ruleId, off.json.isEnabled], [ruleName, ruleId, false])
		const dropped = await drop(ruleName, admin)
		assert.equal(dropped.status, 200, dropped.text)
		assert.deepEqual([dropped.json.ruleName, dropped.json.isEnabled], [ruleName, false])
		assert.deepEqual(await read(ruleName, admin), [])
	}
	for (const ruleName of ['', 'x'.repeat(256)])
		assert.deepEqual(problems(await post('/rules', rule({ ruleName }), { as: admin })), { '/ruleName': 'invalid: must have 1 to 255 characters' })
	for (const ruleName of ['\t\n', 'a\nb', 'a\u202eb'])
		assert.deepEqual(Object.keys(problems(await post('/rules', rule({ ruleName }), { as: admin }))), ['/ruleName'])
})

test('a rule that is switched on again begins anew, under another number', async () => {
	const { admin } = newTenant()
	const { ruleName, ruleId } = await begun({}, admin)
	assert.equal((await change(ruleName, { isEnabled: true }, admin)).json.ruleId, ruleId)
	await change(ruleName, { isEnabled: false }, admin)
	const on = (await change(ruleName, { isEnabled: true }, admin)).json
	assert.ok(on.ruleId > ruleId)
	assert.deepEqual([on.isEnabled, on.since], [true, null])
})

test('a rule notifies a channel for each match, but for those in its cooldown', async () => {
	const tenant = newTenant()
	const { ruleName, channel, cooldown } = await begun({ eventName: 'Paid', channel: 'atlas_http_test', cooldown: '15 min' }, tenant.admin)
	assert.deepEqual([channel, cooldown], ['atlas_http_test', 'PT15M'])
	await submit(tenant, { name: 'Paid' }, { name: 'Paid' }, { name: 'Paid', objectId: OTHER_CUSTOMER })
	const filter = `?ruleName=${encodeURIComponent(ruleName)}`
	const acted = await waitFor('all have acted', async () => {
		const found = await matches(tenant.reader, filter)
		return found.length === 3 && found.every(({ actionStatus }) => actionStatus !== 'PENDING') && found
	})
	assert.deepEqual(acted.map(({ actionStatus }) => actionStatus).sort(), ['DONE', 'DONE', 'HELD_BACK'])
	assert.equal(new Set(acted.map(({ matchId }) => matchId)).size, 3)
	for (const { actedAt, matchedAt } of acted) assert.ok(actedAt >= matchedAt)
})

test('a rule that calls a function is made in SQL, and only admins see which', async () => {
	const tenant = newTenant()
	const name = rule({}).ruleName
	sql(`CREATE SCHEMA IF NOT EXISTS http_rules;
		CREATE OR REPLACE FUNCTION http_rules.act(jsonb) RETURNS void LANGUAGE sql AS '';
		SET atlas_events.tenant = '${tenant.tenant}'; SELECT atlas_create_rule('${name}', 'CUSTOMER', 'Never', action => 'http_rules.act(jsonb)')`)
	assert.equal((await read(name, tenant.admin))[0].action, 'http_rules.act')
	assert.equal((await read(name, tenant.reader))[0].action, null)
	assert.deepEqual(problems(await post('/rules', rule({ channel: 'other', cooldown: '1 month' }), { as: tenant.admin })), {
		'/channel': 'invalid: must begin with atlas_',
		'/cooldown': 'invalid: must be positive, at most 36500 days, and given in weeks, days, hours or less' })
	sql('DROP SCHEMA http_rules CASCADE')
})

test('everything that is wrong with a rule is said at once', async () => {
	const { admin } = newTenant()
	const body = { ruleName: 5, objectType: 'STARSHIP', eventName: [], condition: '$.payload.** == 1', times: '3', within: '7 days', role: 'BOTH',
		action: 'shop.call', 'a/b~c': 1, isEnabled: false }
	assert.deepEqual(problems(await post('/rules', body, { as: admin })), {
		'/ruleName': 'invalid: must be a string', '/eventName': 'invalid: must be a string', '/times': 'invalid: must be an integer',
		'/action': 'unknown_field: is not a field of a rule', '/a~1b~0c': 'unknown_field: is not a field of a rule',
		'/isEnabled': 'unknown_field: is not a field of a rule',
		'/objectType': 'unknown_type: is neither a built-in object type nor a registered one',
		'/condition': 'not_allowed: .** after $.payload is not allowed in a condition', '/role': 'invalid: must be PRIMARY, RELATED or ANY' })
	assert.deepEqual(problems(await post('/rules', {}, { as: admin })), { '/ruleName': 'required: is required', '/objectType': 'required: is required' })
	assert.deepEqual((await get('/rules', { as: admin })).json, [])
})

test('each wrong value is named', async () => {
	const { admin } = newTenant()
	for (const [fields, expected] of [
		[{ times: 2 }, { '/within': /^required/ }],
		[{ within: 'P7D' }, { '/within': /^invalid: counts only/ }],
		[{ times: 2, within: 'soon' }, { '/within': /^invalid: must be a length of time/ }],
		[{ times: 2, within: 7 }, { '/within': /^invalid: must be a string/ }],
		[{ times: 2, within: '1 month' }, { '/within': /^invalid: must be given in weeks/ }],
		[{ times: 2, within: '-1 day' }, { '/within': /^invalid: must be positive/ }],
		[{ times: 2, within: '999999999999 days' }, { '/within': /^invalid/ }],
		[{ times: 2.5, within: 'P7D' }, { '/times': /^invalid: must be an integer/ }],
		[{ times: 0 }, { '/times': /^invalid: must be from 1 to 1000/ }],
		[{ times: -5 }, { '/times': /^invalid: must be from 1 to 1000/ }],
		[{ times: 5_000_000_000, within: 'P7D' }, { '/times': /^invalid: must be from 1 to 1000/ }],
		[{ times: true }, { '/times': /^invalid: must be an integer/ }],
		[{ role: 1 }, { '/role': /^invalid: must be a string/ }],
		[{ condition: {} }, { '/condition': /^invalid: must be a string/ }],
		[{ condition: '$.payload.amount >' }, { '/condition': /^malformed_condition: .*at end of jsonpath input/ }],
		[{ condition: '$.payload.amount = 3' }, { '/condition': /^malformed_condition: .*at or near "=/ }],
		[{ condition: '' }, { '/condition': /^malformed_condition: / }],
		[{ condition: '$.a like_regex "("' }, { '/condition': /^malformed_condition: invalid regular expression/ }],
		[{ condition: '$.name like_regex "^(a+)+$"' }, { '/condition': /^not_allowed: like_regex after \$\.name/ }],
		[{ condition: '$.a == $b' }, { '/condition': /^not_allowed: the variable \$b/ }],
		[{ condition: '$.a.datetime() == 1' }, { '/condition': /^not_allowed/ }],
		[{ condition: 'x'.repeat(60_000) }, { '/condition': /^malformed_condition|^not_allowed/ }],
		[{ eventName: '' }, { '/eventName': /^invalid: must have 1 to 255 characters/ }],
		[{ ruleName: 'a\0b' }, { '/ruleName': /^invalid: must not have the character U\+0000/ }],
	]) {
		const found = problems(await post('/rules', rule(fields), { as: admin }))
		assert.deepEqual(Object.keys(found), Object.keys(expected), JSON.stringify(fields))
		for (const [field, pattern] of Object.entries(expected)) assert.match(found[field], pattern)
	}
	assert.deepEqual((await get('/rules', { as: admin })).json, [])
})

test('a body that is no JSON object is refused with the place', async () => {
	const { admin } = newTenant()
	for (const [body, pattern] of [['{"ruleName": "x",\n "times": }', /line 2, column \d+/], ['', /line 1/], ['[]', /must be a JSON object/],
		['"x"', /must be a JSON object/], ['{"ruleName": "x", "ruleName": "y", "objectType": "CUSTOMER"}', /duplicate/],
		[Buffer.from('{"ruleName": "\xff"}', 'latin1'), /not UTF-8/], ['{"times": 1e999}', /line 1/],
		['['.repeat(30_000), /line 1/], [`{"times": ${'[ '.repeat(1000)}${']'.repeat(1000)}}`, /must be an integer|is required/]])
		for (const path of ['/rules', '/rules/test'])
			assertError(await post(path, body, { as: admin }), 400, { code: 'PT400', details: pattern })
	for (const body of ['', '{', '[]', '5'])
		assertError(await request('PATCH', `${BASE_URL}/v1/rules?ruleName=eq.x`, { as: admin, body }), 400, { code: 'PT400' })
})

test('a condition of many parts, or deeply nested, is refused or taken, and nothing breaks', async () => {
	const { tenant, submitter, admin } = newTenant()
	await submit({ submitter }, {}, {})
	for (const condition of ['('.repeat(20_000) + '1 == 1' + ')'.repeat(20_000), '!'.repeat(30_000), '$' + '.a'.repeat(30_000),
		'$.a[' + '0,'.repeat(20_000) + '0]', '1 + '.repeat(15_000) + '1 > 0', '-'.repeat(50_000) + '1 == 1', '$ ? '.repeat(3000) + '(1 == 1)',
		'$' + '?(@.a'.repeat(8000) + ')'.repeat(8000)]) {
		const answer = await post('/rules', rule({ condition }), { as: admin })
		if (answer.status !== 200) assertError(answer, 400, { code: 'PT400' })
	}
	assert.equal(sql(`SELECT count(*) FROM atlas_events WHERE tenant_id = '${tenant}'`), '2')
})

test('a condition that costs too much on the events that are there is refused', async () => {
	const tenant = newTenant()
	await submit(tenant, { name: 'Large', payload: { a: Array(40_000).fill(1), b: Array(40_000).fill(2) } })
	const dear = { objectType: 'CUSTOMER', condition: '$.payload.a[*] == $.payload.b[*]' }
	for (const answer of [await post('/rules', { ruleName: 'x', ...dear }, { as: tenant.admin }), await post('/rules/test', dear, { as: tenant.reader })])
		assert.match(problems(answer)['/condition'], /^too_expensive: /)
	assert.deepEqual((await get('/rules', { as: tenant.admin })).json, [])
})

test('a request of more than 64 kB is 413, through nginx and directly', async () => {
	const { admin } = newTenant()
	const body = rule({ condition: `$.a == "${'x'.repeat(1_000_000)}"` })
	for (const path of ['/rules', '/rules/test']) assertError(await post(path, body, { as: admin }), 413)
	for (const path of ['/rpc/create_rule', '/rpc/test_rule'])
		assert.equal((await postDirectly(path, body, { as: admin })).status, 413, path)
	const ofCondition = (length) => rule({ condition: `$.a == "${'x'.repeat(length)}"` })
	assert.match(problems(await post('/rules', ofCondition(65_000), { as: admin }))['/condition'], /^too_long: takes \d+ bytes, at most 32768 are allowed$/)
	assert.equal((await post('/rules', ofCondition(32_000), { as: admin })).status, 200)
})

test('a name that is taken is 409', async () => {
	const { admin } = newTenant()
	const body = rule()
	assert.equal((await post('/rules', body, { as: admin })).status, 200)
	assertError(await post('/rules', { ...body, times: 2, within: 'P1D' }, { as: admin }), 409,
		{ code: 'PT409', message: 'Conflict', details: `There is a rule "${body.ruleName}" already.` })
	assert.equal((await read(body.ruleName, admin))[0].times, 1)
})

test('a rule that is not there is 404, and a query that names none is 400', async () => {
	const { admin } = newTenant()
	const kept = (await post('/rules', rule(), { as: admin })).json
	for (const answer of [await change('nothing', { isEnabled: true }, admin), await drop('nothing', admin)])
		assertError(answer, 404, { code: 'PT404', message: 'Object Not Found', details: 'There is no rule "nothing".' })
	for (const filter of ['', '?', '?ruleName=', '?ruleName=eq.', '?ruleName=x', '?ruleName=neq.x', '?ruleName=like.*', '?ruleName=in.(x)', '?ruleId=eq.1',
		'?ruleName=eq.x&ruleName=eq.y', '?rulename=eq.x', '?ruleName=eq.x&limit=1', '?or=(ruleName.eq.x)', '?rule%4eame=eq.x', '?ruleName=eq.%00',
		'?ruleName=eq.%ff', `?ruleName=neq.${kept.ruleName}`])
		for (const [method, body] of [['PATCH', { isEnabled: false }], ['DELETE']])
			assertError(await request(method, `${BASE_URL}/v1/rules${filter}`, { as: admin, body }), 400)
	assert.equal((await read(kept.ruleName, admin))[0].isEnabled, true)
})

test('of a rule only isEnabled can be changed, and everything that is wrong is said', async () => {
	const { admin } = newTenant()
	const { ruleName } = (await post('/rules', rule(), { as: admin })).json
	for (const [body, expected] of [
		[{}, { '/isEnabled': 'required: is required' }],
		[{ isEnabled: 'false' }, { '/isEnabled': 'invalid: must be true or false' }],
		[{ isEnabled: null }, { '/isEnabled': 'invalid: must be true or false' }],
		['{"isEnabled": false, "isEnabled": true}', { '/isEnabled': 'duplicate_key: is given more than once' }],
		[{ isEnabled: 0, times: 5 }, { '/times': 'unknown_field: cannot be changed: only isEnabled can', '/isEnabled': 'invalid: must be true or false' }],
	])
		assert.deepEqual(problems(await change(ruleName, body, admin)), expected)
	assert.equal((await read(ruleName, admin))[0].isEnabled, true)
})

test('readers read and try rules, admins make and change them, submitters do neither', async () => {
	const { submitter, reader, admin } = newTenant()
	const body = rule()
	for (const as of [submitter, reader]) {
		assertError(await post('/rules', body, { as }), 403, { code: '42501' })
		assertError(await change('x', { isEnabled: true }, as), 403, { code: '42501' })
		assertError(await drop('x', as), 403, { code: '42501' })
		for (const [path, args] of [['create_rule', body], ['change_rule', { ruleName: 'x', isEnabled: true }], ['drop_rule', { ruleName: 'x' }]])
			assert.equal((await postDirectly(`/rpc/${path}`, args, { as })).status, 403, path)
	}
	assert.equal((await post('/rules', body, { as: admin })).status, 200)
	for (const as of [reader, admin]) {
		assert.equal((await read(body.ruleName, as)).length, 1)
		assert.equal((await post('/rules/test', { objectType: 'CUSTOMER' }, { as })).status, 200)
		assert.deepEqual(await matches(as), [])
	}
	for (const answer of [await get('/rules', { as: submitter }), await get('/rule-matches', { as: submitter }),
		await post('/rules/test', { objectType: 'CUSTOMER' }, { as: submitter })])
		assertError(answer, 403, { code: '42501' })
	for (const path of ['/rules', '/rules/test', '/rule-matches'])
		assertError(await request('POST', `${BASE_URL}/v1${path}`, { as: null, body: {} }), 401)
})

test('only admins see the owner of a rule', async () => {
	const { reader, admin } = newTenant()
	const { ruleName } = (await post('/rules', rule(), { as: admin })).json
	assert.equal((await read(ruleName, admin))[0].owner, 'atlas_admin')
	assert.equal((await read(ruleName, reader))[0].owner, null)
	assert.deepEqual((await get('/rules?owner=eq.atlas_admin', { as: reader })).json, [])
})

test('every admin can change what another has made, also one with a role of the site', async () => {
	const { tenant, as, admin } = newTenant()
	const siteAdmin = token({ role: SITE_ADMIN, tenant })
	const [first, second] = [rule(), rule()]
	assert.equal((await post('/rules', first, { as: siteAdmin })).json.owner, 'atlas_admin')
	assert.equal((await post('/rules', second, { as: as('admin', { sub: 'somebody' }) })).status, 200)
	assert.equal((await change(first.ruleName, { isEnabled: false }, admin)).status, 200)
	assert.equal((await drop(second.ruleName, siteAdmin)).status, 200)
})

test('a rule that somebody made in SQL is seen, and may not be changed: 403', async () => {
	const { tenant, admin } = newTenant()
	sql(`SET atlas_events.tenant = '${tenant}'; SELECT atlas_create_rule('of SQL', 'CUSTOMER')`)
	for (const answer of [await change('of SQL', { isEnabled: false }, admin), await drop('of SQL', admin)])
		assertError(answer, 403, { code: '42501', message: 'Forbidden', details: /belongs to another role of the database/ })
	const [seen] = await read('of SQL', admin)
	assert.deepEqual([seen.owner, seen.isEnabled], [sql('SELECT current_user'), true])
})

test('a tenant sees, tries and changes nothing of another', async () => {
	const [alice, bob] = [newTenant(), newTenant()]
	const { ruleName, ruleId } = await begun({ eventName: 'Secret' }, alice.admin)
	const [eventId] = await submit(alice, { name: 'Secret' })
	await matched(alice.reader, '', 1)
	for (const other of [bob, { reader: token({ role: 'atlas_reader' }), admin: token() }]) {
		assert.deepEqual(await read(ruleName, other.reader), [])
		for (const filter of ['', `?ruleName=${encodeURIComponent(ruleName)}`, `?ruleId=${ruleId}`, `?eventId=${eventId}`, `?objectType=CUSTOMER&objectId=${CUSTOMER}`])
			assert.deepEqual((await matches(other.reader, filter)).filter((m) => m.ruleId === ruleId || m.eventId === eventId), [])
		assertError(await change(ruleName, { isEnabled: false }, other.admin), 404)
		assertError(await drop(ruleName, other.admin), 404)
		assert.deepEqual((await post('/rules/test', { objectType: 'CUSTOMER', eventName: 'Secret' }, { as: other.reader })).json.matches, [])
		const made = await post('/rules', rule({ ruleName, eventName: 'Secret' }), { as: other.admin })
		assert.deepEqual(made.json.trial, { events: 0, matched: 0, unknown: 0 })
		assert.equal((await drop(ruleName, other.admin)).status, 200)
	}
	assert.equal((await read(ruleName, alice.reader))[0].ruleId, ruleId)
	assert.equal((await matches(alice.reader)).length, 1)
})

test('rules are filtered, ordered, limited and counted as other lists are', async () => {
	const { reader, admin } = newTenant()
	for (const [ruleName, times] of [['b', 2], ['a', 3], ['c', 1]])
		await post('/rules', rule({ ruleName, times, ...(times > 1 && { within: 'P1D' }) }), { as: admin })
	const names = async (filter) => (await get(`/rules${filter}`, { as: reader })).json.map(({ ruleName }) => ruleName)
	assert.deepEqual(await names(''), ['a', 'b', 'c'])
	assert.deepEqual(await names('?times=gt.1&order=times.asc'), ['b', 'a'])
	assert.deepEqual(await names('?order=ruleName&ruleName=gt.a&limit=1'), ['b'])
	assert.deepEqual(await names('?within=eq.P1D&isEnabled=is.true'), ['a', 'b'])
	assert.deepEqual((await get('/rules?select=ruleName,times&limit=1', { as: reader })).json, [{ ruleName: 'a', times: 3 }])
	const counted = await get('/rules?limit=1', { as: reader, headers: { Prefer: 'count=exact' } })
	assert.equal(counted.headers.get('content-range'), '0-0/3')
	assertError(await get('/rules?condition=match.x', { as: reader }), 400)
	assertError(await get('/rules?tenant_id=eq.x', { as: reader }), 400, { details: /Unknown query parameters: tenant_id/ })
})

test('a rule is tried on the events of the past, and nothing is stored', async () => {
	const tenant = newTenant()
	const at = (hours) => new Date(Date.UTC(2026, 0, 1, hours)).toISOString()
	const ids = await submit(tenant, ...[0, 1, 2, 3, 30].map((hour) => ({ name: 'Failed', occurredAt: at(hour), payload: { n: hour } })),
		{ name: 'Failed', objectId: OTHER_CUSTOMER, occurredAt: at(2), payload: { n: 'two' } }, { name: 'Other', occurredAt: at(2) })
	const body = { objectType: 'CUSTOMER', eventName: 'Failed', condition: '$.payload.n >= 0', times: 3, within: 'PT3H' }
	const { json } = await post('/rules/test', body, { as: tenant.reader })
	const { matches: found, ...rest } = json
	assert.deepEqual(rest, { events: 6, unknown: 1, matchCount: 2, searchedSince: null })
	assert.deepEqual(found.map(({ occurredAt, ...m }) => [new Date(occurredAt).toISOString(), m]), [
		[at(3), { eventId: ids[3], name: 'Failed', objectId: CUSTOMER }], [at(2), { eventId: ids[2], name: 'Failed', objectId: CUSTOMER }]])
	const few = (await post('/rules/test', { ...body, times: 1, within: null, maxEvents: 2 }, { as: tenant.reader })).json
	assert.equal(few.matchCount, 2)
	assert.equal(new Date(few.searchedSince).toISOString(), at(3))
	const period = (await post('/rules/test', { ...body, times: 1, within: null, since: at(1), until: at(3) }, { as: tenant.reader })).json
	assert.deepEqual(period.matches.map(({ eventId }) => eventId), [ids[2], ids[1]])
	assert.deepEqual((await get('/rules', { as: tenant.reader })).json, [])
	assert.deepEqual(await matches(tenant.reader), [])
})

test('what is wrong with a trial is said at once', async () => {
	const { reader } = newTenant()
	assert.deepEqual(problems(await post('/rules/test', { ruleName: 'x', objectType: 'STARSHIP', since: 'soon', until: 5, maxEvents: 0, condition: '$.' }, { as: reader })), {
		'/ruleName': 'unknown_field: is not a field of a rule', '/since': 'invalid: must be a time of RFC 3339 from 1970 on, such as 2026-11-20T09:30:00Z',
		'/until': 'invalid: must be a time of RFC 3339 from 1970 on, such as 2026-11-20T09:30:00Z', '/maxEvents': 'invalid: must be from 1 to 100000',
		'/condition': problems(await post('/rules/test', { objectType: 'CUSTOMER', condition: '$.' }, { as: reader }))['/condition'],
		'/objectType': 'unknown_type: is neither a built-in object type nor a registered one' })
})

test('an answer has the newest 1,000 of the matches, and says how many there are', async () => {
	const tenant = newTenant()
	const ids = await submit(tenant, ...Array.from({ length: 1005 }, () => ({ name: 'Often' })))
	const { json } = await post('/rules/test', { objectType: 'CUSTOMER', eventName: 'Often' }, { as: tenant.reader })
	assert.equal(json.matchCount, 1005)
	assert.deepEqual(json.matches.map(({ eventId }) => eventId), ids.sort().reverse().slice(0, 1000))
})

test('what a rule has matched is read, newest first, and found by rule, object, event and period', async () => {
	const tenant = newTenant()
	const at = (day) => new Date(Date.now() - day * 86_400_000 + 3_600_000).toISOString()
	const twice = await begun({ eventName: 'Failed', times: 2, within: 'P7D' }, tenant.admin)
	const every = await begun({ eventName: 'Failed', role: 'RELATED', objectType: 'TICKET' }, tenant.admin)
	const ids = await submit(tenant, { name: 'Failed' }, { name: 'Failed', relatedObjects: [{ objectType: 'TICKET', objectId: '19734' }] },
		{ name: 'Failed', objectId: OTHER_CUSTOMER, relatedObjects: [{ objectType: 'TICKET', objectId: '19734' }] })
	const all = await matched(tenant.reader, '', 3)
	assert.deepEqual(all.map(({ matchedAt, matchId, ...m }) => m), [
		{ eventId: ids[2], ruleId: every.ruleId, ruleName: every.ruleName, objectType: 'CONVERSATION', objectId: '19734', actionStatus: null, actedAt: null },
		{ eventId: ids[1], ruleId: every.ruleId, ruleName: every.ruleName, objectType: 'CONVERSATION', objectId: '19734', actionStatus: null, actedAt: null },
		{ eventId: ids[1], ruleId: twice.ruleId, ruleName: twice.ruleName, objectType: 'CUSTOMER', objectId: CUSTOMER, actionStatus: null, actedAt: null }])
	for (const { matchedAt } of all) assert.ok(new Date(matchedAt) <= Date.now() + 1000)
	for (const [filter, expected] of [
		[`?ruleName=${encodeURIComponent(twice.ruleName)}`, [2]], [`?ruleId=${every.ruleId}`, [0, 1]], [`?eventId=${ids[1]}`, [1, 2]],
		['?objectType=TICKET&objectId=19734', [0, 1]], ['?objectType=conversation&objectId=19734&ruleId=0', []], [`?objectType=CUSTOMER&objectId=${CUSTOMER}`, [2]],
		[`?ruleName=${encodeURIComponent(every.ruleName)}&eventId=${ids[1]}`, [1]], ['?ruleName=eq.x', []], ["?ruleName=x'%20OR%20'1'='1", []],
		[`?since=${at(0.5)}`, [0, 1, 2]], [`?until=${at(1)}`, []], [`?since=${at(1)}&until=2100-01-01T00:00:00Z`, [0, 1, 2]]])
		assert.deepEqual(await matches(tenant.reader, filter), expected.map((i) => all[i]), filter)
	await drop(every.ruleName, tenant.admin)
	assert.deepEqual(await matches(tenant.reader), all)
})

test('pages of matches follow each other without a gap, also within one event', async () => {
	const tenant = newTenant()
	const made = []
	for (let i = 0; i < 3; i++) made.push(await begun({ eventName: 'Often', objectType: i ? 'CUSTOMER' : 'TICKET' }, tenant.admin))
	await submit(tenant, ...Array.from({ length: 4 }, () => ({ name: 'Often',
		relatedObjects: [{ objectType: 'TICKET', objectId: '19734' }, { objectType: 'CUSTOMER', objectId: OTHER_CUSTOMER }] })))
	const all = await matched(tenant.reader, '', 20)
	for (const limit of [1, 3, 7, 20]) {
		const answers = await followLinks(`${BASE_URL}/v1/rule-matches?limit=${limit}`, tenant.reader, 21)
		assert.deepEqual(answers.flatMap(({ json }) => json), all, `${limit} on a page`)
		assert.equal(answers.length, Math.ceil(20 / limit))
	}
	const { ruleName } = made[1]
	const filtered = await followLinks(`${BASE_URL}/v1/rule-matches?limit=3&ruleName=${encodeURIComponent(ruleName)}&since=2026-01-01T00:00:00Z`, tenant.reader, 4)
	assert.deepEqual(filtered.flatMap(({ json }) => json), all.filter((m) => m.ruleName === ruleName))
	assert.equal(nextOf(await get('/rule-matches?limit=20', { as: tenant.reader })), null)
	const direct = await getDirectly(`/rpc/rule_matches?pageSize=20&ruleName=${encodeURIComponent(ruleName)}`, { as: tenant.reader })
	assert.deepEqual(direct.json ?? JSON.parse(direct.text), all.filter((m) => m.ruleName === ruleName))
})

test('what is wrong with a request for matches is said', async () => {
	const { reader } = newTenant()
	assert.deepEqual(problems(await get('/rule-matches?objectType=STARSHIP&before=x&limit=0&since=soon', { as: reader })), {
		'/objectId': 'required: objectId is required with objectType', '/objectType': 'unknown_type: is neither a built-in object type nor a registered one',
		'/before': 'invalid: must be what the header Link of a page has', '/limit': 'invalid: must be from 1 to 1000',
		'/since': 'invalid: must be a time of RFC 3339 from 1970 on, such as 2026-11-20T09:30:00Z' })
	assert.deepEqual(problems(await get('/rule-matches?objectId=1', { as: reader })), { '/objectType': 'required: objectType is required with objectId' })
	for (const filter of ['?eventId=x', '?ruleId=x', '?limit=x', '?ruleName=a&ruleName=b', '?matchedAt=gt.2026-01-01', '?ruleName=a;ruleId=1'])
		assertError(await get(`/rule-matches${filter}`, { as: reader }), 400)
})

test('the paths take their methods and no others', async () => {
	for (const [path, methods, wrong] of [['/rules', 'DELETE, GET, HEAD, PATCH, POST', ['PUT']], ['/rules/test', 'POST', ['GET', 'PUT', 'DELETE', 'PATCH']],
		['/rule-matches', 'GET, HEAD', ['POST', 'PATCH', 'DELETE']]])
		for (const method of wrong) {
			const answer = await request(method, `${BASE_URL}/v1${path}`, { body: method === 'GET' ? undefined : {} })
			assertError(answer, 405)
			assert.equal(answer.headers.get('allow'), methods)
		}
	assertError(await get('/rules/nothing'), 404)
	for (const path of ['/rules', '/rule-matches']) {
		const { status, text } = await request('HEAD', `${BASE_URL}/v1${path}`)
		assert.deepEqual([status, text], [200, ''])
	}
	const compressed = await post('/rules', rule(), { headers: { 'Content-Encoding': 'gzip' } })
	assertError(compressed, 415)
	const { admin } = newTenant()
	const headers = { Prefer: 'tx=rollback, return=minimal', Range: '5-6', Accept: 'text/csv', 'Content-Type': 'text/html' }
	assert.equal((await post('/rules', rule({ ruleName: 'plain' }), { as: admin, headers })).json.ruleName, 'plain')
	assert.equal((await read('plain', admin)).length, 1)
})

test('a client of PostgREST makes, changes, tries and drops rules too', async () => {
	const { admin } = newTenant()
	const body = rule()
	const call = (name, args) => postDirectly(`/rpc/${name}`, args, { as: admin })
	assert.equal((await call('create_rule', body)).json.ruleName, body.ruleName)
	assert.equal((await call('change_rule', { ruleName: body.ruleName, isEnabled: false })).json.isEnabled, false)
	assert.equal((await call('change_rule', { ruleName: body.ruleName, isEnabled: null })).status, 400)
	assert.equal((await call('change_rule', { ruleName: 'x', isEnabled: true })).status, 404)
	assert.deepEqual((await call('test_rule', { objectType: 'CUSTOMER' })).json.matches, [])
	assert.equal((await getDirectly('/rules', { as: admin })).json.length, 1)
	assert.equal((await call('drop_rule', { ruleName: body.ruleName })).json.ruleName, body.ruleName)
	assert.equal((await call('drop_rule', { ruleName: body.ruleName })).status, 404)
	for (const [method, path] of [['POST', '/rules'], ['PATCH', '/rules?ruleName=eq.x'], ['DELETE', '/rules?ruleName=eq.x']])
		assert.ok((await request(method, POSTGREST_URL + path, { as: admin, body: method === 'DELETE' ? undefined : { isEnabled: false } })).status >= 400, method)
})
