import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type pg from 'pg'
import { FrazilError, seededRandom } from '../../src/base/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { EventBus, createLog, logEvents } from '../../src/observe/index.ts'
import type { ConfigInput } from '../../src/index.ts'
import { rowText as jsonRow } from '../../src/server/values.ts'
import { open } from './engine.ts'
import { fromAnswer, rowText } from './canonical.ts'
import { BackgroundLoad } from './background-load.ts'
import { checkLake } from './check-lake.ts'
import { RoamingTables } from './roaming-tables.ts'
import { SchemaDrift } from './schema-drift.ts'
import { agree, answeredRows, postgresRows, walPosition } from './compare.ts'
import type { RunSql, TableRows } from './compare.ts'
import { randomLayouts } from './random-layout.ts'
import { Workload, connect, runTransaction } from './workload.ts'
import { quoted, workloadSchema, workloadTables } from './workload-tables.ts'
import type { WorkloadTable } from './workload-tables.ts'

/** What another engine does in each phase, also when it is slower than the load. */
const leastActs = 8

// FRAZIL_TRACE=1 shows what the engine says, to look into a seed that fails.
const trace = process.env['FRAZIL_TRACE'] === '1'

/** Another implementation that reads what is committed. */
export interface IndependentReader {
  readonly name: string
  rows(table: WorkloadTable): Promise<TableRows>
  close(): Promise<void>
}

/** Another engine that works on the tables of the lake while rows arrive. */
export interface OtherEngine {
  /** Does something to a table that leaves its rows as they are, or nothing when it was overtaken. */
  act(table: WorkloadTable): Promise<void>
  close(): Promise<void>
}

export interface DifferentialOptions {
  readonly seed: number
  /** A server; each run has a database of its own. */
  readonly url: string
  readonly pipelines: 'inline' | 'worker'
  /** Stretches of load with a quiet point after each. */
  readonly phases: number
  /** Transactions of each writer in each phase. */
  readonly transactions: number
  readonly writers: number
  readonly mostRows: number
  /** Whether tables are partitioned and sorted, in another way after each restart. */
  readonly layouts?: boolean
  /** Opened on the lake, asked at quiet points after a flush. */
  readonly readers?: (warehouse: string) => Promise<readonly IndependentReader[]>
  /** Opened on the lake, which exists by then. */
  readonly other?: (warehouse: string) => Promise<OtherEngine>
  /** Called with the closed lake at the very end. */
  readonly after?: (warehouse: string, client: pg.Client) => Promise<void>
  /** Files are rewritten only when it is asked for, so that deletion vectors are left for a reader. */
  readonly keepsVectors?: boolean
}

/**
 * Random transactions on a real Postgres while the engine copies, streams, flushes, commits and restarts; at quiet points all
 * readers must have every value of Postgres. Everything follows from the seed but the interleaving.
 */
export async function runDifferential(options: DifferentialOptions): Promise<void> {
  const name = `differential_${options.seed}_${options.pipelines}`
  const folder = await mkdtemp(join(tmpdir(), 'frazil-differential-'))
  const run = new DifferentialRun(options, name, folder)
  try {
    await run.all()
  } catch (error) {
    throw new Error(`seed ${options.seed}, pipelines ${options.pipelines}, ${run.doing}: ${String(error)}`, { cause: error })
  } finally {
    await run.end()
    await rm(folder, { recursive: true, force: true })
  }
}

class DifferentialRun {
  /** For messages: what was going on. */
  doing = 'preparing'
  readonly #options: DifferentialOptions
  readonly #name: string
  readonly #folder: string
  readonly #random: ReturnType<typeof seededRandom>
  readonly #closing: (() => Promise<unknown>)[] = []
  #engine: Engine | null = null
  /** Of something that nobody waits for. */
  #failure: unknown = null
  /** What is configured; some tables are added later. */
  #tables: readonly WorkloadTable[]

  constructor(options: DifferentialOptions, name: string, folder: string) {
    this.#options = options
    this.#name = name
    this.#folder = folder
    this.#random = seededRandom(options.seed + 7)
    const late = new Set(Array.from({ length: 3 }, () => this.#random.below(workloadTables.length)))
    this.#tables = workloadTables.filter((_, i) => !late.has(i))
  }

  async all(): Promise<void> {
    const { seed, writers, phases, transactions, mostRows } = this.#options
    await this.#createDatabase()
    const loads = Array.from(
      { length: writers },
      (_, writer) => new BackgroundLoad(this.#databaseUrl(), { seed: seed * 100 + writer, writer: writer + 1, mostRows }),
    )
    for (const load of loads) this.#closing.push(() => load.end())
    const drift = await SchemaDrift.open(this.#databaseUrl(), workloadTables, seed * 100 + 50)
    this.#closing.push(() => drift.close())
    const roaming = await RoamingTables.open(this.#databaseUrl(), seed * 100 + 60)
    this.#closing.push(() => roaming.close())
    for (let phase = 0; phase < phases; phase++) {
      this.doing = `phase ${phase}, under load`
      let writing = true
      for (const load of loads) load.start(transactions)
      const written = Promise.all(loads.map((load) => load.finished())).finally(() => (writing = false))
      const outcomes = await Promise.allSettled([
        written,
        this.#disturb(() => writing),
        this.#change(drift, () => writing, 1),
        this.#change(roaming, () => writing, 2),
        this.#others(() => writing),
      ])
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
      if (this.#failure) throw this.#failure
      this.doing = `phase ${phase}, quiet`
      // A table that was made anew is noticed then.
      if (roaming.isRemade) await this.#restart()
      roaming.isRemade = false
      await this.#connected((client) => this.#quiet(client, roaming))
      roaming.mayRoam = true
      if (phase === 0) await this.#addTables()
    }
    assert.ok(drift.steps > 0, 'columns have changed')
    this.doing = 'after the last restart'
    await this.#restart()
    await roaming.settle()
    await this.#connected((client) => this.#quiet(client, roaming))
    this.doing = 'copied afresh'
    await this.#connected((client) => this.#compareWithFresh(client, roaming))
    this.doing = 'closed'
    await this.#close()
    await this.#connected(async (client) => this.#options.after?.(join(this.#folder, 'lake'), client))
  }

  /** All tables are configured from here on: those that are added are copied beside the stream of the others. */
  async #addTables(): Promise<void> {
    this.#tables = workloadTables
    await this.#restart()
  }

  async #others(writing: () => boolean): Promise<void> {
    if (!this.#options.other) return
    const random = seededRandom(this.#options.seed * 10 + 3)
    const catalog = join(this.#folder, 'lake', 'catalog.db')
    const deadline = Date.now() + 120_000
    while (!existsSync(catalog) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
    const other = await this.#options.other(join(this.#folder, 'lake'))
    try {
      for (let acts = 0; writing() || acts < leastActs;) {
        const table = this.#tables[random.below(this.#tables.length)]
        if (this.#stored(table)) {
          await other.act(table)
          acts++
        }
        await new Promise((resolve) => setTimeout(resolve, random.below(50)))
      }
    } finally {
      await other.close()
    }
  }

  #stored({ lakeName }: WorkloadTable): boolean {
    using catalog = new DatabaseSync(join(this.#folder, 'lake', 'catalog.db'), { readOnly: true, timeout: 5000 })
    return (
      catalog.prepare('SELECT 1 FROM iceberg_tables WHERE table_namespace = ? AND table_name = ?').get('shop', lakeName) !==
      undefined
    )
  }

  async #change(changing: SchemaDrift | RoamingTables, writing: () => boolean, number: number): Promise<void> {
    const random = seededRandom(this.#options.seed * 10 + number)
    while (writing()) {
      await changing.step()
      await new Promise((resolve) => setTimeout(resolve, random.below(300)))
    }
  }

  /** What an engine has to stand while rows arrive. The first thing is its start: the copy runs beside the writers. */
  async #disturb(writing: () => boolean): Promise<void> {
    const engine = this.#engine ?? (await this.#open())
    this.#engine = engine
    while (writing()) {
      const chance = this.#random.below(10)
      if (chance < 4) await this.#engine.flush()
      else if (chance < 8) {
        const table = this.#tables[this.#random.below(this.#tables.length)]
        // A table that is still being copied is not there yet.
        const there = (await this.#engine.status()).tables.some((one) => one.table === table.lakeName && one.visible !== null)
        if (there && chance === 7) await this.#engine.resync('shop', table.lakeName)
        else if (there && chance === 6) this.#optimize(this.#engine, table)
        else if (there) await answeredRows(this.#sql, table)
      } else if (chance === 8) await this.#restart()
      else await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Files are rewritten beside whatever comes next. */
  #optimize(engine: Engine, { lakeName }: WorkloadTable): void {
    engine.optimize('shop', lakeName).catch((error: unknown) => {
      // The engine was closed, or the table copied anew or detached meanwhile.
      const expected = ['closed', 'source-failed', 'table-not-ready', 'table-changing', 'unknown-table']
      if (!(error instanceof FrazilError) || !expected.includes(error.code)) this.#failure ??= error
    })
  }

  async #quiet(client: pg.Client, roaming: RoamingTables): Promise<void> {
    await SchemaDrift.tell(client, this.#tables)
    await roaming.tell()
    await this.#healthy(client)
    const tables = await this.#now(client, roaming)
    await agree(client, tables, 'our SQL', (table) => answeredRows(this.#sql, table))
    await this.#lookups(client, tables)
    await this.#current().flush()
    for (const { lakeName } of this.#options.keepsVectors === true ? [] : tables) {
      if (this.#random.below(2) === 0) await this.#current().optimize('shop', lakeName)
    }
    await agree(client, tables, 'our SQL after a flush and rewrites', (table) => answeredRows(this.#sql, table))
    await this.#structure(client)
    const readers = (await this.#options.readers?.(join(this.#folder, 'lake'))) ?? []
    try {
      for (const reader of readers) await agree(client, tables, reader.name, (table) => reader.rows(table))
    } finally {
      for (const reader of readers) await reader.close()
    }
  }

  /** All tables with the columns that they have now. */
  async #now(client: pg.Client, roaming: RoamingTables): Promise<WorkloadTable[]> {
    const tables: WorkloadTable[] = []
    for (const table of this.#tables) tables.push(await SchemaDrift.now(client, table))
    return [...tables, ...(await roaming.now())]
  }

  /** A lake that has always known the columns of now has the same ones, and the same rows. */
  async #compareWithFresh(client: pg.Client, roaming: RoamingTables): Promise<void> {
    const evolved = this.#current()
    const columns = async (engine: Engine, table: WorkloadTable): Promise<unknown> =>
      (await engine.execute(`SELECT * FROM shop.${quoted(table.lakeName)} LIMIT 0`)).columns
    this.#engine = await this.#open('fresh')
    try {
      await this.#healthy(client)
      const tables = await this.#now(client, roaming)
      await agree(client, tables, 'a fresh copy', (table) => answeredRows(this.#sql, table))
      for (const table of tables) {
        // Of an empty table the stream does not tell.
        const { rows } = await client.query(`SELECT FROM ${table.sqlName} LIMIT 1`)
        if (rows.length > 0) assert.deepEqual(await columns(evolved, table), await columns(this.#engine, table), table.lakeName)
      }
    } finally {
      await this.#engine.close()
      this.#engine = evolved
    }
  }

  async #structure(client: pg.Client): Promise<void> {
    const rows = await checkLake(join(this.#folder, 'lake'))
    for (const table of this.#tables) {
      const answer = await client.query<{ n: string }>(`SELECT count(*) AS n FROM ${table.sqlName}`)
      assert.equal(rows.get(`shop.${table.lakeName}`) ?? 0, Number(answer.rows[0].n), `${table.lakeName}: live rows by manifests`)
    }
  }

  /** Waits for everything that is written, and for all copies; no table may have stopped. */
  async #healthy(client: pg.Client): Promise<void> {
    const wait = { shop: await walPosition(client) }
    await this.#current().execute('SELECT 1', { wait, waitTimeoutMs: 120_000 })
    const deadline = Date.now() + 120_000
    for (;;) {
      const { ready, reasons, tables } = await this.#current().status()
      const left = tables.filter(({ health, copy }) => health !== 'streaming' || copy !== null)
      if (ready && left.length === 0 && tables.length === this.#tables.length + RoamingTables.sqlNames.length) return
      const found = left.map(({ table, health, reason }) => `${table} is ${health}: ${reason}`)
      assert.ok(Date.now() < deadline, `not whole: ${[...reasons, ...found].join('; ')}; ${tables.length} tables`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Some keys that are there, and one that is not. */
  async #lookups(client: pg.Client, tables: readonly WorkloadTable[]): Promise<void> {
    for (const table of tables) {
      if (table.unique.length === 0) continue
      const keys = table.unique[0].columns
      const order = `ORDER BY hashtext(${keys.map(({ name }) => `${quoted(name)}::text`).join(' || ')}), 1 LIMIT 5`
      const rows = await postgresRows(client, table, order)
      for (const row of rows) {
        const values = JSON.parse(row) as unknown[]
        const at = keys.map(({ name }) => {
          const column = table.columns.findIndex((one) => one.name === name)
          return [name, table.columns[column].compared === 'uuid' ? withDashes(String(values[column])) : values[column]] as const
        })
        const found = await this.#current().lookup('shop', table.lakeName, Object.fromEntries(at))
        assert.ok(found.row !== null, `${table.lakeName}: the look-up of a key of Postgres finds nothing`)
        const json = JSON.parse(jsonRow(found.fields, found.row, { numbersAsStrings: true })) as Record<string, unknown>
        const got = rowText(
          table,
          table.columns.map((column) => json[column.name]),
          fromAnswer,
        )
        assert.equal(got, row, `${table.lakeName}: look-up`)
      }
      const missing = await client.query<Record<string, string>>({
        text: `SELECT ${keys.map(({ name, expression }) => `${expression('1999999999::bigint')}::text AS ${quoted(name)}`).join(', ')}`,
      })
      const none = await this.#current().lookup('shop', table.lakeName, missing.rows[0])
      assert.equal(none.row, null, `${table.lakeName}: the look-up of a key that was never there`)
    }
  }

  #current(): Engine {
    assert.ok(this.#engine, 'the engine runs')
    return this.#engine
  }

  readonly #sql: RunSql = async (sql) => {
    const answer = await this.#current().execute(sql, { numbersAsStrings: true })
    return { columns: answer.columns, rows: JSON.parse(Buffer.from(answer.body).toString()) as unknown[][] }
  }

  async #open(lake = 'lake'): Promise<Engine> {
    const slot = lake === 'lake' ? this.#name : `${this.#name}_${lake}`
    const events = new EventBus()
    if (trace) logEvents(createLog({ level: 'debug', format: 'text', write: (line) => process.stderr.write(line) }), events)
    const config: ConfigInput = {
      warehouse: join(this.#folder, lake),
      local: join(this.#folder, `${lake}-local`),
      // With little memory rows are staged before they can be committed.
      memory: this.#options.seed % 2 === 0 ? '24MB' : '64MB',
      commit: { every: ['100ms', '500ms', '5s'][this.#options.seed % 3], bytes: '4MB' },
      pipelines: this.#options.pipelines,
      compaction: { automatic: this.#options.keepsVectors !== true },
      query: { memory: '256MB', threads: 1 },
      // Every start lays the tables out anew.
      tables: this.#options.layouts === true ? randomLayouts(workloadTables, this.#random) : {},
      sources: {
        shop: {
          type: 'postgres',
          url: this.#databaseUrl(),
          tables: [...this.#tables.map((table) => table.sqlName), ...RoamingTables.sqlNames],
          slot,
          publication: slot,
          // One such column has the whole stream in text form.
          columns: this.#options.seed % 4 < 2 ? { 'public.orders.note': 'text' } : {},
        },
      },
    }
    return (await open(config, { events })).engine
  }

  async #restart(): Promise<void> {
    await this.#close()
    this.#engine = await this.#open()
  }

  async #close(): Promise<void> {
    const engine = this.#engine
    this.#engine = null
    await engine?.close()
  }

  #databaseUrl(): string {
    const url = new URL(this.#options.url)
    url.pathname = `/${this.#name}`
    return url.href
  }

  async #connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await connect(this.#databaseUrl())
    try {
      return await work(client)
    } finally {
      await client.end()
    }
  }

  async #createDatabase(): Promise<void> {
    const admin = await connect(this.#options.url)
    await admin.query(`CREATE DATABASE ${this.#name}`)
    await admin.end()
    this.#closing.push(() => this.#dropDatabase())
    await this.#connected(async (client) => {
      for (const statement of [...workloadSchema(), ...RoamingTables.ddl]) await client.query(statement)
      const first = new Workload({ seed: this.#options.seed })
      for (const transaction of first.initial(this.#random.below(1000))) await runTransaction(client, transaction)
    })
  }

  async #dropDatabase(): Promise<void> {
    const admin = await connect(this.#options.url)
    await admin.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1', [this.#name])
    await admin.query(`DROP DATABASE ${this.#name} WITH (FORCE)`)
    await admin.end()
  }

  /** Everything in reverse; what fails here hides nothing. */
  async end(): Promise<void> {
    await this.#close().catch(() => {})
    for (const close of this.#closing.toReversed()) await close().catch(() => {})
  }
}

function withDashes(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
