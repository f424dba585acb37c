import { Buffer, isUtf8 } from 'node:buffer'
import { WireReader } from '../../format/protobuf/index.ts'
import type { Scratch } from './scratch.ts'

/** How deeply lists and maps of an attribute's value may nest. */
export const deepestValue = 64
/** Up to here a loop finds out faster than a call whether text is plain ASCII. */
const shortText = 256
/** The bits that ASCII does not have, in a word. */
const nonAscii = 0x80808080 | 0
const two32 = 2 ** 32
/** As words: `true`, and `fals`. */
const trueText = 0x65757274
const falsText = 0x736c6166

/** Why a record cannot be kept; the others of its request are. */
export class RecordRefusal extends Error {}

/** Made once: a request may have very many records that are refused. */
export const refusals = {
  lateTime: new RecordRefusal('a time is beyond the year 2262'),
  largeCount: new RecordRefusal('a count is larger than its column can hold (int: 2^31 - 1, long: 2^63 - 1)'),
  deepValue: new RecordRefusal('a value is nested too deeply'),
  tooLarge: new RecordRefusal('a value is larger than 16 MiB, or the record is too large for the memory that there is'),
} as const

/** Values that were not as they should be and that others have taken the place of. */
export interface Repairs {
  values: number
}

/** Kinds of an AnyValue (opentelemetry/proto/common/v1/common.proto): the numbers of its fields. */
export const anyKinds = { none: 0, string: 1, bool: 2, int: 3, double: 4, list: 5, map: 6, bytes: 7 } as const

/** An AnyValue taken apart; its content is a place in the body, or two halves of a number. */
export class AnyValue {
  kind: number = anyKinds.none
  from = 0
  to = 0
  low = 0
  high = 0

  /** Reads the message at `reader.at` up to `end`. */
  read(reader: WireReader, end: number): void {
    this.kind = anyKinds.none
    while (reader.inside(end)) {
      const tag = reader.tag()
      switch (tag) {
        case 0x0a: // string_value
        case 0x2a: // array_value
        case 0x32: // kvlist_value
        case 0x3a: // bytes_value
          this.to = reader.through(end)
          this.from = reader.at
          reader.at = this.to
          this.kind = tag >>> 3
          break
        case 0x10: // bool_value
        case 0x18: // int_value
          reader.varint64()
          this.low = reader.low
          this.high = reader.high
          this.kind = tag >>> 3
          break
        case 0x21: // double_value
          reader.fixed64()
          this.low = reader.low
          this.high = reader.high
          this.kind = anyKinds.double
          break
        default:
          reader.skip(tag, end)
      }
    }
  }
}

/** Writes values as the text that attributes are kept as; see docs/otlp.md. */
export class ValueText {
  readonly #scratch: Scratch
  readonly #repairs: Repairs
  readonly #nested = new WireReader()
  readonly #halves = new DataView(new ArrayBuffer(8))

  constructor(scratch: Scratch, repairs: Repairs) {
    this.#scratch = scratch
    this.#repairs = repairs
  }

  /** Bytes of the body as UTF-8; what is none becomes U+FFFD. */
  text(reader: WireReader, from: number, to: number): void {
    if (isText(reader, from, to)) this.#scratch.copy(reader.view, from, to)
    else this.#scratch.utf8(this.#repaired(reader.bytes, from, to))
  }

  /** Not for kind `none`. */
  any(reader: WireReader, value: AnyValue): void {
    const scratch = this.#scratch
    switch (value.kind) {
      case anyKinds.string:
        this.text(reader, value.from, value.to)
        return
      case anyKinds.bool:
        this.#bool((value.low | value.high) !== 0)
        return
      case anyKinds.int:
        if (value.high === 0 && value.low >= 0) this.#digits(value.low)
        else scratch.latin1(integerText(value.low, value.high))
        return
      case anyKinds.double:
        scratch.latin1(this.#doubleText(value))
        return
      case anyKinds.bytes:
        scratch.latin1(view(reader.bytes, value.from, value.to).toString('base64'))
        return
      default:
        this.#nested.reset(reader.bytes)
        scratch.utf8(this.#json(value, 0))
    }
  }

  #bool(value: boolean): void {
    const scratch = this.#scratch
    scratch.room(5)
    scratch.view.setInt32(scratch.at, value ? trueText : falsText, true)
    scratch.at += 4
    if (!value) scratch.bytes[scratch.at++] = 0x65
  }

  /** A small number without making a text of it. */
  #digits(value: number): void {
    const scratch = this.#scratch
    let length = 1
    for (let rest = value; rest >= 10; rest = Math.trunc(rest / 10)) length++
    scratch.room(length)
    let rest = value
    for (let i = length - 1; i >= 0; i--) {
      scratch.bytes[scratch.at + i] = 0x30 + (rest % 10)
      rest = Math.trunc(rest / 10)
    }
    scratch.at += length
  }

  #doubleText({ low, high }: AnyValue): string {
    const number = this.#double(low, high)
    return Object.is(number, -0) ? '-0' : String(number)
  }

  #double(low: number, high: number): number {
    this.#halves.setInt32(0, low, true)
    this.#halves.setInt32(4, high, true)
    return this.#halves.getFloat64(0, true)
  }

  #json(value: AnyValue, depth: number): string {
    if (depth > deepestValue) throw refusals.deepValue
    switch (value.kind) {
      case anyKinds.none:
        return 'null'
      case anyKinds.string:
        return JSON.stringify(this.#string(value.from, value.to))
      case anyKinds.bytes:
        return `"${view(this.#nested.bytes, value.from, value.to).toString('base64')}"`
      case anyKinds.bool:
        return (value.low | value.high) === 0 ? 'false' : 'true'
      case anyKinds.int:
        return integerText(value.low, value.high)
      case anyKinds.double: {
        const text = this.#doubleText(value)
        return Number.isFinite(Number(text)) ? text : `"${text}"`
      }
      case anyKinds.list:
        return `[${this.#list(value.from, value.to, depth + 1).join(',')}]`
      default:
        return `{${this.#members(value.from, value.to, depth + 1).join(',')}}`
    }
  }

  /** The items of an ArrayValue. */
  #list(from: number, end: number, depth: number): string[] {
    const reader = this.#nested
    const items: string[] = []
    reader.at = from
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag !== 0x0a) reader.skip(tag, end)
      else {
        const to = reader.through(end)
        const item = new AnyValue()
        item.read(reader, to)
        items.push(this.#json(item, depth))
        reader.at = to
      }
    }
    return items
  }

  /** The members of a KeyValueList; of those with one name the last counts. */
  #members(from: number, end: number, depth: number): string[] {
    const reader = this.#nested
    const members = new Map<string, string>()
    reader.at = from
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag !== 0x0a) {
        reader.skip(tag, end)
        continue
      }
      const to = reader.through(end)
      let key = ''
      const item = new AnyValue()
      while (reader.inside(to)) {
        const inner = reader.tag()
        if (inner === 0x0a) {
          const keyEnd = reader.through(to)
          key = this.#string(reader.at, keyEnd)
          reader.at = keyEnd
        } else if (inner === 0x12) item.read(reader, reader.through(to))
        else reader.skip(inner, to)
      }
      if (members.has(key)) this.#repairs.values++
      members.set(key, this.#json(item, depth))
      reader.at = to
    }
    return [...members].map(([key, text]) => `${JSON.stringify(key)}:${text}`)
  }

  #string(from: number, to: number): string {
    const { bytes } = this.#nested
    return isText(this.#nested, from, to) ? view(bytes, from, to).toString('utf8') : this.#repaired(bytes, from, to)
  }

  #repaired(body: Uint8Array, from: number, to: number): string {
    this.#repairs.values++
    return view(body, from, to).toString('utf8')
  }
}

/** Whether all bytes from `from` to `to` are ASCII. */
function isAscii(view: DataView, from: number, to: number): boolean {
  let all = 0
  let at = from
  for (; at + 4 <= to; at += 4) all |= view.getInt32(at, true)
  for (; at < to; at++) all |= view.getUint8(at)
  return (all & nonAscii) === 0
}

/** Whether bytes are UTF-8. */
export function isText({ bytes, view: words }: WireReader, from: number, to: number): boolean {
  return (to - from <= shortText && isAscii(words, from, to)) || isUtf8(bytes.subarray(from, to))
}

function integerText(low: number, high: number): string {
  if (high >= -0x20_0000 && high < 0x20_0000) return String(high * two32 + (low >>> 0))
  return String((BigInt(high) << 32n) | BigInt(low >>> 0))
}

function view(bytes: Uint8Array, from: number, to: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from)
}
