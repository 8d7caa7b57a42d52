/*
 * measure.mjs
 *		How things are compared: ours and a peer by turns, a ratio each round,
 *		and the median of the rounds.
 */
export function quantile(numbers, q) {
	const sorted = [...numbers].sort((a, b) => a - b)
	const at = (sorted.length - 1) * q
	const below = Math.floor(at)
	return sorted[below] + (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]) * (at - below)
}

export const median = (numbers) => quantile(numbers, 0.5)

export const milliseconds = async (task) => {
	const start = process.hrtime.bigint()
	await task()
	return Number(process.hrtime.bigint() - start) / 1e6
}

/*
 * Measures ours and the peers by turns, A B C A D E A, so that whatever else the
 * machine does meets both sides: a peer is compared with the mean of ours before
 * and after it. Every second round goes the other way. The functions answer with a
 * number. Answers with { ours: [...], peers: { name:
 * { values: [...], ratios: [...] } } }.
 */
export async function byTurns(rounds, ours, peers) {
	const result = { ours: [], peers: Object.fromEntries(Object.keys(peers).map((name) => [name, { values: [], ratios: [] }])) }
	for (let round = 0; round < rounds; round++) {
		const names = round % 2 ? Object.keys(peers).reverse() : Object.keys(peers)
		let before = await ours(round)
		result.ours.push(before)
		for (let i = 0; i < names.length; i += 2) {
			const pair = names.slice(i, i + 2)
			for (const name of pair) result.peers[name].values.push(await peers[name](round))
			const after = await ours(round)
			result.ours.push(after)
			for (const name of pair) result.peers[name].ratios.push((before + after) / 2 / result.peers[name].values.at(-1))
			before = after
		}
	}
	return result
}

/* The ratios of pairs of numbers that were measured in the same round. */
export const ratiosOf = (ours, theirs) => ours.map((number, round) => number / theirs[round])

/*
 * A row of the table. ours and theirs are lists of numbers in the unit, or one
 * number; ratios are of the rounds. atLeast and atMost are the target: of the
 * ratio if there are ratios, else of ours. A row without is for information.
 */
export function row(what, { ours, unit, peer, theirs, ratios, atLeast, atMost, note, isMet }) {
	const one = (numbers) => Array.isArray(numbers) ? median(numbers) : numbers
	const ratio = ratios && { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
	const measured = ratio ? ratio.median : one(ours)
	const target = atLeast !== undefined ? `≥ ${atLeast}` : atMost !== undefined ? `≤ ${atMost}` : undefined
	return {
		what, unit, peer, note, target: target && !ratio && unit ? `${target} ${unit}` : target,
		ours: one(ours), theirs: one(theirs), ratio,
		isMet: isMet ?? (target === undefined ? undefined : atLeast !== undefined ? measured >= atLeast : measured <= atMost),
	}
}
