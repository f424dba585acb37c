/** One line of a panel: a figure over time. */
export interface Line {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** Lines that share a scale. */
export interface Panel {
  readonly title: string
  readonly lines: readonly Line[]
  /** What the lines should stay below. */
  readonly mark?: number
}

const width = 460
const height = 190
const margin = { left: 62, right: 14, top: 30, bottom: 26 }
const colours = ['#1f6fb2', '#d9822b', '#3a9a55', '#8a4fbf']
const columns = 2

/** Panels side by side, as one SVG. All share the x axis, whose unit `across` names. */
export function chart(title: string, across: string, panels: readonly Panel[]): string {
  const rows = Math.ceil(panels.length / columns)
  const all = panels.flatMap(({ lines }) => lines.flatMap(({ points }) => points.map(([x]) => x)))
  const last = Math.max(...all, 1)
  const head = 34
  const drawn = panels.map((panel, i) => {
    const [x, y] = [(i % columns) * width, head + Math.floor(i / columns) * height]
    return `<g transform="translate(${x} ${y})">${drawPanel(panel, last, across)}</g>`
  })
  const size = `width="${columns * width}" height="${head + rows * height}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11" fill="#333">`,
    '<rect width="100%" height="100%" fill="white"/>',
    `<text x="12" y="22" font-size="14">${escaped(title)}</text>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n')
}

function drawPanel({ title, lines, mark }: Panel, last: number, across: string): string {
  const most = niceAbove(Math.max(...lines.flatMap(({ points }) => points.map(([, y]) => y)), mark ?? 0, 1e-9))
  const x = (value: number): number => margin.left + ((width - margin.left - margin.right) * value) / last
  const y = (value: number): number => height - margin.bottom - ((height - margin.top - margin.bottom) * value) / most
  const text = (at: readonly [number, number], words: string, more = ''): string =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${more}>${escaped(words)}</text>`
  const grid = [0, 0.5, 1].map((share) => {
    const at = y(share * most)
    const line = `<path d="M${margin.left} ${at.toFixed(1)}H${width - margin.right}" stroke="#ddd"/>`
    return line + text([margin.left - 6, at + 4], short(share * most), 'text-anchor="end"')
  })
  const times = [0, 0.5, 1].map((share) => text([x(share * last), height - 8], short(share * last), 'text-anchor="middle"'))
  const limit =
    mark === undefined
      ? ''
      : `<path d="M${margin.left} ${y(mark).toFixed(1)}H${width - margin.right}" stroke="#c33" stroke-dasharray="5 4"/>`
  const drawn = lines.map(({ points }, i) => {
    const path = points.map(([px, py]) => `${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join('L')
    return points.length === 0
      ? ''
      : `<path d="M${path}" fill="none" stroke="${colours[i % colours.length]}" stroke-width="1.4"/>`
  })
  const names =
    lines.length < 2
      ? []
      : lines.map(({ name }, i) =>
          text([margin.left + 8 + i * 120, margin.top + 10], name, `fill="${colours[i % colours.length]}"`),
        )
  return [
    text([12, 18], title, 'font-weight="bold"'),
    text([width - margin.right, 18], across, 'text-anchor="end" fill="#888"'),
    ...grid,
    ...times,
    limit,
    ...drawn,
    ...names,
  ].join('')
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 1.5, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10)
}

function short(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 })
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
