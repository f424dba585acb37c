import { FrazilError } from '../base/index.ts'
import type { Position } from '../data/index.ts'

/** Of a source whose positions are whole numbers that grow: whether `a` is at or behind `b`. */
export function reachedNumber(a: Position, b: Position): boolean {
  return Number(a) >= Number(b)
}

/** Throws `request` (`bad-position`) for a text that is no position of such a source. */
export function checkNumber(text: string, source: string): Position {
  if (/^\d{1,15}$/.test(text)) return text
  throw new FrazilError('request', 'bad-position', `a position of the source ${source} is a whole number`)
}
