import { FrazilError } from '../base/index.ts'
import { foldCase } from './duck-types.ts'
import { tableConditions } from './filters.ts'
import type { Condition } from './filters.ts'
import type { Json } from './parsed-sql.ts'

/** A table as a statement names it. */
export interface TableName {
  /** Null when the statement gives the bare name. */
  readonly namespace: string | null
  readonly name: string
}

/** A table that a statement reads. */
export interface ReadTable extends TableName {
  /** Rows that meet none of these make no difference to the answer; null when all may. */
  readonly conditions: readonly Condition[] | null
}

/** What we need to know of a statement before it runs. */
export type Statement =
  | { readonly kind: 'select' | 'explain'; readonly tables: readonly ReadTable[] }
  /** `SHOW TABLES`: answered from the provider's list. */
  | { readonly kind: 'show-tables' }

/** Text of a statement without comments and blanks before it, and whether it starts with EXPLAIN. */
export function withoutExplain(sql: string): { readonly explain: boolean; readonly sql: string } {
  const text = sql.replace(leading, '')
  const match = /^explain\b/i.exec(text)
  if (!match) return { explain: false, sql }
  const rest = text.slice(match[0].length).replace(leading, '')
  if (/^(analyze\b|\()/i.test(rest)) {
    throw notAllowed('only a plain EXPLAIN is possible, without ANALYZE or options')
  }
  return { explain: true, sql: rest }
}

const leading = /^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/

/**
 * Checks a parsed statement and finds the tables that it reads. Throws `request` for what is not one read-only statement over
 * tables: everything that could name a file, the environment, or a setting is refused, and table functions that are not known
 * to be harmless too.
 */
export function readStatement(parsed: Json, sql: string, explain: boolean): Statement {
  if (!isObject(parsed)) throw new FrazilError('request', 'sql', 'the statement cannot be parsed')
  if (parsed.error === true) throw refusal(parsed, sql)
  const { statements } = parsed
  if (Array.isArray(statements) && statements.length === 0)
    throw new FrazilError('request', 'one-statement', 'there is no statement')
  if (!Array.isArray(statements) || statements.length !== 1) {
    throw new FrazilError('request', 'one-statement', 'a query is exactly one statement', {
      hint: 'send each statement on its own',
    })
  }
  if (isShowTables(statements[0])) return { kind: 'show-tables' }
  const tables: Tables = { read: new Map(), conditions: new Map() }
  visit(statements[0], new Set(), tables)
  return { kind: explain ? 'explain' : 'select', tables: [...tables.read.values()] }
}

function refusal(parsed: { readonly [key: string]: Json }, sql: string): FrazilError {
  const message = textOf(parsed.error_message)
  if (parsed.error_type !== 'not implemented') {
    return new FrazilError('request', 'sql', `Parser Error: ${message}${place(sql, Number(parsed.position))}`)
  }
  const word = /^\w+/.exec(sql.replace(leading, ''))?.[0].toUpperCase() ?? ''
  const hint =
    word === 'PIVOT' || word === 'UNPIVOT'
      ? `write it as SELECT * FROM … ${word} (…)`
      : 'SELECT, WITH, VALUES, FROM, DESCRIBE, SUMMARIZE, SHOW TABLES and EXPLAIN are possible'
  return new FrazilError('request', 'read-only', `queries only read: ${word || 'this statement'} is not possible here`, { hint })
}

/** The line of an error with a mark below the place, as DuckDB prints it. */
function place(sql: string, position: number): string {
  if (!Number.isInteger(position) || position < 0) return ''
  // Positions count bytes of UTF-8.
  const before = Buffer.from(sql).subarray(0, position).toString()
  const start = before.lastIndexOf('\n') + 1
  const lineEnd = sql.indexOf('\n', start)
  const line = `LINE ${before.split('\n').length}: `
  return `\n\n${line}${sql.slice(start, lineEnd < 0 ? undefined : lineEnd)}\n${' '.repeat(line.length + before.length - start)}^`
}

/** What was found so far: tables by name, and what is known of rows by the place where a table is named. */
interface Tables {
  readonly read: Map<string, ReadTable>
  readonly conditions: Map<Json, Condition>
}

function visit(node: Json, scope: ReadonlySet<string>, tables: Tables): void {
  if (Array.isArray(node)) {
    for (const item of node as readonly Json[]) visit(item, scope, tables)
    return
  }
  if (!isObject(node)) return
  for (const [table, condition] of tableConditions(node)) tables.conditions.set(table, condition)
  let inner = scope
  if (isObject(node.cte_map)) inner = visitCtes(node.cte_map, scope, tables)
  if (node.type === 'BASE_TABLE') visitTable(node, inner, tables)
  else if (node.type === 'TABLE_FUNCTION') checkTableFunction(node)
  else if (node.type === 'SHOW_REF' && !isObject(node.query)) {
    throw notAllowed(
      `SHOW ${textOf(node.table_name).replaceAll('"', '')} is not possible here`,
      'SHOW TABLES and DESCRIBE <table> are',
    )
  } else if (node.class === 'FUNCTION') checkFunction(textOf(node.function_name))
  if (node.type === 'RECURSIVE_CTE_NODE') {
    visit(node.left, inner, tables)
    visit(node.right, new Set([...inner, foldCase(textOf(node.cte_name))]), tables)
  }
  for (const [key, child] of Object.entries(node)) {
    if (key === 'cte_map' || (node.type === 'RECURSIVE_CTE_NODE' && (key === 'left' || key === 'right'))) continue
    // A table function is checked above; its arguments still are expressions.
    if (node.type === 'TABLE_FUNCTION' && key === 'function' && isObject(child)) visit(child.children ?? null, inner, tables)
    else visit(child, inner, tables)
  }
}

/** Each name is known to the queries after it and to the statement itself, not to its own query. */
function visitCtes(ctes: { readonly [key: string]: Json }, scope: ReadonlySet<string>, tables: Tables): Set<string> {
  const inner = new Set(scope)
  const { map } = ctes
  for (const entry of Array.isArray(map) ? (map as readonly Json[]) : []) {
    if (!isObject(entry)) continue
    visit(entry.value, inner, tables)
    inner.add(foldCase(textOf(entry.key)))
  }
  return inner
}

function visitTable(node: { readonly [key: string]: Json }, scope: ReadonlySet<string>, tables: Tables): void {
  const name = textOf(node.table_name)
  const namespace = node.schema_name ? textOf(node.schema_name) : null
  if (node.catalog_name) {
    throw notAllowed(`"${textOf(node.catalog_name)}.${namespace}.${name}" has too many parts`, 'tables are named namespace.table')
  }
  if (node.at_clause) throw notAllowed('AT is not possible in SQL', 'ask for the past with "at" beside "sql"')
  // `recurring.t` is what USING KEY calls the whole of a recursive t.
  if ((namespace === null || namespace === 'recurring') && scope.has(foldCase(name))) return
  const key = JSON.stringify([namespace, name])
  const condition = tables.conditions.get(node)
  // Where it is read twice, rows that meet either condition count.
  const others = tables.read.has(key) ? (tables.read.get(key)?.conditions ?? null) : []
  tables.read.set(key, { namespace, name, conditions: condition && others ? [...others, condition] : null })
}

const harmlessTableFunctions = new Set(['range', 'generate_series', 'unnest', 'repeat', 'repeat_row', 'json_each', 'json_tree'])

function checkTableFunction(node: { readonly [key: string]: Json }): void {
  const name = isObject(node.function) ? textOf(node.function.function_name) : ''
  if (harmlessTableFunctions.has(foldCase(name))) return
  throw notAllowed(
    `the table function ${name} is not possible in queries`,
    `tables are read by name; possible are ${[...harmlessTableFunctions].join(', ')}`,
  )
}

/** Scalar functions that see files, the environment, settings or our own variables and views, write, or only wait. */
const refusedFunctions = new Set([
  'getenv',
  'getvariable',
  'current_setting',
  'set_config',
  'read_text',
  'read_blob',
  'glob',
  'write_log',
  'parse_duckdb_log_message',
  'pg_get_viewdef',
  'sleep_ms',
  'pg_sleep',
  'nextval',
  'currval',
])

function checkFunction(name: string): void {
  if (refusedFunctions.has(foldCase(name))) throw notAllowed(`the function ${name} is not possible in queries`)
}

function isShowTables(statement: Json): boolean {
  if (!isObject(statement) || !isObject(statement.node) || !isObject(statement.node.from_table)) return false
  const { type, table_name } = statement.node.from_table
  return type === 'SHOW_REF' && (table_name === '"tables"' || table_name === '__show_tables_expanded')
}

function textOf(node: Json | undefined): string {
  return typeof node === 'string' ? node : ''
}

function isObject(node: Json | undefined): node is { readonly [key: string]: Json } {
  return typeof node === 'object' && node !== null && !Array.isArray(node)
}

function notAllowed(message: string, hint?: string): FrazilError {
  return new FrazilError('request', 'not-allowed', message, { hint })
}
