import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import * as fc from 'fast-check'
import { ByteWriter, avroColumns, avroRowSchema, avroToJsonLines } from '../../src/format/avro/index.ts'
import { FrazilError } from '../../src/base/index.ts'
import { typeText } from '../../src/data/index.ts'

const cases = readFileSync(join(import.meta.dirname, 'avro-files.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { readonly name: string; readonly file: string; readonly lines: readonly string[] })

const files = new Map(cases.map(({ name, file }) => [name, Buffer.from(file, 'base64')]))

/** A file by hand: one block. */
function fileOf(schema: unknown, count: number, block: Uint8Array, codec = 'null'): Uint8Array {
  const out = new ByteWriter(256)
  out.raw(Buffer.from('Obj\u0001', 'latin1'))
  out.long(2)
  out.text('avro.schema')
  out.text(JSON.stringify(schema))
  out.text('avro.codec')
  out.text(codec)
  out.byte(0)
  const sync = Buffer.alloc(16, 7)
  out.raw(sync)
  out.long(count)
  out.bytes(block)
  out.raw(sync)
  return out.take()
}

const record = (...types: unknown[]): unknown => ({
  type: 'record',
  name: 'R',
  fields: types.map((type, i) => ({ name: `f${i}`, type })),
})

const lines = (file: Uint8Array): string => avroToJsonLines(file).toString()

suite('rows of Avro files', () => {
  for (const { name, file, lines: expected } of cases) {
    test(`what fastavro wrote is read as it is: ${name}`, () => {
      assert.equal(lines(Buffer.from(file, 'base64')), expected.map((line) => `${line}\n`).join(''))
    })
  }

  test('they say the columns that they need', () => {
    const texts = (name: string): string[] => {
      const file = files.get(name)
      assert(file)
      return avroColumns(avroRowSchema(file)).map((field) => `${field.name} ${typeText(field.type)}${field.required ? '' : '?'}`)
    }
    assert.deepEqual(texts('logical types'), [
      'date date',
      'time_ms time',
      'time time',
      'zoned_ms timestamptz',
      'zoned timestamptz',
      'local timestamp',
      'uuid uuid',
      'decimal decimal(20, 2)',
      'fixed decimal(20, 0)',
    ])
    assert.deepEqual(texts('nested types').slice(-2), ['again string?', 'fixed fixed[2]'])
  })

  test('snappy, as Java writes it, with a checksum behind each block', () => {
    // The length, a literal of four bytes, and the checksum, which only says again what the sync marker says.
    const packed = Uint8Array.from([4, 3 << 2, 2, 4, 6, 8, 0, 0, 0, 0])
    assert.equal(lines(fileOf(record('int'), 4, packed, 'snappy')), '{"f0":1}\n{"f0":2}\n{"f0":3}\n{"f0":4}\n')
  })

  test('moments that no column has are texts that none takes, nothing breaks', () => {
    const far = new ByteWriter(64)
    far.long(2n ** 63n - 1n)
    far.long(-(2n ** 63n))
    far.long(2 ** 31 - 1)
    far.long(-1)
    const logical = (type: string, logicalType: string): unknown => ({ type, logicalType })
    const schema = record(
      logical('long', 'timestamp-millis'),
      logical('long', 'timestamp-micros'),
      logical('int', 'date'),
      logical('int', 'time-millis'),
    )
    const read = JSON.parse(lines(fileOf(schema, 1, far.take()))) as Record<string, string>
    assert.deepEqual(Object.values(read), ['out of range', 'out of range', 'out of range', 'out of range'])
  })

  test('what is wrong with a body is said as such', () => {
    const refused: readonly (readonly [string, Uint8Array, string])[] = [
      ['nothing', new Uint8Array(0), 'bad-avro'],
      ['JSON', Buffer.from('{"id":1}'), 'bad-avro'],
      ['no record', fileOf('int', 1, Uint8Array.of(2)), 'bad-avro'],
      ['a schema that is none', fileOf(record('what'), 1, Uint8Array.of(2)), 'bad-avro'],
      ['recursion', fileOf(record(['null', 'R']), 1, Uint8Array.of(0)), 'unsupported-avro'],
      ['another codec', fileOf(record('int'), 1, Uint8Array.of(2), 'xz'), 'unsupported-avro'],
      ['fewer rows', fileOf(record('int'), 2, Uint8Array.of(2)), 'bad-avro'],
      ['more bytes', fileOf(record('int'), 1, Uint8Array.of(2, 2)), 'bad-avro'],
      ['no such branch', fileOf(record(['null', 'int']), 1, Uint8Array.of(4)), 'bad-avro'],
      ['no such symbol', fileOf(record({ type: 'enum', name: 'E', symbols: ['A'] }), 1, Uint8Array.of(2)), 'bad-avro'],
      ['no UTF-8', fileOf(record('string'), 1, Uint8Array.of(2, 0xff)), 'bad-avro'],
      ['a bomb', fileOf(record('bytes'), 1, deflateRawSync(Buffer.alloc(40 << 20)), 'deflate'), 'body-too-large'],
      [
        'a snappy bomb',
        fileOf(record('int'), 1, Uint8Array.of(255, 255, 255, 255, 15, 0, 0, 0, 0, 0), 'snappy'),
        'body-too-large',
      ],
    ]
    for (const [what, file, code] of refused) assert.throws(() => lines(file), { code, kind: 'request' }, what)
    // Items without bytes: as many as a number can say.
    const items = new ByteWriter(64)
    items.long(2 ** 50)
    items.byte(0)
    assert.throws(() => lines(fileOf(record({ type: 'array', items: 'null' }), 1, items.take())), { code: 'bad-avro' })
  })

  test('bytes that were changed are refused or read, never anything else', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...files.values()),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat()),
        (file, changes, end) => {
          const damaged = Uint8Array.from(end === null ? file : file.subarray(0, end % (file.length + 1)))
          for (const [at, value] of changes) if (damaged.length > 0) damaged[at % damaged.length] = value
          try {
            avroToJsonLines(damaged)
          } catch (error) {
            assert(error instanceof FrazilError && error.kind === 'request', String(error))
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
