/*
 * search.mjs
 *		The Events API with postgrest-js: searches events, and finds the customers
 *		that have such events, page by page along the header Link.
 *
 * node search.mjs QUERY, for example node search.mjs 'checkout -refund'. BASE_URL and
 * TOKEN are in the environment.
 */
import postgrest from '@supabase/postgrest-js'

const { BASE_URL, TOKEN } = process.env
const query = process.argv[2] ?? ''

/* The client does not show headers, so its fetch keeps the link of the last answer. */
let next
const api = new postgrest.PostgrestClient(`${BASE_URL}/v1`, {
	headers: { Authorization: `Bearer ${TOKEN}` },
	fetch: async (...request) => {
		const answer = await fetch(...request)
		next = answer.headers.get('link')?.match(/^<(\S+)>; rel="next"$/)?.[1]
		return answer
	},
})

/*
 * All rows that a function finds. A page may be short, or empty, and still have a link: the search
 * is over when there is none.
 */
async function* allRows(name, parameters) {
	while (parameters) {
		const { data, error } = await api.rpc(name, parameters)
		if (error) throw new Error(`${error.code} ${error.message}: ${error.details}`)
		yield* data
		parameters = next && parametersOf(next)
	}
}

/* Through nginx the size of a page is called limit, and pageSize in the function. */
function parametersOf(link) {
	const { limit, ...rest } = Object.fromEntries(new URL(link, BASE_URL).searchParams)
	return { ...rest, pageSize: limit }
}

for await (const { label, headline, name } of allRows('search', { q: query, pageSize: 2 }))
	console.log('event', label, headline ?? name)
for await (const { label, events } of allRows('objects', { objectType: 'CUSTOMER', q: query, pageSize: 2 }))
	console.log('customer', label, events)
