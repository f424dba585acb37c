import { FrazilError } from '../base/index.ts'

/** Most characters of an idempotency key, and of a producer's name. */
export const longestKey = 255
export const longestProducer = 64
/** Numbers of producers have at most 15 digits. */
const mostSequence = 1e15 - 1

/**
 * Throws `request` (`bad-idempotency-key`, `bad-producer`) unless the key, or who sends, is one by which a repeated request can be known
 * again. Programs are not bound by types.
 */
export function checkSender(key: unknown, producer: unknown): void {
  if (key !== null && (typeof key !== 'string' || key.length < 1 || key.length > longestKey)) {
    throw new FrazilError('request', 'bad-idempotency-key', `an idempotencyKey has 1 to ${longestKey} characters`)
  }
  if (producer === null) return
  if (key !== null) {
    throw new FrazilError('request', 'bad-producer', 'rows are sent with a producer or an idempotencyKey, not both')
  }
  const { id, sequence } = Object(producer) as { readonly id?: unknown; readonly sequence?: unknown }
  const isId = typeof id === 'string' && id.length >= 1 && id.length <= longestProducer
  const isSequence = Number.isSafeInteger(sequence) && Number(sequence) >= 0 && Number(sequence) <= mostSequence
  if (isId && isSequence) return
  throw new FrazilError(
    'request',
    'bad-producer',
    `the id of a producer has 1 to ${longestProducer} characters, and its sequence is a whole number of at most 15 digits`,
    { hint: 'Number the requests of each producer 1, 2, 3, …' },
  )
}
