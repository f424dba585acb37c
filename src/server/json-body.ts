import { z } from 'zod'
import { FrazilError } from '../base/index.ts'

/** Parses JSON so that integers beyond 2^53 keep all their digits, as bigint. Throws `request`. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, exactIntegers)
  } catch (error) {
    throw new FrazilError('request', 'bad-json', 'the body is not JSON', { cause: error })
  }
}

function exactIntegers(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source ?? ''
  return /^-?\d+$/.test(source) ? BigInt(source) : value
}

/** The body as `schema` wants it. Throws `request`, naming the key and what is allowed. */
export function checkBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body ?? {})
  if (result.success) return result.data
  const sentences = result.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  )
  throw new FrazilError('request', 'bad-body', sentences.join('; '))
}
