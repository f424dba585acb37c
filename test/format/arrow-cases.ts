import assert from 'node:assert/strict'
import { SlabPool } from '../../src/base/index.ts'
import { Segment, readRow, typeText } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { ArrowRows, fieldOfArrow, readArrowFields } from '../../src/format/arrow/index.ts'
import { outcomes } from '../../src/format/json/index.ts'

/** What PyArrow wrote: a stream with one column, and its values (see test/full/format/arrow_peer.py). */
export interface ArrowCase {
  readonly name: string
  readonly type: string
  /** In base64. */
  readonly stream: string
  readonly values: readonly unknown[]
}

const pool = new SlabPool({ budget: 64 << 20 })

/** The columns that the stream itself asks for. */
export function ownFields(stream: Uint8Array): Field[] {
  return readArrowFields(stream).map((field) => {
    const own = fieldOfArrow(field)
    assert(own, field.name)
    return own
  })
}

/** All rows of a stream, or the problem of the first that is refused. */
export function decodeArrow(stream: Uint8Array, fields: readonly Field[] = ownFields(stream)): Value[][] | string {
  const decoder = new ArrowRows(stream, fields)
  const rows: Value[][] = []
  const segment = Segment.create(pool, { id: 1, fields, capacity: 63, heapBytes: 1 << 20, deletable: false, baseCommit: 0 })
  assert(segment)
  try {
    decoder.bind(segment.columns)
    for (let i = 0; i < decoder.rows; i++) {
      const after = decoder.decode(stream, i, decoder.rows, 0)
      if (after === outcomes.refused) return decoder.problem.code
      assert.equal(after, i + 1)
      rows.push(readRow(segment, 0))
    }
  } finally {
    segment.unpin()
  }
  return rows
}

/** A value in the form of arrow_peer.py. */
function canonical(type: Type, value: Value): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return type.kind === 'float' || type.kind === 'double' ? bitsOf(value) : String(value)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  const values: readonly Value[] = value
  if (type.kind === 'list') return values.map((item) => canonical(type.element, item))
  if (type.kind === 'struct') return values.map((item, i) => canonical(type.fields[i].type, item))
  assert(type.kind === 'map')
  return values.map((entry) => {
    assert(Array.isArray(entry))
    const [key, item] = entry as [Value, Value]
    return [canonical(type.key, key), canonical(type.value, item)]
  })
}

function bitsOf(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes.toString('hex')
}

/** Asserts that a stream gives the type and the values that its writer says. */
export function checkCase({ name, type, stream, values }: ArrowCase): void {
  const bytes = Buffer.from(stream, 'base64')
  const [field] = ownFields(bytes)
  assert.equal(typeText(field.type), type, name)
  const rows = decodeArrow(bytes, [field])
  assert(Array.isArray(rows), `${name}: ${String(rows)}`)
  assert.deepEqual(
    rows.map(([value]) => canonical(field.type, value)),
    values,
    name,
  )
}
