import { quoteText } from './duck-types.ts'
import type { Json } from './parsed-sql.ts'

type Node = { readonly [key: string]: Json }

/** A constant of a statement: SQL text, or the value of a parameter. */
export type Constant =
  | { readonly sql: string; readonly type: string; /** What it is, when written as an integer. */ readonly integer?: bigint }
  | { readonly parameter: number }

export type Comparison = '=' | '<' | '<=' | '>' | '>='

/** A condition that a row has to meet to count, as far as we understand it; columns by the names that the statement gives them. */
export type Condition =
  | { readonly kind: 'compare'; readonly column: string; readonly op: Comparison; readonly value: Constant }
  | { readonly kind: 'null' | 'present'; readonly column: string }
  | { readonly kind: 'all'; readonly of: readonly Condition[]; readonly alike?: readonly Constant[] }
  /** `alike`: constants that understanding it takes to be of one type: DuckDB converts all of them to a common one. */
  | { readonly kind: 'any'; readonly of: readonly Condition[]; readonly alike?: readonly Constant[] }

/**
 * For each table that a SELECT reads directly, or by inner joins: the condition that its WHERE puts on the rows of that table alone.
 * Rows that do not meet it make no difference to the answer. Tables without one are left out.
 */
export function tableConditions(select: Node): Map<Node, Condition> {
  const conditions = new Map<Node, Condition>()
  if (select.type !== 'SELECT_NODE' || !isNode(select.from_table) || !isNode(select.where_clause) || isNode(select.sample)) {
    return conditions
  }
  const tables: Node[] = []
  innerTables(select.from_table, tables)
  for (const table of tables) {
    const isOnly = table === select.from_table
    const condition = conditionOf(select.where_clause, (names) => columnOf(table, names, isOnly))
    if (condition) conditions.set(table, condition)
  }
  return conditions
}

/** Tables whose rows are in the result of a FROM only where its WHERE is true of them. */
function innerTables(from: Node, tables: Node[]): void {
  if (from.type === 'BASE_TABLE') {
    if (!isNode(from.sample) && !Array.isArray(from.column_name_alias)) tables.push(from)
    return
  }
  const isInner = from.join_type === undefined || from.join_type === 'INNER'
  const isPlain = from.ref_type === undefined || from.ref_type === 'REGULAR' || from.ref_type === 'CROSS'
  if (from.type !== 'JOIN' || !isInner || !isPlain) return
  for (const side of [from.left, from.right]) if (isNode(side)) innerTables(side, tables)
}

/** The column of `table` that a reference means; null for anything else. A bare name may be another table's. */
function columnOf(table: Node, names: readonly Json[], isOnly: boolean): string | null {
  if (names.length === 1 && isOnly) return text(names[0])
  if (names.length !== 2) return null
  const [qualifier, column] = names.map(text)
  const name = text(table.alias) ?? text(table.table_name)
  return qualifier !== null && name !== null && qualifier.toLowerCase() === name.toLowerCase() ? column : null
}

type Resolve = (names: readonly Json[]) => string | null

/** What we understand of an expression; null when that is nothing. */
function conditionOf(node: Json | undefined, resolve: Resolve): Condition | null {
  if (!isNode(node)) return null
  const children = nodes(node.children)
  switch (node.type) {
    case 'CONJUNCTION_AND': {
      const of = children.flatMap((child) => conditionOf(child, resolve) ?? [])
      return of.length === 0 ? null : { kind: 'all', of }
    }
    case 'CONJUNCTION_OR': {
      const of = children.map((child) => conditionOf(child, resolve))
      return of.some((each) => each === null) ? null : { kind: 'any', of: of.filter((each) => each !== null) }
    }
    case 'COMPARE_BETWEEN': {
      const of = [compare(node.input, '>=', node.lower, resolve), compare(node.input, '<=', node.upper, resolve)]
      return alike('all', of)
    }
    case 'COMPARE_IN': {
      const [column, ...values] = children
      const of = values.map((value) => compare(column, '=', value, resolve))
      return alike('any', of)
    }
    case 'OPERATOR_IS_NULL':
    case 'OPERATOR_IS_NOT_NULL': {
      const column = reference(children[0], resolve)
      return column === null ? null : { kind: node.type === 'OPERATOR_IS_NULL' ? 'null' : 'present', column }
    }
    default: {
      const op = typeof node.type === 'string' ? comparisons.get(node.type) : undefined
      if (op === undefined) return null
      return compare(node.left, op, node.right, resolve) ?? compare(node.right, mirrored[op], node.left, resolve)
    }
  }
}

/** Comparisons of one column with several constants, which are converted to one type; null unless they are of one. */
function alike(kind: 'all' | 'any', of: readonly (Condition | null)[]): Condition | null {
  const known = of.filter((each) => each !== null)
  if (known.length === 0 || known.length < of.length) return null
  const constants = known.flatMap((each) => (each.kind === 'compare' ? [each.value] : []))
  const types = new Set(constants.map((each) => ('sql' in each ? each.type : 'parameter')))
  return types.size > 1 ? null : { kind, of: known, alike: constants }
}

const comparisons = new Map<string, Comparison>([
  ['COMPARE_EQUAL', '='],
  ['COMPARE_LESSTHAN', '<'],
  ['COMPARE_LESSTHANOREQUALTO', '<='],
  ['COMPARE_GREATERTHAN', '>'],
  ['COMPARE_GREATERTHANOREQUALTO', '>='],
])
const mirrored: Readonly<Record<Comparison, Comparison>> = { '=': '=', '<': '>', '<=': '>=', '>': '<', '>=': '<=' }

function compare(left: Json | undefined, op: Comparison, right: Json | undefined, resolve: Resolve): Condition | null {
  const column = reference(left, resolve)
  const value = isNode(right) ? constant(right) : null
  return column === null || value === null ? null : { kind: 'compare', column, op, value }
}

function reference(node: Json | undefined, resolve: Resolve): string | null {
  return isNode(node) && node.class === 'COLUMN_REF' && Array.isArray(node.column_names) ? resolve(node.column_names) : null
}

function constant(node: Node): Constant | null {
  if (node.class === 'PARAMETER') {
    const parameter = Number(node.identifier)
    return Number.isInteger(parameter) && parameter > 0 ? { parameter } : null
  }
  const isCast = node.class === 'CAST' && node.try_cast !== true
  const inner = isCast ? node.child : node
  if (!isNode(inner) || inner.class !== 'CONSTANT' || !isNode(inner.value)) return null
  const plain = literal(inner.value)
  if (!isCast || plain === null) return plain
  const type = isNode(node.cast_type) ? typeText(node.cast_type) : null
  return type === null ? null : { sql: `CAST(${plain.sql} AS ${type})`, type }
}

function literal({ type, is_null: isNull, value }: Node): { sql: string; type: string; integer?: bigint } | null {
  if (isNull === true || !isNode(type)) return null
  if (type.id === 'VARCHAR') return typeof value === 'string' ? { sql: quoteText(value), type: 'text' } : null
  const name = typeText(type)
  if (name === null) return null
  let digits = typeof value === 'number' || typeof value === 'string' ? String(value) : null
  if (type.id === 'BOOLEAN') digits = typeof value === 'boolean' ? String(value) : null
  else if (type.id === 'DECIMAL') digits = digits !== null && /^-?\d+$/.test(digits) ? pointed(digits, scaleOf(type)) : null
  else if (type.id === 'HUGEINT' && isNode(value)) digits = hugeint(value)
  if (digits === null || !/^[-+.\da-z]+$/i.test(digits)) return null
  const plain = { sql: `CAST('${digits}' AS ${name})`, type: name }
  return integerTypes.has(name) && /^-?\d+$/.test(digits) ? { ...plain, integer: BigInt(digits) } : plain
}

function pointed(digits: string, scale: number): string {
  if (scale === 0) return digits
  const sign = digits.startsWith('-') ? '-' : ''
  const padded = digits.slice(sign.length).padStart(scale + 1, '0')
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

function hugeint({ upper, lower }: Node): string | null {
  const isNumber = (half: Json | undefined): half is number | string => typeof half === 'number' || typeof half === 'string'
  return isNumber(upper) && isNumber(lower) ? String((BigInt(upper) << 64n) + BigInt(lower)) : null
}

const integerTypes = new Set(['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT'])
const plainTypes = new Set([
  'BOOLEAN',
  'TINYINT',
  'SMALLINT',
  'INTEGER',
  'BIGINT',
  'HUGEINT',
  'FLOAT',
  'DOUBLE',
  'DATE',
  'TIME',
  'TIMESTAMP',
  'TIMESTAMP WITH TIME ZONE',
  'UUID',
  'BLOB',
  'VARCHAR',
])

/** A type by its name in SQL; null for those that constants of filters need not have. */
function typeText(type: Node): string | null {
  if (typeof type.id !== 'string') return null
  if (type.id === 'DECIMAL') {
    const info = isNode(type.type_info) ? type.type_info : {}
    return typeof info.width === 'number' ? `DECIMAL(${info.width},${scaleOf(type)})` : null
  }
  return plainTypes.has(type.id) ? type.id : null
}

function scaleOf(type: Node): number {
  const info = isNode(type.type_info) ? type.type_info : {}
  return typeof info.scale === 'number' ? info.scale : 0
}

function nodes(list: Json | undefined): Node[] {
  return Array.isArray(list) ? (list as readonly Json[]).filter(isNode) : []
}

function text(node: Json | undefined): string | null {
  return typeof node === 'string' && node !== '' ? node : null
}

function isNode(node: Json | undefined): node is Node {
  return typeof node === 'object' && node !== null && !Array.isArray(node)
}
