import type { FrazilError } from '../../base/index.ts'

/**
 * One thing found out about a source before it is started. `error`: a start would fail, or a table that is named would be left
 * out. `warning`: it would start, and something will hurt later. `note`: good to know. `ok`: what would be done.
 */
export interface SourceFinding {
  readonly level: 'ok' | 'note' | 'warning' | 'error'
  /** Stable; the error codes of a start where there is one. */
  readonly code: string
  readonly message: string
  /** The statement or the change that mends it. */
  readonly hint: string | null
  /** Name at the source of the table that it concerns. */
  readonly table: string | null
}

/** A finding about the server or the source as a whole. */
export function finding(level: SourceFinding['level'], code: string, message: string, hint: string | null = null): SourceFinding {
  return { level, code, message, hint, table: null }
}

/** What a start would fail with. */
export function findingOf(error: FrazilError, table: string | null = null, level: 'error' | 'warning' = 'error'): SourceFinding {
  return { level, code: error.code, message: error.message, hint: error.hint ?? null, table }
}

const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB']

/** A size for people, by powers of 1000: `12 MB`. */
export function sizeText(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1)
  const value = bytes / 1000 ** power
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`
}
