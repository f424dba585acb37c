import { basename, dirname, join } from 'node:path'
import { assert } from '../base/index.ts'
import type { SharedPart } from '../data/index.ts'
import { columnBuckets } from '../iceberg/index.ts'
import type { FilePartition } from '../iceberg/index.ts'
import { openStore } from '../storage/index.ts'
import { DataFileWriter } from './data-file-writer.ts'
import type { FileSpec, WrittenFile, WrittenFiles } from './file-messages.ts'
import { LiveRows, aliveRows, liveParts } from './live-rows.ts'
import { orderRows } from './row-order.ts'
import type { RowGroup } from './row-order.ts'

/** Files of different partitions that may be open at one time while rows come bit by bit. */
const maxOpenFiles = 8
/** What each of those may keep in memory: pages of a row group that is not full. */
const openFileLimits = { rowGroupBytes: 16 << 20, pageBytes: 256 << 10, dictionaryBytes: 256 << 10 }

interface OpenFile {
  readonly writer: DataFileWriter
  readonly runPath: string | null
  readonly partition: FilePartition
  /** Whether all rows came at once, in the sort order. */
  sorted: boolean
}

/**
 * Rows written as the layout of their table asks: one data file for each partition, rows in the sort order. With rows that come all at
 * once (a frozen range) the files are written one after another; otherwise (a copy) the most recently used partitions stay open, and a
 * partition whose file was closed gets another one.
 */
export class LaidOutFiles {
  readonly #spec: FileSpec
  /** By the partition's values; the one that was used last is the last one. */
  readonly #open = new Map<string, OpenFile>()
  readonly #written: WrittenFile[] = []
  #placement: Uint32Array | null = null
  #begun = 0
  #closedBytes = 0
  rows = 0

  constructor(spec: FileSpec) {
    this.#spec = spec
  }

  /** Bytes encoded so far. */
  get bytes(): number {
    let bytes = this.#closedBytes
    for (const { writer } of this.#open.values()) bytes += writer.bytes
    return bytes
  }

  async append(parts: readonly SharedPart[], commit: number): Promise<void> {
    const { layout, atOnce } = this.#spec
    if (layout.partition.length === 0 && layout.sort.length === 0) {
      const { writer } = await this.#fileOf([])
      for (const { segment, from, to } of parts) await writer.append(segment, from, to, aliveRows(segment, from, to, commit))
      this.rows = writer.rows
      return
    }
    const live = new LiveRows(liveParts(parts, commit))
    const { order, groups } = orderRows(live, layout)
    for (const group of groups) {
      await this.#write(live, group)
      if (atOnce) await this.#closeAll()
    }
    this.rows += live.count
    if (atOnce) this.#placement = inverse(order)
  }

  async #write(live: LiveRows, { values, numbers }: RowGroup): Promise<void> {
    const file = await this.#fileOf(values)
    const { writer } = file
    if (this.#spec.layout.sort.length === 0) {
      for (const { segment, rows } of live.runs(numbers)) await writer.append(segment, rows[0], rows[rows.length - 1] + 1, rows)
      return
    }
    file.sorted = writer.rows === 0
    const { fields, key } = this.#spec
    for (const ordered of live.ordered(numbers, fields, key?.columns ?? [])) await writer.appendOrdered(ordered)
  }

  async #fileOf(values: FilePartition['values']): Promise<OpenFile> {
    const key = JSON.stringify(values.map((value) => value && Buffer.from(value).toString('hex')))
    const known = this.#open.get(key)
    if (known) {
      this.#open.delete(key)
      this.#open.set(key, known)
      return known
    }
    if (this.#open.size >= maxOpenFiles) await this.#closeOldest()
    const { layout, fields, atOnce } = this.#spec
    const { uri, runPath } = this.#name(this.#begun++)
    const isAlone = atOnce || layout.partition.length === 0
    const writer = new DataFileWriter({ ...this.#spec, uri, runPath, columns: layout.columns }, [], isAlone ? {} : openFileLimits)
    const columns = layout.partition.map(({ column, transform }) => ({ fieldId: fields[column].id, transform }))
    const partition = { specId: layout.specId, values, buckets: columnBuckets(columns, values) }
    const opened = { writer, runPath, partition, sorted: false }
    this.#open.set(key, opened)
    return opened
  }

  /** The first file has the name that was given, others one made of it. */
  #name(number: number): { uri: string; runPath: string | null } {
    const { uri, runPath } = this.#spec
    if (number === 0) return { uri, runPath }
    const name = basename(uri)
    assert(runPath === null || basename(runPath).startsWith(name), 'a key run is named by its data file')
    const other = name.replace(/(\.\w+)?$/, (extension) => `-${String(number).padStart(5, '0')}${extension}`)
    return {
      uri: uri.slice(0, -name.length) + other,
      runPath:
        runPath &&
        join(
          dirname(runPath),
          basename(runPath).replace(name, () => other),
        ),
    }
  }

  async #closeOldest(): Promise<void> {
    const [oldest] = this.#open
    if (oldest === undefined) return
    const [key, { writer, runPath, partition, sorted }] = oldest
    const file = await writer.finish()
    this.#open.delete(key)
    if (!file) return
    this.#closedBytes += file.fileSize
    const { sortOrderId } = this.#spec.layout
    this.#written.push({ file: { ...file, partition, ...(sorted ? { sortOrderId } : {}) }, runPath })
  }

  async #closeAll(): Promise<void> {
    while (this.#open.size > 0) await this.#closeOldest()
  }

  /** Resolves when all files are durable. */
  async finish(): Promise<WrittenFiles> {
    await this.#closeAll()
    return { files: this.#written, placement: this.#placement }
  }

  /** Removes what was written. */
  async abort(): Promise<void> {
    for (const { writer } of this.#open.values()) await writer.abort().catch(() => undefined)
    this.#open.clear()
    const files = this.#written.splice(0)
    await openStore(this.#spec.warehouse).delete(files.map(({ file }) => file.path))
  }
}

/** By row number: its place in the order; null when every row stays where it is. */
function inverse(order: Uint32Array): Uint32Array | null {
  const places = new Uint32Array(order.length)
  let isSame = true
  for (let i = 0; i < order.length; i++) {
    places[order[i]] = i
    if (order[i] !== i) isSame = false
  }
  return isSame ? null : places
}
