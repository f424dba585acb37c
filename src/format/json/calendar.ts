import { isDigit } from './scan.ts'

/** What the text readers below found; the same one for every value, because nobody keeps it. */
export interface Moment {
  /** Whole days, or seconds since 1970-01-01 or midnight. */
  whole: number
  micros: number
  /** Where the reading ended. */
  at: number
}

function digits(bytes: Uint8Array, at: number, count: number): number {
  let number = 0
  for (let i = at; i < at + count; i++) {
    if (!isDigit(bytes[i])) return -1
    number = number * 10 + bytes[i] - 0x30
  }
  return number
}

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/** Days since 1970-01-01 of the `YYYY-MM-DD` at `at`, years 0001 to 9999; NaN for anything else. */
export function readDay(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 10 || bytes[at + 4] !== 0x2d || bytes[at + 7] !== 0x2d) return Number.NaN
  const year = digits(bytes, at, 4)
  const month = digits(bytes, at + 5, 2)
  const day = digits(bytes, at + 8, 2)
  if (year < 1 || month < 1 || month > 12 || day < 1) return Number.NaN
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  if (day > monthDays[month - 1] + (isLeap && month === 2 ? 1 : 0)) return Number.NaN
  // Years that begin in March: as in Howard Hinnant's `days_from_civil`.
  const shifted = month > 2 ? year : year - 1
  const era = Math.floor(shifted / 400)
  const yearOfEra = shifted - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
}

/** Reads `HH:MM[:SS[.ffffff]]` at `at` into `into`. False for anything else; more than six digits of a second are refused. */
export function readClock(bytes: Uint8Array, at: number, end: number, into: Moment): boolean {
  if (end - at < 5 || bytes[at + 2] !== 0x3a) return false
  const hours = digits(bytes, at, 2)
  const minutes = digits(bytes, at + 3, 2)
  at += 5
  let seconds = 0
  let micros = 0
  if (at < end && bytes[at] === 0x3a) {
    if (end - at < 3) return false
    seconds = digits(bytes, at + 1, 2)
    at += 3
    if (at < end && bytes[at] === 0x2e) {
      let unit = 100_000
      const first = ++at
      for (; at < end && isDigit(bytes[at]); at++) {
        if (unit < 1 && bytes[at] !== 0x30) return false
        micros += Math.floor(unit) * (bytes[at] - 0x30)
        unit /= 10
      }
      if (at === first) return false
    }
  }
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59) return false
  into.whole = hours * 3600 + minutes * 60 + seconds
  into.micros = micros
  into.at = at
  return true
}

/** Seconds east of UTC of the `Z` or `±HH:MM` that is all of [at, end); NaN for anything else. */
export function readZone(bytes: Uint8Array, at: number, end: number): number {
  const sign = bytes[at]
  if (end - at === 1) return (sign | 0x20) === 0x7a ? 0 : Number.NaN
  if ((sign !== 0x2b && sign !== 0x2d) || end - at < 3) return Number.NaN
  const hours = digits(bytes, at + 1, 2)
  const colon = bytes[at + 3] === 0x3a ? 1 : 0
  const minutes = end - at === 3 ? 0 : end - at === 5 + colon ? digits(bytes, at + 3 + colon, 2) : -1
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return Number.NaN
  return (sign === 0x2d ? -60 : 60) * (hours * 60 + minutes)
}
