import { FrazilError, asError } from '../../base/index.ts'

/** A piece of JSON kept as text: a number JavaScript would print differently (`1.0`), or a part encoded earlier. */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** Integers are `number` while safe and `bigint` beyond; nothing that was read changes when it is written again. */
export type JsonValue = null | boolean | number | bigint | string | JsonText | readonly JsonValue[] | JsonObject

export interface JsonObject {
  readonly [key: string]: JsonValue
}

const integer = /^-?[1-9]\d*$/

/** Parses JSON without losing digits. Throws `corrupt` (code `bad-json`) with the position, never the text. */
export function parseJson(text: string): JsonValue {
  try {
    return JSON.parse(text, (_key, value: JsonValue, context?: { source?: string }) => {
      if (typeof value !== 'number') return value
      const source = context?.source ?? ''
      if (Number.isSafeInteger(value) && String(value) === source) return value
      if (integer.test(source)) return BigInt(source)
      return String(value) === source ? value : new JsonText(source)
    }) as JsonValue
  } catch (thrown) {
    const at = /position \d+/.exec(asError(thrown).message)
    throw new FrazilError('corrupt', 'bad-json', `not valid JSON${at === null ? '' : ` at ${at[0]}`}`)
  }
}

/** The JSON text of a value: int64 as plain digits, keys in their order, no spaces. */
export function encodeJson(value: JsonValue): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'number':
      return JSON.stringify(value)
    default:
  }
  if (value === null) return 'null'
  if (value instanceof JsonText) return value.text
  if (isJsonArray(value)) return `[${value.map(encodeJson).join(',')}]`
  const members: string[] = []
  for (const key of Object.keys(value)) members.push(`${JSON.stringify(key)}:${encodeJson(value[key])}`)
  return `{${members.join(',')}}`
}

export function isJsonArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value)
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonText)
}
