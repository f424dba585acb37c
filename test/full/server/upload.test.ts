import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { fieldsOf, resolveConfig } from '../../../src/engine/index.ts'
import type { Engine } from '../../../src/engine/index.ts'
import { openEngine } from '../../support/engine.ts'
import { pythonOf } from '../support/readers.ts'

const execute = promisify(execFile)
const types = [
  'int64',
  'boolean',
  'int32',
  'float32',
  'float64',
  'decimal(20,2)',
  'date32',
  'time',
  'timestamp',
  'timestamptz',
  'string',
  'binary',
]
const names = ['id', 'flag', 'small', 'single', 'number', 'price', 'day', 'clock', 'seen', 'sent', 'name', 'raw', 'tags', 'who']
const fields = fieldsOf([
  ...types.map((data_type, i) => ({ name: names[i], data_type, nullable: i > 0 })),
  { name: 'tags', data_type: 'list', nullable: true, item: { name: 'element', data_type: 'string', nullable: true } },
  {
    name: 'who',
    data_type: 'struct',
    nullable: true,
    fields: [
      { name: 'age', data_type: 'int64', nullable: true },
      { name: 'city', data_type: 'string', nullable: true },
    ],
  },
])

test('files that PyArrow wrote are taken, and PyIceberg, DuckDB and we read the same rows', { timeout: 400_000 }, async () => {
  const python = await pythonOf('python')
  const folder = await mkdtemp(join(tmpdir(), 'frazil-upload-'))
  let engine: Engine | null = null
  try {
    const incoming = join(folder, 'incoming')
    await mkdir(incoming)
    const script = join(import.meta.dirname, 'write_parquet.py')
    const { stdout } = await execute(python, [script, incoming])
    const written = JSON.parse(stdout) as { files: string[]; rows: number }
    const running = await openEngine(
      resolveConfig({ commit: { every: '1h' }, http: { upload: [incoming] } }, { folder, env: {} }),
    )
    engine = running
    const make = (name: string, key: number[]): Promise<void> =>
      running.createTable({ namespace: 'app', name, ingest: name, fields, key, evolves: false })
    const upload = async (name: string, operation: 'upload' | 'insert', files: readonly string[]): Promise<number> => {
      const paths = files.map((file) => join(incoming, `${file}.parquet`))
      return (await running.upload({ namespace: 'app', name, operation, files: paths, key: null })).rows
    }
    const count = async (sql: string): Promise<string> => Buffer.from((await running.execute(sql)).body).toString()

    await make('adopted', [])
    assert.equal(await upload('adopted', 'upload', written.files), written.rows * written.files.length)
    await make('inserted', [])
    await upload('inserted', 'insert', written.files)
    // Each row as often as there are files; all in both ways of taking them.
    assert.equal(
      await count('SELECT count(*), min(n), max(n) FROM (SELECT t.*, count(*) n FROM app.adopted t GROUP BY ALL)'),
      '[[1000,7,7]]',
    )
    assert.equal(await count('SELECT count(*) FROM (FROM app.adopted EXCEPT ALL FROM app.inserted)'), '[[0]]')
    assert.equal(await count('SELECT count(*) FROM app.inserted'), '[[7000]]')
    assert.equal(await count("SELECT count(*) FROM app.adopted WHERE name = 'näme 7' AND id >= 900"), '[[14]]')

    await make('keyed', [0])
    for (const file of written.files) await upload('keyed', 'upload', [file])
    assert.equal(await count('SELECT count(*), count(DISTINCT id) FROM app.keyed'), '[[1000,1000]]')

    await make('promoted', [])
    await upload('promoted', 'upload', ['narrow', 'large'])
    assert.equal(
      await count('SELECT id, number, price, name FROM app.promoted ORDER BY name NULLS FIRST'),
      '[[1,0.5,1.25,null],[1,null,null,"x"]]',
    )
    for (const [file, why] of [
      ['nanos', /in nanoseconds/],
      ['int96', /has a type that Iceberg has no equal for/],
      ['uuid', /column "raw" is fixed\[16\]/],
      ['wide', /column "small" is long, and of the table int/],
    ] as const) {
      await assert.rejects(upload('promoted', 'upload', [file]), { code: 'file-refused', message: why })
    }
    await running.close()
    engine = null

    const rowsBy = new Map<string, string[]>()
    for (const name of ['adopted', 'keyed', 'promoted']) {
      for (const reader of ['pyiceberg', 'duckdb']) {
        const out = join(folder, `${name}-${reader}.ndjson`)
        const input = `${JSON.stringify({ namespace: 'app', name, columns: names, out })}\n`
        const reading = execute(python, [join(import.meta.dirname, '../support/read_lake.py'), reader, join(folder, 'lake')], {
          env: { ...process.env, TZ: 'UTC', PYTHONIOENCODING: 'utf-8' },
          maxBuffer: 1 << 24,
        })
        reading.child.stdin?.end(input)
        assert.doesNotMatch((await reading).stdout, /error/)
        rowsBy.set(`${name} ${reader}`, (await readFile(out, 'utf8')).trim().split('\n').sort())
      }
      assert.deepEqual(rowsBy.get(`${name} pyiceberg`), rowsBy.get(`${name} duckdb`), name)
    }
    const [adopted, keyed] = ['adopted', 'keyed'].map((name) => rowsBy.get(`${name} pyiceberg`) ?? [])
    assert.deepEqual([adopted.length, keyed.length], [7000, 1000])
    assert.deepEqual([...new Set(adopted)], keyed)
    assert.match(keyed.find((row) => row.startsWith('[4,')) ?? '', /0\.04.*2026-01-05.*04:04:01.*näme 4.*"t1",null.*Köln/)
  } finally {
    await engine?.close()
    await rm(folder, { recursive: true, force: true })
  }
})
