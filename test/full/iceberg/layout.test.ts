import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import { columnOf } from '../../../src/data/index.ts'
import type { Field, PrimitiveType, Value } from '../../../src/data/index.ts'
import { parsePartition, parseSort, resultType, withLayout } from '../../../src/iceberg/index.ts'
import type { DataFile } from '../../../src/iceberg/index.ts'
import { singleValueAt, transformColumn } from '../../../src/iceberg/layout/index.ts'
import { parseTransform } from '../../../src/iceberg/layout/transform.ts'
import { LocalStore } from '../../../src/storage/index.ts'
import { Lab } from '../../iceberg/lab.ts'
import { ParquetFiles } from '../../iceberg/parquet.ts'
import { Spark, python, readDuckDb, readPyIceberg } from './readers.ts'

/** Values of a type, edge cases among them. */
function someValues(type: PrimitiveType): Value[] {
  const random = seededRandom(5)
  const many = Array.from({ length: 200 }, () => random.positive63())
  const signed = many.map((value, i) => (i % 2 === 0 ? value : -value))
  switch (type.kind) {
    case 'int':
    case 'date':
      // Years 1 to 9999 of dates, which Python has.
      return [
        0,
        -1,
        1,
        type.kind === 'int' ? 2 ** 31 - 1 : 2_932_896,
        -719_162,
        ...signed.map((value) => Number(BigInt.asIntN(20, value))),
      ]
    case 'long':
      return [0n, -1n, 2n ** 62n, ...signed]
    case 'time':
      return [0n, 86_399_999_999n, ...many.map((value) => value % 86_400_000_000n)]
    case 'timestamp':
    case 'timestamptz':
      return [0n, -1n, -62_135_596_800_000_000n, ...signed.map((value) => value % 62_000_000_000_000_000n)]
    case 'decimal':
      return [0n, -1n, 127n, 128n, -129n, ...signed.map((value) => value % 10n ** BigInt(Math.min(type.precision, 18)))]
    case 'string':
      return ['', 'a', 'iceberg', '🧊🧊🧊🧊', 'größe', ...many.map(String)]
    default:
      return many.map((value) => {
        const bytes = new Uint8Array(16)
        new DataView(bytes.buffer).setBigInt64(3, value)
        return bytes
      })
  }
}

const types: readonly PrimitiveType[] = [
  { kind: 'int' },
  { kind: 'long' },
  { kind: 'date' },
  { kind: 'time' },
  { kind: 'timestamp' },
  { kind: 'timestamptz' },
  { kind: 'decimal', precision: 9, scale: 2 },
  { kind: 'decimal', precision: 18, scale: 2 },
  { kind: 'decimal', precision: 38, scale: 2 },
  { kind: 'string' },
  { kind: 'uuid' },
  { kind: 'binary' },
  { kind: 'fixed', length: 16 },
]

/** PyIceberg's transforms of values in single-value form, as the same. */
const program = `
import json, sys
from pyiceberg.conversions import from_bytes, to_bytes
from pyiceberg.transforms import parse_transform
from pyiceberg.types import IcebergType
from pyiceberg.typedef import IcebergBaseModel
class Box(IcebergBaseModel):
    type: IcebergType
for line in sys.stdin:
    asked = json.loads(line)
    source = Box.model_validate({"type": asked["type"]}).type
    transform = parse_transform(asked["transform"])
    apply, result = transform.transform(source), transform.result_type(source)
    answers = []
    for value in asked["values"]:
        out = apply(from_bytes(source, bytes.fromhex(value)))
        answers.append(None if out is None else to_bytes(result, out).hex())
    print(json.dumps(answers))
`

describe('partition transforms and partitioned tables, by other implementations', () => {
  let folder = ''

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-layout-'))
  })

  after(() => rm(folder, { recursive: true }))

  test('iceberg check 46: transforms equal those of PyIceberg', async () => {
    const cases = types.flatMap((type) =>
      ['identity', 'bucket[16]', 'bucket[997]', 'truncate[3]', 'truncate[100]', 'year', 'month', 'day', 'hour'].flatMap(
        (text) => {
          const transform = parseTransform(text)
          return transform && resultType(transform, type) ? [{ type, text, transform }] : []
        },
      ),
    )
    const hex = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString('hex')
    const asked: string[] = []
    const ours: (string | null)[][] = []
    for (const { type, text, transform } of cases) {
      const values = someValues(type)
      const column = columnOf({ id: 1, name: 'c', type, required: true }, values)
      const rows = Int32Array.from(values, (_, i) => i)
      const sources = transformColumn({ kind: 'identity' }, column, rows)
      const results = transformColumn(transform, column, rows)
      const name =
        type.kind === 'decimal'
          ? `decimal(${type.precision}, ${type.scale})`
          : type.kind === 'fixed'
            ? `fixed[${type.length}]`
            : type.kind
      asked.push(JSON.stringify({ type: name, transform: text, values: values.map((_, i) => hex(singleValueAt(sources, i))) }))
      ours.push(values.map((_, i) => hex(singleValueAt(results, i))))
    }
    const output = execFileSync(await python('python'), ['-c', program], {
      input: asked.join('\n'),
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    })
    const theirs = output.trim().split('\n')
    assert.equal(theirs.length, cases.length)
    for (const [i, { type, text }] of cases.entries()) assert.deepEqual(ours[i], JSON.parse(theirs[i]), `${text} of ${type.kind}`)
  })

  test('iceberg check 36: Spark finds every row by a filter on the columns of the partition', { timeout: 300_000 }, async () => {
    const fields: Field[] = [
      { id: 0, name: 'id', type: { kind: 'long' }, required: true },
      { id: 0, name: 'at', type: { kind: 'timestamptz' }, required: false },
      { id: 0, name: 'price', type: { kind: 'decimal', precision: 9, scale: 2 }, required: false },
      { id: 0, name: 'name', type: { kind: 'string' }, required: false },
    ]
    const to = new Lab({ store: new LocalStore(join(folder, 'lake')), fields })
    const partitionBy = ['day(at)', 'bucket(7, id)', 'truncate(50, price)', 'truncate(2, name)', 'bucket(3, name)']
    to.table = withLayout(to.table, { partitionBy: partitionBy.map(parsePartition), sortBy: [parseSort('id desc')] })
    const layout = to.table.layoutFor(to.table.schema.fields)
    const parquet = await ParquetFiles.open()
    const spark = await Spark.start(`file://${folder}/spark`)
    try {
      const day = 86_400_000_000n
      const rows = Array.from({ length: 12 }, (_, i): Value[] =>
        i === 11
          ? [11n, null, null, null]
          : [BigInt(i * i) - 20n, BigInt(i - 5) * day + BigInt(i), BigInt(i - 6) * 33n, `${'größe'.slice(i % 4)}${i}`],
      )
      const added: DataFile[] = []
      for (const [i, row] of rows.entries()) {
        const columns = to.table.schema.fields.map((field, k) => columnOf({ ...field, required: false }, [row[k]]))
        const values = layout.partition.map(({ column, transform }) =>
          singleValueAt(transformColumn(transform, columns[column], Int32Array.of(0)), 0),
        )
        const [id, at, price, name] = row.map(String)
        const select =
          i === 11
            ? `SELECT ${id}::BIGINT AS id, NULL::TIMESTAMPTZ AS at, NULL::DECIMAL(9,2) AS price, NULL::VARCHAR AS name`
            : `SELECT ${id}::BIGINT AS id, make_timestamptz(${at}) AS at, (${price} / 100.0)::DECIMAL(9,2) AS price, '${name}' AS name`
        const file = await parquet.write(to, select, { id: 1, at: 2, price: 3, name: 4 })
        added.push({ ...file, partition: { specId: layout.specId, values }, sortOrderId: layout.sortOrderId })
      }
      await to.commit({ added })
      const { metadataLocation: metadata } = to.pointer
      const found = async (where: string): Promise<unknown[]> =>
        (await spark.sql(`SELECT id FROM {table} WHERE ${where}`, { metadata })).map((row) => Number(row.id))
      for (const [id, at, price, name] of rows.slice(0, 11).map((row) => row.map(String))) {
        assert.deepEqual(await found(`id = ${id}`), [Number(id)])
        assert.deepEqual(await found(`at = timestamp_micros(${at})`), [Number(id)])
        assert.deepEqual(await found(`price = ${price}BD / 100`), [Number(id)])
        assert.deepEqual(await found(`name = '${name}'`), [Number(id)])
      }
      assert.deepEqual(await found('at IS NULL'), [11])
      assert.equal((await found("at < timestamp '1970-01-01 00:00:00Z'")).length, 5)
      const [{ n }] = await spark.sql('SELECT count(DISTINCT partition) AS n FROM {table}.files', { metadata })
      assert.equal(Number(n), 12)
      assert.equal((await readPyIceberg(metadata)).length, 12)
      assert.equal((await readDuckDb(metadata, ['id'])).length, 12)
    } finally {
      await spark[Symbol.asyncDispose]()
      await parquet.close()
    }
  })
})
