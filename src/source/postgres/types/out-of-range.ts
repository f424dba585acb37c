import type { Type } from '../../../data/index.ts'
import { refusal } from '../refusals.ts'
import { put32, put64 } from './codec.ts'
import type { Codec, Form } from './codec.ts'

/** What becomes of a value that its Iceberg type cannot hold. */
export type OutOfRange = 'error' | 'null' | 'clamp'

/** Counts values that were replaced. */
export interface Replaced {
  count: number
}

interface Ends {
  readonly high: number
  readonly low: number
}

/** Days and microseconds of the first and the last moment of the years 1 to 9999, which every reader can show. */
const firstDay = -719_162
const lastDay = 2_932_896
const firstMicros = wordsOf(-62_135_596_800_000_000n)
const lastMicros = wordsOf(253_402_300_799_999_999n)
const lastTime = wordsOf(86_399_999_999n)

function wordsOf(value: bigint): Ends {
  return { high: Number(value >> 32n), low: Number(value & 0xffffffffn) }
}

/**
 * The codec with a rule for values that cannot be represented: infinities, NaN in a decimal, 24:00:00, times beyond int64. `clamp`
 * takes the nearest of the years 1 to 9999 for all dates and timestamps outside of them, and 23:59:59.999999; NaN has none and
 * becomes null.
 */
export function withRule(codec: Codec, rule: OutOfRange, replaced: Replaced): Codec {
  if (rule === 'error' || !['date', 'time', 'timestamp', 'timestamptz', 'decimal'].includes(codec.type.kind)) return codec
  const lenient = (form: Form, isNegative: (bytes: Buffer, from: number) => boolean): Form => ({
    bound: (bytes, from, to) => form.bound(bytes, from, to),
    store(bytes, from, to, out, at) {
      const end = form.store(bytes, from, to, out, at)
      const refused =
        end === refusal.infinite || end === refusal.notANumber || end === refusal.endOfDay || end === refusal.outOfRange
      if (end < 0 && !refused) return end
      const clamped = rule === 'clamp' && clamp(codec.type, refused ? (isNegative(bytes, from) ? -1 : 1) : 0, out, at)
      if (refused || clamped) replaced.count++
      return !refused ? end : clamped ? form.bound(bytes, from, to) + at : refusal.asNull
    },
  })
  return {
    ...codec,
    kind: 'stored',
    signature: `${codec.signature}/${rule}`,
    binary: lenient(codec.binary, (bytes, from) => bytes[from] >= 0x80),
    text: lenient(codec.text, (bytes, from) => bytes[from] === 45),
  }
}

/** Writes the nearest end when the stored value, or its side (−1, 1), lies beyond it; returns whether it did. */
function clamp(type: Type, side: number, out: Uint8Array, at: number): boolean {
  if (type.kind === 'time') {
    if (side === 0) return false
    put64(out, at, lastTime.high, lastTime.low)
    return true
  }
  const view = new DataView(out.buffer, out.byteOffset + at)
  if (type.kind === 'date') {
    const days = side === 0 ? view.getInt32(0, true) : side * Number.POSITIVE_INFINITY
    if (days >= firstDay && days <= lastDay) return false
    put32(out, at, days < firstDay ? firstDay : lastDay)
    return true
  }
  if (type.kind !== 'timestamp' && type.kind !== 'timestamptz') return false
  const high = side === 0 ? view.getInt32(4, true) : side * Number.POSITIVE_INFINITY
  const low = side === 0 ? view.getUint32(0, true) : 0
  const before = high < firstMicros.high || (high === firstMicros.high && low < firstMicros.low)
  const after = high > lastMicros.high || (high === lastMicros.high && low > lastMicros.low)
  if (!before && !after) return false
  const end = before ? firstMicros : lastMicros
  put64(out, at, end.high, end.low)
  return true
}
