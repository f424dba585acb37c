import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool } from '../../../src/base/index.ts'
import { readRow } from '../../../src/data/index.ts'
import type { Field, SourceTable, Type, Value } from '../../../src/data/index.ts'
import { decodeBatch } from '../../../src/source/http/batch.ts'
import { Lane } from '../../../src/source/http/lane.ts'
import { letGo } from '../../../src/source/push/index.ts'
import type { PushRequest, SourceParts } from '../../../src/source/index.ts'

const pool = new SlabPool({ budget: 8 << 20, slabBytes: 1 << 20 })

const types: readonly (readonly [string, Type])[] = [
  ['id', { kind: 'long' }],
  ['a rather long name', { kind: 'string' }],
  ['n', { kind: 'int' }],
  ['x', { kind: 'double' }],
  ['at', { kind: 'timestamptz' }],
  ['local', { kind: 'timestamp' }],
  ['ok', { kind: 'boolean' }],
  ['price', { kind: 'decimal', precision: 9, scale: 2 }],
]
const list: Type = { kind: 'list', elementId: 100, element: { kind: 'int' }, elementRequired: false }

function tableOf(columns: readonly (readonly [string, Type])[]): SourceTable {
  const fields = columns.map(([name, type], i): Field => ({ id: i + 1, name, type, required: name === 'id' }))
  return { id: 't', sourceName: 't', namespace: 'app', name: 't', fields, key: { kind: 'none' } }
}

let nextSegment = 1
const parts: SourceParts = {
  pool,
  clock: { now: () => 0, monotonic: () => 0, sleep: async () => undefined },
  nextSegmentId: () => nextSegment++,
  currentCommit: () => 0,
  deletable: () => false,
  onSchemaChange: () => null,
}

interface Decoded {
  readonly rows: (readonly Value[])[]
  readonly refusals: (readonly [number, string, string | null, string])[]
  readonly body: string
}

function decode(table: SourceTable, lane: Lane, form: PushRequest['form'], body: Buffer, ends?: Uint32Array): Decoded {
  const request: PushRequest = {
    table: { ingest: 't' },
    operation: 'insert',
    form,
    body,
    partial: true,
    key: null,
    ...(ends ? { ends } : {}),
  }
  const batch = decodeBatch(request, table.fields, lane, pool.budget)
  const rows = batch.rows.flatMap(({ segment, from, to }) =>
    Array.from({ length: to - from }, (_, i) => readRow(segment, from + i)),
  )
  assert.equal(rows.length, batch.count)
  letGo(batch.rows)
  const refusals = batch.refusals.map(({ row, code, column, message }) => [row, code, column, message] as const)
  return { rows, refusals, body: Buffer.from(batch.body).toString() }
}

/** Values as programs write them, and some that they should not. */
const values: Readonly<Record<string, fc.Arbitrary<string>>> = {
  id: fc.oneof(
    fc.maxSafeInteger().map(String),
    fc.bigInt(-(2n ** 64n), 2n ** 64n).map(String),
    fc.constantFrom('-0', '007', '1.0'),
  ),
  'a rather long name': fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 80 }).map((text) => JSON.stringify(text)),
    fc.string({ maxLength: 40 }).map((text) => JSON.stringify(text)),
    fc.constantFrom('null', '"\\u00e9"', '"\\ud83d"', '"\t"', '"open', '""', '7'),
  ),
  n: fc.oneof(fc.integer().map(String), fc.constantFrom('2147483648', '1e3', 'null', '-', '"1"')),
  x: fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
    fc.integer().map((number) => String(number / 64)),
    fc.constantFrom('0.1', '1.', '.5', '-0.0', '00.5', '123456789012345.6', '0.0000000000000000001', '"NaN"', 'null'),
  ),
  at: fc.oneof(
    fc
      .tuple(fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }), fc.nat(6))
      .map(([date, digits]) => `"${date.toISOString().slice(0, 19)}${digits > 0 ? `.${'123456'.slice(0, digits)}` : ''}Z"`),
    fc.constantFrom(
      '"2024-02-30T00:00:00Z"',
      '"2024-02-29T24:00:00Z"',
      '"2024-02-29T00:00:00"',
      '"2024-02-29t00:00:00z"',
      'null',
    ),
  ),
  local: fc.constantFrom('"2024-02-29T01:02:03"', '"2024-02-29 01:02:03.5"', '"2024-02-29T01:02:61"', '"2024-02-29T1a:02:03"'),
  ok: fc.constantFrom('true', 'false', 'null', 'tru', 'falsf', '1'),
  price: fc.constantFrom('1.5', '"2.25"', '1.555', '12', 'null'),
  list: fc.constantFrom('[1,2]', '[]', '[1,\n2]', '["1"]', 'null'),
}

const line = (names: readonly string[]): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom('', '', '', ' ', '\r', '\n', '  '),
      fc.shuffledSubarray([...names], { minLength: names.length - 2 }),
      fc.boolean(),
      fc.constantFrom('', '', '', '', ' ', ' x', ',', '{"id":1}'),
      fc.record(Object.fromEntries(names.map((name) => [name, values[name]]))),
    )
    .map(([space, shuffled, isShuffled, tail, cells]) => {
      const order = isShuffled ? shuffled : names
      return `${space}{${order.map((name) => `${JSON.stringify(name)}:${space}${cells[name]}`).join(`,${space}`)}${space}}${tail}`
    })

/** The row beside what JSON.parse makes of its text. */
function isWhatJsonSays(names: readonly string[], row: readonly Value[], text: string): void {
  const parsed = JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? (context?.source ?? '') : value,
  ) as Record<string, string | boolean | null>
  for (const [i, name] of names.entries()) {
    const given = parsed[name] ?? null
    const cell = row[i]
    if (given === null) assert.equal(cell, null)
    else if (name === 'id') assert.equal(cell, BigInt(String(given)))
    else if (name === 'n') assert(cell === Number(given))
    else if (name === 'x') assert(Object.is(cell, Number(given)))
    else if (name === 'a rather long name' || name === 'ok') assert.equal(cell, given)
    else if (name === 'at') {
      const [seconds, micros = ''] = String(given).toUpperCase().replace('Z', '').split('.')
      assert.equal(cell, BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(micros.padEnd(6, '0')))
    }
  }
}

function agrees(columns: readonly (readonly [string, Type])[]): void {
  const table = tableOf(columns)
  const together = new Lane(table.fields, [], false, parts)
  const alone = new Lane(table.fields, [], false, parts)
  const names = columns.map(([name]) => name)
  const body = fc
    .tuple(fc.array(fc.oneof(line(names), fc.constantFrom('', ' ', '\r', '[]', 'null', '{}')), { maxLength: 12 }), fc.boolean())
    .map(([found, ends]) => Buffer.from(`${found.join('\n')}${ends ? '\n' : ''}`.toWellFormed()))
  fc.assert(
    fc.property(body, (bytes) => {
      const got = decode(table, together, 'lines', bytes)
      const wanted: Decoded = { rows: [], refusals: [], body: '' }
      let kept = ''
      for (const text of bytes
        .toString()
        .split('\n')
        .filter((each) => each.trim() !== '')) {
        const { rows, refusals, body: good } = decode(table, alone, 'row', Buffer.from(text))
        for (const row of rows) isWhatJsonSays(names, row, text)
        wanted.rows.push(...rows)
        for (const [, ...refusal] of refusals) wanted.refusals.push([wanted.rows.length + wanted.refusals.length + 1, ...refusal])
        if (rows.length > 0) kept += good
      }
      assert.deepEqual(got.rows, wanted.rows)
      assert.deepEqual(got.refusals, wanted.refusals)
      assert.equal(got.body.replaceAll(/[\s]+/g, ''), kept.replaceAll(/[\s]+/g, ''))
    }),
    { numRuns: 400 },
  )
  together.release()
  alone.release()
}

/** Rows of requests that go together are what each of them is alone; a row may lie on several lines. */
function goTogether(columns: readonly (readonly [string, Type])[]): void {
  const table = tableOf(columns)
  const together = new Lane(table.fields, [], false, parts)
  const alone = new Lane(table.fields, [], false, parts)
  const names = columns.map(([name]) => name)
  const row = line(names).filter((text) => /\}\s*$/.test(text) && !text.endsWith('{"id":1}'))
  fc.assert(
    fc.property(fc.array(fc.oneof(row, fc.constantFrom('[]', 'null', '{}', '7')), { minLength: 1, maxLength: 12 }), (found) => {
      const texts = found.map((text) => Buffer.from(`${text.toWellFormed()}\n`))
      let at = 0
      const ends = Uint32Array.from(texts, ({ length }) => (at += length))
      const got = decode(table, together, 'rows', Buffer.concat(texts), ends)
      const wanted: Decoded = { rows: [], refusals: [], body: '' }
      for (const [i, text] of texts.entries()) {
        const { rows, refusals } = decode(table, alone, 'row', text)
        wanted.rows.push(...rows)
        for (const [, ...refusal] of refusals) wanted.refusals.push([i + 1, ...refusal])
      }
      assert.deepEqual(got.rows, wanted.rows)
      assert.deepEqual(got.refusals, wanted.refusals)
    }),
    { numRuns: 400 },
  )
  together.release()
  alone.release()
}

suite('lines of rows', () => {
  test('decoded together they are what each of them is alone', () => {
    agrees(types)
  })

  test('the same with values that have parts', () => {
    agrees([...types.slice(0, 3), ['list', list]])
  })

  test('rows of several requests are what each of them is alone', () => {
    goTogether(types)
    goTogether([...types.slice(0, 3), ['list', list]])
  })

  test('many rows, over the ends of segments and heaps', () => {
    const table = tableOf(types.slice(0, 2))
    const lane = new Lane(table.fields, [], false, parts)
    const rows = Array.from({ length: 20_000 }, (_, i) => ({
      id: i,
      'a rather long name': 'é'.repeat(i % 997 === 0 ? 3000 : i % 40),
    }))
    const body = Buffer.from(rows.map((row) => JSON.stringify(row)).join('\r\n'))
    const { rows: found, refusals } = decode(table, lane, 'lines', body)
    assert.deepEqual(refusals, [])
    assert.deepEqual(
      found,
      rows.map((row) => [BigInt(row.id), row['a rather long name']]),
    )
    lane.release()
  })
})
