import { Buffer } from 'node:buffer'
import type { WireReader } from '../../format/protobuf/index.ts'
import { slotKinds } from './row-image.ts'
import type { RowImage } from './row-image.ts'
import type { Scratch } from './scratch.ts'
import type { PromotedType } from './tables.ts'
import { AnyValue, anyKinds, isText } from './values.ts'
import type { Repairs, ValueText } from './values.ts'

/** Up to so many keys are compared one by one to find those that are there twice. */
const fewKeys = 24
const firstPlaces = 64

/** A promoted attribute: its key, and the slot of its column. */
export interface Promoted {
  readonly key: Uint8Array
  readonly slot: number
  readonly type: PromotedType
}

/** Attributes as they come, and the cell of `map<string, string>` that they become. Of those with one key the last counts. */
export class AttributeMap {
  readonly #scratch: Scratch
  readonly #text: ValueText
  readonly #repairs: Repairs
  readonly #any = new AnyValue()
  #count = 0
  /** Of each: where its key is, and its value; a value that begins at −1 is none. */
  #keyFrom = new Int32Array(firstPlaces)
  #keyTo = new Int32Array(firstPlaces)
  #valueFrom = new Int32Array(firstPlaces)
  #valueTo = new Int32Array(firstPlaces)

  constructor(scratch: Scratch, text: ValueText, repairs: Repairs) {
    this.#scratch = scratch
    this.#text = text
    this.#repairs = repairs
  }

  clear(): void {
    this.#count = 0
  }

  /** Takes the KeyValue message at `reader.at`, which ends at `end`. */
  take(reader: WireReader, end: number): void {
    const i = this.#count
    if (i === this.#keyFrom.length) this.#grow()
    let keyFrom = reader.at
    let keyTo = keyFrom
    let valueFrom = -1
    let valueTo = -1
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x0a) {
        keyTo = reader.through(end)
        keyFrom = reader.at
        reader.at = keyTo
      } else if (tag === 0x12) {
        valueTo = reader.through(end)
        valueFrom = reader.at
        reader.at = valueTo
      } else reader.skip(tag, end)
    }
    this.#keyFrom[i] = keyFrom
    this.#keyTo[i] = keyTo
    this.#valueFrom[i] = valueFrom
    this.#valueTo[i] = valueTo
    this.#count = i + 1
  }

  #grow(): void {
    const doubled = (places: Int32Array): Int32Array<ArrayBuffer> => {
      const larger = new Int32Array(2 * places.length)
      larger.set(places)
      return larger
    }
    this.#keyFrom = doubled(this.#keyFrom)
    this.#keyTo = doubled(this.#keyTo)
    this.#valueFrom = doubled(this.#valueFrom)
    this.#valueTo = doubled(this.#valueTo)
  }

  /** Writes the cell to the scratch memory. Moves `reader`. Throws {@link RecordRefusal}. */
  write(reader: WireReader): void {
    const scratch = this.#scratch
    this.#dropRepeated(reader.bytes)
    const head = scratch.at
    scratch.word(0)
    let count = 0
    for (let i = 0; i < this.#count; i++) {
      if (this.#keyTo[i] < 0) continue
      count++
      const key = scratch.open()
      this.#text.text(reader, this.#keyFrom[i], this.#keyTo[i])
      scratch.close(key)
      this.#read(reader, i)
      if (this.#any.kind === anyKinds.none) {
        scratch.nothing()
        continue
      }
      const value = scratch.open()
      this.#text.any(reader, this.#any)
      scratch.close(value)
    }
    scratch.set(head, count)
  }

  /** Fills the columns of promoted attributes. After {@link write}. */
  promote(reader: WireReader, promoted: readonly Promoted[], image: RowImage): void {
    for (const { key, slot, type } of promoted) {
      image.clear(slot)
      for (let i = 0; i < this.#count; i++) {
        if (this.#keyTo[i] - this.#keyFrom[i] !== key.length || !this.#isKey(reader.bytes, i, key)) continue
        this.#read(reader, i)
        this.#promoted(reader, slot, type, image)
        break
      }
    }
  }

  #read(reader: WireReader, i: number): void {
    const from = this.#valueFrom[i]
    if (from < 0) {
      this.#any.kind = anyKinds.none
      return
    }
    reader.at = from
    this.#any.read(reader, this.#valueTo[i])
  }

  /** A value of another type than the column's stays among the attributes alone. */
  #promoted(reader: WireReader, slot: number, type: PromotedType, image: RowImage): void {
    const { kind, low, high, from, to } = this.#any
    switch (type) {
      case 'string': {
        if (kind === anyKinds.none) return
        if (kind === anyKinds.string && isText(reader, from, to)) {
          image.kinds[slot] = slotKinds.body
          image.low[slot] = from
          image.high[slot] = to
          return
        }
        const start = this.#scratch.at
        this.#text.any(reader, this.#any)
        image.cell(slot, start)
        return
      }
      case 'int':
        if (kind === anyKinds.int && high === low >> 31) image.int(slot, low)
        return
      case 'long':
        if (kind === anyKinds.int) image.wide(slot, low, high)
        return
      case 'double':
        if (kind === anyKinds.double) image.wide(slot, low, high)
        return
      case 'boolean':
        if (kind === anyKinds.bool) image.int(slot, (low | high) === 0 ? 0 : 1)
    }
  }

  #isKey(body: Uint8Array, i: number, key: Uint8Array): boolean {
    const from = this.#keyFrom[i]
    for (let k = 0; k < key.length; k++) if (body[from + k] !== key[k]) return false
    return true
  }

  /** Marks those whose key comes again: their key ends at −1. */
  #dropRepeated(body: Uint8Array): void {
    if (this.#count > fewKeys) {
      this.#dropRepeatedOfMany(body)
      return
    }
    for (let i = 1; i < this.#count; i++) {
      const length = this.#keyTo[i] - this.#keyFrom[i]
      for (let j = 0; j < i; j++) {
        if (this.#keyTo[j] - this.#keyFrom[j] !== length || !this.#isSame(body, i, j, length)) continue
        this.#keyTo[j] = -1
        this.#repairs.values++
      }
    }
  }

  #isSame(body: Uint8Array, i: number, j: number, length: number): boolean {
    const a = this.#keyFrom[i]
    const b = this.#keyFrom[j]
    // Keys often begin alike.
    for (let k = length - 1; k >= 0; k--) if (body[a + k] !== body[b + k]) return false
    return true
  }

  #dropRepeatedOfMany(body: Uint8Array): void {
    const seen = new Map<string, number>()
    for (let i = 0; i < this.#count; i++) {
      const from = this.#keyFrom[i]
      const key = Buffer.from(body.buffer, body.byteOffset + from, this.#keyTo[i] - from).toString('latin1')
      const before = seen.get(key)
      if (before !== undefined) {
        this.#keyTo[before] = -1
        this.#repairs.values++
      }
      seen.set(key, i)
    }
  }
}
