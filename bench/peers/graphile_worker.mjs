/*
 * graphile_worker.mjs
 *		A process of graphile-worker: each job links its event to an account.
 *		Started by latency.mjs with the address of the database; says "ready".
 */
import { run } from 'graphile-worker'

const runner = await run({
	connectionString: process.argv[2], concurrency: 10, noHandleSignals: true,
	taskList: {
		link: async ({ id }, { query }) => {
			await query('INSERT INTO linked (id, account) SELECT $1, a.id FROM accounts a WHERE a.external_id = $2', [id, 'A-7'])
		},
	},
})
process.on('SIGTERM', () => runner.stop().then(() => process.exit(0)))
process.stdout.write('ready\n')
await runner.promise
