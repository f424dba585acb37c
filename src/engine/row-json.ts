import { Buffer } from 'node:buffer'
import { FrazilError } from '../base/index.ts'
import { JsonText, encodeJson } from '../format/json/index.ts'
import type { JsonValue } from '../format/json/index.ts'

/** Deepest value of a row; deeper ones may have themselves in them. */
const deepest = 64
/** Most bytes of the rows of one call, as JSON: far below the longest text that there can be. */
const mostBytes = 256 << 20
/** JSON.stringify makes it 0. */
const negativeZero = new JsonText('-0')

/**
 * Rows as lines of JSON. Beyond what JSON has: bigint keeps its digits, a Date is ISO 8601, bytes are base64, NaN and the infinities
 * are texts, and −0 keeps its sign. What is undefined is left out. Throws `request` for what cannot be a value (nothing that is not understood
 * becomes null), and for more rows than one call may have, as soon as there are.
 */
export function jsonLines(rows: readonly object[]): Buffer {
  let length = 0
  try {
    const lines = rows.map((row) => {
      const line = encodeJson(jsonValue(row, 0))
      length += line.length + 1
      if (length > mostBytes) throw tooLarge()
      return line
    })
    const bytes = Buffer.from(lines.join('\n'))
    // It has more bytes than characters, perhaps.
    if (bytes.length > mostBytes) throw tooLarge()
    return bytes
  } catch (error) {
    throw isTooLong(error) ? tooLarge(error) : error
  }
}

function tooLarge(cause?: unknown): FrazilError {
  return new FrazilError('request', 'body-too-large', `the rows of one call have at most ${mostBytes >> 20} MiB as JSON`, {
    hint: 'Send them in several calls.',
    cause,
  })
}

/** Whether a text could not be made because none can be so long: JSON of a row, or base64 of bytes. */
function isTooLong(error: unknown): boolean {
  if (error instanceof RangeError) return error.message === 'Invalid string length'
  return error instanceof Error && 'code' in error && error.code === 'ERR_STRING_TOO_LONG'
}

function jsonValue(value: unknown, depth: number): JsonValue {
  if (depth > deepest) throw new FrazilError('request', 'too-deep', 'a row is nested too deeply')
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return value
    case 'number':
      if (Object.is(value, -0)) return negativeZero
      return Number.isFinite(value) ? value : String(value)
    case 'object': {
      if (value === null) return null
      if (value instanceof Date) {
        if (Number.isNaN(value.getTime())) throw bad('an invalid Date')
        return value.toISOString()
      }
      if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')
      if (Array.isArray(value)) return value.map((item) => jsonValue(item, depth + 1))
      const own = Object.entries(value)
      // A Map, a Set, a generator, a Promise: what they have is not in properties.
      if (Symbol.iterator in value || (own.length === 0 && !isPlain(value))) throw bad(`a ${value.constructor?.name ?? 'value'}`)
      const entries = own.filter(([, member]) => member !== undefined)
      return Object.fromEntries(entries.map(([name, member]) => [name, jsonValue(member, depth + 1)]))
    }
    default:
      throw bad(`a ${typeof value}`)
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function bad(what: string): FrazilError {
  return new FrazilError('request', 'bad-value', `${what} cannot be a row, or a value of one`)
}
