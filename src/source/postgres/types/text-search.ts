/** `tsvector` and `tsquery` as Postgres prints them, from their binary forms. Null when malformed. */
import type { Buffer } from 'node:buffer'

/** Lexeme in quotes. */
function quoted(bytes: Buffer, from: number, to: number): string {
  return `'${bytes.toString('utf8', from, to).replaceAll(/['\\]/g, (char) => char + char)}'`
}

const weights = ['', 'C', 'B', 'A']

/** int32 count of lexemes, each: text with a zero byte, uint16 count of positions, each: weight in 2 bits, position in 14. */
export function tsvectorText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 4) return null
  const count = bytes.readInt32BE(from)
  if (count < 0 || count > (to - from) / 3) return null
  const lexemes: string[] = []
  let at = from + 4
  for (let i = 0; i < count; i++) {
    const end = bytes.indexOf(0, at)
    if (end < 0 || end + 3 > to) return null
    const positions = bytes.readUInt16BE(end + 1)
    const shown: string[] = []
    const start = end + 3
    if (positions > (to - start) / 2) return null
    for (let p = 0; p < positions; p++) {
      const packed = bytes.readUInt16BE(start + 2 * p)
      shown.push(`${packed & 0x3fff}${weights[packed >> 14]}`)
    }
    lexemes.push(quoted(bytes, at, end) + (positions > 0 ? `:${shown.join(',')}` : ''))
    at = start + 2 * positions
  }
  return at === to ? lexemes.join(' ') : null
}

/** What stands between operands, and how tightly it binds. */
const priorities: Readonly<Record<number, number>> = { 1: 4, 2: 2, 3: 1, 4: 3 }
const not = 1
const and = 2
const phrase = 4
/** Of a single lexeme: it never needs parentheses. */
const tightest = 5

interface Part {
  readonly text: string
  readonly priority: number
}

/**
 * int32 count of items in prefix order, the right operand of an operator before the left one. An item: 1, weights, whether a
 * prefix, text with a zero byte; or 2, operator (1 not, 2 and, 3 or, 4 phrase, which has an int16 distance).
 */
export function tsqueryText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 4) return null
  const count = bytes.readInt32BE(from)
  if (count < 0 || count > (to - from) / 2) return null
  const starts: number[] = []
  let at = from + 4
  for (let i = 0; i < count; i++) {
    starts.push(at)
    if (at + 2 > to) return null
    if (bytes[at] === 1) {
      const end = bytes.indexOf(0, at + 3)
      if (end < 0 || end >= to) return null
      at = end + 1
    } else if (bytes[at] === 2 && bytes[at + 1] in priorities) {
      at += bytes[at + 1] === phrase ? 4 : 2
    } else {
      return null
    }
  }
  if (at !== to) return null
  if (count === 0) return ''
  // From the end every operator finds its operands on the stack, the right one on top.
  const stack: Part[] = []
  for (const start of starts.toReversed()) {
    const part = bytes[start] === 1 ? lexeme(bytes, start) : operation(bytes, start, stack)
    if (part === null) return null
    stack.push(part)
  }
  return stack.length === 1 ? stack[0].text : null
}

function lexeme(bytes: Buffer, at: number): Part {
  const weight = bytes[at + 1]
  const flags = `${bytes[at + 2] === 0 ? '' : '*'}${['D', 'C', 'B', 'A']
    .filter((_, i) => (weight >> i) & 1)
    .toReversed()
    .join('')}`
  const text = quoted(bytes, at + 3, bytes.indexOf(0, at + 3))
  return { text: flags === '' ? text : `${text}:${flags}`, priority: tightest }
}

function operation(bytes: Buffer, at: number, stack: Part[]): Part | null {
  const operator = bytes[at + 1]
  const priority = priorities[operator]
  const inside = (part: Part, tight: boolean): string =>
    part.priority < priority || (tight && part.priority === priority) ? `( ${part.text} )` : part.text
  const right = stack.pop()
  if (!right) return null
  if (operator === not) return { text: `!${inside(right, false)}`, priority }
  const left = stack.pop()
  if (!left) return null
  const distance = operator === phrase ? bytes.readUInt16BE(at + 2) : 1
  const sign = operator === and ? '&' : operator !== phrase ? '|' : distance === 1 ? '<->' : `<${distance}>`
  return { text: `${inside(left, false)} ${sign} ${inside(right, operator === phrase)}`, priority }
}
