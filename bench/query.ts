/**
 * How fast is SQL over hot rows, beside the same query on a plain DuckDB table in the same run?
 *
 *   node bench/query.ts [seconds per case=2]
 */
import { DuckDBInstance } from '@duckdb/node-api'
import { SlabPool, seededRandom } from '../src/base/index.ts'
import { Segment, assignFieldIds } from '../src/data/index.ts'
import type { Field, SharedPart } from '../src/data/index.ts'
import { openDuckDb } from '../src/query/index.ts'
import type { TableView } from '../src/query/index.ts'

const budgetMs = Number(process.argv[2] ?? 2) * 1000

const { fields } = assignFieldIds([
  { id: 0, name: 'id', type: { kind: 'long' }, required: true },
  { id: 0, name: 'low', type: { kind: 'string' }, required: true },
  { id: 0, name: 'f64', type: { kind: 'double' }, required: true },
  { id: 0, name: 'ts', type: { kind: 'timestamp' }, required: true },
  { id: 0, name: 'nint', type: { kind: 'int' }, required: false },
] satisfies Field[])

const queries = {
  'count(*)': 'SELECT count(*) FROM t',
  'point query': 'SELECT * FROM t WHERE id = 500',
  'count + 2 sums': 'SELECT count(*), sum(id), sum(f64) FROM t',
  'GROUP BY text': 'SELECT low, count(*) AS n, sum(f64), max(ts) FROM t GROUP BY low ORDER BY n DESC LIMIT 10',
} as const

const pool = new SlabPool({ budget: 2 ** 29 })
const words = Array.from({ length: 1000 }, (_, i) => Buffer.from(`category-${String(i).padStart(11, '0')}`))
let table: TableView | null = null
const names = [{ namespace: 'bench', name: 't' }]
const engine = openDuckDb(
  { memoryBytes: 512 << 20, threads: 2 },
  {
    names: async () => names,
    views: async () => ({ tables: table === null ? [] : [table], positions: {}, release: () => {} }),
  },
)
const instance = await DuckDBInstance.create(':memory:', { threads: '2' })
const plain = await instance.connect()

console.log(`Median and 90th percentile in ms. Node ${process.version}, DuckDB with 2 threads.`)
console.log(`${'rows'.padStart(9)} ${'query'.padEnd(16)} ${'hot rows'.padStart(17)} ${'DuckDB table'.padStart(17)}`)
for (const rows of [1000, 10_000, 100_000, 1_000_000]) {
  const segments = fill(rows)
  const hot = segments.map((segment): SharedPart => ({ segment: segment.share(), from: 0, to: segment.rows }))
  table = { namespace: 'bench', name: 't', fields, commit: 1, hot, files: [] }
  await plain.run(
    `CREATE OR REPLACE TABLE t AS SELECT range AS id, 'category-' || lpad((range * 7919 % 1000)::VARCHAR, 11, '0') AS low,
     (range * 31 % 100000) / 100 AS f64, make_timestamp(1790000000000000 + range * 1000) AS ts, range::INTEGER AS nint FROM range(${rows})`,
  )
  for (const [name, sql] of Object.entries(queries)) {
    const ours = await measure(() => engine.query({ sql, format: 'json', timeoutMs: 60_000 }))
    const theirs = await measure(async () => (await plain.runAndReadAll(sql)).getRowsJson())
    console.log(`${String(rows).padStart(9)} ${name.padEnd(16)} ${ours.padStart(17)} ${theirs.padStart(17)}`)
  }
  for (const segment of segments) segment.unpin()
}
await engine.close()
plain.closeSync()
instance.closeSync()

async function measure(run: () => Promise<unknown>): Promise<string> {
  for (let i = 0; i < 5; i++) await run()
  const times: number[] = []
  const end = performance.now() + budgetMs
  while (times.length < 20 || performance.now() < end) {
    const start = performance.now()
    await run()
    times.push(performance.now() - start)
  }
  times.sort((a, b) => a - b)
  return `${times[times.length >> 1].toFixed(2)} / ${times[Math.floor(times.length * 0.9)].toFixed(2)}`
}

/** Segments of up to 65,535 rows; one row in a hundred of the fifth column has no value. */
function fill(rows: number): Segment[] {
  const random = seededRandom(1)
  const segments: Segment[] = []
  for (let done = 0; done < rows;) {
    const count = Math.min(65535, rows - done)
    const segment = Segment.create(pool, {
      id: segments.length,
      fields,
      capacity: 65535,
      heapBytes: count * 24,
      deletable: true,
      baseCommit: 0,
    })
    if (segment === null) throw new Error('the pool is too small')
    const [id, low, f64, ts, nint] = segment.columns
    const doubles = new Float64Array(f64.data.buffer, f64.data.byteOffset, count)
    const times = new BigInt64Array(ts.data.buffer, ts.data.byteOffset, count)
    const valid = nint.valid
    for (let row = 0; row < count; row++) {
      id.words[row * 2] = done + row
      id.words[row * 2 + 1] = 0
      const word = words[random.below(words.length)]
      const at = low.ends[row]
      low.heap[at] = word.length
      low.heap.fill(0, at + 1, at + 4)
      low.heap.set(word, at + 4)
      low.ends[row + 1] = at + 4 + word.length
      doubles[row] = random.below(100_000) / 100
      times[row] = 1_790_000_000_000_000n + BigInt(done + row) * 1000n
      nint.words[row] = row
      if (valid && row % 100 > 0) valid[row >> 3] |= 1 << (row & 7)
    }
    segment.rows = count
    segments.push(segment)
    done += count
  }
  return segments
}
