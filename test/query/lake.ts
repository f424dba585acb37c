import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SlabPool } from '../../src/base/index.ts'
import { Segment, appendRow, assignFieldIds, encodeValue, layoutOf, maxSegmentRows } from '../../src/data/index.ts'
import type { Field, SharedPart, Type, Value } from '../../src/data/index.ts'
import { ParquetEncoder } from '../../src/format/parquet/index.ts'
import { packStats } from '../../src/table/index.ts'
import { openDuckDb } from '../../src/query/index.ts'
import type {
  DuckDbHost,
  DuckDbOptions,
  QueryRequest,
  QueryViews,
  SqlEngine,
  TableView,
  ViewFile,
  ViewProvider,
} from '../../src/query/index.ts'

/** Columns as people write them in tests: all optional, ids assigned in order. */
export function columns(types: Readonly<Record<string, Type>>): Field[] {
  return assignFieldIds(Object.entries(types).map(([name, type]) => ({ id: 0, name, type, required: false }))).fields
}

/** Tables of a test: hot rows in segments, cold ones in Parquet files of our own encoder, and who holds which view. */
export class Lake implements ViewProvider {
  readonly folder = mkdtempSync(join(tmpdir(), 'frazil-query-'))
  readonly pool = new SlabPool({ budget: 256 << 20, slabBytes: 4 << 20 })
  readonly tables = new Map<string, TableView>()
  /** Views given out and not released; below zero when one was released twice. */
  pinned = 0
  asked = 0
  /** Waited for before views are given out. */
  gate: Promise<void> = Promise.resolve()
  #list: { namespace: string; name: string }[] = []
  #lastId = 0

  async names(): Promise<readonly { readonly namespace: string; readonly name: string }[]> {
    return this.#list
  }

  async views(tables: readonly { readonly namespace: string; readonly name: string }[]): Promise<QueryViews> {
    this.asked++
    await this.gate
    const views = tables.map(({ namespace, name }) => this.tables.get(`${namespace}.${name}`))
    this.pinned++
    let released = false
    return {
      tables: views.map((view) => {
        assert.ok(view, 'only tables that were listed are asked for')
        return view
      }),
      positions: { lake: String(this.asked) },
      release: () => {
        assert.ok(!released, 'views are released once')
        released = true
        this.pinned--
      },
    }
  }

  /** Adds a table or replaces its view. */
  put(
    name: string,
    fields: readonly Field[],
    view: { commit?: number; hot?: SharedPart[]; files?: ViewFile[]; namespace?: string },
  ): void {
    const { commit = 10, hot = [], files = [], namespace = 'shop' } = view
    const key = `${namespace}.${name}`
    if (!this.tables.has(key)) this.#list = [...this.#list, { namespace, name }]
    this.tables.set(key, { namespace, name, fields, commit, hot, files })
  }

  /** Drops all tables. */
  drop(): void {
    this.tables.clear()
    this.#list = []
  }

  segment(
    fields: readonly Field[],
    rows: readonly (readonly Value[])[],
    options: { deletable?: boolean; baseCommit?: number } = {},
  ): Segment {
    const { deletable = true, baseCommit = 0 } = options
    const capacity = [63, 255, 1023, 4095, 16383, 65535].find((size) => size >= rows.length) ?? 65535
    const segment = Segment.create(this.pool, {
      id: ++this.#lastId,
      fields,
      capacity,
      heapBytes: heapSizes(fields, rows),
      deletable,
      baseCommit,
    })
    assert.ok(segment, 'the pool has room')
    for (const row of rows) assert.ok(appendRow(segment, row), 'the segment has room')
    return segment
  }

  /** Hot rows of one segment; `deletedAt[row]` is the commit that deleted it. */
  hot(
    fields: readonly Field[],
    rows: readonly (readonly Value[])[],
    deletedAt: Readonly<Record<number, number>> = {},
    options: { deletable?: boolean; baseCommit?: number } = {},
  ): SharedPart {
    const segment = this.segment(fields, rows, options)
    for (const [row, commit] of Object.entries(deletedAt)) {
      assert.ok(segment.deletedAt)
      segment.deletedAt[Number(row)] = commit - segment.baseCommit
    }
    return { segment: segment.share(), from: 0, to: rows.length }
  }

  /** A data file with the rows so many times, one after the other. */
  file(
    fields: readonly Field[],
    rows: readonly (readonly Value[])[],
    deleted: readonly number[] = [],
    { name, times = 1 }: { name?: string; times?: number } = {},
  ): ViewFile {
    const pieces: Uint8Array[] = []
    const encoder = new ParquetEncoder({
      fields,
      emit: (bytes) => pieces.push(bytes),
      createdBy: 'frazil version 0 (build test)',
    })
    assert.ok(times === 1 || rows.length <= maxSegmentRows, 'rows of one segment come several times')
    // At least one, also for a file without rows.
    for (let from = 0; from === 0 || from < rows.length; from += maxSegmentRows) {
      const part = rows.slice(from, from + maxSegmentRows)
      const segment = this.segment(fields, part)
      for (let i = 0; i < times; i++) encoder.append(segment.share(), 0, part.length, null)
      segment.unpin()
    }
    const { metrics, fileSize } = encoder.finish()
    const path = join(this.folder, name ?? `${++this.#lastId}.parquet`)
    writeFileSync(path, Buffer.concat(pieces))
    const recordCount = rows.length * times
    const stats = packStats({ path, recordCount, fileSize, metrics, splitOffsets: [] })
    return { path, rows: recordCount, deleted: deleted.length > 0 ? bitmap(recordCount, deleted) : null, stats }
  }

  open(options: Partial<DuckDbOptions> = {}, host?: DuckDbHost): SqlEngine {
    return openDuckDb({ memoryBytes: 128 << 20, threads: 2, fileDirectories: [this.folder], ...options }, this, host)
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Exactly the bytes that each text or nested column needs. */
function heapSizes(fields: readonly Field[], rows: readonly (readonly Value[])[]): number[] {
  const variable = fields.map((_, i) => i).filter((i) => layoutOf(fields[i].type) === 'var')
  return variable.map((i) => {
    let bytes = 0
    for (const row of rows) {
      const value = row[i]
      if (value !== null) bytes += 4 + encodeValue(fields[i].type, value).length
    }
    return bytes
  })
}

export function bitmap(rows: number, positions: readonly number[]): Uint8Array {
  const bits = new Uint8Array((rows + 7) >> 3)
  for (const position of positions) bits[position >> 3] |= 1 << (position & 7)
  return bits
}

/** The body of an answer as text. */
export async function text(engine: SqlEngine, sql: string, request: Partial<QueryRequest> = {}): Promise<string> {
  const answer = await engine.query({ sql, format: 'json', timeoutMs: 20_000, ...request })
  return Buffer.from(answer.body).toString()
}

/** The rows of an answer; numbers beyond 2^53 lose digits here. */
export async function rows(engine: SqlEngine, sql: string, params?: readonly unknown[]): Promise<unknown[][]> {
  return JSON.parse(await text(engine, sql, { params })) as unknown[][]
}

/** Options for `assert.rejects`: an error of ours with this code, and a message that matches. */
export function failing(code: string, message: RegExp = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Error && 'code' in error, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  }
}
