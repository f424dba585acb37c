import type { Halves, Place } from './places.ts'
import type { RecordParts } from './record-reader.ts'
import { putId } from './row-image.ts'
import type { Scratch } from './scratch.ts'
import { refusals } from './values.ts'

/** Writes the items that nested cells are made of (see `decodeValue`) to the scratch memory. */

export function putInt(scratch: Scratch, value: number): void {
  scratch.word(4)
  scratch.word(value)
}

export function putWide(scratch: Scratch, low: number, high: number): void {
  scratch.word(8)
  scratch.word(low)
  scratch.word(high)
}

/** A count of 32 bits. */
export function putCount(scratch: Scratch, value: number): void {
  if (value > 0x7fff_ffff) throw refusals.largeCount
  putInt(scratch, value)
}

/** Nanoseconds since 1970 as an item of microseconds and one of what they were; 0 is null. */
export function putTime(scratch: Scratch, { low, high, isZero }: Halves): void {
  if (isZero) {
    scratch.nothing()
    scratch.nothing()
    return
  }
  if (high < 0) throw refusals.lateTime
  const above = Math.trunc(high / 1000)
  putWide(scratch, Math.floor(((high - above * 1000) * 2 ** 32 + (low >>> 0)) / 1000), above)
  putWide(scratch, low, high)
}

/** Text of the body; without any it is null unless it is `needed`. */
export function putText({ scratch, text, reader }: RecordParts, { from, to }: Place, needed: boolean): void {
  if (from === to && !needed) {
    scratch.nothing()
    return
  }
  const item = scratch.open()
  text.text(reader, from, to)
  scratch.close(item)
}

export function putIdItem({ scratch, repairs, reader }: RecordParts, { from, to }: Place, bytes: number): void {
  const before = scratch.at
  const item = scratch.open()
  if (putId(scratch, repairs, reader, from, to, bytes)) scratch.close(item)
  else {
    scratch.reset(before)
    scratch.nothing()
  }
}

/** The attributes taken. Moves the reader. */
export function putAttributes({ scratch, inner, reader }: RecordParts): void {
  const item = scratch.open()
  inner.write(reader)
  scratch.close(item)
}
