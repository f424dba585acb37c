import { Buffer, isUtf8 } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import { JsonText, isJsonArray, isJsonObject, maxMessageDepth, parseJson, skipSpace, skipValue } from '../../format/json/index.ts'
import type { JsonValue } from '../../format/json/index.ts'
import { WireWriter } from '../../format/protobuf/index.ts'
import { jsonRequests } from './json-messages.ts'
import type { FieldKind, JsonField, JsonMessage } from './json-messages.ts'
import type { Signal } from './tables.ts'

/** Largest body of JSON, in bytes: it is taken apart as objects, which take many times as much. */
const mostJsonBytes = 16 << 20
/** Numbers that a double might not hold: only then all numbers are read with their digits. */
const longNumber = /[:[,]\s*-?\d{16}/
/** What stands for an id that is none: of a wrong length, so that it is counted as one. */
const noId = Buffer.alloc(1)
/** What stands for the first half of a character: it is no UTF-8, so that the text is counted as one. U+FFFD stands for further ones. */
const noCharacter = Buffer.of(0xff)

/**
 * A request in JSON as the protobuf message that it stands for. Unknown fields are left out. Throws `request`: `bad-json`, `bad-encoding`,
 * `too-deep`, `body-too-large`, and `wrong-type` for a value that its field cannot have, with the names on the way to it.
 */
export function jsonRequest(signal: Signal, body: Buffer): Uint8Array {
  if (body.length > mostJsonBytes) {
    throw new FrazilError('request', 'body-too-large', `a body of JSON has at most ${mostJsonBytes >> 20} MiB`)
  }
  const out = new WireWriter()
  writeMessage(parse(body), jsonRequests[signal], out, '')
  return out.written
}

function parse(body: Buffer): JsonValue {
  if (!isUtf8(body)) throw new FrazilError('request', 'bad-encoding', 'the body is not UTF-8')
  const from = skipSpace(body, 0, body.length)
  const end = skipValue(body, from, body.length, maxMessageDepth)
  if (end === -2) throw new FrazilError('request', 'too-deep', 'the body is nested too deeply')
  const text = body.toString('utf8')
  try {
    return longNumber.test(text) ? parseJson(text) : (JSON.parse(text) as JsonValue)
  } catch {
    throw new FrazilError('request', 'bad-json', 'the body is not JSON')
  }
}

function writeMessage(value: JsonValue, fields: JsonMessage, out: WireWriter, path: string): void {
  if (!isJsonObject(value)) throw wrong(path, 'an object')
  for (const name of Object.keys(value)) {
    const field = fields.get(name)
    const given = value[name]
    if (!field || given === null) continue
    const inner = path === '' ? name : `${path}.${name}`
    if (!field.repeated) writeValue(given, field, out, inner)
    else if (isJsonArray(given)) for (const item of given) writeValue(item, field, out, inner)
    else throw wrong(inner, 'an array')
  }
}

function writeValue(value: JsonValue, { number, kind }: JsonField, out: WireWriter, path: string): void {
  if (typeof kind !== 'string') {
    const opened = out.open(number)
    writeMessage(value, kind, out, path)
    out.close(opened)
    return
  }
  switch (kind) {
    case 'string':
      if (typeof value !== 'string') throw wrong(path, 'a string')
      if (value.isWellFormed()) out.text(number, value)
      else out.bytes(number, unpaired(value))
      return
    case 'bytes':
      if (typeof value !== 'string' || !/^[\w+/-]*={0,2}$/.test(value)) throw wrong(path, 'a string in base64')
      out.bytes(number, Buffer.from(value, 'base64'))
      return
    case 'id':
      if (typeof value !== 'string') throw wrong(path, 'a string in hex')
      out.bytes(number, /^(?:[\da-f]{2})*$/i.test(value) ? Buffer.from(value, 'hex') : noId)
      return
    case 'bool':
      if (typeof value !== 'boolean') throw wrong(path, 'true or false')
      out.uint32(number, value ? 1 : 0)
      return
    case 'double':
      out.double(number, doubleOf(value, path))
      return
    default:
      writeInteger(integerOf(value, kind, path), number, kind, out)
  }
}

/** A text that has halves of characters, as bytes with which it fares as a text in protobuf does that is no UTF-8. */
function unpaired(text: string): Buffer {
  const first = text.search(/\p{Surrogate}/u)
  return Buffer.concat([Buffer.from(text.slice(0, first)), noCharacter, Buffer.from(text.slice(first + 1))])
}

type IntegerKind = Exclude<FieldKind, 'string' | 'bytes' | 'id' | 'bool' | 'double'>

const ranges: Readonly<Record<IntegerKind, readonly [bigint, bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  enum: [-(2n ** 31n), 2n ** 31n - 1n],
  sint32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  fixed32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  sfixed64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
}

function writeInteger(value: bigint, number: number, kind: IntegerKind, out: WireWriter): void {
  switch (kind) {
    case 'fixed32':
      out.fixed32(number, Number(value))
      return
    case 'fixed64':
    case 'sfixed64':
      out.fixed64(number, value)
      return
    case 'sint32':
      out.varint64(number, value < 0n ? -2n * value - 1n : 2n * value)
      return
    default:
      out.varint64(number, value)
  }
}

/** A whole number, or one as text. Names of enums are not allowed. */
function integerOf(value: JsonValue, kind: IntegerKind, path: string): bigint {
  const text = value instanceof JsonText ? value.text : value
  let integer: bigint | null = null
  if (typeof text === 'bigint') integer = text
  else if (typeof text === 'number') integer = Number.isSafeInteger(text) ? BigInt(text) : null
  else if (typeof text === 'string' && (kind !== 'enum' || value instanceof JsonText)) {
    if (/^-?\d{1,20}$/.test(text)) integer = BigInt(text)
    else if (value instanceof JsonText && Number.isSafeInteger(Number(text))) integer = BigInt(Number(text))
  }
  const [low, high] = ranges[kind]
  if (integer === null || integer < low || integer > high) throw wrong(path, `a whole number from ${low} to ${high}`)
  return integer
}

function doubleOf(value: JsonValue, path: string): number {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  const text = value instanceof JsonText ? value.text : value
  if (typeof text === 'string') {
    if (text === 'NaN') return Number.NaN
    if (text === 'Infinity' || text === '-Infinity') return Number(text)
    if (/^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text)) return Number(text)
  }
  throw wrong(path, 'a number, "NaN", "Infinity" or "-Infinity"')
}

function wrong(path: string, wants: string): FrazilError {
  return new FrazilError('request', 'wrong-type', `${path === '' ? 'the body' : path} must be ${wants}`)
}
