import duckdb from '@duckdb/node-bindings'
import type { Connection, PreparedStatement, Result } from '@duckdb/node-bindings'
import { FrazilError, asError } from '../base/index.ts'
import type { Field } from '../data/index.ts'
import type { ViewFile } from './contract.ts'
import { ConstantCheck } from './constant-check.ts'
import { FileChooser } from './file-chooser.ts'
import type { Condition } from './filters.ts'
import { branchQuery, coldBranches, deleteBits, layoutOfFile, layoutQuery, piecesOf } from './cold-files.ts'
import type { ColdBranch, FileLayout } from './cold-files.ts'
import type { SchemaElement } from './file-schema.ts'
import { typeName } from './type-name.ts'
import { distinctNames, foldCase, quoteName, quoteText } from './duck-types.ts'
import { HotTable, hotFunction } from './hot-scan.ts'
import type { HotTables } from './hot-scan.ts'
import type { SentParameter, SentQuery } from './messages.ts'
import { resultEncoder } from './result-encoder.ts'
import type { EncoderOptions } from './result-encoder.ts'
import type { TableName } from './statement.ts'
import type { ThreadCount } from './thread-count.ts'
import type { ReceivedView } from './view-transfer.ts'

/** One query while it runs; somebody else may set `stopped`, and then interrupts the session. */
export interface Run {
  stopped: FrazilError | null
}

export interface SessionResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly body: Uint8Array<ArrayBuffer>
  readonly rowCount: number
  readonly files: { readonly read: number; readonly skipped: number }
}

/** A table that a statement reads. */
export interface ReadView {
  readonly view: ReceivedView
  /** The ways in which the statement names it. */
  readonly names: readonly TableName[]
  /** Rows that meet none of these make no difference; null when all may. */
  readonly conditions: readonly Condition[] | null
}

/** What all sessions of an instance share. */
export interface Shared {
  readonly hotTables: HotTables
  /** Layouts of data files by path; files never change. */
  readonly layouts: Map<string, FileLayout>
  readonly threads: ThreadCount
}

/** Bounds of what a session keeps for the next query. */
const maxViews = 512
/** Views of one table, each over some of its files. */
const maxVariants = 8
const maxPrepared = 64
const maxLayouts = 20_000

/** An interrupt that comes before DuckDB has begun is lost, so it is repeated; milliseconds. */
const interruptEveryMs = 20

interface DefinedView {
  readonly namespace: string
  readonly name: string
  readonly fields: readonly Field[]
  /** Those of the table's files that it reads, with the deletes that the variables hold; null when what those hold is not known. */
  files: readonly ViewFile[] | null
  readonly hot: HotTable
  readonly number: number
  readonly body: string
  /** DuckDB variables that hold the deletes, by the branches of the view; none for those without deletes. */
  readonly variables: readonly (readonly string[])[]
  /** Defined for EXPLAIN: the deletes are left out, because a plan prints them bit by bit. */
  readonly explain: boolean
}

interface Prepared {
  readonly statement: PreparedStatement
  /** The definitions that it was prepared on. */
  readonly views: readonly DefinedView[]
  /** Hot rows when it was planned: other sizes deserve another plan. */
  readonly hotRows: number
  /** Planned for all threads. */
  readonly isLarge: boolean
}

/**
 * One connection to DuckDB with an own database of views over the tables that were asked for. It does one thing at a time:
 * a connection has one open result.
 */
export class Session {
  readonly #connection: Connection
  readonly #catalog: string
  readonly #shared: Shared
  /** By table: views over different files. The ones used last are last in both. */
  readonly #views = new Map<string, DefinedView[]>()
  /** What each of DuckDB's views shows, by schema and name: two of our tables may take turns in one. */
  readonly #shown = new Map<string, DefinedView>()
  readonly #schemas = new Set<string>(['main'])
  readonly #prepared = new Map<string, Prepared>()
  readonly #constants: ConstantCheck
  readonly #chooser: FileChooser
  #lastVariable = 0
  #stopper: NodeJS.Timeout | null = null

  private constructor(connection: Connection, catalog: string, shared: Shared) {
    this.#connection = connection
    this.#catalog = catalog
    this.#shared = shared
    this.#constants = new ConstantCheck((sql, params) => this.rows(sql, params))
    this.#chooser = new FileChooser(shared.hotTables, (sql, params) => this.rows(sql, params))
  }

  /** @param number of the session in its instance */
  static async open(connection: Connection, number: number, shared: Shared): Promise<Session> {
    // With blanks: a schema of the same name would be refused as ambiguous.
    const catalog = `"frazil session ${number}"`
    await duckdb.query(connection, `ATTACH ':memory:' AS ${catalog}`)
    await duckdb.query(connection, `USE ${catalog}`)
    return new Session(connection, catalog, shared)
  }

  /** Makes what runs fail soon, until {@link rest}; a query throws what its `Run` was stopped with. */
  stop(): void {
    duckdb.interrupt(this.#connection)
    this.#stopper ??= setInterval(() => duckdb.interrupt(this.#connection), interruptEveryMs)
  }

  /** Leaves nothing behind but its database, which is returned quoted, to be detached. */
  close(): string {
    for (const { statement } of this.#prepared.values()) duckdb.destroy_prepare_sync(statement)
    this.#prepared.clear()
    for (const variants of this.#views.values()) for (const { number } of variants) this.#shared.hotTables.remove(number)
    this.#views.clear()
    duckdb.disconnect_sync(this.#connection)
    return this.#catalog
  }

  /** Runs a checked statement over the tables that it reads. */
  async run(query: SentQuery, explain: boolean, tables: readonly ReadView[], run: Run): Promise<SessionResult> {
    checkDistinct(tables.map(({ view }) => view))
    const defined: DefinedView[] = []
    const files = { read: 0, skipped: 0 }
    const { threads } = this.#shared
    let coldRows = 0
    let isLarge = false
    try {
      for (const { view: all, names, conditions } of tables) {
        if (conditions) await this.#constants.check(conditions, all.fields, query.params)
        const chosen = conditions ? await this.#chooser.choose(all, conditions, query.params) : all.files
        if (run.stopped) throw run.stopped
        files.read += chosen.length
        for (const { rows } of chosen) coldRows += rows
        files.skipped += all.files.length - chosen.length
        const view = await this.#define({ ...all, files: chosen }, all.files, explain)
        defined.push(view)
        view.hot.rows = all
        // Bare names are looked up in `main`.
        if (names.some((name) => name.namespace === null)) await this.#show('main', view)
      }
      isLarge = threads.isLarge(coldRows)
      await threads.begin(isLarge)
      const prepared = await this.#prepare(query, defined, isLarge)
      return { ...(await this.#execute(prepared, { ...query, maxBytes: query.maxResultBytes }, run)), files }
    } catch (thrown) {
      if (run.stopped) throw run.stopped
      throw defined.find(({ hot }) => hot.failure !== null)?.hot.failure ?? thrown
    } finally {
      threads.end(isLarge)
      for (const { hot } of defined) {
        hot.rows = null
        hot.failure = null
      }
    }
  }

  /** Runs a statement of our own and returns its rows as JSON values. */
  async rows(sql: string, params: readonly SentParameter[] = []): Promise<unknown[][]> {
    const statement = await duckdb.prepare(this.#connection, sql)
    try {
      bind(statement, params)
      const options = { format: 'json', numbersAsStrings: false, maxBytes: Infinity } as const
      const { body } = await this.#execute(statement, options, { stopped: null })
      return JSON.parse(Buffer.from(body.buffer, 0, body.length).toString()) as unknown[][]
    } finally {
      duckdb.destroy_prepare_sync(statement)
    }
  }

  /** @param of all files of the table, of which the view has some or all */
  async #define(view: ReceivedView, of: readonly ViewFile[], explain: boolean): Promise<DefinedView> {
    const key = viewKey(view.namespace, view.name)
    const variants = this.#views.get(key) ?? []
    const known =
      variants.find((variant) => isAlike(variant, view, explain) && sameItems(variant.files, view.files)) ??
      variants.find((variant) => isAlike(variant, view, explain) && differsInDeletes(variant.files, view.files))
    if (known) {
      // The newest last: the oldest go first.
      this.#views.delete(key)
      this.#views.set(key, [...variants.filter((variant) => variant !== known), known])
      await this.#changeDeletes(known, view)
      await this.#show(view.namespace, known)
      return known
    }
    if (view.fields.length === 0) {
      throw new FrazilError('unsupported', 'no-columns', `${view.namespace}.${view.name} has no columns to query`)
    }
    await this.#readLayouts(view)
    const paths = new Set(of.map(({ path }) => path))
    const stale = variants.filter((variant) => !isOfTable(variant, view, paths))
    const kept = variants.filter((variant) => !stale.includes(variant))
    for (const variant of [...stale, ...kept.slice(0, Math.max(0, kept.length - maxVariants + 1))]) await this.#forget(variant)
    const { namespace, name, fields, files } = view
    const hot = new HotTable(fields)
    // Known to the function before DuckDB binds the view's definition.
    hot.rows = view
    const number = this.#shared.hotTables.add(hot)
    const variables: string[][] = []
    const selects = [`SELECT ${hot.names.map(quoteName).join(', ')} FROM ${hotFunction}(${number})`]
    try {
      for (const branch of coldBranches(files, this.#shared.layouts)) {
        const ofBranch = Array.from({ length: piecesOf(branch) }, () => `frazil_deleted_${++this.#lastVariable}`)
        variables.push(ofBranch)
        await this.#setDeletes(ofBranch, branch, explain)
        selects.push(branchQuery(fields, hot.names, branch, ofBranch))
      }
      const body = selects.join(' UNION ALL ')
      const defined: DefinedView = { namespace, name, fields, files, hot, number, body, variables, explain }
      await this.#show(namespace, defined)
      const others = this.#views.get(key) ?? []
      this.#views.delete(key)
      this.#views.set(key, [...others, defined])
      return defined
    } catch (thrown) {
      this.#shared.hotTables.remove(number)
      await this.#reset(variables)
      throw thrown
    }
  }

  /** Gives a view other deletes of the same files. Statements over files look at variables anew each time they run. */
  async #changeDeletes(defined: DefinedView, view: ReceivedView): Promise<void> {
    const before = defined.files
    const { files } = view
    if (before === files || before === null) return
    defined.files = null
    const changed = new Set(files.filter((file, i) => file.deleted !== before[i].deleted))
    if (changed.size > 0 && !defined.explain) {
      await this.#readLayouts(view)
      const branches = coldBranches(files, this.#shared.layouts)
      for (const [i, branch] of branches.entries()) {
        if (branch.files.some((file) => changed.has(file))) await this.#setDeletes(defined.variables[i], branch, false)
      }
    }
    defined.files = files
  }

  /** Makes DuckDB's view of the table's name in a schema show the table. */
  async #show(namespace: string, defined: DefinedView): Promise<void> {
    const { name } = defined
    const key = viewKey(namespace, name)
    if (this.#shown.get(key) === defined) return
    const schema = `${this.#catalog}.${quoteName(namespace)}`
    if (!this.#schemas.has(foldCase(namespace))) {
      await duckdb.query(this.#connection, `CREATE SCHEMA IF NOT EXISTS ${schema}`)
      this.#schemas.add(foldCase(namespace))
    }
    await duckdb.query(this.#connection, `CREATE OR REPLACE VIEW ${schema}.${quoteName(name)} AS ${defined.body}`)
    this.#shown.set(key, defined)
  }

  async #setDeletes(variables: readonly string[], branch: ColdBranch, explain: boolean): Promise<void> {
    const bits = explain ? variables.map(() => Uint8Array.of(7, 0xfe)) : deleteBits(branch)
    for (const [i, variable] of variables.entries()) {
      const statement = await duckdb.prepare(this.#connection, `SET VARIABLE ${variable} = $1`)
      try {
        duckdb.bind_value(statement, 1, duckdb.create_bit(bits[i]))
        await duckdb.execute_prepared(statement)
      } finally {
        duckdb.destroy_prepare_sync(statement)
      }
    }
  }

  async #reset(variables: readonly (readonly string[])[]): Promise<void> {
    for (const variable of variables.flat()) await duckdb.query(this.#connection, `RESET VARIABLE ${variable}`)
  }

  async #forget(defined: DefinedView): Promise<void> {
    const { namespace, name } = defined
    const key = viewKey(namespace, name)
    const others = (this.#views.get(key) ?? []).filter((variant) => variant !== defined)
    if (others.length === 0) this.#views.delete(key)
    else this.#views.set(key, others)
    this.#shared.hotTables.remove(defined.number)
    await this.#reset(defined.variables)
    for (const schema of [namespace, 'main']) {
      if (this.#shown.get(viewKey(schema, name)) !== defined) continue
      this.#shown.delete(viewKey(schema, name))
      await duckdb.query(this.#connection, `DROP VIEW IF EXISTS ${this.#catalog}.${quoteName(schema)}.${quoteName(name)}`)
    }
  }

  async #readLayouts(view: ReceivedView): Promise<void> {
    const { layouts } = this.#shared
    const unknown = view.files.filter((file) => !layouts.has(file.path)).map((file) => file.path)
    if (unknown.length === 0) return
    if (layouts.size + unknown.length > maxLayouts) layouts.clear()
    const missing = view.files.filter((file) => !layouts.has(file.path)).map((file) => file.path)
    const elements = new Map<string, SchemaElement[]>()
    for (const [path, name, type, children, fieldId, repetition] of await this.rows(layoutQuery(missing))) {
      const element = {
        name: String(name),
        type: type as string | null,
        children: Number(children ?? 0),
        fieldId: fieldId as number | null,
        repeated: repetition === 'REPEATED',
      }
      const ofFile = elements.get(String(path))
      if (ofFile) ofFile.push(element)
      else elements.set(String(path), [element])
    }
    for (const path of missing) {
      const ofFile = elements.get(path)
      if (!ofFile) throw new FrazilError('unavailable', 'data-file', `the data file ${path} is not there`)
      layouts.set(path, layoutOfFile(ofFile))
    }
  }

  async #prepare(query: SentQuery, views: readonly DefinedView[], isLarge: boolean): Promise<PreparedStatement> {
    const key = `${query.params.map(parameterType).join(' ')}\n${query.sql}`
    let hotRows = 0
    for (const { hot } of views) for (const part of hot.rows?.parts ?? []) hotRows += part.to - part.from
    const known = this.#prepared.get(key)
    if (known) {
      this.#prepared.delete(key)
      const alike = hotRows <= known.hotRows * 4 + 4096 && known.hotRows <= hotRows * 4 + 4096
      if (
        alike &&
        known.isLarge === isLarge &&
        known.views.length === views.length &&
        known.views.every((view, i) => view === views[i])
      ) {
        this.#prepared.set(key, known)
        bind(known.statement, query.params)
        return known.statement
      }
      duckdb.destroy_prepare_sync(known.statement)
    }
    const statement = await duckdb.prepare(this.#connection, query.sql)
    this.#prepared.set(key, { statement, views, hotRows, isLarge })
    bind(statement, query.params)
    return statement
  }

  async #execute(statement: PreparedStatement, options: EncoderOptions, run: Run): Promise<Omit<SessionResult, 'files'>> {
    // Never the synchronous calls: where DuckDB binds again, they would wait for this thread while it waits for them.
    const result = await duckdb.execute_prepared_streaming(statement)
    try {
      const names: string[] = []
      const types = Array.from({ length: duckdb.column_count(result) }, (_, i) => {
        names.push(duckdb.column_name(result, i))
        return duckdb.column_logical_type(result, i)
      })
      const columns = types.map((type, i) => ({ name: names[i], type: typeName(type) }))
      const encoder = resultEncoder(names, types, options)
      for (;;) {
        if (run.stopped) throw run.stopped
        const chunk = await duckdb.fetch_chunk(result)
        if (chunk === null || duckdb.data_chunk_get_size(chunk) === 0) break
        encoder.add(chunk)
      }
      return { columns, body: encoder.finish(), rowCount: encoder.rowCount }
    } catch (thrown) {
      await this.#abandon(result)
      throw thrown
    }
  }

  /** Ends a result that is not read to its end, so that nothing of it still runs when the views are given back. */
  async #abandon(result: Result): Promise<void> {
    duckdb.interrupt(this.#connection)
    try {
      let chunk = await duckdb.fetch_chunk(result)
      while (chunk !== null && duckdb.data_chunk_get_size(chunk) > 0) chunk = await duckdb.fetch_chunk(result)
    } catch {
      // Interrupted, as asked.
    }
    await duckdb.query(this.#connection, 'SELECT 1')
  }

  /** Between two queries: forgets a stop that came late, and what was not used in a long time. */
  async rest(): Promise<void> {
    clearInterval(this.#stopper ?? undefined)
    this.#stopper = null
    for (const [key, { statement }] of this.#prepared) {
      if (this.#prepared.size <= maxPrepared) break
      this.#prepared.delete(key)
      duckdb.destroy_prepare_sync(statement)
    }
    for (const variants of this.#views.values()) {
      if (this.#views.size <= maxViews) break
      for (const variant of variants) await this.#forget(variant)
    }
    this.#chooser.rest()
  }
}

/** Whether a view is made in the same way as the wanted one, but perhaps over other files. */
function isAlike(defined: DefinedView, { namespace, name, fields }: ReceivedView, explain: boolean): boolean {
  return defined.namespace === namespace && defined.name === name && defined.fields === fields && defined.explain === explain
}

/** Whether a view can be wanted again: the table still has its columns and the files at these paths. */
function isOfTable(defined: DefinedView, view: ReceivedView, paths: ReadonlySet<string>): boolean {
  return isAlike(defined, view, defined.explain) && defined.files !== null && defined.files.every(({ path }) => paths.has(path))
}

function sameItems(a: readonly ViewFile[] | null, b: readonly ViewFile[]): boolean {
  return a === b || (a?.length === b.length && b.every((file, i) => file === a[i]))
}

/** Whether the same files are there, and each has deletes or none as before: the definition of a view over them is the same. */
function differsInDeletes(a: readonly ViewFile[] | null, b: readonly ViewFile[]): boolean {
  return (
    a?.length === b.length &&
    b.every(({ path, deleted }, i) => path === a[i].path && (deleted === null) === (a[i].deleted === null))
  )
}

function viewKey(schema: string, name: string): string {
  return foldCase(JSON.stringify([schema, name]))
}

/** DuckDB cannot keep names apart that differ in ASCII case only, and neither can one statement. */
function checkDistinct(views: readonly ReceivedView[]): void {
  const names = views.map((view) => `${view.namespace}.${view.name}`)
  const distinct = distinctNames(names)
  const clash = names.findIndex((name, i) => name !== distinct[i])
  if (clash < 0) return
  throw new FrazilError(
    'request',
    'ambiguous-table',
    `one query cannot read two tables whose names differ in case only: ${names[clash]}`,
  )
}

function parameterType(value: SentParameter): string {
  if (value === null) return 'null'
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'bigint' : 'number'
  return typeof value
}

/** Binds values given as JSON scalars; DuckDB converts them to what the statement needs. */
function bind(statement: PreparedStatement, params: readonly SentParameter[]): void {
  const wanted = duckdb.nparams(statement)
  if (wanted !== params.length) {
    throw new FrazilError(
      'request',
      'parameters',
      `the statement has ${wanted} parameters, but ${params.length} values were given`,
    )
  }
  params.forEach((value, i) => {
    const index = i + 1
    if (!/^\d+$/.test(duckdb.parameter_name(statement, index))) {
      throw new FrazilError('request', 'parameters', 'parameters are written ? or $1, $2, …')
    }
    if (value === null) duckdb.bind_null(statement, index)
    else if (typeof value === 'boolean') duckdb.bind_boolean(statement, index, value)
    else if (typeof value === 'string') duckdb.bind_varchar(statement, index, value)
    else if (typeof value === 'number' && !Number.isSafeInteger(value)) duckdb.bind_double(statement, index, value)
    else if (value >= -(2n ** 63n) && value < 2n ** 63n) duckdb.bind_int64(statement, index, BigInt(value))
    else if (value >= -(2n ** 127n) && value < 2n ** 127n) duckdb.bind_hugeint(statement, index, BigInt(value))
    else throw new FrazilError('request', 'parameters', `parameter ${index} is a number of more than 128 bits`)
  })
}

/** DuckDB's text that parses a statement into JSON. */
export function parseQuery(sql: string): string {
  return `SELECT json_serialize_sql(${quoteText(sql)}, skip_null := true, skip_empty := true, skip_default := true)`
}

/** What DuckDB says, as one of our errors; `broken` when the instance cannot be used any more. */
export function sqlError(thrown: unknown): { readonly error: Error; readonly broken: boolean } {
  const error = asError(thrown)
  if (error instanceof FrazilError) return { error, broken: false }
  const { message } = error
  const kind = /^(?:\[?)(\w[\w ]*?) Error:/i.exec(message)?.[1].toLowerCase() ?? ''
  switch (kind) {
    case '':
      return { error, broken: false }
    case 'internal':
    case 'fatal':
      return { error: new FrazilError('unavailable', 'sql-engine', message, { cause: thrown }), broken: true }
    case 'out of memory':
      return {
        error: new FrazilError('request', 'query-memory', 'the query needs more memory than queries have', {
          hint: 'raise query.memory, or read fewer columns and groups',
          cause: thrown,
        }),
        broken: false,
      }
    case 'io':
      return { error: new FrazilError('unavailable', 'data-file', message, { cause: thrown }), broken: false }
    default:
      return { error: new FrazilError('request', 'sql', message, { cause: thrown }), broken: false }
  }
}
