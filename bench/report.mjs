/*
 * report.mjs
 *		The rows as a table, as JSON and as an SVG chart.
 */
const number = (value) => {
	if (value === undefined || value === null) return ''
	if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
	return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)
}

const verdict = ({ isMet }) => isMet === undefined ? '' : isMet ? 'met' : 'NOT MET'

const cells = (row) => [
	row.what,
	row.ours === undefined ? '' : `${number(row.ours)} ${row.unit ?? ''}`.trim(),
	row.peer ?? '', number(row.theirs),
	row.ratio ? row.ratio.median.toFixed(2) : '',
	row.ratio ? `${row.ratio.min.toFixed(2)}–${row.ratio.max.toFixed(2)}` : '',
	row.target ?? '', verdict(row),
]

const HEAD = ['what', 'ours', 'peer', 'peer\'s', 'ratio', 'min–max', 'target', '']

/* Lines of a table, in columns; right of the first and third column numbers. */
export function table(rows) {
	const lines = [HEAD, ...rows.map(cells)]
	const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => [...line[column]].length)))
	const pad = (text, column) => {
		const space = ' '.repeat(widths[column] - [...text].length)
		return column === 0 || column === 2 || column > 5 ? text + space : space + text
	}
	const text = lines.map((line) => line.map(pad).join('  ').trimEnd())
	text.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '))
	const notes = rows.filter((row) => row.note).map((row) => `${row.what}${row.peer ? ` (${row.peer})` : ''}: ${row.note}`)
	return [...text, ...(notes.length ? ['', ...notes] : [])].join('\n')
}

export function growthTable({ events, series, unit }) {
	const lines = [['events', ...events.map((count) => count.toLocaleString('en'))],
		...Object.entries(series).map(([what, values]) => [`${what}, ${unit}`, ...values.map((value) => value.toFixed(3))])]
	const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
	return lines.map((line) => line.map((text, column) => column ? text.padStart(widths[column]) : text.padEnd(widths[column])).join('  ')).join('\n')
}

const escape = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;')

const COLOURS = { met: '#2b8a3e', missed: '#c92a2a', none: '#868e96' }

/*
 * A bar for each ratio, on a scale of logarithms, with a line from min to max
 * and a mark at the target; below it a curve for each series of the growth.
 */
export function chart({ title, rows, growth }) {
	const shown = rows.filter((row) => row.ratio)
	const left = 620, width = 480, line = 22, top = 60
	const low = 0.125, high = 32
	const x = (ratio) => left + width * Math.log(Math.min(Math.max(ratio, low), high) / low) / Math.log(high / low)
	const parts = []
	const text = (at, y, content, more = '') => parts.push(`<text x="${at}" y="${y}" ${more}>${escape(content)}</text>`)
	const bottom = top + line * shown.length + 10

	text(20, 28, title, 'font-weight="bold" font-size="15"')
	for (const tick of [0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32]) {
		parts.push(`<line x1="${x(tick)}" x2="${x(tick)}" y1="${top - 8}" y2="${bottom}" stroke="${tick === 1 ? '#495057' : '#dee2e6'}"/>`)
		text(x(tick), top - 12, tick, 'text-anchor="middle" fill="#495057"')
	}
	shown.forEach((row, i) => {
		const y = top + line * i + 12
		const colour = row.isMet === undefined ? COLOURS.none : row.isMet ? COLOURS.met : COLOURS.missed
		const from = Math.min(x(1), x(row.ratio.median)), to = Math.max(x(1), x(row.ratio.median))
		text(left - 10, y + 4, `${row.what}: ${row.peer}`, 'text-anchor="end"')
		parts.push(`<rect x="${from}" y="${y - 6}" width="${Math.max(to - from, 1)}" height="12" fill="${colour}" fill-opacity="0.7"/>`)
		parts.push(`<line x1="${x(row.ratio.min)}" x2="${x(row.ratio.max)}" y1="${y}" y2="${y}" stroke="#212529"/>`)
		const target = Number(row.target?.match(/[\d.]+/)?.[0])
		if (target) parts.push(`<path d="M ${x(target)} ${y - 8} l 4 -5 l -8 0 z" fill="#1864ab"/>`)
		text(left + width + 12, y + 4, `${row.ratio.median.toFixed(2)} ${row.target ? `(${row.target})` : ''}`)
	})
	text(left, bottom + 18, 'ratio, ours to the peer\'s; the line is min to max of the rounds, the mark the target', 'fill="#495057"')
	const height = growth ? plot(parts, growth, bottom + 50) : bottom + 40
	return `<svg xmlns="http://www.w3.org/2000/svg" width="1220" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${parts.join('\n')}
</svg>
`
}

/* Cost against the number of events, both on scales of logarithms. Answers where it ends. */
function plot(parts, { events, series, unit }, top) {
	const left = 80, width = 620, height = 260
	const values = Object.values(series).flat()
	const low = 10 ** Math.floor(Math.log10(Math.min(...values))), high = 10 ** Math.ceil(Math.log10(Math.max(...values)))
	const x = (count) => left + width * Math.log(count / events[0]) / Math.log(events.at(-1) / events[0])
	const y = (value) => top + height - height * Math.log(value / low) / Math.log(high / low)
	const colours = ['#1864ab', '#2b8a3e', '#e8590c', '#862e9c']

	for (let tick = low; tick <= high * 1.001; tick *= 10) {
		parts.push(`<line x1="${left}" x2="${left + width}" y1="${y(tick)}" y2="${y(tick)}" stroke="#dee2e6"/>`)
		parts.push(`<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${Number(tick.toPrecision(2))} ${unit}</text>`)
	}
	for (const count of events)
		parts.push(`<text x="${x(count)}" y="${top + height + 18}" text-anchor="middle">${count.toLocaleString('en')}</text>`)
	parts.push(`<text x="${left + width / 2}" y="${top + height + 36}" text-anchor="middle">events in the log</text>`)
	const curves = Object.entries(series).map(([what, costs], i) => ({ what, costs, colour: colours[i], end: y(costs.at(-1)) }))
	for (const { costs, colour } of curves)
		parts.push(`<polyline points="${costs.map((cost, n) => `${x(events[n])},${y(cost)}`).join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`)
	/* Names stand where their curves end, from the top down, each below the one before. */
	let above = -Infinity
	for (const { what, colour, end } of curves.sort((a, b) => a.end - b.end)) {
		above = Math.max(end, above + 15)
		parts.push(`<text x="${left + width + 12}" y="${above + 4}" fill="${colour}">${escape(what)}</text>`)
	}
	return top + height + 60
}
