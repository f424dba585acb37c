import { parentPort, workerData } from 'node:worker_threads'
import duckdb from '@duckdb/node-bindings'
import type { Connection, Database } from '@duckdb/node-bindings'
import { FrazilError, assert } from '../base/index.ts'
import { quoteText } from './duck-types.ts'
import { HotTables } from './hot-scan.ts'
import { receiveError, sendError } from './messages.ts'
import type { FromWorker, SentQuery, ToWorker, WorkerSettings } from './messages.ts'
import { Session, parseQuery, sqlError } from './session.ts'
import type { ReadView, Run, SessionResult, Shared } from './session.ts'
import { parsedSql } from './parsed-sql.ts'
import { readStatement, withoutExplain } from './statement.ts'
import type { ReadTable, Statement } from './statement.ts'
import type { FullName } from './table-names.ts'
import { ViewReceiver } from './view-transfer.ts'
import type { ReceivedView } from './view-transfer.ts'

/** Longest statement, in UTF-16 units, and how many parsed ones are kept. */
const maxSqlLength = 1 << 20
const maxParsed = 512

interface Active extends Run {
  readonly session: Session
  /** Waits for the provider's answer, if it was asked. */
  answer: PromiseWithResolvers<Answer> | null
}

/** What the provider answered: for `list` all tables, else the wanted ones in their order, with the views of all of them. */
interface Answer {
  readonly names: readonly FullName[]
  readonly views: readonly ReceivedView[]
}

/** The thread that owns DuckDB: parses statements, asks for views, runs queries and encodes results. */
class SqlWorker {
  readonly #database: Database
  readonly #control: Connection
  readonly #free: Session[]
  readonly #active = new Map<number, Active>()
  readonly #parsed = new Map<string, Statement>()
  readonly #receiver = new ViewReceiver()
  #closing = false

  private constructor(database: Database, control: Connection, sessions: Session[]) {
    this.#database = database
    this.#control = control
    this.#free = sessions
  }

  static async open(settings: WorkerSettings): Promise<SqlWorker> {
    const config = duckdb.create_config()
    const options: Record<string, string> = {
      threads: String(settings.threads),
      memory_limit: `${settings.memoryBytes}B`,
      temp_directory: settings.tempDirectory ?? '',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
    }
    for (const [name, value] of Object.entries(options)) duckdb.set_config(config, name, value)
    const database = await duckdb.open(':memory:', config)
    const control = await duckdb.connect(database)
    const hotTables = new HotTables(control)
    const shared: Shared = { hotTables, layouts: new Map() }
    const set = [
      `SET GLOBAL TimeZone = 'UTC'`,
      // Data files never change: their footers are read once, and what is cached of them stays right.
      'SET GLOBAL parquet_metadata_cache = true',
      `SET GLOBAL validate_external_file_cache = 'NO_VALIDATION'`,
    ]
    const sessions: Session[] = []
    for (let i = 0; i < settings.connections; i++) sessions.push(await Session.open(await duckdb.connect(database), i, shared))
    // Statements are checked before they run; this is the second wall.
    const folders = [...settings.directories, ...(settings.tempDirectory === null ? [] : [settings.tempDirectory])]
    if (settings.directories.length > 0) {
      set.push(`SET allowed_directories = [${folders.map(quoteText).join(', ')}]`, 'SET enable_external_access = false')
    }
    set.push('SET lock_configuration = true')
    for (const statement of set) await duckdb.query(control, statement)
    return new SqlWorker(database, control, sessions)
  }

  receive(message: ToWorker): void {
    if (message.type === 'query') return void this.#serve(message.id, message.query)
    if (message.type === 'close') return this.#close()
    const active = this.#active.get(message.id)
    if (message.type === 'stop') {
      if (!active) return
      const error = receiveError(message.error)
      active.stopped = error instanceof FrazilError ? error : new FrazilError('unavailable', 'sql-engine', error.message)
      active.answer?.reject(active.stopped)
      active.session.stop()
      return
    }
    // Unpacked on arrival, wanted or not: each message builds on the one before.
    const views = message.type === 'views' ? this.#receiver.unpack(message.views) : []
    active?.answer?.resolve({ names: message.names, views })
  }

  async #serve(id: number, query: SentQuery): Promise<void> {
    const session = this.#free.pop()
    assert(session, 'no more queries are sent than there are sessions')
    const active: Active = { session, stopped: null, answer: null }
    this.#active.set(id, active)
    let reply: FromWorker
    try {
      reply = { type: 'answered', id, ...(await this.#query(id, query, active)) }
    } catch (thrown) {
      const { error, broken } = sqlError(active.stopped ?? thrown)
      reply = { type: 'failed', id, error: sendError(error), broken }
    }
    this.#active.delete(id)
    try {
      await session.rest()
    } catch (thrown) {
      reply = { type: 'failed', id, error: sendError(thrown), broken: true }
    }
    this.#free.push(session)
    send(reply)
    this.#closeWhenIdle()
  }

  async #query(id: number, query: SentQuery, active: Active): Promise<SessionResult> {
    const { session } = active
    const statement = await this.#parse(query.sql, session)
    if (active.stopped) throw active.stopped
    if (statement.kind === 'show-tables') {
      const listed = await this.#ask(active, { type: 'list', id })
      return session.run({ ...query, sql: listing(listed.names), params: [] }, false, [], active)
    }
    const explain = statement.kind === 'explain'
    if (statement.tables.length === 0) return session.run(query, explain, [], active)
    const { names, views } = await this.#ask(active, { type: 'tables', id, tables: statement.tables })
    return session.run(query, explain, asRead(views, names, statement.tables), active)
  }

  async #ask(active: Active, question: Extract<FromWorker, { type: 'tables' | 'list' }>): Promise<Answer> {
    active.answer = Promise.withResolvers()
    send(question)
    return active.answer.promise
  }

  async #parse(sql: string, session: Session): Promise<Statement> {
    const known = this.#parsed.get(sql)
    if (known) {
      this.#parsed.delete(sql)
      this.#parsed.set(sql, known)
      return known
    }
    if (sql.length > maxSqlLength) throw new FrazilError('request', 'sql', `a statement has at most ${maxSqlLength} characters`)
    const inner = withoutExplain(sql)
    const [[text]] = await session.rows(parseQuery(inner.sql))
    const statement = readStatement(parsedSql(String(text)), inner.sql, inner.explain)
    this.#parsed.set(sql, statement)
    for (const oldest of this.#parsed.keys()) {
      if (this.#parsed.size <= maxParsed) break
      this.#parsed.delete(oldest)
    }
    return statement
  }

  #close(): void {
    this.#closing = true
    this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    if (!this.#closing || this.#active.size > 0) return
    for (const session of this.#free.splice(0)) session.close()
    duckdb.disconnect_sync(this.#control)
    duckdb.close_sync(this.#database)
    parentPort?.close()
  }
}

/** Views with the ways in which the statement reads them. */
function asRead(views: readonly ReceivedView[], names: readonly FullName[], tables: readonly ReadTable[]): ReadView[] {
  return views.map((view) => {
    const ways = tables.filter((_, i) => names[i].namespace === view.namespace && names[i].name === view.name)
    const conditions = ways.flatMap((way) => way.conditions ?? [])
    return { view, names: ways, conditions: ways.some((way) => way.conditions === null) ? null : conditions }
  })
}

/** The statement that stands for SHOW TABLES. */
function listing(names: readonly FullName[]): string {
  const rows = names.map(({ namespace, name }) => `(${quoteText(namespace)}, ${quoteText(name)})`)
  if (rows.length === 0) return `SELECT '' AS namespace, '' AS name LIMIT 0`
  return `SELECT * FROM (VALUES ${rows.join(', ')}) AS tables(namespace, name) ORDER BY ALL`
}

function send(message: FromWorker): void {
  parentPort?.postMessage(message, message.type === 'answered' ? [message.body.buffer] : [])
}

const worker = await SqlWorker.open(workerData as WorkerSettings)
parentPort?.on('message', (message: ToWorker) => worker.receive(message))
