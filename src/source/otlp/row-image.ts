import type { WireReader } from '../../format/protobuf/index.ts'
import type { Halves } from './places.ts'
import type { Scratch } from './scratch.ts'
import { isText, refusals } from './values.ts'
import type { Repairs, ValueText } from './values.ts'

/** Where the value of a slot is. */
export const slotKinds = { none: 0, number: 1, body: 2, scratch: 3 } as const

/** Bytes of ids. */
export const idBytes = { trace: 16, span: 8 } as const

/** Both hex digits of a byte, as they lie in memory. */
const hexDigits = Uint16Array.from({ length: 256 }, (_, byte) => Buffer.from(byte.toString(16).padStart(2, '0')).readUInt16LE())

/**
 * The values of the row that is being read, by names of columns: numbers as they are stored, the others as places in the body or in the
 * scratch memory. One serves all tables of a signal; what several rows share stays in it from row to row.
 */
export class RowImage {
  readonly #names = new Map<string, number>()
  kinds = new Uint8Array(0)
  /** Low half of a number, or where a value begins. */
  low = new Int32Array(0)
  /** High half of a number, or where a value ends. */
  high = new Int32Array(0)
  readonly #scratch: Scratch
  readonly #text: ValueText
  readonly #repairs: Repairs

  constructor(names: Iterable<string>, scratch: Scratch, text: ValueText, repairs: Repairs) {
    for (const name of names) if (!this.#names.has(name)) this.#names.set(name, this.#names.size)
    const size = this.#names.size
    this.kinds = new Uint8Array(size)
    this.low = new Int32Array(size)
    this.high = new Int32Array(size)
    this.#scratch = scratch
    this.#text = text
    this.#repairs = repairs
  }

  /** The slot of a column; −1 for one that is nobody's. */
  find(name: string): number {
    return this.#names.get(name) ?? -1
  }

  slot(name: string): number {
    const slot = this.find(name)
    if (slot < 0) throw new Error(`no column ${name}`)
    return slot
  }

  clear(slot: number): void {
    this.kinds[slot] = slotKinds.none
  }

  int(slot: number, value: number): void {
    this.kinds[slot] = slotKinds.number
    this.low[slot] = value
  }

  /** A number of 64 bits, or a double by its halves. */
  wide(slot: number, low: number, high: number): void {
    this.kinds[slot] = slotKinds.number
    this.low[slot] = low
    this.high[slot] = high
  }

  /** What was written to the scratch memory since `from`. */
  cell(slot: number, from: number): void {
    this.kinds[slot] = slotKinds.scratch
    this.low[slot] = from
    this.high[slot] = this.#scratch.at
  }

  /** Text in the body; without any it is null unless it is `needed`. */
  text(slot: number, reader: WireReader, from: number, to: number, needed = false): void {
    if (from === to && !needed) {
      this.kinds[slot] = slotKinds.none
    } else if (isText(reader, from, to)) {
      this.kinds[slot] = slotKinds.body
      this.low[slot] = from
      this.high[slot] = to
    } else {
      const start = this.#scratch.at
      this.#text.text(reader, from, to)
      this.cell(slot, start)
    }
  }

  /** The text that comes next; see {@link text}. */
  takeText(slot: number, reader: WireReader, end: number, needed = false): void {
    const to = reader.through(end)
    this.text(slot, reader, reader.at, to, needed)
    reader.at = to
  }

  /** The id that comes next; see {@link id}. */
  takeId(slot: number, reader: WireReader, end: number, bytes: number): void {
    const to = reader.through(end)
    this.id(slot, reader, reader.at, to, bytes)
    reader.at = to
  }

  /** A trace or span id as lower-case hex. None, or only zeros: null; of another length: null, and counted. */
  id(slot: number, reader: WireReader, from: number, to: number, bytes: number): void {
    const start = this.#scratch.at
    if (putId(this.#scratch, this.#repairs, reader, from, to, bytes)) this.cell(slot, start)
    else this.kinds[slot] = slotKinds.none
  }

  /** Nanoseconds since 1970 into a column of microseconds and one of what they were; 0 is null. */
  time(micros: number, nanos: number, time: Halves): void {
    if (time.isZero) {
      this.kinds[micros] = slotKinds.none
      this.kinds[nanos] = slotKinds.none
      return
    }
    this.wide(nanos, time.low, time.high)
    this.micros(micros, time)
  }

  /** Nanoseconds into a column of microseconds. */
  micros(slot: number, { low, high }: Halves): void {
    if (high < 0) throw refusals.lateTime
    const above = Math.trunc(high / 1000)
    const rest = (high - above * 1000) * 2 ** 32 + (low >>> 0)
    this.wide(slot, Math.floor(rest / 1000), above)
  }

  /** A count of 32 bits. */
  count(slot: number, value: number): void {
    if (value > 0x7fff_ffff) throw refusals.largeCount
    this.int(slot, value)
  }

  /** A count of 64 bits, which a reader has read. */
  longCount(slot: number, { low, high }: WireReader): void {
    if (high < 0) throw refusals.largeCount
    this.wide(slot, low, high)
  }
}

/** Writes an id as hex to the scratch memory, unless there is none. */
export function putId(
  scratch: Scratch,
  repairs: Repairs,
  { bytes: body }: WireReader,
  from: number,
  to: number,
  bytes: number,
): boolean {
  if (to - from !== bytes) {
    if (to > from) repairs.values++
    return false
  }
  scratch.room(2 * bytes)
  let { at } = scratch
  let all = 0
  const { view } = scratch
  for (let i = from; i < to; i++) {
    const byte = body[i]
    all |= byte
    view.setUint16(at, hexDigits[byte], true)
    at += 2
  }
  if (all === 0) return false
  scratch.at = at
  return true
}
