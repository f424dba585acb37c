import { FrazilError, nearest } from '../../base/index.ts'
import { typeText } from '../../data/index.ts'
import type { Field } from '../../data/index.ts'
import { isParameter, resultType, sourceTypes } from './transform.ts'
import type { Transform } from './transform.ts'

/** A partition field as a person writes it: `day(created_at)`, `bucket(16, id)`, `region`. */
export interface PartitionExpression {
  readonly text: string
  readonly transform: Transform
  readonly column: string
}

/** A sort field: the same, with `desc`, `nulls first` and so on behind it. */
export interface SortExpression extends PartitionExpression {
  readonly descending: boolean
  readonly nullsFirst: boolean
}

/** Names that are understood; Spark has plurals. */
const names: ReadonlyMap<string, Transform['kind']> = new Map([
  ['identity', 'identity'],
  ['void', 'void'],
  ['year', 'year'],
  ['years', 'year'],
  ['month', 'month'],
  ['months', 'month'],
  ['day', 'day'],
  ['days', 'day'],
  ['hour', 'hour'],
  ['hours', 'hour'],
  ['bucket', 'bucket'],
  ['truncate', 'truncate'],
])

interface Token {
  readonly kind: 'word' | 'quoted' | 'mark'
  readonly text: string
}

const tokenForm = /\s*(?:"((?:[^"]|"")+)"|([(),])|([^\s(),"]+))/uy

function tokensOf(text: string): Token[] | null {
  const tokens: Token[] = []
  const trimmed = text.trimEnd()
  tokenForm.lastIndex = 0
  while (tokenForm.lastIndex < trimmed.length) {
    const match = tokenForm.exec(trimmed)
    if (match === null) return null
    const [, quoted, mark, word] = match
    if (quoted !== undefined) tokens.push({ kind: 'quoted', text: quoted.replaceAll('""', '"') })
    else if (mark !== undefined) tokens.push({ kind: 'mark', text: mark })
    else tokens.push({ kind: 'word', text: word ?? '' })
  }
  return tokens
}

/**
 * Reads a partition field. Column names with blanks, commas or parentheses are written in double quotes, as in SQL. Throws `config`
 * (code `layout-invalid`) for what is none; whether the column exists is asked later, see {@link checkExpression}.
 */
export function parsePartition(text: string): PartitionExpression {
  const tokens = tokensOf(text)
  const term = tokens && takeTerm(tokens, text)
  if (term === null || tokens === null || tokens.length > 0) {
    throw invalid(
      `"${text}" is no partition field`,
      'Write a column, or year, month, day, hour, bucket(n, column), truncate(n, column).',
    )
  }
  return { text: text.trim(), ...term }
}

/** Reads a sort field, see {@link parsePartition}. Ascending with nulls first, descending with nulls last, unless it says otherwise. */
export function parseSort(text: string): SortExpression {
  const tokens = tokensOf(text)
  const term = tokens && takeTerm(tokens, text)
  const [direction = '', nulls = '', ...more] = tokens === null ? [] : sortWords(tokens)
  if (term === null || more.length > 0) {
    throw invalid(
      `"${text}" is no sort field`,
      'Write a column or a transform of one, then asc or desc, then nulls first or nulls last.',
    )
  }
  const descending = direction === 'desc'
  return { text: text.trim(), ...term, descending, nullsFirst: nulls === '' ? !descending : nulls === 'first' }
}

/** Direction and place of nulls, empty where they are left out; something behind them when there is more than that. */
function sortWords(tokens: readonly Token[]): string[] {
  const words = tokens.map((token) => (token.kind === 'word' ? token.text.toLowerCase() : '?'))
  const direction = words[0] === 'asc' || words[0] === 'desc' ? words.shift() : ''
  const hasNulls = words[0] === 'nulls' && (words[1] === 'first' || words[1] === 'last')
  const nulls = hasNulls ? words.splice(0, 2)[1] : ''
  return [direction ?? '', nulls, ...words]
}

/** Takes a column or a transform of one off the tokens; null when they do not begin with that. */
function takeTerm(tokens: Token[], text: string): { transform: Transform; column: string } | null {
  const first = tokens.shift()
  if (first === undefined || first.kind === 'mark') return null
  if (tokens[0]?.text !== '(' || tokens[0].kind !== 'mark' || first.kind === 'quoted') {
    return { transform: { kind: 'identity' }, column: first.text }
  }
  const end = tokens.findIndex((token) => token.kind === 'mark' && token.text === ')')
  if (end < 0) return null
  const inside = tokens.splice(0, end + 1).slice(1, -1)
  return transformOf(text, first.text.toLowerCase(), inside)
}

function transformOf(text: string, name: string, inside: readonly Token[]): { transform: Transform; column: string } {
  const kind = names.get(name)
  if (kind === undefined) {
    const near = nearest(name, [...names.keys()])
    throw invalid(
      `"${text}": there is no transform ${name}`,
      near === null ? 'Known are identity, year, month, day, hour, bucket, truncate and void.' : `Did you mean ${near}?`,
    )
  }
  const hasNumber = kind === 'bucket' || kind === 'truncate'
  // bucket(16, id) as Iceberg and Spark write it; truncate(name, 8) as others do.
  const [a, comma, b] = inside
  const [number, column] = !hasNumber ? [null, a] : a?.kind === 'word' && /^\d+$/.test(a.text) ? [a, b] : [b, a]
  const isComplete = hasNumber ? inside.length === 3 && comma.kind === 'mark' && comma.text === ',' : inside.length === 1
  if (!isComplete || column.kind === 'mark') {
    throw invalid(`"${text}": ${kind} takes ${hasNumber ? 'a number and a column' : 'a column'}`, exampleOf(kind))
  }
  if (kind !== 'bucket' && kind !== 'truncate') return { transform: { kind }, column: column.text }
  const parameter = Number(number?.text)
  if (!isParameter(parameter)) throw invalid(`"${text}": ${kind} takes a whole number above 0`, exampleOf(kind))
  return { transform: kind === 'bucket' ? { kind, buckets: parameter } : { kind, width: parameter }, column: column.text }
}

function exampleOf(kind: Transform['kind']): string {
  if (kind === 'bucket') return 'For example bucket(16, id).'
  return kind === 'truncate' ? 'For example truncate(8, name).' : `For example ${kind}(created_at).`
}

/**
 * The column of an expression. Throws `config` (code `layout-invalid`) when the table `table` has none of this name, or one whose type
 * does not fit the transform.
 */
export function checkExpression(
  { text, transform, column }: PartitionExpression,
  fields: readonly Field[],
  table: string,
): Field {
  const field = fields.find(({ name }) => name === column)
  if (field === undefined) {
    const near = nearest(
      column,
      fields.map(({ name }) => name),
    )
    throw invalid(
      `table ${table} has no column "${column}", which "${text}" names`,
      near === null
        ? `Its columns are ${fields
            .map(({ name }) => name)
            .join(', ')
            .slice(0, 500)}.`
        : `Did you mean "${near}"?`,
      table,
    )
  }
  if (resultType(transform, field.type) === null) {
    throw invalid(
      `table ${table}: "${text}" does not fit column "${column}", which is ${typeText(field.type)}`,
      `${transform.kind} takes ${sourceTypes(transform)}.`,
      table,
    )
  }
  return field
}

function invalid(message: string, hint: string, table?: string): FrazilError {
  return new FrazilError('config', 'layout-invalid', message, table === undefined ? { hint } : { hint, table })
}
