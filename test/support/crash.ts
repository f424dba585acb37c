import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { BackgroundLoad } from './background-load.ts'
import { checkLake } from './check-lake.ts'
import { agree, answeredRows, walPosition } from './compare.ts'
import { Daemon } from './daemon.ts'
import type { DaemonOptions } from './daemon.ts'
import { Workload, connect, runTransaction } from './workload.ts'
import { workloadSchema, workloadTables } from './workload-tables.ts'

/** For each answer of Postgres: nothing here waits without end, so that what fails says so. */
const answerWithinMs = 60_000

export interface MirrorOptions {
  readonly url: string
  readonly seed: number
  readonly writers?: number
  /** Over the configuration's defaults for these tests. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** A database under load and what a daemon needs to mirror it: the scene of the crash tests. */
export class Mirror {
  readonly folder: string
  /** Of the database, its slot and its publication. */
  readonly name: string
  /** Of the database. */
  readonly url: string
  /** Reads what Postgres has. */
  client: pg.Client
  readonly #options: MirrorOptions
  readonly #writers: readonly BackgroundLoad[]
  readonly #daemons = new Set<Daemon>()

  private constructor(folder: string, name: string, options: MirrorOptions, client: pg.Client) {
    this.folder = folder
    this.name = name
    this.url = databaseUrl(options.url, name)
    this.#options = options
    this.client = client
    this.#writers = Array.from(
      { length: options.writers ?? 2 },
      (_, writer) =>
        new BackgroundLoad(this.url, {
          seed: options.seed * 100 + writer,
          writer: writer + 1,
          mostRows: 2000,
          mostTableRows: 5000,
          // Always something under way, and time for everything else on a machine of two cores.
          pauseMs: 20,
        }),
    )
  }

  static async create(options: MirrorOptions): Promise<Mirror> {
    const name = `crash_${options.seed}`
    const admin = await connect(options.url, answerWithinMs)
    await admin.query(`CREATE DATABASE ${name}`)
    await admin.end()
    const client = await connect(databaseUrl(options.url, name), answerWithinMs)
    for (const statement of workloadSchema()) await client.query(statement)
    for (const transaction of new Workload({ seed: options.seed }).initial(500)) await runTransaction(client, transaction)
    return new Mirror(await mkdtemp(join(tmpdir(), 'frazil-crash-')), name, options, client)
  }

  /** Starts `frazil run` on the one lake of this scene; it need not answer yet. */
  async daemon(more: Partial<DaemonOptions> = {}): Promise<Daemon> {
    const daemon = await Daemon.spawn({
      folder: this.folder,
      config: {
        warehouse: join(this.folder, 'lake'),
        local: join(this.folder, 'local'),
        memory: '64MB',
        commit: { every: '200ms', bytes: '4MB' },
        query: { memory: '256MB', threads: 1 },
        sources: {
          shop: {
            type: 'postgres',
            url: this.url,
            tables: workloadTables.map((table) => table.sqlName),
            slot: this.name,
            publication: this.name,
          },
        },
        ...this.#options.config,
      },
      ...more,
    })
    this.#daemons.add(daemon)
    void daemon.exited.then(() => this.#daemons.delete(daemon))
    return daemon
  }

  /** A new {@link client}, after the server has been away. */
  async reconnect(): Promise<void> {
    await this.client.end().catch(() => {})
    this.client = await connect(this.url, answerWithinMs)
  }

  load(): void {
    for (const writer of this.#writers) writer.start()
  }

  async calm(): Promise<void> {
    for (const writer of this.#writers) await writer.stop()
  }

  get transactions(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.transactions, 0)
  }

  /** Everything that Postgres has committed is in the daemon's answers, and nothing else. No load may run. */
  async same(daemon: Daemon, when: string): Promise<void> {
    await daemon.ready()
    await daemon.visible('shop', await walPosition(this.client))
    const { tables } = JSON.parse((await daemon.get('/tables')).text) as {
      tables: { table: string; health: string; reason: string }[]
    }
    const sick = tables.filter(({ health }) => health !== 'streaming')
    assert.deepEqual(sick, [], when)
    await agree(this.client, workloadTables, `our SQL ${when}`, (table) => answeredRows((sql) => daemon.query(sql), table))
    await checkLake(join(this.folder, 'lake'))
  }

  async end(): Promise<void> {
    for (const writer of this.#writers) await writer.end()
    for (const daemon of this.#daemons) await daemon.kill()
    await this.client.end().catch(() => {})
    const admin = await connect(this.#options.url, answerWithinMs).catch(() => null)
    // The walsender of a killed daemon may take a moment to notice.
    await admin
      ?.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1', [this.name])
      .catch(() => {})
    await admin
      ?.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [this.name])
      .catch(() => {})
    await admin?.query(`DROP DATABASE ${this.name} WITH (FORCE)`).catch(() => {})
    await admin?.end().catch(() => {})
    await rm(this.folder, { recursive: true, force: true })
  }
}

function databaseUrl(server: string, name: string): string {
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}

export interface KillOptions extends MirrorOptions {
  readonly kills: number
  /** The load pauses and all is compared after every so many kills. */
  readonly compareEvery: number
  /** Called with the lake of the ended daemon, at the very end. */
  readonly after?: (warehouse: string, client: pg.Client) => Promise<void>
}

/** Has all tables rewritten, until the daemon is gone or has no tables yet. */
async function rewrite(daemon: Daemon): Promise<void> {
  try {
    const { tables } = JSON.parse((await daemon.get('/tables')).text) as { tables: { database: string; table: string }[] }
    for (const { database, table } of tables)
      await daemon.post(`/tables/${encodeURIComponent(table)}/optimize`, { database, table })
  } catch {
    // It was killed meanwhile, as it should be.
  }
}

/** SIGKILL at random moments under load: while starting, copying, streaming, committing. Nothing lost, nothing doubled. */
export async function runKills(options: KillOptions): Promise<void> {
  const random = seededRandom(options.seed)
  const mirror = await Mirror.create(options)
  let doing = ''
  try {
    mirror.load()
    for (let kill = 1; kill <= options.kills; kill++) {
      doing = `kill ${kill}`
      const daemon = await mirror.daemon()
      // A third of them before it is ready, wherever the start is by then; the first one always while it copies.
      if (kill > 1 && random.below(3) > 0) await daemon.ready()
      const rewriting = rewrite(daemon)
      await new Promise((resolve) => setTimeout(resolve, random.below(1500)))
      if (!daemon.running) throw new Error(`frazil ended by itself (${await daemon.exited}):\n${daemon.log}`)
      await daemon.kill()
      await rewriting
      if (existsSync(join(mirror.folder, 'lake', 'catalog.db'))) await checkLake(join(mirror.folder, 'lake'))
      if (kill % options.compareEvery === 0) {
        await mirror.calm()
        doing = `after kill ${kill}`
        const checked = await mirror.daemon()
        await mirror.same(checked, doing)
        mirror.load()
        await checked.kill()
      }
    }
    doing = 'at the end'
    const daemon = await mirror.daemon()
    await daemon.ready()
    await mirror.calm()
    await mirror.same(daemon, doing)
    assert.equal(await daemon.terminate(), 0, daemon.log)
    doing = 'after a clean stop'
    const again = await mirror.daemon()
    await mirror.same(again, doing)
    assert.equal(await again.terminate(), 0, again.log)
    await options.after?.(join(mirror.folder, 'lake'), mirror.client)
  } catch (error) {
    throw new Error(`seed ${options.seed}, ${doing}, ${mirror.transactions} transactions: ${String(error)}`, { cause: error })
  } finally {
    await mirror.end()
  }
}
