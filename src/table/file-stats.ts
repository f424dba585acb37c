import type { ColumnBucket, DataFile } from '../iceberg/index.ts'

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
/** Instead of bounds: how many buckets there are, and which one all values are in. */
const bucketFlag = 8
const bucketBytes = 8

/**
 * The column metrics of a data file in one piece of shared memory, which views carry from thread to thread without copying it; read by
 * {@link columnStats}. Null when the file has none.
 */
export function packStats({ metrics, recordCount, partition }: DataFile): Uint8Array | null {
  const known = metrics.filter(({ lower, upper, nullCount }) => lower || upper || nullCount !== undefined)
  const buckets = partition?.buckets ?? []
  if (known.length + buckets.length === 0) return null
  const bytes = known.reduce(
    (sum, { lower, upper }) => sum + headBytes + (lower?.length ?? 0) + (upper?.length ?? 0),
    buckets.length * (headBytes + bucketBytes),
  )
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
  for (const { fieldId, of, bucket } of buckets) {
    const record = [fieldId, bucketFlag, bucketBytes, -1, of, bucket]
    record.forEach((value, i) => view.setInt32(at + i * 4, value, true))
    at += headBytes + bucketBytes
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
    if (view.getInt32(at, true) === fieldId && (flags & bucketFlag) === 0) {
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

/** The buckets that all values of a column are in, of what {@link packStats} has. */
export function bucketsOf(packed: Uint8Array, fieldId: number): ColumnBucket[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  const buckets: ColumnBucket[] = []
  for (let at = 0; at < packed.length;) {
    const [id, flags, lower, upper] = [0, 4, 8, 12].map((offset) => view.getInt32(at + offset, true))
    at += headBytes
    if (id === fieldId && (flags & bucketFlag) !== 0) {
      buckets.push({ fieldId, of: view.getInt32(at, true), bucket: view.getInt32(at + 4, true) })
    }
    at += Math.max(0, lower) + Math.max(0, upper)
  }
  return buckets
}
