import { FrazilError } from '../base/index.ts'
import type { AvroRecord, AvroValue } from '../format/avro/index.ts'

/** Typed reading of decoded manifest records: a missing or wrong field is `corrupt` (code `bad-manifest`). */

export function badManifest(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-manifest', `malformed manifest: ${why}`)
}

export function asRecord(value: AvroValue | undefined, what: string): AvroRecord {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array))
    return value as AvroRecord
  throw badManifest(`${what} is no record`)
}

export function number(record: AvroRecord, name: string): number {
  const value = record[name]
  if (typeof value === 'number') return value
  throw badManifest(`${name} is missing or out of range`)
}

export function int64OrNull(record: AvroRecord, name: string): bigint | null {
  const value = record[name]
  if (value === undefined || value === null) return null
  if (typeof value === 'number' || typeof value === 'bigint') return BigInt(value)
  throw badManifest(`${name} is no integer`)
}

export function int64(record: AvroRecord, name: string): bigint {
  const value = int64OrNull(record, name)
  if (value === null) throw badManifest(`${name} is missing`)
  return value
}

export function string(record: AvroRecord, name: string): string {
  const value = record[name]
  if (typeof value === 'string') return value
  throw badManifest(`${name} is missing`)
}

export function bytesOrNull(record: AvroRecord, name: string): Uint8Array | null {
  const value = record[name]
  if (value === undefined || value === null) return null
  if (value instanceof Uint8Array) return value
  throw badManifest(`${name} is not binary`)
}

export function numberOrNull(record: AvroRecord, name: string): number | null {
  const value = record[name]
  return value === undefined || value === null ? null : number(record, name)
}

export function stringOrNull(record: AvroRecord, name: string): string | null {
  const value = record[name]
  return value === undefined || value === null ? null : string(record, name)
}

export function numbersOrNull(record: AvroRecord, name: string): number[] | null {
  const value = record[name]
  if (value === undefined || value === null) return null
  if (!Array.isArray(value)) throw badManifest(`${name} is no list`)
  return value.map((item: AvroValue) => {
    if (typeof item !== 'number') throw badManifest(`${name} has an item that is no number`)
    return item
  })
}
