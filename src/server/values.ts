import { unreachable } from '../base/index.ts'
import type { Field, Type, Value } from '../data/index.ts'

export interface ValueOptions {
  /** int64 and decimal as JSON strings, for clients that would round them. */
  readonly numbersAsStrings: boolean
}

/**
 * A value as JSON text by its type: int64 and decimal are numbers with all their digits; NaN and infinities are strings; dates,
 * times and timestamps ISO 8601 with microseconds, UTC ones with Z; uuid text; binary base64; lists arrays; structs and maps
 * objects. Queries write their values by the same rules.
 */
export function jsonText(type: Type, value: Value, options: ValueOptions): string {
  if (value === null) return 'null'
  switch (type.kind) {
    case 'boolean':
    case 'int':
      return String(value)
    case 'long':
      return digits(String(value), options)
    case 'decimal':
      return digits(decimalText(value as bigint, type.scale), options)
    case 'float':
      return floatText(value as number, shortestFloat)
    case 'double':
      return floatText(value as number, String)
    case 'date':
      return `"${dateText(value as number)}"`
    case 'time':
      return `"${timeText(value as bigint)}"`
    case 'timestamp':
      return `"${timestampText(value as bigint)}"`
    case 'timestamptz':
      return `"${timestampText(value as bigint)}Z"`
    case 'string':
      return JSON.stringify(value)
    case 'uuid':
      return `"${uuidText(value as Uint8Array)}"`
    case 'binary':
    case 'fixed':
      return `"${Buffer.from(value as Uint8Array).toString('base64')}"`
    case 'list':
      return `[${(value as readonly Value[]).map((item) => jsonText(type.element, item, options)).join(',')}]`
    case 'map': {
      const entries = (value as readonly (readonly [Value, Value])[]).map(
        ([key, item]) => [jsonText(type.key, key, options), jsonText(type.value, item, options)] as const,
      )
      return `{${entries.map(([key, item]) => `${key.startsWith('"') ? key : JSON.stringify(key)}:${item}`).join(',')}}`
    }
    case 'struct':
      return rowText(type.fields, value as readonly Value[], options)
    default:
      return unreachable(type)
  }
}

/** A row as a JSON object, columns in order. */
export function rowText(fields: readonly Field[], row: readonly Value[], options: ValueOptions): string {
  return `{${fields.map((field, i) => `${JSON.stringify(field.name)}:${jsonText(field.type, row[i], options)}`).join(',')}}`
}

function digits(text: string, options: ValueOptions): string {
  return options.numbersAsStrings ? `"${text}"` : text
}

function decimalText(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? '-' : ''
  const all = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  const point = all.length - scale
  return `${sign}${all.slice(0, point)}${scale === 0 ? '' : `.${all.slice(point)}`}`
}

function floatText(value: number, finite: (value: number) => string): string {
  if (!Number.isFinite(value)) return `"${value}"`
  return Object.is(value, -0) ? '-0.0' : finite(value)
}

/** The fewest digits that give the same 32-bit float again. */
function shortestFloat(value: number): string {
  for (let precision = 6; precision < 9; precision++) {
    const text = value.toPrecision(precision)
    if (Math.fround(Number(text)) === value) return String(Number(text))
  }
  return String(Number(value.toPrecision(9)))
}

const dayMicros = 86_400_000_000n

/** Days since 1970-01-01 in the proleptic Gregorian calendar; years beyond four digits have six or more and a sign. */
function dateText(days: number): string {
  // Eras of 400 years beginning on 1 March, as in Howard Hinnant's `civil_from_days`.
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const yearText = year >= 0 && year <= 9999 ? pad(year, 4) : `${year < 0 ? '-' : '+'}${pad(Math.abs(year), 6)}`
  return `${yearText}-${pad(month, 2)}-${pad(day, 2)}`
}

function timeText(micros: bigint): string {
  const all = Number(micros)
  const seconds = Math.floor(all / 1e6)
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map((part) => pad(part, 2)).join(':')
  return `${clock}.${pad(all % 1e6, 6)}`
}

function timestampText(micros: bigint): string {
  let days = micros / dayMicros
  let rest = micros % dayMicros
  if (rest < 0n) {
    days -= 1n
    rest += dayMicros
  }
  return `${dateText(Number(days))}T${timeText(rest)}`
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0')
}
