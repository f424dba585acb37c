import { DatabaseSync } from 'node:sqlite'
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { FrazilError, assert, retry, systemClock, systemRandom } from '../../base/index.ts'
import type { Clock, Random } from '../../base/index.ts'
import type { Catalog, CatalogCommit, PointerChange, StateChange, StateRecord, TableName, TablePointer } from './catalog.ts'
import { fullName, stateConflict, tableConflict } from './conflict.ts'

/** The version of what we keep in a catalog file beyond the tables shared with other engines. */
const formatVersion = 1

/** How long one attempt may hold up this thread while another process writes; beyond it we wait asynchronously. */
const busyTimeoutMs = 20
/** About a minute in all; a writer needs milliseconds. */
const waiting = { attempts: 120, minMs: 5, maxMs: 1000 }

/**
 * The first two are the schema shared by Java's JdbcCatalog (V1) and PyIceberg's SqlCatalog. Deleted state records stay with
 * value null, so that no version comes twice.
 */
const schema = `
CREATE TABLE IF NOT EXISTS iceberg_tables (
  catalog_name VARCHAR(255) NOT NULL,
  table_namespace VARCHAR(255) NOT NULL,
  table_name VARCHAR(255) NOT NULL,
  metadata_location VARCHAR(1000),
  previous_metadata_location VARCHAR(1000),
  iceberg_type VARCHAR(5),
  PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
  catalog_name VARCHAR(255) NOT NULL,
  namespace VARCHAR(255) NOT NULL,
  property_key VARCHAR(255) NOT NULL,
  property_value VARCHAR(1000) NOT NULL,
  PRIMARY KEY (catalog_name, namespace, property_key)
);
CREATE TABLE IF NOT EXISTS frazil_state (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT,
  version INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS frazil_format (
  version INTEGER NOT NULL
);`

export interface SqliteCatalogOptions {
  /** Name under which the tables are filed; other engines must open the catalog with the same. Default `frazil`. */
  readonly name?: string
  readonly clock?: Clock
  readonly random?: Random
}

/**
 * The embedded catalog: one SQLite file, which Java's JdbcCatalog and PyIceberg's SqlCatalog open as it is (files made by
 * them open here, V0 without `iceberg_type` too). Several processes may have it open; several tables and state records
 * are committed in one transaction. The file must not lie on a network file system: its locks do not work there.
 */
export class SqliteCatalog implements Catalog {
  readonly name: string
  readonly #database: DatabaseSync
  readonly #clock: Clock
  readonly #random: Random
  /** By their text, of which there are few. */
  readonly #statements = new Map<string, StatementSync>()
  readonly #closing = new AbortController()
  /** Restricts to tables: V1 files may hold views too. Empty for V0. */
  readonly #onlyTables: string
  readonly #hasType: boolean

  /**
   * Opens `path`, an absolute path, creating the file when missing. Errors: `config` code `newer-format`,
   * `catalog-open`; `corrupt` code `catalog-corrupt`; `unavailable`.
   */
  static async open(path: string, options: SqliteCatalogOptions = {}): Promise<SqliteCatalog> {
    const clock = options.clock ?? systemClock
    const random = options.random ?? systemRandom
    let database: DatabaseSync
    try {
      database = new DatabaseSync(path, { timeout: busyTimeoutMs })
    } catch (error) {
      throw new FrazilError('config', 'catalog-open', `cannot open the catalog ${path}`, {
        cause: error,
        hint: 'its directory must exist and be writable for the user that runs frazil',
      })
    }
    try {
      await retry(clock, random, waiting, () => {
        translated(`open the catalog ${path}`, () => prepare(database, path))
      })
      return new SqliteCatalog(database, options.name ?? 'frazil', clock, random)
    } catch (error) {
      database.close()
      throw error
    }
  }

  private constructor(database: DatabaseSync, name: string, clock: Clock, random: Random) {
    this.name = name
    this.#database = database
    this.#clock = clock
    this.#random = random
    this.#hasType = database
      .prepare('PRAGMA table_info(iceberg_tables)')
      .all()
      .some((column) => column.name === 'iceberg_type')
    this.#onlyTables = this.#hasType ? "AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)" : ''
  }

  async createNamespace(namespace: string): Promise<void> {
    // As PyIceberg and Java mark a namespace without properties.
    await this.#write(() => {
      const exists = 'SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ?'
      if (this.#statement(exists).get(this.name, namespace) !== undefined) return
      this.#run(
        `INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
         VALUES (?, ?, 'exists', 'true')`,
        [this.name, namespace],
      )
    })
  }

  async namespaces(): Promise<string[]> {
    const rows = await this.#read(
      `SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?1
       UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = ?1 ${this.#onlyTables} ORDER BY 1`,
      [this.name],
    )
    return rows.map((row) => text(row.namespace))
  }

  async list(namespace?: string): Promise<TablePointer[]> {
    const rows = await this.#read(
      `SELECT table_namespace, table_name, metadata_location FROM iceberg_tables
       WHERE catalog_name = ?1 AND (?2 IS NULL OR table_namespace = ?2) AND metadata_location IS NOT NULL ${this.#onlyTables}
       ORDER BY table_namespace, table_name`,
      [this.name, namespace ?? null],
    )
    return rows.map((row) => ({
      namespace: text(row.table_namespace),
      name: text(row.table_name),
      metadataLocation: text(row.metadata_location),
    }))
  }

  async load(table: TableName): Promise<TablePointer | null> {
    const [row] = await this.#read(
      `SELECT metadata_location FROM iceberg_tables
       WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location IS NOT NULL ${this.#onlyTables}`,
      [this.name, table.namespace, table.name],
    )
    if (row === undefined) return null
    return { namespace: table.namespace, name: table.name, metadataLocation: text(row.metadata_location) }
  }

  async commit(commit: CatalogCommit): Promise<void> {
    await this.#write(() => {
      for (const change of commit.states) this.#changeState(change)
      for (const change of commit.tables) this.#changePointer(change)
    })
  }

  async state(key: string): Promise<StateRecord | null> {
    const [row] = await this.#read('SELECT key, value, version FROM frazil_state WHERE key = ? AND value IS NOT NULL', [key])
    return row === undefined ? null : stateRecord(row)
  }

  async states(prefix: string): Promise<StateRecord[]> {
    const rows = await this.#read(
      `SELECT key, value, version FROM frazil_state
       WHERE substr(key, 1, length(?1)) = ?1 AND value IS NOT NULL ORDER BY key`,
      [prefix],
    )
    return rows.map(stateRecord)
  }

  /** Whoever asks for anything behind it gets `unavailable` `closed`; who waits for a busy file is told that it is busy. */
  async close(): Promise<void> {
    this.#closing.abort()
    if (this.#database.isOpen) this.#database.close()
  }

  #changeState({ key, expected, value }: StateChange): void {
    const row = this.#statement('SELECT value IS NOT NULL AS present, version FROM frazil_state WHERE key = ?').get(key)
    const stored = row === undefined ? 0 : Number(row.version)
    const found = row?.present === 1 ? stored : null
    if (found !== expected) throw stateConflict(key, expected, found)
    if (value === undefined) return
    this.#run(
      'INSERT INTO frazil_state (key, value, version) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET value = ?2, version = ?3',
      [key, value, stored + 1],
    )
  }

  #changePointer(change: PointerChange): void {
    const { namespace, name, base, next } = change
    assert(base !== next, `a commit changes ${fullName(change)}`)
    const where = `WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3`
    // Also a view of that name is in the way of a new table.
    const select = `SELECT metadata_location FROM iceberg_tables ${where} ${base === null ? '' : this.#onlyTables}`
    const row = this.#statement(select).get(this.name, namespace, name)
    const found = row === undefined || row.metadata_location === null ? null : text(row.metadata_location)
    if (base === null ? row !== undefined : found !== base) throw tableConflict(change, found)
    if (next === null) {
      this.#run(`DELETE FROM iceberg_tables ${where}`, [this.name, namespace, name])
    } else if (base !== null) {
      const set = 'SET metadata_location = ?4, previous_metadata_location = ?5'
      this.#run(`UPDATE iceberg_tables ${set} ${where}`, [this.name, namespace, name, next, base])
    } else if (this.#hasType) {
      this.#run(
        `INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
         VALUES (?, ?, ?, ?, 'TABLE')`,
        [this.name, namespace, name, next],
      )
    } else {
      this.#run('INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES (?, ?, ?, ?)', [
        this.name,
        namespace,
        name,
        next,
      ])
    }
  }

  /** One statement that must affect exactly one row. */
  #run(sql: string, values: SQLInputValue[]): void {
    const { changes } = this.#statement(sql).run(...values)
    assert(changes === 1, 'a catalog statement affects one row')
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (!statement) this.#statements.set(sql, (statement = this.#database.prepare(sql)))
    return statement
  }

  async #read(sql: string, values: SQLInputValue[]): Promise<Record<string, unknown>[]> {
    return this.#retry(() => translated('read the catalog', () => this.#statement(sql).all(...values)))
  }

  async #write(change: () => void): Promise<void> {
    await this.#retry(() => transaction(this.#database, change))
  }

  #retry<T>(work: () => T): Promise<T> {
    const { signal } = this.#closing
    return retry(this.#clock, this.#random, { ...waiting, signal }, () => {
      if (signal.aborted) throw new FrazilError('unavailable', 'closed', 'the catalog is closed')
      return work()
    })
  }
}

/** Runs `change` in a write transaction, all of it or nothing. Synchronous: nothing else of this thread comes in between. */
function transaction(database: DatabaseSync, change: () => void): void {
  translated('write the catalog', () => {
    database.exec('BEGIN IMMEDIATE')
    try {
      change()
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  })
  try {
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    const known = sqliteError(error, 'commit to the catalog')
    // A busy or full database has rolled back. After any other failure the frames may or may not be in the log.
    if (known?.code === 'catalog-busy' || known?.code === 'disk-full') throw known
    throw new FrazilError('uncertain', 'commit-uncertain', 'the outcome of the catalog commit is unknown', { cause: error })
  }
}

function prepare(database: DatabaseSync, path: string): void {
  database.exec('PRAGMA journal_mode = WAL')
  // Each commit is synced: an acknowledgement to a source follows it.
  database.exec('PRAGMA synchronous = FULL')
  transaction(database, () => {
    database.exec(schema)
    const row = database.prepare('SELECT max(version) AS version FROM frazil_format').get()
    const found = Number(row?.version ?? 0)
    if (found > formatVersion)
      throw new FrazilError(
        'config',
        'newer-format',
        `the catalog ${path} has format ${found}; this frazil knows ${formatVersion}`,
        {
          hint: 'use the frazil that wrote it, or a newer one',
        },
      )
    if (found === 0) database.prepare('INSERT INTO frazil_format (version) VALUES (?)').run(formatVersion)
  })
}

function translated<T>(doing: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw sqliteError(error, doing) ?? error
  }
}

function isSqliteError(error: unknown): error is Error & { errcode: number } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
}

/** SQLite's primary result codes (https://www.sqlite.org/rescode.html) as ours; null for what is no failure of the surroundings. */
function sqliteError(error: unknown, doing: string): FrazilError | null {
  if (!isSqliteError(error)) return null
  switch (error.errcode & 0xff) {
    case 5: // BUSY
    case 6: // LOCKED
      return new FrazilError('unavailable', 'catalog-busy', `cannot ${doing}: another process is writing it`, { cause: error })
    case 13: // FULL
      return new FrazilError('unavailable', 'disk-full', `the disk is full: cannot ${doing}`, {
        cause: error,
        hint: 'free some space; writing goes on by itself then',
      })
    case 3: // PERM
    case 8: // READONLY
    case 14: // CANTOPEN
      return new FrazilError('config', 'catalog-open', `cannot ${doing}: missing rights or no such directory`, {
        cause: error,
        hint: 'the user that runs frazil needs to write the file and its directory',
      })
    case 11: // CORRUPT
    case 26: // NOTADB
      return new FrazilError('corrupt', 'catalog-corrupt', `cannot ${doing}: the file is damaged or not a catalog`, {
        cause: error,
        hint: 'restore it, with catalog.db-wal beside it, from a backup; the tables themselves are in the warehouse, unharmed',
      })
    case 7: // NOMEM
    case 10: // IOERR
    case 15: // PROTOCOL
      return new FrazilError('unavailable', 'catalog-io', `cannot ${doing}: ${error.message}`, { cause: error })
    default:
      return null
  }
}

function text(value: unknown): string {
  if (typeof value === 'string') return value
  throw new FrazilError('corrupt', 'catalog-corrupt', 'the catalog holds a name or location that is not text')
}

function stateRecord(row: Record<string, unknown>): StateRecord {
  return { key: text(row.key), value: text(row.value), version: Number(row.version) }
}
