import type { Column } from '../../data/index.ts'
import { readClock, readDay, readZone } from './calendar.ts'
import type { Moment } from './calendar.ts'
import type { CellReader } from './cells.ts'
import { stringEnd } from './scan.ts'
import { putProduct } from './words.ts'

const million = 1_000_000

export class DateReader implements CellReader {
  readonly fault = 'wrong-type'
  readonly needed = 0
  readonly wants = 'a date such as 2026-01-31'

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    if (bytes[at] !== 0x22 || end - at < 12 || bytes[at + 11] !== 0x22) return -1
    const day = readDay(bytes, at + 1, at + 11)
    if (Number.isNaN(day)) return -1
    column.words[row] = day
    return at + 12
  }
}

export class TimeReader implements CellReader {
  readonly fault = 'wrong-type'
  readonly needed = 0
  readonly wants = 'a time of day such as 23:59:59.999999'
  readonly #moment: Moment = { whole: 0, micros: 0, at: 0 }

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    const quote = bytes[at] === 0x22 ? stringEnd(bytes, at + 1, end) : -1
    if (quote < 0 || !readClock(bytes, at + 1, quote, this.#moment) || this.#moment.at !== quote) return -1
    putProduct(column.words, row * 2, this.#moment.whole, million, this.#moment.micros)
    return quote + 1
  }
}

/** ISO 8601: `2026-01-31T12:00:00.123456`, with `T` or a space; with a zone where the type has one, and only there. */
export class TimestampReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  readonly needed = 0
  readonly wants: string
  readonly #zoned: boolean
  readonly #moment: Moment = { whole: 0, micros: 0, at: 0 }

  constructor(zoned: boolean) {
    this.#zoned = zoned
    this.wants = zoned ? 'a time with its zone such as 2026-01-31T12:00:00Z' : 'a time without a zone such as 2026-01-31T12:00:00'
  }

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    const quote = bytes[at] === 0x22 ? stringEnd(bytes, at + 1, end) : -1
    if (quote < 0) return -1
    const day = readDay(bytes, at + 1, quote)
    const separator = bytes[at + 11]
    if (Number.isNaN(day) || ((separator | 0x20) !== 0x74 && separator !== 0x20)) return -1
    const moment = this.#moment
    if (!readClock(bytes, at + 12, quote, moment)) return -1
    let seconds = day * 86_400 + moment.whole
    if (this.#zoned) {
      const offset = readZone(bytes, moment.at, quote)
      if (Number.isNaN(offset)) return -1
      seconds -= offset
    } else if (moment.at !== quote) return -1
    putProduct(column.words, row * 2, seconds, million, moment.micros)
    return quote + 1
  }
}
