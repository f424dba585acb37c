import type { DataFile } from '../iceberg/index.ts'

/** What is known of a column of a data file (specification: "Manifests", column metrics). What nobody has said is true. */
export interface ColumnStats {
  readonly mayBeNull: boolean
  readonly mayBePresent: boolean
  /** float and double: NaN lies outside the bounds. */
  readonly mayBeNan: boolean
  /** Single-value form (Appendix D); null where unknown. Not above the least value, and not below the greatest. */
  readonly lower: Uint8Array | null
  readonly upper: Uint8Array | null
}

/** Field id, flags, and the lengths of both bounds, −1 for none; all int32. The bounds follow. */
const headBytes = 16
const nullFlag = 1
const presentFlag = 2
const nanFlag = 4

/**
 * The column metrics of a data file in one piece of shared memory, which views carry from thread to thread without copying it; read by
 * {@link columnStats}. Null when the file has none.
 */
export function packStats({ metrics, recordCount }: DataFile): Uint8Array | null {
  const known = metrics.filter(({ lower, upper, nullCount }) => lower || upper || nullCount !== undefined)
  if (known.length === 0) return null
  const bytes = known.reduce((sum, { lower, upper }) => sum + headBytes + (lower?.length ?? 0) + (upper?.length ?? 0), 0)
  const packed = new Uint8Array(new SharedArrayBuffer(bytes))
  const view = new DataView(packed.buffer)
  let at = 0
  for (const { fieldId, lower, upper, nullCount, nanCount } of known) {
    const flags =
      (nullCount === 0 ? 0 : nullFlag) | (nullCount === recordCount ? 0 : presentFlag) | (nanCount === 0 ? 0 : nanFlag)
    const head = [fieldId, flags, lower?.length ?? -1, upper?.length ?? -1]
    head.forEach((value, i) => view.setInt32(at + i * 4, value, true))
    at += headBytes
    for (const bound of [lower, upper]) {
      if (!bound) continue
      packed.set(bound, at)
      at += bound.length
    }
  }
  return packed
}

/** What {@link packStats} has of a column; null when that is nothing. Bounds are copies. */
export function columnStats(packed: Uint8Array, fieldId: number): ColumnStats | null {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  for (let at = 0; at < packed.length;) {
    const [flags, lower, upper] = [4, 8, 12].map((offset) => view.getInt32(at + offset, true))
    const start = at + headBytes
    const middle = start + Math.max(0, lower)
    const end = middle + Math.max(0, upper)
    if (view.getInt32(at, true) === fieldId) {
      return {
        mayBeNull: (flags & nullFlag) !== 0,
        mayBePresent: (flags & presentFlag) !== 0,
        mayBeNan: (flags & nanFlag) !== 0,
        lower: lower < 0 ? null : packed.slice(start, middle),
        upper: upper < 0 ? null : packed.slice(middle, end),
      }
    }
    at = end
  }
  return null
}
