import { FrazilError } from '../base/index.ts'
import { isJsonArray, isJsonObject } from '../format/json/index.ts'
import type { JsonObject, JsonValue } from '../format/json/index.ts'

/** Typed reading of metadata JSON: a missing or wrong field is `corrupt` (code `bad-metadata`) and named. */

export function badMetadata(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-metadata', `malformed table metadata: ${why}`)
}

/** True when the key is absent or null. */
export function isAbsent(object: JsonObject, key: string): boolean {
  return object[key] === undefined || object[key] === null
}

export function int64(object: JsonObject, key: string): bigint {
  const value = object[key]
  if (typeof value === 'bigint') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value)
  throw badMetadata(`"${key}" is no integer`)
}

export function int(object: JsonObject, key: string): number {
  const value = object[key]
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  throw badMetadata(`"${key}" is no integer`)
}

export function text(object: JsonObject, key: string): string {
  const value = object[key]
  if (typeof value === 'string') return value
  throw badMetadata(`"${key}" is no text`)
}

export function flag(object: JsonObject, key: string): boolean {
  const value = object[key]
  if (typeof value === 'boolean') return value
  throw badMetadata(`"${key}" is neither true nor false`)
}

export function object(value: JsonValue | undefined, what: string): JsonObject {
  if (isJsonObject(value)) return value
  throw badMetadata(`${what} is no object`)
}

/** The objects of an array; none when it is absent. */
export function objects(parent: JsonObject, key: string): JsonObject[] {
  if (isAbsent(parent, key)) return []
  const value = parent[key]
  if (!isJsonArray(value)) throw badMetadata(`"${key}" is no array`)
  return value.map((each) => object(each, `an item of "${key}"`))
}

/** An object of texts; empty when it is absent. */
export function texts(parent: JsonObject, key: string): Record<string, string> {
  if (isAbsent(parent, key)) return {}
  const entries = Object.entries(object(parent[key], `"${key}"`))
  return Object.fromEntries(
    entries.map(([name, value]) => {
      if (typeof value !== 'string') throw badMetadata(`"${key}" has a value that is no text`)
      return [name, value]
    }),
  )
}
