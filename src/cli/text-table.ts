export interface TextColumn {
  readonly name: string
  readonly align: 'left' | 'right'
}

const smallestWidth = 4

/**
 * Rows under their column names, in a frame. Lines are at most `width` characters wide: the widest columns are cut, with `…`
 * where something is missing. Characters that would move a terminal's cursor are shown escaped.
 */
export function textTable(columns: readonly TextColumn[], rows: readonly (readonly string[])[], width?: number): string {
  const cells = rows.map((row) => row.map(printable))
  const names = columns.map(({ name }) => printable(name))
  const widths = names.map((name, i) => cells.reduce((most, row) => Math.max(most, displayWidth(row[i])), displayWidth(name)))
  const frame = columns.length * 3 + 1
  // A terminal that does not know its width says 0.
  let excess = width ? widths.reduce((sum, each) => sum + each, 0) + frame - width : 0
  while (excess > 0) {
    const widest = Math.max(...widths)
    if (widest <= smallestWidth) break
    widths[widths.indexOf(widest)]--
    excess--
  }
  const line = (texts: readonly string[]): string =>
    `│${texts.map((text, i) => ` ${fit(text, widths[i], columns[i].align)} `).join('│')}│`
  const rule = (left: string, cross: string, right: string): string =>
    `${left}${widths.map((each) => '─'.repeat(each + 2)).join(cross)}${right}`
  return [rule('┌', '┬', '┐'), line(names), rule('├', '┼', '┤'), ...cells.map(line), rule('└', '┴', '┘'), ''].join('\n')
}

function fit(text: string, width: number, align: 'left' | 'right'): string {
  const missing = width - displayWidth(text)
  if (missing >= 0) return align === 'left' ? text + ' '.repeat(missing) : ' '.repeat(missing) + text
  let kept = ''
  let used = 0
  for (const { segment } of graphemes.segment(text)) {
    const next = used + graphemeWidth(segment)
    if (next > width - 1) break
    kept += segment
    used = next
  }
  return `${kept}…${' '.repeat(width - 1 - used)}`
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** Columns that a terminal uses for a text. */
function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment)
  return width
}

function graphemeWidth(grapheme: string): number {
  if (/^\p{Mark}+$/u.test(grapheme)) return 0
  return /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u.test(
    grapheme,
  )
    ? 2
    : 1
}

const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Control characters and text-direction marks as escapes. */
function printable(text: string): string {
  return text.replaceAll(
    /[\p{Control}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (char) => shortEscapes[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
