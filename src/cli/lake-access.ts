import { openReader } from '../engine/index.ts'
import type { Config, Engine, EngineStatus, QueryAnswer } from '../engine/index.ts'
import { callDaemon, findDaemon } from './daemon.ts'
import type { Daemon } from './daemon.ts'

export interface AccessQuery {
  /** `rows`: the JSON array of rows with exact numbers as strings, to lay out; others: to print as they are. */
  readonly as: 'rows' | 'json' | 'csv' | 'arrow'
  /** Wait for everything that has happened at the sources until now. */
  readonly wait: boolean
}

/** The tables as one can get at them: through the running daemon, or read-only on the lake when none runs. */
export interface LakeAccess {
  /** For people: where the answers come from. */
  readonly origin: string
  query(sql: string, options: AccessQuery): Promise<Pick<QueryAnswer, 'columns' | 'body'>>
  status(): Promise<Pick<EngineStatus, 'tables' | 'sources'>>
  close(): Promise<void>
}

export async function accessLake(config: Config): Promise<LakeAccess> {
  const daemon = await findDaemon(config)
  if (daemon) return new DaemonAccess(daemon)
  return new ReaderAccess(await openReader(config), config.warehouse)
}

class DaemonAccess implements LakeAccess {
  readonly origin: string
  readonly #daemon: Daemon

  constructor(daemon: Daemon) {
    this.#daemon = daemon
    this.origin = `the daemon at ${daemon.url}`
  }

  async query(sql: string, { as, wait }: AccessQuery): Promise<Pick<QueryAnswer, 'columns' | 'body'>> {
    const path = as === 'rows' ? '/query?numbers=string' : '/query'
    const format = as === 'rows' ? 'json' : as
    const response = await callDaemon(this.#daemon, path, { sql, format, ...(wait ? { wait: 'now' } : {}) })
    const body = Buffer.from(await response.arrayBuffer())
    if (as !== 'rows') return { columns: [], body }
    const { columns, rows } = JSON.parse(body.toString()) as { columns: QueryAnswer['columns']; rows: unknown }
    return { columns, body: Buffer.from(JSON.stringify(rows)) }
  }

  async status(): Promise<Pick<EngineStatus, 'tables' | 'sources'>> {
    const response = await callDaemon(this.#daemon, '/tables')
    return (await response.json()) as EngineStatus
  }

  async close(): Promise<void> {}
}

class ReaderAccess implements LakeAccess {
  readonly origin: string
  readonly #engine: Engine

  constructor(engine: Engine, warehouse: string) {
    this.#engine = engine
    this.origin = `the lake in ${warehouse}, read-only: no daemon runs`
  }

  async query(sql: string, { as, wait }: AccessQuery): Promise<Pick<QueryAnswer, 'columns' | 'body'>> {
    const format = as === 'rows' ? 'json' : as
    const { columns, body, positions } = await this.#engine.execute(sql, {
      format,
      numbersAsStrings: as === 'rows',
      ...(wait ? { wait: 'now' } : {}),
    })
    if (as !== 'json') return { columns, body }
    const head = Buffer.from(`{"columns":${JSON.stringify(columns)},"rows":`)
    return { columns, body: Buffer.concat([head, body, Buffer.from(`,"positions":${JSON.stringify(positions)}}`)]) }
  }

  status(): Promise<EngineStatus> {
    return this.#engine.status()
  }

  close(): Promise<void> {
    return this.#engine.close()
  }
}
