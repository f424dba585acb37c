import duckdb from '@duckdb/node-bindings'
import type { Connection, Database } from '@duckdb/node-bindings'
import { quoteText } from './duck-types.ts'
import { HotTables } from './hot-scan.ts'
import type { InstanceSettings } from './messages.ts'
import { Session } from './session.ts'
import type { Shared } from './session.ts'
import { ThreadCount } from './thread-count.ts'

/** Sessions that are kept for the next query of their member; those used last stay. */
const maxIdle = 64

/**
 * One DuckDB: one memory limit, one set of threads, one set of folders. Each query runs in a session of its member's own: an attached
 * database with views over the member's tables, which queries of others have no name for.
 */
export class Instance {
  readonly #database: Database
  readonly #control: Connection
  readonly #shared: Shared
  /** By session, its member; the ones used last are last. */
  readonly #idle = new Map<Session, number>()
  #lastSession = 0

  private constructor(database: Database, control: Connection, mostThreads: number) {
    this.#database = database
    this.#control = control
    const threads = new ThreadCount(mostThreads, async (count) => {
      await duckdb.query(control, `SET GLOBAL threads = ${count}`)
    })
    this.#shared = { hotTables: new HotTables(control), layouts: new Map(), threads }
  }

  static async open(settings: InstanceSettings): Promise<Instance> {
    const config = duckdb.create_config()
    const options: Record<string, string> = {
      threads: '1',
      memory_limit: `${settings.memoryBytes}B`,
      temp_directory: settings.tempDirectory ?? '',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
    }
    for (const [name, value] of Object.entries(options)) duckdb.set_config(config, name, value)
    return Instance.setUp(await duckdb.open(':memory:', config), settings)
  }

  /** Makes what a DuckDB is to be of one that was just opened, or closes it. */
  static async setUp(database: Database, settings: InstanceSettings): Promise<Instance> {
    let instance: Instance | null = null
    try {
      instance = new Instance(database, await duckdb.connect(database), settings.threads)
      for (const statement of statements(settings)) await duckdb.query(instance.#control, statement)
      return instance
    } catch (error) {
      if (instance) instance.close()
      else duckdb.close_sync(database)
      throw error
    }
  }

  /** A session of a member, for one query; to be given back by {@link rest}. */
  async session(member: number): Promise<Session> {
    for (const [session, of] of [...this.#idle].toReversed()) {
      if (of !== member) continue
      this.#idle.delete(session)
      return session
    }
    return Session.open(await duckdb.connect(this.#database), this.#lastSession++, this.#shared)
  }

  /** Throws when DuckDB cannot go on. */
  async rest(session: Session, member: number): Promise<void> {
    await session.rest()
    this.#idle.set(session, member)
    for (const oldest of this.#idle.keys()) {
      if (this.#idle.size <= maxIdle) break
      await this.#close(oldest)
    }
  }

  /** Closes the sessions of a member that has no queries. */
  async forget(member: number): Promise<void> {
    for (const [session, of] of this.#idle) if (of === member) await this.#close(session)
  }

  async #close(session: Session): Promise<void> {
    this.#idle.delete(session)
    await duckdb.query(this.#control, `DETACH ${session.close()}`)
  }

  /** Only when nothing is under way in it. */
  close(): void {
    for (const session of this.#idle.keys()) session.close()
    this.#idle.clear()
    duckdb.disconnect_sync(this.#control)
    duckdb.close_sync(this.#database)
  }
}

/** What is set once there is a DuckDB. */
function statements(settings: InstanceSettings): string[] {
  const set = [
    `SET GLOBAL TimeZone = 'UTC'`,
    // Data files never change: their footers are read once, and what is cached of them stays right.
    'SET GLOBAL parquet_metadata_cache = true',
    `SET GLOBAL validate_external_file_cache = 'NO_VALIDATION'`,
  ]
  // Statements are checked before they run; this is the second wall. Nothing of it can be changed afterwards.
  const folders = [...settings.directories, ...(settings.tempDirectory === null ? [] : [settings.tempDirectory])]
  if (settings.directories.length > 0) {
    set.push(`SET allowed_directories = [${folders.map(quoteText).join(', ')}]`, 'SET enable_external_access = false')
  }
  set.push(`SET allowed_configs = ['threads']`, 'SET lock_configuration = true')
  return set
}
