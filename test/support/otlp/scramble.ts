import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { bytes, double, fixed32, fixed64, message, number, varint } from './encode.ts'

/** A field of a message as it lies there, its tag included. */
interface WireField {
  readonly number: number
  readonly type: number
  readonly bytes: Buffer
  /** What is in it, of texts, bytes and messages. */
  readonly content: Buffer
}

function fieldsOf(body: Buffer): WireField[] {
  const fields: WireField[] = []
  let at = 0
  const next = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = body[at++]
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
  }
  while (at < body.length) {
    const start = at
    const tag = next()
    const type = tag & 7
    let from = at
    if (type === 0) next()
    else if (type === 1) at += 8
    else if (type === 5) at += 4
    else {
      const length = next()
      from = at
      at += length
    }
    fields.push({ number: tag >>> 3, type, bytes: body.subarray(start, at), content: body.subarray(from, at) })
  }
  return fields
}

/** What another version of the protocol may add: fields of all wire types, groups too. */
const unknown = fc
  .tuple(fc.integer({ min: 200, max: 2 ** 20 }), fc.nat(5), fc.uint8Array({ maxLength: 20 }), fc.bigInt(0n, 2n ** 64n - 1n))
  .map(([field, kind, content, value]) => {
    if (kind === 0) return number(field, value)
    if (kind === 1) return fixed64(field, value)
    if (kind === 2) return bytes(field, content)
    if (kind === 3) return fixed32(field, Number(value & 0xffffffffn))
    if (kind === 4) return double(field, Number(value))
    return message(varint((field << 3) | 3), bytes(1, content), number(2, value), varint((field << 3) | 4))
  })

/** Draws from a stream of random numbers that fast-check shrinks. */
export interface Luck {
  readonly numbers: readonly number[]
  readonly strangers: readonly Buffer[]
}

export const luck: fc.Arbitrary<Luck> = fc.record({
  numbers: fc.array(fc.nat(2 ** 20), { minLength: 1, maxLength: 200 }),
  strangers: fc.array(unknown, { minLength: 1, maxLength: 10 }),
})

/**
 * The same Export…ServiceRequest as another program may write it: fields in another order (those of one number stay in theirs), unknown
 * fields between them, and numbers of records that are said twice, of which the last one counts.
 */
export function scrambled(body: Buffer, { numbers, strangers }: Luck): Buffer {
  let drawn = 0
  const draw = (below: number): number => numbers[drawn++ % numbers.length] % below
  const mixed = (fields: readonly WireField[], inner: (field: WireField) => Buffer): Buffer => {
    const queues = [...Map.groupBy(fields, (field) => field.number).values()].map((queue) => queue.map(inner))
    const parts: Buffer[] = []
    while (queues.length > 0) {
      if (draw(4) === 0) parts.push(strangers[draw(strangers.length)])
      const i = draw(queues.length)
      parts.push(...queues[i].splice(0, 1))
      if (queues[i].length === 0) queues.splice(i, 1)
    }
    return message(...parts)
  }
  const record = (field: WireField): Buffer => {
    if (draw(3) > 0 || field.type === 2) return field.bytes
    const decoy =
      field.type === 0 ? number(field.number, 1) : field.type === 1 ? fixed64(field.number, 1n) : fixed32(field.number, 1)
    return message(decoy, field.bytes)
  }
  const within = (wanted: number, inner: (content: Buffer) => Buffer) => (field: WireField) =>
    field.number === wanted ? bytes(wanted, inner(field.content)) : field.bytes
  const scope = (content: Buffer): Buffer =>
    mixed(
      fieldsOf(content),
      within(2, (one) => mixed(fieldsOf(one), record)),
    )
  const resource = (content: Buffer): Buffer => mixed(fieldsOf(content), within(2, scope))
  return mixed(fieldsOf(body), within(1, resource))
}
