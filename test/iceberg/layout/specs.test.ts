import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FrazilError } from '../../../src/base/index.ts'
import type { Field, PrimitiveType } from '../../../src/data/index.ts'
import { ByteReader, ContainerReader, compileDecoder } from '../../../src/format/avro/index.ts'
import { parsePartition, parseSort, withLayout } from '../../../src/iceberg/index.ts'
import type { DataFile, FilePartition } from '../../../src/iceberg/index.ts'
import { manifestNames, partitionSummariesType } from '../../../src/iceberg/manifest-schema.ts'
import { Lab } from '../lab.ts'

const types: readonly (readonly [string, PrimitiveType])[] = [
  ['id', { kind: 'long' }],
  ['region', { kind: 'string' }],
  ['at', { kind: 'timestamptz' }],
  ['price', { kind: 'decimal', precision: 9, scale: 2 }],
  ['big', { kind: 'decimal', precision: 38, scale: 0 }],
  ['key', { kind: 'uuid' }],
  ['ratio', { kind: 'double' }],
  ['flag', { kind: 'boolean' }],
  ['bytes', { kind: 'binary' }],
  ['1st größe', { kind: 'int' }],
]
const fields: Field[] = types.map(([name, type], i) => ({ id: 0, name, type, required: i === 0 }))

function lab(...partitionBy: string[]): Lab {
  const to = new Lab({ fields })
  layOut(to, partitionBy)
  return to
}

function layOut(to: Lab, partitionBy: readonly string[], sortBy?: readonly string[]): void {
  to.table = withLayout(to.table, {
    partitionBy: partitionBy.map(parsePartition),
    ...(sortBy ? { sortBy: sortBy.map(parseSort) } : {}),
  })
}

function file(to: Lab, partition: FilePartition): DataFile {
  return { ...to.file(10), partition }
}

const int = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer)
const double = (value: number): Uint8Array => new Uint8Array(Float64Array.of(value).buffer)
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

async function summaries(to: Lab, content = 0): Promise<unknown[][]> {
  const manifests = await to.manifests()
  const decode = compileDecoder(partitionSummariesType, manifestNames)
  return manifests
    .filter((manifest) => manifest.file.content === content)
    .map(({ file: { partitions } }) => decode(new ByteReader(partitions)) as unknown[])
}

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof FrazilError && error.code === 'layout-invalid', String(error))
    return error.message
  }
  assert.fail('it was taken')
}

describe('partition specs and sort orders', () => {
  test('a new table has its spec and order from the first commit on', async () => {
    const to = lab('day(at)', 'bucket(16, id)', 'region')
    layOut(to, ['day(at)', 'bucket(16, id)', 'region'], ['region desc', 'truncate(4, region) nulls last'])
    await to.commit({})
    const metadata = await to.metadata()
    assert.equal(metadata.defaultSpecId, 1)
    assert.equal(metadata.lastPartitionId, 1002)
    assert.deepEqual(metadata.partitionSpecs, [
      { 'spec-id': 0, fields: [] },
      {
        'spec-id': 1,
        fields: [
          { 'source-id': 3, 'field-id': 1000, name: 'at_day', transform: 'day' },
          { 'source-id': 1, 'field-id': 1001, name: 'id_bucket_16', transform: 'bucket[16]' },
          { 'source-id': 2, 'field-id': 1002, name: 'region', transform: 'identity' },
        ],
      },
    ])
    assert.equal(metadata.defaultSortOrderId, 1)
    assert.deepEqual(metadata.sortOrders[1], {
      'order-id': 1,
      fields: [
        { transform: 'identity', 'source-id': 2, direction: 'desc', 'null-order': 'nulls-last' },
        { transform: 'truncate[4]', 'source-id': 2, direction: 'asc', 'null-order': 'nulls-last' },
      ],
    })
    assert.deepEqual(to.table.layoutFor(to.table.schema.fields), {
      specId: 1,
      partition: [
        { column: 2, transform: { kind: 'day' } },
        { column: 0, transform: { kind: 'bucket', buckets: 16 } },
        { column: 1, transform: { kind: 'identity' } },
      ],
      sortOrderId: 1,
      sort: [
        { column: 1, transform: { kind: 'identity' }, descending: true, nullsFirst: false },
        { column: 1, transform: { kind: 'truncate', width: 4 }, descending: false, nullsFirst: false },
      ],
      columns: null,
    })
  })

  test('specs change: ids are kept, equal specs are used again, names are told apart', async () => {
    const to = lab('day(at)')
    await to.commit({})
    layOut(to, ['bucket(4, id)', 'day(at)'])
    layOut(to, ['day(at)'])
    assert.equal((await to.prepare({})).commit.base, to.pointer.metadataLocation)
    await to.commit({})
    assert.equal((await to.metadata()).defaultSpecId, 1)
    layOut(to, ['month(at)'])
    await to.commit({})
    layOut(to, [])
    await to.commit({})
    const { partitionSpecs, defaultSpecId, lastPartitionId } = await to.metadata()
    assert.equal(defaultSpecId, 0)
    assert.equal(lastPartitionId, 1002)
    assert.deepEqual(
      partitionSpecs.map((spec) => (spec.fields as { 'field-id': number }[]).map((field) => field['field-id'])),
      [[], [1000], [1001, 1000], [1002]],
    )
    // A column that has the name which a field would have.
    const other = new Lab({ fields: [...fields, { id: 0, name: 'at_day', type: { kind: 'int' }, required: false }] })
    layOut(other, ['day(at)'])
    await other.commit({})
    assert.match(await other.metadataJson(), /"name":"at_day_2"/)
  })

  test('what does not fit is refused', () => {
    const to = new Lab({ fields })
    assert.match(
      refusal(() => layOut(to, ['day(regin)'])),
      /table db.t has no column "regin"/,
    )
    assert.match(
      refusal(() => layOut(to, ['day(region)'])),
      /does not fit column "region", which is string/,
    )
    assert.match(
      refusal(() => layOut(to, ['day(at)', 'year(at)'])),
      /"day\(at\)" and "year\(at\)" partition by the same thing twice/,
    )
    assert.match(
      refusal(() => layOut(to, [], ['nothing'])),
      /has no column "nothing"/,
    )
  })

  test('iceberg check 32, 35, 36: partitions of every type in manifests, and their summaries', async () => {
    const names = types.slice(1).map(([name]) => `"${name}"`)
    const to = lab(...names)
    const first = [
      utf8('b'),
      hex('0100000000000000'),
      hex('0080'),
      hex('ff'),
      hex('80'.repeat(16)),
      double(-0),
      hex('00'),
      hex('ff'),
      int(5),
    ]
    const second = [utf8('aé'), null, hex('ff7f'), hex('7f'), hex('7f'.repeat(16)), double(NaN), hex('01'), hex('fe00'), int(-7)]
    const third = [utf8('𐀀'), hex('ffffffffffffffff'), hex('05'), null, hex('00'.repeat(16)), double(0), null, hex(''), null]
    const added = [first, second, third].map((values) => file(to, { specId: 1, values }))
    await to.commit({ added })
    const [[...found]] = await summaries(to)
    const bounds = (lower: Uint8Array, upper: Uint8Array, containsNull = false, containsNan = false) => ({
      containsNull,
      containsNan,
      lowerBound: lower,
      upperBound: upper,
    })
    assert.deepEqual(found, [
      bounds(utf8('aé'), utf8('𐀀')),
      bounds(hex('ffffffffffffffff'), hex('0100000000000000'), true),
      bounds(hex('ff7f'), hex('0080')),
      bounds(hex('ff'), hex('7f'), true),
      bounds(hex('00'.repeat(16)), hex('80'.repeat(16))),
      bounds(double(-0), double(0), false, true),
      bounds(hex('00'), hex('01'), true),
      bounds(hex(''), hex('ff')),
      bounds(int(-7), int(5), true),
    ])
    const live = await to.live()
    assert.deepEqual(
      live.map(({ partition }) => partition),
      added.map(({ partition }) => partition),
    )
    const [{ file: manifest }] = await to.manifests()
    const { header } = readHeader(await to.store.get(manifest.path))
    assert.match(header, /"name":"_1st_x20gr_xF6_xDFe".*"iceberg-field-name":"1st größe"/)
    // Removed files count as long as their entries are there.
    await to.commit({ removed: [added[0].path] })
    assert.deepEqual((await summaries(to))[0], found)
    await to.commit({ removed: [added[1].path] })
    assert.deepEqual((await summaries(to))[0][0], bounds(utf8('aé'), utf8('𐀀')))
  })

  test('iceberg check 33, 55: files of several specs; a vector is under the spec and partition of its file', async () => {
    const to = new Lab({ fields })
    const old = to.file(10)
    await to.commit({ added: [old] })
    layOut(to, ['day(at)'])
    const days = [3, 4].map((day) => file(to, { specId: 1, values: [int(day)] }))
    await to.commit({ added: days })
    layOut(to, ['region'])
    const late = file(to, { specId: 2, values: [utf8('eu')] })
    await to.commit({
      added: [late],
      deletionVectors: [await to.vector(old, [1]), await to.vector(days[1], [1]), await to.vector(late, [2])],
    })
    const manifests = await to.manifests()
    const specs = (content: number): number[] =>
      manifests.filter((each) => each.file.content === content).map((each) => each.file.specId)
    assert.deepEqual(
      specs(0).toSorted((a, b) => a - b),
      [0, 1, 2],
    )
    assert.deepEqual(
      specs(1).toSorted((a, b) => a - b),
      [0, 1, 2],
    )
    const day = manifests.find((each) => each.file.content === 1 && each.file.specId === 1)
    const entry = manifests.find((each) => each.file.content === 0 && each.file.specId === 1)?.entries[1]
    assert.deepEqual(day?.entries[0].file.partition, entry?.file.partition)
    assert.deepEqual(
      (await to.live()).map(({ partition }) => partition.specId),
      [0, 1, 1, 2],
    )
    assert.deepEqual((await summaries(to, 1)).flat().length, 2)
  })

  test('a column that goes leaves spec and order; older files stay under theirs', async () => {
    const to = lab('day(at)', 'region')
    layOut(to, ['day(at)', 'region'], ['id', 'region', 'at'])
    const before = file(to, { specId: 1, values: [int(3), utf8('eu')] })
    await to.commit({ added: [before] })
    const { fields: columns, schemaId } = to.table.schema
    const left = columns.filter(({ name }) => name !== 'region')
    const layout = to.table.layoutFor(left)
    assert.deepEqual(layout.partition, [{ column: 1, transform: { kind: 'day' } }])
    assert.deepEqual(
      layout.sort.map(({ column }) => column),
      [0],
    )
    const after = { ...file(to, { specId: layout.specId, values: [int(4)] }), sortOrderId: layout.sortOrderId }
    const schema = { fields: left, identifierFieldIds: [1], lastColumnId: to.table.lastColumnId, base: schemaId }
    await to.commit({ added: [after], schema })
    const metadata = await to.metadata()
    assert.equal(metadata.defaultSpecId, layout.specId)
    assert.equal(metadata.defaultSortOrderId, layout.sortOrderId)
    assert.deepEqual(
      (await to.live()).map(({ partition }) => partition),
      [before.partition, after.partition],
    )
    // Its manifest can still be written anew.
    await to.commit({ deletionVectors: [await to.vector(before, [1])] })
    await to.commit({ removed: [before.path] })
    assert.equal((await to.live()).length, 1)
  })
})

test('properties by which no file can be written, which others have set, are as if they were not there', () => {
  const filter = (rate: string, bytes: string): unknown => {
    const { table } = new Lab({
      properties: {
        'write.parquet.bloom-filter-enabled.column.id': 'true',
        'write.parquet.bloom-filter-fpp.column.id': rate,
        'write.parquet.bloom-filter-max-bytes': bytes,
      },
    })
    return table.layoutFor(table.schema.fields).columns?.bloomFilters[1]
  }
  for (const none of ['0', '1', '-1', 'x', '', 'Infinity']) {
    assert.deepEqual(filter(none, none === '1' ? 'x' : none), { falsePositives: 0.01, maxBytes: 1 << 20 }, none)
  }
  assert.deepEqual(filter('0.5', '64'), { falsePositives: 0.5, maxBytes: 64 })
  assert.deepEqual(filter('0.5', '1e15'), { falsePositives: 0.5, maxBytes: 128 << 20 })
})

function readHeader(bytes: Uint8Array): { header: string } {
  const { header } = new ContainerReader((type) => compileDecoder(type, new Map())).read(bytes)
  return { header: JSON.stringify(header.schema) }
}
