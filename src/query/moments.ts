import type { ByteSink } from './byte-sink.ts'

const infiniteDays = 2 ** 31 - 1
const infiniteTicks = 2n ** 63n - 1n
const dash = 0x2d
const colon = 0x3a

/** Days since 1970-01-01 as `2026-11-30`; years before 0 and after 9999 with a sign and six digits (ISO 8601). */
export function writeDate(days: number, sink: ByteSink): void {
  if (Math.abs(days) === infiniteDays) return sink.ascii(days > 0 ? 'infinity' : '-infinity')
  writeDay(days, sink)
}

function writeDay(days: number, sink: ByteSink): void {
  // Civil date from a day number: years begin in March here, so that the leap day is the last one.
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  if (year >= 0 && year <= 9999) {
    sink.digits(year, 4)
  } else {
    sink.byte(year < 0 ? dash : 0x2b)
    sink.digits(Math.abs(year), 6)
  }
  sink.byte(dash)
  sink.digits(month, 2)
  sink.byte(dash)
  sink.digits(dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1, 2)
}

/** Time of day in units of 10^-`digits` seconds, with all digits: `09:05:00.000000`. */
export function writeTime(ticks: bigint, digits: number, sink: ByteSink): void {
  const perSecond = 10 ** digits
  const value = Number(ticks)
  const seconds = Math.floor(value / perSecond)
  sink.digits(Math.floor(seconds / 3600), 2)
  sink.byte(colon)
  sink.digits(Math.floor(seconds / 60) % 60, 2)
  sink.byte(colon)
  sink.digits(seconds % 60, 2)
  writeFraction(value % perSecond, digits, sink)
}

function writeFraction(ticks: number, digits: number, sink: ByteSink): void {
  // Microseconds are written even where the type is coarser, so that all moments look the same.
  sink.byte(0x2e)
  if (digits > 0) sink.digits(ticks, digits)
  for (let i = digits; i < 6; i++) sink.byte(0x30)
}

/** Moments in units of 10^-`digits` seconds since 1970-01-01, as ISO 8601: `2026-11-30T09:05:00.000000`, then `zone`. */
export function writeTimestamp(ticks: bigint, digits: number, zone: string, sink: ByteSink): void {
  if (ticks === infiniteTicks || ticks === -infiniteTicks) return sink.ascii(ticks > 0n ? 'infinity' : '-infinity')
  const perDay = 86_400n * 10n ** BigInt(digits)
  let days = ticks / perDay
  if (days * perDay > ticks) days--
  writeDay(Number(days), sink)
  sink.byte(0x54)
  writeTime(ticks - days * perDay, digits, sink)
  sink.ascii(zone)
}
