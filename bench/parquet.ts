/**
 * How fast is the Parquet encoder, beside DuckDB's COPY of the same rows on the same machine in the same run?
 *
 *   node bench/parquet.ts [rows=1000000] [rounds=5] [page rows]
 */
import { mkdtempSync, openSync, closeSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { SlabPool, seededRandom } from '../src/base/index.ts'
import { Segment, assignFieldIds } from '../src/data/index.ts'
import type { Field } from '../src/data/index.ts'
import { ParquetEncoder } from '../src/format/parquet/index.ts'

const rows = Number(process.argv[2] ?? 1_000_000)
const rounds = Number(process.argv[3] ?? 5)
const pageRows = process.argv[4] === undefined ? undefined : Number(process.argv[4])

const { fields } = assignFieldIds([
  { id: 0, name: 'id', type: { kind: 'long' }, required: true },
  { id: 0, name: 'i32', type: { kind: 'int' }, required: true },
  { id: 0, name: 'f64', type: { kind: 'double' }, required: true },
  { id: 0, name: 'ts', type: { kind: 'timestamp' }, required: true },
  { id: 0, name: 'low', type: { kind: 'string' }, required: true },
  { id: 0, name: 'high', type: { kind: 'string' }, required: true },
  { id: 0, name: 'nint', type: { kind: 'int' }, required: false },
  { id: 0, name: 'b', type: { kind: 'boolean' }, required: true },
] satisfies Field[])

/** Eight columns: sequence, random, two decimals, time, 1,000 strings of 20 bytes, distinct strings of 37–43, 10 % nulls, bits. */
function makeSegments(): { segments: Segment[]; bytes: number } {
  const random = seededRandom(12345)
  const below = (limit: number): number => Math.floor(random.next() * limit)
  const pool = new SlabPool({ budget: 2 ** 30 })
  const low = Array.from({ length: 1000 }, (_, i) =>
    Buffer.from(`category-${i % 37}-${String(i).padStart(8, '0')}`.padEnd(20, 'x').slice(0, 20)),
  )
  const hex = Buffer.from('0123456789abcdef')
  const segments: Segment[] = []
  let bytes = 0
  let time = 1_790_000_000_000_000
  for (let done = 0; done < rows;) {
    const count = Math.min(65535, rows - done)
    const segment = Segment.create(pool, {
      id: segments.length,
      fields,
      capacity: 65535,
      heapBytes: 4 << 20,
      deletable: true,
      baseCommit: 0,
    })
    if (segment === null) throw new Error('the pool is too small')
    const [id, i32, f64, ts, lowText, highText, nint, flag] = segment.columns
    const doubles = new Float64Array(f64.data.buffer, f64.data.byteOffset, count)
    for (let row = 0; row < count; row++) {
      id.words[row * 2] = 1_000_000_000 + done + row
      id.words[row * 2 + 1] = 0
      i32.words[row] = below(1_000_000)
      doubles[row] = below(100_000_000) / 100
      time += below(2000)
      ts.words[row * 2] = time | 0
      ts.words[row * 2 + 1] = Math.floor(time / 2 ** 32)
      let at = lowText.ends[row]
      const text = low[below(1000)]
      lowText.heap[at] = 20
      lowText.heap.fill(0, at + 1, at + 4)
      lowText.heap.set(text, at + 4)
      lowText.ends[row + 1] = at + 24
      at = highText.ends[row]
      const length = 37 + below(7)
      highText.heap[at] = length
      highText.heap.fill(0, at + 1, at + 4)
      highText.heap.set([117, 115, 101, 114, 45], at + 4)
      for (let k = 5; k < length; k++) highText.heap[at + 4 + k] = hex[below(16)]
      highText.ends[row + 1] = at + 4 + length
      const present = below(10) !== 0
      nint.words[row] = present ? below(50_000) : 0
      if (present && nint.valid !== null) nint.valid[row >> 3] |= 1 << (row & 7)
      flag.data[row] = below(2)
    }
    segment.rows = count
    bytes += count * 33 + lowText.ends[count] + highText.ends[count] - count * 8
    segments.push(segment)
    done += count
  }
  return { segments, bytes }
}

interface Measure {
  seconds: number
  cpu: number
  size: number
}

async function best(run: () => number | Promise<number>): Promise<Measure> {
  const measures: Measure[] = []
  for (let round = 0; round <= rounds; round++) {
    const cpu = process.cpuUsage()
    const start = performance.now()
    const size = await run()
    const seconds = (performance.now() - start) / 1000
    const { user, system } = process.cpuUsage(cpu)
    // The first round warms up.
    if (round > 0) measures.push({ seconds, cpu: (user + system) / 1e6, size })
  }
  measures.sort((a, b) => a.seconds - b.seconds)
  return measures[measures.length >> 1]
}

const { segments, bytes } = makeSegments()
const folder = mkdtempSync(join(tmpdir(), 'frazil-bench-'))
const report = (name: string, { seconds, cpu, size }: Measure, count = rows): void =>
  console.log(
    `${name.padEnd(46)} ${(count / seconds / 1e6).toFixed(2).padStart(6)} M rows/s ${((bytes * (count / rows)) / seconds / 1e6).toFixed(0).padStart(5)} MB/s ` +
      `${((cpu / count) * 1e6).toFixed(3)} CPU s per 1M  ${(size / 1e6).toFixed(1)} MB`,
  )

function encode(
  codec: 'zstd' | 'none',
  select: ((segment: Segment) => Int32Array) | null,
  emit: (piece: Uint8Array) => void,
): number {
  const encoder = new ParquetEncoder({ fields, emit, createdBy: 'frazil bench', codec, pageRows })
  for (const segment of segments) encoder.append(segment.share(), 0, segment.rows, select?.(segment) ?? null)
  return encoder.finish().fileSize
}

let files = 0

function write(codec: 'zstd' | 'none', select: ((segment: Segment) => Int32Array) | null): number {
  const file = openSync(join(folder, `ours-${files++}.parquet`), 'w')
  const size = encode(codec, select, (piece) => writeSync(file, piece))
  closeSync(file)
  return size
}

try {
  const alive = new Map(
    segments.map((segment) => [segment, Int32Array.from({ length: segment.rows }, (_, i) => i).filter((i) => i % 20 !== 7)]),
  )
  const survivors = [...alive.values()].reduce((sum, list) => sum + list.length, 0)
  report('Frazil, zstd-1', await best(() => write('zstd', null)))
  report(
    'Frazil, zstd-1, 5 % of the rows deleted',
    await best(() => write('zstd', (segment) => alive.get(segment) ?? new Int32Array(0))),
    survivors,
  )
  report('Frazil, zstd-1, bytes thrown away', await best(() => encode('zstd', null, () => {})))
  report('Frazil, uncompressed, bytes thrown away', await best(() => encode('none', null, () => {})))

  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  const connection = await instance.connect()
  await connection.run(`CREATE TABLE t AS SELECT * FROM read_parquet('${join(folder, 'ours-0.parquet')}')`)
  for (const threads of [1, 2]) {
    await connection.run(`SET threads = ${threads}`)
    const measure = await best(async () => {
      const target = join(folder, `duckdb-${files++}.parquet`)
      await connection.run(`COPY t TO '${target}' (FORMAT parquet, CODEC zstd, COMPRESSION_LEVEL 1)`)
      return statSync(target).size
    })
    report(`DuckDB COPY of a filled table, zstd-1, ${threads} thread${threads === 1 ? '' : 's'}`, measure)
  }
  connection.closeSync()
  instance.closeSync()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
