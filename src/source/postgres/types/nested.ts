/** Arrays, composites, ranges, multiranges, hstore and vectors: codecs made of the codecs of what is in them. */
import type { Field, Type } from '../../../data/index.ts'
import { refusal } from '../refusals.ts'
import { builtForm } from './cell-builder.ts'
import type { CellBuilder } from './cell-builder.ts'
import { fixedForm, put32, storeItem } from './codec.ts'
import type { Codec, Form } from './codec.ts'
import { putFloat } from './scalars.ts'
import { float4 } from './text-numbers.ts'
import { TextItems } from './text-items.ts'

const comma = 44
const open = 40 // (
const close = 41 // )
const openSquare = 91 // [
const closeSquare = 93 // ]
const openCurly = 123 // {
const closeCurly = 125 // }

function nested(type: Type, signature: string, binary: Form, text: Form): Codec {
  return { kind: 'stored', type, signature, binary, text, textOnly: false }
}

function listOf(element: Type): Type {
  return { kind: 'list', elementId: 0, element, elementRequired: false }
}

/**
 * A one-dimensional array as a list; lower bounds other than 1 are dropped. More dimensions are refused, because the type of the
 * column does not tell them. `delimiter` parts the elements in text: a comma for all built-in types but box.
 */
export function arrayCodec(element: Codec, elementOid: number, delimiter = ','): Codec {
  return nested(
    listOf(element.type),
    `array(${element.signature})`,
    arrayBinary(element.binary, elementOid),
    arrayText(element.text, delimiter.charCodeAt(0)),
  )
}

function arrayBinary(element: Form, elementOid: number): Form {
  return {
    bound(bytes, from, to) {
      let most = 4
      for (let at = from + 20; at + 4 <= to;) {
        const size = bytes.readInt32BE(at)
        at += 4
        most += 4
        if (size < 0) continue
        most += element.bound(bytes, at, Math.min(at + size, to))
        at += size
      }
      return most
    },
    store(bytes, from, to, out, at) {
      if (to - from < 12) return refusal.malformed
      const dimensions = bytes.readInt32BE(from)
      if (dimensions === 0) return put32(out, at, 0)
      if (dimensions > 1) return refusal.multiDimensional
      if (dimensions < 0 || bytes.readUInt32BE(from + 8) !== elementOid || to - from < 20) return refusal.malformed
      const count = bytes.readInt32BE(from + 12)
      if (count < 0 || count > (to - from - 20) / 4) return refusal.malformed
      at = put32(out, at, count)
      let next = from + 20
      for (let i = 0; i < count; i++) {
        if (next + 4 > to) return refusal.malformed
        const size = bytes.readInt32BE(next)
        next += 4
        if (size < 0) {
          at = put32(out, at, -1)
          continue
        }
        if (size > to - next) return refusal.malformed
        at = storeItem(element, bytes, next, next + size, out, at)
        if (at < 0) return at
        next += size
      }
      return next === to ? at : refusal.malformed
    },
  }
}

function arrayText(element: Form, delimiter: number): Form {
  return builtForm((bytes, from, to, cell) => {
    const items = new TextItems(bytes, from, to)
    if (items.byte === openSquare) {
      // Bounds, which are printed when one of them is not 1.
      let dimensions = 0
      while (items.skip(openSquare)) {
        if (!items.next(closeSquare, closeSquare)) return refusal.malformed
        items.at++
        dimensions++
      }
      if (!items.skip(61)) return refusal.malformed
      if (dimensions > 1) return refusal.multiDimensional
    }
    if (!items.skip(openCurly)) return refusal.malformed
    let refused = cell.word(0)
    let count = 0
    if (items.skip(closeCurly)) return items.at === to ? refused : refusal.malformed
    for (;;) {
      if (items.byte === openCurly) return refusal.multiDimensional
      if (refused !== 0) return refused
      if (!items.next(delimiter, closeCurly)) return refusal.malformed
      refused = items.is('NULL') ? cell.word(-1) : cell.item(element, items.bytes, items.from, items.to)
      count++
      if (!items.skip(delimiter)) break
    }
    if (refused !== 0) return refused
    cell.bytes.writeInt32LE(count, 0)
    return items.skip(closeCurly) && items.at === to ? 0 : refusal.malformed
  })
}

/** An attribute of a composite type. */
export interface Attribute {
  readonly name: string
  readonly typeOid: number
  readonly codec: Codec
}

/**
 * A composite as a struct. ALTER TYPE changes values without a word in the stream; another number of attributes, or other types, are
 * seen and refused.
 */
export function compositeCodec(attributes: readonly Attribute[]): Codec {
  const fields = attributes.map(({ name, codec }): Field => ({ id: 0, name, type: codec.type, required: false }))
  return nested(
    { kind: 'struct', fields },
    `composite(${attributes.map(({ name, codec }) => `${JSON.stringify(name)}:${codec.signature}`).join(',')})`,
    compositeBinary(attributes),
    compositeText(attributes),
  )
}

function compositeBinary(attributes: readonly Attribute[]): Form {
  return {
    bound(bytes, from, to) {
      let most = 0
      let at = from + 4
      for (const { codec } of attributes) {
        if (at + 8 > to) break
        const size = bytes.readInt32BE(at + 4)
        at += 8
        most += 4
        if (size < 0) continue
        most += codec.binary.bound(bytes, at, Math.min(at + size, to))
        at += size
      }
      return most
    },
    store(bytes, from, to, out, at) {
      if (to - from < 4) return refusal.malformed
      if (bytes.readInt32BE(from) !== attributes.length) return refusal.otherShape
      let next = from + 4
      for (const { typeOid, codec } of attributes) {
        if (next + 8 > to) return refusal.malformed
        if (bytes.readUInt32BE(next) !== typeOid) return refusal.otherShape
        const size = bytes.readInt32BE(next + 4)
        next += 8
        if (size < 0) {
          at = put32(out, at, -1)
          continue
        }
        if (size > to - next) return refusal.malformed
        at = storeItem(codec.binary, bytes, next, next + size, out, at)
        if (at < 0) return at
        next += size
      }
      return next === to ? at : refusal.malformed
    },
  }
}

function compositeText(attributes: readonly Attribute[]): Form {
  return builtForm((bytes, from, to, cell) => {
    const items = new TextItems(bytes, from, to)
    if (!items.skip(open)) return refusal.malformed
    for (let i = 0; i < attributes.length; i++) {
      if (i > 0 && !items.skip(comma)) return refusal.otherShape
      if (!items.next(comma, close)) return refusal.malformed
      const missing = items.to === items.from && !items.quoted
      const refused = missing ? cell.word(-1) : cell.item(attributes[i].codec.text, items.bytes, items.from, items.to)
      if (refused !== 0) return refused
    }
    if (items.byte === comma) return refusal.otherShape
    return items.skip(close) && items.at === to ? 0 : refusal.malformed
  })
}

function rangeType(bound: Type): Type {
  const flag = (name: string): Field => ({ id: 0, name, type: { kind: 'boolean' }, required: true })
  return {
    kind: 'struct',
    fields: [
      { id: 0, name: 'lower', type: bound, required: false },
      { id: 0, name: 'upper', type: bound, required: false },
      flag('lower_inclusive'),
      flag('upper_inclusive'),
      flag('empty'),
    ],
  }
}

/** Three booleans as items, 5 bytes each. */
const flagBytes = 15

function putFlags(out: Uint8Array, at: number, lower: boolean, upper: boolean, empty: boolean): number {
  for (const flag of [lower, upper, empty]) {
    at = put32(out, at, 1)
    out[at++] = flag ? 1 : 0
  }
  return at
}

/** A range as a struct of its bounds; a bound that is missing is infinite, unless the range is empty. */
export function rangeCodec(bound: Codec): Codec {
  return nested(rangeType(bound.type), `range(${bound.signature})`, rangeBinary(bound.binary), rangeText(bound.text))
}

const isEmpty = 1
const lowerInclusive = 2
const upperInclusive = 4
const lowerInfinite = 8
const upperInfinite = 16

function rangeBinary(form: Form): Form {
  return {
    bound(bytes, from, to) {
      let most = 8 + flagBytes
      for (let at = from + 1; at + 4 <= to;) {
        const size = Math.max(bytes.readInt32BE(at), 0)
        most += form.bound(bytes, at + 4, Math.min(at + 4 + size, to))
        at += 4 + size
      }
      return most
    },
    store(bytes, from, to, out, at) {
      if (to - from < 1) return refusal.malformed
      const flags = bytes[from]
      const empty = (flags & isEmpty) !== 0
      let next = from + 1
      for (const infinite of [lowerInfinite, upperInfinite]) {
        if (empty || (flags & infinite) !== 0) {
          at = put32(out, at, -1)
          continue
        }
        if (next + 4 > to) return refusal.malformed
        const size = bytes.readInt32BE(next)
        next += 4
        if (size < 0 || size > to - next) return refusal.malformed
        at = storeItem(form, bytes, next, next + size, out, at)
        if (at < 0) return at
        next += size
      }
      if (next !== to) return refusal.malformed
      const inclusive = (flag: number, infinite: number): boolean => !empty && (flags & flag) !== 0 && (flags & infinite) === 0
      return putFlags(out, at, inclusive(lowerInclusive, lowerInfinite), inclusive(upperInclusive, upperInfinite), empty)
    },
  }
}

function rangeText(form: Form): Form {
  return builtForm((bytes, from, to, cell) => {
    const items = new TextItems(bytes, from, to)
    const refused = takeRange(items, form, cell)
    return refused === 0 && items.at !== to ? refusal.malformed : refused
  })
}

/** Appends the range that begins where `items` is. */
function takeRange(items: TextItems, form: Form, cell: CellBuilder): number {
  const flags = (lower: boolean, upper: boolean, empty: boolean): number => {
    if (!cell.room(flagBytes)) return refusal.tooLarge
    cell.length = putFlags(cell.bytes, cell.length, lower, upper, empty)
    return 0
  }
  if (items.byte === 101) {
    for (const byte of [101, 109, 112, 116, 121]) if (!items.skip(byte)) return refusal.malformed // empty
    return cell.word(-1) || cell.word(-1) || flags(false, false, true)
  }
  const fromSquare = items.skip(openSquare)
  if (!fromSquare && !items.skip(open)) return refusal.malformed
  const has = [false, false]
  for (let i = 0; i < 2; i++) {
    if (i > 0 && !items.skip(comma)) return refusal.malformed
    if (!(i === 0 ? items.next(comma, comma) : items.next(close, closeSquare))) return refusal.malformed
    has[i] = items.quoted || items.to > items.from
    const refused = has[i] ? cell.item(form, items.bytes, items.from, items.to) : cell.word(-1)
    if (refused !== 0) return refused
  }
  const toSquare = items.skip(closeSquare)
  if (!toSquare && !items.skip(close)) return refusal.malformed
  return flags(fromSquare && has[0], toSquare && has[1], false)
}

/** A multirange as a list of its ranges. */
export function multirangeCodec(bound: Codec): Codec {
  const range = rangeBinary(bound.binary)
  return nested(
    listOf(rangeType(bound.type)),
    `multirange(${bound.signature})`,
    {
      bound(bytes, from, to) {
        let most = 4
        for (let at = from + 4; at + 4 <= to;) {
          const size = Math.max(bytes.readInt32BE(at), 0)
          most += 4 + range.bound(bytes, at + 4, Math.min(at + 4 + size, to))
          at += 4 + size
        }
        return most
      },
      store(bytes, from, to, out, at) {
        if (to - from < 4) return refusal.malformed
        const count = bytes.readInt32BE(from)
        if (count < 0 || count > (to - from) / 4) return refusal.malformed
        at = put32(out, at, count)
        let next = from + 4
        for (let i = 0; i < count; i++) {
          if (next + 4 > to) return refusal.malformed
          const size = bytes.readInt32BE(next)
          next += 4
          if (size < 0 || size > to - next) return refusal.malformed
          at = storeItem(range, bytes, next, next + size, out, at)
          if (at < 0) return at
          next += size
        }
        return next === to ? at : refusal.malformed
      },
    },
    multirangeText(bound.text),
  )
}

function multirangeText(form: Form): Form {
  return builtForm((bytes, from, to, cell) => {
    const items = new TextItems(bytes, from, to)
    if (!items.skip(openCurly)) return refusal.malformed
    let refused = cell.word(0)
    let count = 0
    while (refused === 0 && items.byte !== closeCurly) {
      if (count > 0 && !items.skip(comma)) return refusal.malformed
      const start = cell.length
      refused = cell.word(0) || takeRange(items, form, cell)
      cell.bytes.writeInt32LE(Math.max(cell.length - start - 4, 0), start)
      count++
    }
    if (refused !== 0) return refused
    cell.bytes.writeInt32LE(count, 0)
    return items.skip(closeCurly) && items.at === to ? 0 : refusal.malformed
  })
}

/** `hstore` as a map; `text` is the codec of its texts. */
export function hstoreCodec(text: Codec): Codec {
  const type: Type = { kind: 'map', keyId: 0, key: text.type, valueId: 0, value: text.type, valueRequired: false }
  const binary: Form = {
    bound: (_bytes, from, to) => to - from,
    store(bytes, from, to, out, at) {
      if (to - from < 4) return refusal.malformed
      const count = bytes.readInt32BE(from)
      if (count < 0 || count > (to - from) / 8) return refusal.malformed
      at = put32(out, at, count)
      let next = from + 4
      for (let i = 0; i < 2 * count; i++) {
        if (next + 4 > to) return refusal.malformed
        const size = bytes.readInt32BE(next)
        next += 4
        if (size < 0 && i % 2 === 1) {
          at = put32(out, at, -1)
          continue
        }
        if (size < 0 || size > to - next) return refusal.malformed
        at = storeItem(text.binary, bytes, next, next + size, out, at)
        if (at < 0) return at
        next += size
      }
      return next === to ? at : refusal.malformed
    },
  }
  return nested(type, `hstore(${text.signature})`, binary, hstoreText(text.text))
}

function hstoreText(form: Form): Form {
  return builtForm((bytes, from, to, cell) => {
    const items = new TextItems(bytes, from, to)
    let refused = cell.word(0)
    let count = 0
    while (items.at < to) {
      if (count > 0 && !(items.skip(comma) && items.skip(32))) return refusal.malformed
      if (items.byte !== 34 || !items.next(61, 61)) return refusal.malformed
      refused ||= cell.item(form, items.bytes, items.from, items.to)
      if (!items.skip(61) || !items.skip(62)) return refusal.malformed // =>
      if (!items.nextOrEnd(comma)) return refusal.malformed
      refused ||= items.is('NULL') ? cell.word(-1) : cell.item(form, items.bytes, items.from, items.to)
      if (refused !== 0) return refused
      count++
    }
    if (refused !== 0) return refused
    cell.bytes.writeInt32LE(count, 0)
    return 0
  })
}

/** A 16-bit float. */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  const size =
    exponent === 31
      ? fraction === 0
        ? Number.POSITIVE_INFINITY
        : Number.NaN
      : exponent === 0
        ? fraction * 2 ** -24
        : (1 + fraction / 1024) * 2 ** (exponent - 15)
  return bits & 0x8000 ? -size : size
}

const singleForm = fixedForm(null, 4, (bytes, from, to, out, at) => {
  const value = float4(bytes, from, to)
  return value === null ? refusal.malformed : putFloat(out, at, value)
})

/** pgvector's `vector` (`width` 4) and `halfvec` (2): int16 count, int16 0, floats. */
export function vectorCodec(width: 2 | 4): Codec {
  const binary: Form = {
    bound: (_bytes, from, to) => 4 + ((to - from) / width) * 8,
    store(bytes, from, to, out, at) {
      if (to - from < 4) return refusal.malformed
      const count = bytes.readUInt16BE(from)
      if (to - from !== 4 + count * width) return refusal.malformed
      at = put32(out, at, count)
      for (let next = from + 4; next < to; next += width) {
        at = put32(out, at, 4)
        at = width === 4 ? put32(out, at, bytes.readInt32BE(next)) : putFloat(out, at, halfFloat(bytes.readUInt16BE(next)))
      }
      return at
    },
  }
  const text = builtForm((bytes, from, to, cell) => {
    const items = new TextItems(bytes, from, to)
    if (!items.skip(openSquare)) return refusal.malformed
    let refused = cell.word(0)
    let count = 0
    do {
      if (!items.next(comma, closeSquare)) return refusal.malformed
      refused ||= cell.item(singleForm, items.bytes, items.from, items.to)
      if (refused !== 0) return refused
      count++
    } while (items.skip(comma))
    cell.bytes.writeInt32LE(count, 0)
    return items.skip(closeSquare) && items.at === to ? 0 : refusal.malformed
  })
  return nested(listOf({ kind: 'float' }), `vector(${width})`, binary, text)
}
