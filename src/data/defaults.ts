import { FrazilError } from '../base/index.ts'
import { typeText } from './types.ts'
import type { Field, Type } from './types.ts'
import { encodeValue } from './values.ts'
import type { Value } from './values.ts'

const dayMicros = 86_400_000_000n

/**
 * A value as JSON text in Iceberg's single-value form (specification: Appendix D, "JSON single-value serialization"), for the
 * defaults of fields. Null for what that form cannot say in a way that all readers take: NaN, infinities, years beyond 1 to 9999,
 * nested values.
 */
export function defaultText(type: Type, value: Exclude<Value, null>): string | null {
  switch (type.kind) {
    case 'boolean':
    case 'int':
    case 'long':
      return String(value)
    case 'float':
    case 'double':
      return Number.isFinite(value) ? (Object.is(value, -0) ? '-0.0' : String(value)) : null
    case 'decimal': {
      const digits = String(value)
        .replace('-', '')
        .padStart(type.scale + 1, '0')
      const point = digits.length - type.scale
      const text = type.scale === 0 ? digits : `${digits.slice(0, point)}.${digits.slice(point)}`
      return `"${String(value).startsWith('-') ? '-' : ''}${text}"`
    }
    case 'date':
      return quotedDay(BigInt(Number(value)), '')
    case 'time':
      return typeof value === 'bigint' ? `"${timeOfDay(value)}"` : null
    case 'timestamp':
    case 'timestamptz': {
      if (typeof value !== 'bigint') return null
      const inDay = ((value % dayMicros) + dayMicros) % dayMicros
      return quotedDay((value - inDay) / dayMicros, `T${timeOfDay(inDay)}${type.kind === 'timestamptz' ? '+00:00' : ''}`)
    }
    case 'string':
      return JSON.stringify(value)
    case 'uuid':
      return value instanceof Uint8Array ? `"${hex(value).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}"` : null
    case 'binary':
    case 'fixed':
      return value instanceof Uint8Array ? `"${hex(value)}"` : null
    default:
      return null
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function quotedDay(day: bigint, rest: string): string | null {
  const date = new Date(Number(day) * 86_400_000)
  const year = date.getUTCFullYear()
  return year >= 1 && year <= 9999 ? `"${date.toISOString().slice(0, 10)}${rest}"` : null
}

function timeOfDay(micros: bigint): string {
  const two = (number: bigint): string => String(number).padStart(2, '0')
  const seconds = micros / 1_000_000n
  const clock = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`
  return `${clock}.${String(micros % 1_000_000n).padStart(6, '0')}`
}

/** The value that rows of older files have in a field, null without an `initialDefault`. Throws `corrupt` when it is not one. */
export function initialValue(field: Field): Value {
  const { initialDefault, type } = field
  return initialDefault === undefined ? null : parseDefault(field, type, initialDefault)
}

/** The stored bytes of {@link initialValue}. */
export function initialBytes(field: Field): Uint8Array | null {
  const value = initialValue(field)
  return value === null ? null : encodeValue(field.type, value)
}

function parseDefault(field: Field, type: Type, json: string): Value {
  const bad = (): never => {
    throw new FrazilError('corrupt', 'default-value', `the default of column ${field.name} is not a ${typeText(type)}`)
  }
  const text = (): string => {
    let parsed: unknown
    try {
      parsed = JSON.parse(json)
    } catch {
      parsed = null
    }
    return typeof parsed === 'string' ? parsed : bad()
  }
  const bytes = (digits: string): Uint8Array =>
    /^(?:[0-9a-f]{2})*$/i.test(digits) ? new Uint8Array(Buffer.from(digits, 'hex')) : bad()
  if (json === 'null') return null
  switch (type.kind) {
    case 'boolean':
      return json === 'true' ? true : json === 'false' ? false : bad()
    case 'int':
      return /^-?\d+$/.test(json) ? Number(json) : bad()
    case 'long':
      return /^-?\d+$/.test(json) ? BigInt(json) : bad()
    case 'float':
    case 'double':
      return /^-?\d/.test(json) && !Number.isNaN(Number(json)) ? Number(json) : bad()
    case 'decimal': {
      const parts = /^(-?\d+)(?:\.(\d*))?$/.exec(text())
      if (!parts || (parts[2] ?? '').length > type.scale) return bad()
      return BigInt(parts[1] + (parts[2] ?? '').padEnd(type.scale, '0'))
    }
    case 'date':
      return Number(dayOf(text()) ?? bad())
    case 'time':
      return clockOf(text()) ?? bad()
    case 'timestamp':
    case 'timestamptz': {
      const [day, clock] = text().split('T')
      const days = dayOf(day)
      const micros = clockOf((clock ?? '').replace(type.kind === 'timestamptz' ? /(?:Z|[+-]00:00)$/ : /$/, ''))
      return days === null || micros === null ? bad() : days * dayMicros + micros
    }
    case 'string':
      return text()
    case 'uuid':
      return bytes(text().replaceAll('-', ''))
    case 'binary':
    case 'fixed':
      return bytes(text())
    default:
      throw new FrazilError('unsupported', 'default-value', `column ${field.name} has a default of a nested type`)
  }
}

function dayOf(text: string): bigint | null {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return null
  const ms = Date.parse(`${text}T00:00:00Z`)
  return Number.isNaN(ms) ? null : BigInt(ms / 86_400_000)
}

function clockOf(text: string): bigint | null {
  const parts = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?$/.exec(text)
  if (!parts) return null
  const seconds = BigInt(parts[1]) * 3600n + BigInt(parts[2]) * 60n + BigInt(parts[3] ?? 0)
  return seconds * 1_000_000n + BigInt((parts[4] ?? '').padEnd(6, '0'))
}
