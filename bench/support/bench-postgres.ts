import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Client } from 'pg'
import { startEmbeddedPostgres } from '../../src/cli/embedded-postgres.ts'
import type { EmbeddedPostgres } from '../../src/cli/embedded-postgres.ts'
import { connect } from '../../test/support/workload.ts'
import { familyCpuSeconds } from './process-cost.ts'

const run = promisify(execFile)

/** A Postgres made for measuring, with Debian's own programs beside it as the yardstick. */
export class BenchPostgres {
  readonly url: string
  readonly client: Client
  readonly version: string
  readonly #server: EmbeddedPostgres
  readonly #tools: string

  private constructor(server: EmbeddedPostgres, tools: string, client: Client, version: string) {
    this.url = server.url
    this.#server = server
    this.#tools = tools
    this.client = client
    this.version = version
  }

  /** Debian's newest server when there is one, else the npm package's; `pg_recvlogical` and `psql` must be installed. */
  static async start(): Promise<BenchPostgres> {
    const system = newestSystemPostgres()
    const tools = system ?? '/usr/bin'
    if (!existsSync(join(tools, 'pg_recvlogical')) || !existsSync('/usr/bin/psql'))
      throw new Error('psql and pg_recvlogical are needed to compare with: apt-get install postgresql postgresql-client')
    const server = await startEmbeddedPostgres({
      binDir: system ?? undefined,
      settings: { fsync: 'off', max_wal_size: '16GB', checkpoint_timeout: '1h', autovacuum: 'off', shared_buffers: '256MB' },
    })
    const client = await connect(server.url)
    const answer = await client.query<{ server_version: string }>('SHOW server_version')
    return new BenchPostgres(server, tools, client, answer.rows[0].server_version)
  }

  cpuSeconds(): number {
    const pid = Number(readFileSync(join(this.#server.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0])
    return familyCpuSeconds(pid)
  }

  /** Where everything written so far ends. */
  async position(): Promise<string> {
    const answer = await this.client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
    return answer.rows[0].lsn
  }

  /**
   * Waits until the disk has what was loaded. The server does not sync, so the system would write it while the lake is measured, whose own
   * syncs wait for that.
   */
  async settle(): Promise<void> {
    await this.client.query('CHECKPOINT')
    await run('sync')
  }

  /** Seconds of `COPY table TO STDOUT (FORMAT binary)` by psql over TCP into /dev/null. */
  async copyToNull(table: string): Promise<number> {
    const from = performance.now()
    const child = spawn('/usr/bin/psql', ['-q', '-d', this.url, '-c', `COPY ${table} TO STDOUT (FORMAT binary)`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    await ended(child)
    return (performance.now() - from) / 1000
  }

  /** A slot from here on, to read what is written next with {@link receiveToNull}. */
  async createSlot(slot: string, table: string): Promise<void> {
    await this.client.query(`CREATE PUBLICATION ${slot} FOR TABLE ${table}`)
    await this.client.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`)
  }

  /** Seconds in which `pg_recvlogical` reads a slot's backlog up to `until` over TCP into /dev/null; drops the slot. */
  async receiveToNull(slot: string, until: string): Promise<number> {
    const from = performance.now()
    const options = [
      '-o',
      'proto_version=1',
      '-o',
      `publication_names=${slot}`,
      '--endpos',
      until,
      '--no-loop',
      '-f',
      '/dev/null',
    ]
    const child = spawn(join(this.#tools, 'pg_recvlogical'), ['-d', this.url, '--slot', slot, '--start', ...options], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    await ended(child)
    const seconds = (performance.now() - from) / 1000
    await run(join(this.#tools, 'pg_recvlogical'), ['-d', this.url, '--slot', slot, '--drop-slot'])
    await this.client.query(`DROP PUBLICATION ${slot}`)
    return seconds
  }

  async stop(): Promise<void> {
    await this.client.end()
    await this.#server.stop()
  }
}

async function ended(child: ReturnType<typeof spawn>): Promise<void> {
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${child.spawnfile} exited with ${code}`)
}

function newestSystemPostgres(): string | null {
  const root = '/usr/lib/postgresql'
  if (!existsSync(root)) return null
  const versions = readdirSync(root).map(Number)
  const newest = Math.max(
    ...versions.filter((version) => version >= 14 && existsSync(join(root, String(version), 'bin/postgres'))),
  )
  return Number.isFinite(newest) ? join(root, String(newest), 'bin') : null
}
