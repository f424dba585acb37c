import { parentPort } from 'node:worker_threads'
import { FrazilError, asError, assert } from '../base/index.ts'
import { quoteText } from './duck-types.ts'
import { Instance } from './instance.ts'
import { receiveError, sendError } from './messages.ts'
import type { FromWorker, SentQuery, SentTables, ToWorker } from './messages.ts'
import { parseQuery, sqlError } from './session.ts'
import type { ReadView, Run, Session, SessionResult } from './session.ts'
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
  /** Null until it has one. */
  session: Session | null
  /** Waits for the provider's answer, if it was asked. */
  answer: PromiseWithResolvers<Answer> | null
}

/** What the provider answered: for `list` all tables, else the wanted ones in their order, with the views of all of them. */
interface Answer {
  readonly names: readonly FullName[]
  readonly views: readonly ReceivedView[]
}

/** An instance of DuckDB, once it is open. */
interface Opened {
  readonly instance: Promise<Instance>
  /** Queries that were sent to it and are not answered, and whatever else is under way in it. */
  users: number
  /** To be closed as soon as that is nothing. */
  retired: boolean
}

/** The thread that owns DuckDB: parses statements, asks for views, runs queries and encodes results, for all engines of the process. */
class SqlWorker {
  readonly #instances = new Map<number, Opened>()
  readonly #active = new Map<number, Active>()
  readonly #parsed = new Map<string, Statement>()
  /** By member. */
  readonly #receivers = new Map<number, ViewReceiver>()
  /** Instances that are being closed. */
  #endings = 0
  #closing = false

  receive(message: ToWorker): void {
    switch (message.type) {
      case 'open': {
        const instance = Instance.open(message.settings)
        // Told to those whose queries it was opened for.
        instance.catch(() => undefined)
        this.#instances.set(message.instance, { instance, users: 0, retired: false })
        return
      }
      case 'retire':
        return this.#retire(message.instance)
      case 'query':
        return void this.#serve(message, message.read && this.#unpack(message.member, message.read))
      case 'views':
        return this.#answer(message.id, this.#unpack(message.member, message.read))
      case 'list':
        return this.#answer(message.id, { names: message.names, views: [] })
      case 'stop':
        return this.#stop(message.id, receiveError(message.error))
      case 'leave':
        this.#receivers.delete(message.member)
        for (const [number, opened] of this.#instances) void this.#forget(number, opened, message.member)
        return
      case 'close':
        this.#closing = true
        for (const number of this.#instances.keys()) this.#retire(number)
        this.#endWhenIdle()
    }
  }

  #answer(id: number, answer: Answer): void {
    this.#active.get(id)?.answer?.resolve(answer)
  }

  #stop(id: number, error: Error): void {
    const active = this.#active.get(id)
    if (!active) return
    active.stopped = error instanceof FrazilError ? error : new FrazilError('unavailable', 'sql-engine', error.message)
    active.answer?.reject(active.stopped)
    active.session?.stop()
  }

  /** On arrival, wanted or not: each message builds on the member's one before. */
  #unpack(member: number, { names, views }: SentTables): Answer {
    let receiver = this.#receivers.get(member)
    if (!receiver) {
      receiver = new ViewReceiver()
      this.#receivers.set(member, receiver)
    }
    return { names, views: receiver.unpack(views) }
  }

  async #serve(message: Extract<ToWorker, { type: 'query' }>, read: Answer | null): Promise<void> {
    const { id, member, query } = message
    const opened = this.#instances.get(message.instance)
    if (opened) opened.users++
    const active: Active = { session: null, stopped: null, answer: null }
    this.#active.set(id, active)
    let reply: FromWorker
    try {
      assert(opened, 'queries are sent to instances that are open')
      const instance = await opened.instance
      const session = await instance.session(member)
      active.session = session
      try {
        if (active.stopped) throw active.stopped
        reply = { type: 'answered', id, ...(await this.#query(id, query, read, session, active)) }
      } catch (thrown) {
        const { error, broken } = sqlError(active.stopped ?? thrown)
        reply = { type: 'failed', id, error: sendError(error), broken }
      }
      this.#active.delete(id)
      await instance.rest(session, member)
    } catch (thrown) {
      this.#active.delete(id)
      const error = new FrazilError('unavailable', 'sql-engine', asError(thrown).message, { cause: thrown })
      reply = { type: 'failed', id, error: sendError(error), broken: true }
    }
    if (opened) this.#release(message.instance, opened)
    send(reply)
  }

  async #query(id: number, query: SentQuery, read: Answer | null, session: Session, active: Active): Promise<SessionResult> {
    const statement = await this.#parse(query.sql, session)
    if (active.stopped) throw active.stopped
    if (statement.kind === 'show-tables') {
      const listed = await this.#ask(active, { type: 'list', id })
      return session.run({ ...query, sql: listing(listed.names), params: [] }, false, [], active)
    }
    const explain = statement.kind === 'explain'
    if (statement.tables.length === 0) return session.run(query, explain, [], active)
    const tables = statement.tables.map(({ namespace, name }) => ({ namespace, name }))
    const { names, views } = read ?? (await this.#ask(active, { type: 'tables', id, tables }))
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

  async #forget(number: number, opened: Opened, member: number): Promise<void> {
    opened.users++
    try {
      await (await opened.instance).forget(member)
    } catch {
      // It cannot go on: the next query finds out.
    }
    this.#release(number, opened)
  }

  #retire(number: number): void {
    const opened = this.#instances.get(number)
    if (!opened) return
    opened.retired = true
    this.#closeRetired(number, opened)
  }

  #release(number: number, opened: Opened): void {
    opened.users--
    this.#closeRetired(number, opened)
  }

  #closeRetired(number: number, opened: Opened): void {
    if (!opened.retired || opened.users > 0) return
    this.#instances.delete(number)
    this.#endings++
    void opened.instance
      .then(
        (instance) => instance.close(),
        () => undefined,
      )
      .finally(() => {
        this.#endings--
        this.#endWhenIdle()
      })
  }

  #endWhenIdle(): void {
    if (this.#closing && this.#instances.size === 0 && this.#endings === 0) parentPort?.close()
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

const worker = new SqlWorker()
parentPort?.on('message', (message: ToWorker) => worker.receive(message))
