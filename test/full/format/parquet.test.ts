import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Field, Type, Value } from '../../../src/data/index.ts'
import { allRows, anyRows, everyType, openMapped, rowsOf, writeRows } from '../../format/parquet-cases.ts'
import type { Written } from '../../format/parquet-cases.ts'
import { pythonOf } from '../support/readers.ts'

let python: string
let folder: string
before(async () => {
  python = await pythonOf('python')
  folder = mkdtempSync(join(tmpdir(), 'frazil-pyarrow-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

/** Lines that parquet_peer.py prints. */
function peer(command: 'read' | 'write', target: string): unknown[] {
  const output = execFileSync(python, [join(import.meta.dirname, 'parquet_peer.py'), command, target], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line): unknown => JSON.parse(line))
}

/** A value in the form of parquet_peer.py's canonical(). */
function canonical(type: Type, value: Value): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return type.kind === 'float' || type.kind === 'double' ? floatText(value) : String(value)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  const values: readonly Value[] = value
  if (type.kind === 'list') return values.map((item) => canonical(type.element, item))
  if (type.kind === 'struct') return values.map((item, i) => canonical(type.fields[i].type, item))
  assert.equal(type.kind, 'map')
  return values.map((entry) =>
    Array.isArray(entry) && type.kind === 'map' ? [canonical(type.key, entry[0]), canonical(type.value, entry[1])] : entry,
  )
}

/** Bits, so that no digit and no sign is lost. */
function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes.toString('hex')
}

/** The peer's hexadecimal floats as {@link floatText}. */
function sameFloats(type: Type, value: unknown): unknown {
  if (value === null) return null
  if ((type.kind === 'float' || type.kind === 'double') && typeof value === 'string')
    return value === 'nan' ? value : floatText(parseHex(value))
  if (!Array.isArray(value)) return value
  const values: readonly unknown[] = value
  if (type.kind === 'list') return values.map((item) => sameFloats(type.element, item))
  if (type.kind === 'struct') return values.map((item, i) => sameFloats(type.fields[i].type, item))
  return values
}

/** Python's float.hex(): ±0x1.8p+3, inf. */
function parseHex(text: string): number {
  const match = /^(-?)0x([01])\.?([0-9a-f]*)p([+-]\d+)$/.exec(text)
  if (match === null) return text === '-inf' ? -Infinity : Infinity
  const [, sign, whole, fraction, exponent] = match
  // In two steps: 2^-1074 alone is representable, the digits before scaling are not smaller than 1.
  const digits = Number.parseInt(`${whole}${fraction}` || '0', 16)
  const power = Number(exponent) - fraction.length * 4
  const magnitude = power < -1000 ? digits * 2 ** -1000 * 2 ** (power + 1000) : digits * 2 ** power
  return sign === '-' ? -magnitude : magnitude
}

function same(fields: readonly Field[], actual: readonly Value[][], expected: readonly unknown[]): void {
  assert.equal(actual.length, expected.length)
  actual.forEach((row, i) => {
    const peerRow = expected[i]
    assert.ok(Array.isArray(peerRow))
    fields.forEach((field, k) =>
      assert.deepEqual(canonical(field.type, row[k]), sameFloats(field.type, peerRow[k]), `row ${i}, column ${field.name}`),
    )
  })
}

function pyArrowReads(name: string, fields: readonly Field[], rows: readonly Value[][], { bytes }: Written): void {
  const path = join(folder, `${name}.parquet`)
  writeFileSync(path, bytes)
  same(fields, rows, peer('read', path))
}

for (const required of [false, true])
  test(`PyArrow reads what we write, every type, ${required ? 'required' : 'optional'}`, () => {
    const fields = everyType(required)
    const rows = anyRows(fields, 400, 77)
    pyArrowReads(`pages-${required}`, fields, rows, writeRows(fields, rows, { pageRows: 50, rowGroupRows: 150 }))
    pyArrowReads(`plain-${required}`, fields, rows, writeRows(fields, rows, { dictionaryBytes: 0, codec: 'none' }))
    pyArrowReads(
      `overflow-${required}`,
      fields,
      rows,
      writeRows(fields, [...rows], { dictionaryBytes: 300, pageRows: 60, codec: 'gzip' }),
    )
    pyArrowReads(`empty-${required}`, fields, [], writeRows(fields, []))
  })

test('PyArrow reads columns of nulls', () => {
  const fields = everyType(false)
  const rows = Array.from({ length: 70 }, () => fields.map(() => null))
  pyArrowReads('nulls', fields, rows, writeRows(fields, rows, { pageRows: 32 }))
})

test('we read what PyArrow writes, every codec, page version and encoding', async () => {
  const lines = peer('write', folder)
  const names = lines.filter((line) => typeof line === 'string')
  const expected = lines.filter((line) => typeof line !== 'string')
  assert.equal(expected.length, 1200)
  assert.ok(names.length >= 37)
  for (const name of names) {
    const { reader, fields } = await openMapped(new Uint8Array(readFileSync(join(folder, `${name}.parquet`))))
    // Milliseconds become microseconds.
    const inMicros = expected.map((row) => {
      assert.ok(Array.isArray(row))
      return fields.map((field, i) => (field.name.endsWith('_ms') ? `${String(row[i])}000`.replace(/^0000$/, '0') : row[i]))
    })
    try {
      same(fields, await rowsOf(reader, fields), inMicros)
      same(fields, await rowsOf(reader, fields, 321, 777), inMicros.slice(321, 777))
      const positions = [0, 63, 64, 65, 499, 500, 501, 1199]
      same(
        fields,
        allRows(await reader.readRows(fields, positions)),
        positions.map((position) => inMicros[position]),
      )
    } catch (cause) {
      throw new Error(`in the file ${name}`, { cause })
    }
  }
})
