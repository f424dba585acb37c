import type { JsonObject } from '../../format/json/index.ts'
import { objects } from '../json-fields.ts'
import { murmur3Long } from './murmur3.ts'
import type { PartitionValues } from './partition-values.ts'
import { parseTransform } from './transform.ts'
import type { Transform } from './transform.ts'

/** All values of a column in a data file are in one bucket; null is in none. */
export interface ColumnBucket {
  readonly fieldId: number
  /** How many there are. */
  readonly of: number
  readonly bucket: number
}

/** What partition values say of the buckets that columns are in, by the transforms that they come from. */
export function columnBuckets(
  partition: readonly { readonly fieldId: number; readonly transform: Transform | null }[],
  values: PartitionValues,
): ColumnBucket[] {
  return partition.flatMap(({ fieldId, transform }, i) => {
    const value = values[i] ?? null
    if (transform?.kind !== 'bucket' || value?.length !== 4) return []
    const bucket = new DataView(value.buffer, value.byteOffset, 4).getInt32(0, true)
    return bucket >= 0 && bucket < transform.buckets ? [{ fieldId, of: transform.buckets, bucket }] : []
  })
}

/** The same by a spec of any writer. */
export function bucketsOfSpec(spec: JsonObject, values: PartitionValues): ColumnBucket[] {
  const partition = objects(spec, 'fields').map(({ transform, 'source-id': id }) => ({
    fieldId: typeof id === 'number' ? id : 0,
    transform: typeof id === 'number' && typeof transform === 'string' ? parseTransform(transform) : null,
  }))
  return columnBuckets(partition, values)
}

/** The bucket of an int or long (specification: Appendix B). It fits into 64 bits. */
export function integerBucket(value: bigint, of: number): number {
  const hash = murmur3Long(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)))
  return (hash & 0x7fff_ffff) % of
}
