import assert from 'node:assert/strict'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FrazilError, SlabPool, systemClock } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import { Segment, appendRow, readRow } from '../../src/data/index.ts'
import type { Field, Value } from '../../src/data/index.ts'
import { encodeJson } from '../../src/format/json/index.ts'
import { ParquetReader } from '../../src/format/parquet/index.ts'
import { createTable, deletionVectorFile, loadTable, readDeletionVector, schemaToJson } from '../../src/iceberg/index.ts'
import type { Catalog, DataFile, DeletionVector, IcebergTable, LiveDataFile, TableUpdate } from '../../src/iceberg/index.ts'
import { localPath } from '../../src/storage/index.ts'
import type { ObjectStore } from '../../src/storage/index.ts'
import { DataFileWriter } from '../../src/table/data-file-writer.ts'

export type Row = readonly Value[]

const maxAttempts = 1000
const segmentRows = 1000
const keepAll = { maxSnapshots: 600, maxAgeMs: 3_600_000_000 }
const nothing: TableUpdate = { added: [], removed: [], deletionVectors: [], summary: {}, properties: {}, retention: keepAll }

export interface ForeignEngineParts {
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly random: Random
}

/**
 * Another engine that works on our tables through the catalog, as Spark does: each operation is planned on the table as it is, and tried
 * again when somebody else was faster.
 */
export class ForeignEngine {
  readonly #parts: ForeignEngineParts
  /** Whether the files that it makes unreferenced are deleted at once. */
  deletes = true

  constructor(parts: ForeignEngineParts) {
    this.#parts = parts
  }

  async load(namespace: string, name: string): Promise<IcebergTable> {
    const pointer = (await this.#parts.catalog.load({ namespace, name })) ?? assert.fail(`${name} is in the catalog`)
    return loadTable({ ...this.#parts, clock: systemClock }, pointer)
  }

  /** `rewrite_data_files`: all rows of some files in a new one. */
  rewrite(namespace: string, name: string, chosen: (file: LiveDataFile, i: number) => boolean = () => true): Promise<void> {
    return this.#commit(namespace, name, async (table) => {
      const files = (await table.files()).filter(chosen)
      const rows = (await Promise.all(files.map((file) => this.#rowsOf(table, file)))).flat()
      return { removed: files.map(({ path }) => path), added: await this.#write(table, rows), rewrite: true }
    })
  }

  /** `INSERT INTO`. Columns that come after those of a row are null. */
  append(namespace: string, name: string, rows: readonly Row[]): Promise<void> {
    return this.#commit(namespace, name, async (table) => ({ added: await this.#write(table, rows) }))
  }

  /** `DELETE`, `UPDATE` or `MERGE` as merge-on-read: rows for which `change` gives another are replaced, null deletes them. */
  change(namespace: string, name: string, change: (row: Row) => Row | null): Promise<void> {
    return this.#commit(namespace, name, async (table) => {
      const removed: string[] = []
      const vectors: DeletionVector[] = []
      const changed: Row[] = []
      for (const file of await table.files()) {
        const bits = await this.#deleted(file)
        const rows = await this.#allRows(table, file)
        let [count, isTouched] = [0, false]
        for (const [i, row] of rows.entries()) {
          if ((bits[i >> 3] & (1 << (i & 7))) === 0) {
            const next = change(row)
            if (next === row) continue
            bits[i >> 3] |= 1 << (i & 7)
            isTouched = true
            if (next) changed.push(next)
          }
          count++
        }
        if (!isTouched) continue
        if (count === rows.length) removed.push(file.path)
        else vectors.push(await this.#vector(table, file, bits))
      }
      return { removed, deletionVectors: vectors, added: await this.#write(table, changed) }
    })
  }

  /** `ALTER TABLE … SET TBLPROPERTIES`. */
  setProperty(namespace: string, name: string, key: string, value: string): Promise<void> {
    return this.#commit(namespace, name, async () => ({ properties: { [key]: value } }))
  }

  /** `expire_snapshots` with nothing kept but the head. */
  expire(namespace: string, name: string): Promise<void> {
    return this.#commit(namespace, name, async () => ({ retention: { maxSnapshots: 0, maxAgeMs: 0 } }))
  }

  /** `ALTER TABLE … ADD COLUMN` of an optional column. */
  addColumn(namespace: string, name: string, field: Omit<Field, 'id'>): Promise<void> {
    return this.#commit(namespace, name, async (table) => {
      const { fields, identifierFieldIds, schemaId } = table.schema
      const id = table.lastColumnId + 1
      return { schema: { fields: [...fields, { ...field, id }], identifierFieldIds, lastColumnId: id, base: schemaId } }
    })
  }

  /** `ALTER TABLE … DROP COLUMN`. */
  dropColumn(namespace: string, name: string, column: string): Promise<void> {
    return this.#commit(namespace, name, async (table) => {
      const { fields, identifierFieldIds, schemaId } = table.schema
      const left = fields.filter((field) => field.name !== column)
      return { schema: { fields: left, identifierFieldIds, lastColumnId: table.lastColumnId, base: schemaId } }
    })
  }

  /** `ALTER TABLE … RENAME COLUMN`. */
  renameColumn(namespace: string, name: string, from: string, to: string): Promise<void> {
    return this.#reshape(namespace, name, (fields) => fields.map((each) => (each.name === from ? { ...each, name: to } : each)))
  }

  /** `ALTER TABLE … ALTER COLUMN … COMMENT`. */
  comment(namespace: string, name: string, column: string, doc: string): Promise<void> {
    return this.#reshape(namespace, name, (fields) => fields.map((each) => (each.name === column ? { ...each, doc } : each)))
  }

  /** `ALTER TABLE … ALTER COLUMN … FIRST` and so on. */
  reorder(namespace: string, name: string, names: readonly string[]): Promise<void> {
    return this.#reshape(namespace, name, (fields) =>
      names.map((wanted) => fields.find((each) => each.name === wanted) ?? assert.fail(`there is a column ${wanted}`)),
    )
  }

  #reshape(namespace: string, name: string, change: (fields: readonly Field[]) => readonly Field[]): Promise<void> {
    return this.#commit(namespace, name, async ({ schema: { fields, identifierFieldIds, schemaId }, lastColumnId }) => ({
      schema: { fields: change(fields), identifierFieldIds, lastColumnId, base: schemaId },
    }))
  }

  /** `CREATE OR REPLACE TABLE … AS SELECT` of one row of nulls and zeros, with the columns that it has: main begins anew. */
  async replace(namespace: string, name: string, row: Row): Promise<void> {
    await this.#commit(namespace, name, async (table) => ({
      removed: (await table.files()).map(({ path }) => path),
      added: await this.#write(table, [row]),
    }))
    await this.edit(namespace, name, (text) => {
      const head = /"current-snapshot-id":\s*(\d+)/.exec(text)?.[1]
      return text.replace(new RegExp(`("snapshot-id":\\s*${head},)\\s*"parent-snapshot-id":\\s*\\d+,`), '$1')
    })
  }

  /** `DROP TABLE`, and `CREATE TABLE` with the same columns and a row. */
  async makeAnew(namespace: string, name: string, row: Row): Promise<void> {
    const { catalog, store, random } = this.#parts
    const { schema } = await this.load(namespace, name)
    await this.drop(namespace, name)
    const table = createTable(
      { store, random, clock: systemClock },
      {
        namespace,
        name,
        location: `${store.root}/${namespace}/${name}`,
        fields: schema.fields.map((each) => ({ ...each, id: 0 })),
        key: [],
        properties: {},
      },
    )
    const { commit } = await table.prepare({ ...nothing, added: await this.#write(table, [row]) })
    await catalog.commit({ tables: [{ namespace, name, base: null, next: commit.metadataLocation }], states: [] })
  }

  /** `add_files` of a file in `folder`. */
  addOutside(namespace: string, name: string, rows: readonly Row[], folder: string): Promise<void> {
    return this.#commit(namespace, name, async (table) => {
      mkdirSync(folder, { recursive: true })
      const files = await this.#write(table, rows)
      return {
        added: files.map((file) => {
          const path = join(folder, basename(file.path))
          renameSync(localPath(file.path), path)
          return { ...file, path: `file://${path}` }
        }),
      }
    })
  }

  /** `ALTER TABLE … SET LOCATION`: the metadata file goes there, too. */
  setLocation(namespace: string, name: string, folder: string): Promise<void> {
    return this.edit(namespace, name, (text) => text.replace(/"location":\s*"[^"]*"/, `"location":"file://${folder}"`), folder)
  }

  /** Gives the table another metadata file, with one changed by hand; in `folder`, which may be anywhere, if that is given. */
  async edit(namespace: string, name: string, change: (metadata: string) => string, folder?: string): Promise<void> {
    const { catalog, store, random } = this.#parts
    const pointer = (await catalog.load({ namespace, name })) ?? assert.fail(`${name} is in the catalog`)
    const text = new TextDecoder().decode(await store.get(pointer.metadataLocation))
    const file = `00099-${random.uuid()}.metadata.json`
    const next = folder === undefined ? pointer.metadataLocation.replace(/[^/]+$/, file) : `file://${folder}/${file}`
    const last = /"last-updated-ms":\s*(\d+)/.exec(text)?.[1]
    const entry = `{"metadata-file":"${pointer.metadataLocation}","timestamp-ms":${last}}`
    const logged = text.replace(
      /("metadata-log":\s*\[)([^\]]*)\]/,
      (_all, name: string, log: string) => `${name}${[log, entry].filter((each) => each.trim() !== '').join(',')}]`,
    )
    if (folder === undefined) await store.put(next, new TextEncoder().encode(change(logged)))
    else {
      mkdirSync(folder, { recursive: true })
      writeFileSync(localPath(next), change(logged))
    }
    await catalog.commit({ tables: [{ namespace, name, base: pointer.metadataLocation, next }], states: [] })
  }

  /** `rollback_to_snapshot` of the parent of the head. */
  rollBack(namespace: string, name: string): Promise<void> {
    return this.edit(namespace, name, (text) => {
      const head = /"current-snapshot-id":\s*(\d+)/.exec(text)?.[1]
      const parent = new RegExp(`"snapshot-id":\\s*${head},\\s*"parent-snapshot-id":\\s*(\\d+)`).exec(text)?.[1]
      assert.ok(head && parent, 'a snapshot with a parent')
      return text
        .replace(new RegExp(`("current-snapshot-id":\\s*)${head}`), `$1${parent}`)
        .replace(new RegExp(`("main":\\s*\\{[^}]*"snapshot-id":\\s*)${head}`), `$1${parent}`)
        .replace(/("snapshot-log":\s*\[[^\]]*)\]/, (_all, log: string) => {
          const last = /"last-updated-ms":\s*(\d+)/.exec(text)?.[1]
          return `${log},{"snapshot-id":${parent},"timestamp-ms":${last}}]`
        })
    })
  }

  /** `DROP TABLE`, without its files. */
  async drop(namespace: string, name: string): Promise<void> {
    const { metadataLocation } = await this.load(namespace, name)
    await this.#parts.catalog.commit({ tables: [{ namespace, name, base: metadataLocation, next: null }], states: [] })
  }

  /** Somebody deletes its manifest list. */
  async spoil(namespace: string, name: string): Promise<void> {
    const { metadataLocation } = await this.load(namespace, name)
    const text = new TextDecoder().decode(await this.#parts.store.get(metadataLocation ?? ''))
    await this.#parts.store.delete([.../"manifest-list":\s*"([^"]+)"/g[Symbol.matchAll](text)].map(([, path]) => path))
  }

  /** The live rows of a table. */
  async rows(namespace: string, name: string): Promise<Row[]> {
    const table = await this.load(namespace, name)
    return (await Promise.all((await table.files()).map((file) => this.#rowsOf(table, file)))).flat()
  }

  async #commit(namespace: string, name: string, plan: (table: IcebergTable) => Promise<Partial<TableUpdate>>): Promise<void> {
    const { catalog, store } = this.#parts
    for (let attempt = 1; ; attempt++) {
      try {
        const table = await this.load(namespace, name)
        const { commit } = await table.prepare({ ...nothing, ...(await plan(table)) })
        await catalog.commit({ tables: [{ namespace, name, base: commit.base, next: commit.metadataLocation }], states: [] })
        if (this.deletes) await store.delete(commit.unreferenced)
        return
      } catch (error) {
        // Somebody else was faster, or has cleaned up what was just looked at.
        const isRace = error instanceof FrazilError && (error.kind === 'conflict' || error.code === 'object-missing')
        if (!isRace || attempt === maxAttempts) throw error
      }
    }
  }

  async #write(table: IcebergTable, rows: readonly Row[]): Promise<DataFile[]> {
    if (rows.length === 0) return []
    const { store, random } = this.#parts
    const { fields } = table.schema
    const writer = new DataFileWriter({
      warehouse: localPath(store.root),
      uri: `${table.location}/data/00000-1-${random.uuid()}-0-00001.parquet`,
      fields,
      schemaJson: encodeJson(schemaToJson(table.schema)),
      key: null,
      runPath: null,
      columns: null,
    })
    const pool = new SlabPool({ budget: 1 << 26 })
    for (let from = 0; from < rows.length;) {
      const options = { id: 1, capacity: segmentRows, fields, baseCommit: 0, deletable: false, heapBytes: 1 << 20 }
      const segment = Segment.create(pool, options)
      assert.ok(segment, 'the pool has room')
      while (
        from < rows.length &&
        appendRow(
          segment,
          fields.map((_, i) => rows[from][i] ?? null),
        )
      )
        from++
      assert.ok(segment.rows > 0, 'the segment has room')
      await writer.append(segment.share(), 0, segment.rows, null)
      segment.unpin()
    }
    const file = await writer.finish()
    return file ? [file] : []
  }

  async #vector(table: IcebergTable, file: LiveDataFile, bits: Uint8Array): Promise<DeletionVector> {
    const { store, random } = this.#parts
    const replaces = file.deletionVector?.path ?? null
    const { path, bytes, vector } = deletionVectorFile(table.location, random, { dataFile: file.path, bits, replaces })
    await store.put(path, bytes)
    return vector
  }

  async #deleted(file: LiveDataFile): Promise<Uint8Array> {
    if (!file.deletionVector) return new Uint8Array((file.recordCount + 7) >> 3)
    return (await readDeletionVector(this.#parts.store, file.deletionVector, file.recordCount)).slice()
  }

  async #rowsOf(table: IcebergTable, file: LiveDataFile): Promise<Row[]> {
    const bits = await this.#deleted(file)
    return (await this.#allRows(table, file)).filter((_, i) => (bits[i >> 3] & (1 << (i & 7))) === 0)
  }

  async #allRows(table: IcebergTable, { path, fileSize }: LiveDataFile): Promise<Row[]> {
    const read = (offset: number, length: number): Promise<Uint8Array> => this.#parts.store.get(path, { offset, length })
    const reader = await ParquetReader.open({ size: fileSize, read })
    const rows: Row[] = []
    for await (const segment of reader.read(table.schema.fields, 0, reader.rowCount)) {
      for (let row = 0; row < segment.capacity; row++) rows.push(readRow(segment, row))
    }
    return rows
  }
}
