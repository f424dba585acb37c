import { readFile } from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { DataFile } from '../../src/iceberg/index.ts'
import type { Lab } from './lab.ts'

/** Small real Parquet files, written by DuckDB with Iceberg's field ids. */
export class ParquetFiles {
  readonly #connection: DuckDBConnection
  readonly #directory: string
  #count = 0

  private constructor(connection: DuckDBConnection, directory: string) {
    this.#connection = connection
    this.#directory = directory
  }

  static async open(): Promise<ParquetFiles> {
    const instance = await DuckDBInstance.create(':memory:')
    return new ParquetFiles(await instance.connect(), await mkdtemp(join(tmpdir(), 'frazil-parquet-')))
  }

  /**
   * Stores the result of `select` as a data file. `fieldIds` maps its columns to field ids. The file has no column metrics:
   * they are optional.
   */
  async write(lab: Lab, select: string, fieldIds: Readonly<Record<string, number>>): Promise<DataFile> {
    const local = join(this.#directory, `${this.#count++}.parquet`)
    const ids = Object.entries(fieldIds).map(([name, id]) => `"${name}": ${id}`)
    await this.#connection.run(`COPY (${select}) TO '${local}' (FORMAT parquet, FIELD_IDS {${ids.join(', ')}})`)
    const rows = await this.#connection.runAndReadAll(`SELECT count(*) FROM read_parquet('${local}')`)
    const bytes = await readFile(local)
    const path = `${lab.table.location}/data/${lab.parts.random.uuid()}.parquet`
    await lab.store.put(path, bytes)
    return { path, recordCount: Number(rows.getRows()[0][0]), fileSize: bytes.length, splitOffsets: [4], metrics: [] }
  }

  async close(): Promise<void> {
    this.#connection.closeSync()
    await rm(this.#directory, { recursive: true })
  }
}
