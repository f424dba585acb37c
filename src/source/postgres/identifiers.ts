import { FrazilError } from '../../base/index.ts'

/** Which tables a person means: SQL identifiers (folded unless quoted), or globs over bare names. */
export interface TablePattern {
  readonly text: string
  /** True without `*` and `?`: the table has to exist, and a partition may be named. */
  readonly exact: boolean
  matches(schema: string, table: string): boolean
}

interface NamePart {
  readonly name: string
  readonly quoted: boolean
}

/**
 * Parses `public.orders`, `'sales.*'`, `public."Odd Name"`, or a bare name, which then means schema `public`. In unquoted parts
 * `*` stands for any characters and `?` for one. Throws `config`.
 */
export function parseTablePattern(text: string): TablePattern {
  const parts = splitName(text)
  if (parts.length > 2) throw bad(text, 'has more than a schema and a table')
  const [schema, table] = parts.length === 2 ? parts : [{ name: 'public', quoted: true }, parts[0]]
  const schemaTest = partTest(schema)
  const tableTest = partTest(table)
  return {
    text,
    exact: !isGlob(schema) && !isGlob(table),
    matches: (s, t) => schemaTest(s) && tableTest(t),
  }
}

/** The inverse of {@link showName}. */
export function parseShownName(text: string): { schema: string; table: string } {
  const [schema, table] = splitName(text)
  return { schema: schema.name, table: table?.name ?? '' }
}

/** `schema.table.column`, or `table.column` in schema `public`, in the form that {@link showName} gives tables; the column quoted. */
export function parseColumnName(text: string): string {
  const parts = splitName(text, 'columns').map((part) => part.name)
  if (parts.length === 2) parts.unshift('public')
  if (parts.length !== 3) throw bad(text, 'is not a schema, a table and a column', 'columns')
  return `${showName(parts[0], parts[1])}.${quoteName(parts[2])}`
}

function splitName(text: string, setting: Setting = 'tables'): NamePart[] {
  const parts: NamePart[] = []
  let at = 0
  for (;;) {
    if (text[at] === '"') {
      const match = /^"((?:[^"]|"")+)"/.exec(text.slice(at))
      if (!match) throw bad(text, 'has a quote that does not end', setting)
      parts.push({ name: match[1].replaceAll('""', '"'), quoted: true })
      at += match[0].length
    } else {
      const match = /^[\p{L}_*?][\p{L}\p{N}_$*?]*/u.exec(text.slice(at))
      if (!match) {
        throw bad(text, 'has a part that is not an SQL identifier; names with other characters need double quotes', setting)
      }
      parts.push({ name: fold(match[0]), quoted: false })
      at += match[0].length
    }
    if (at === text.length) return parts
    if (text[at] !== '.') throw bad(text, 'is not an SQL identifier; names with other characters need double quotes', setting)
    at++
  }
}

/** Postgres folds ASCII only (in UTF-8 databases). */
function fold(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
}

function isGlob(part: NamePart): boolean {
  return !part.quoted && /[*?]/.test(part.name)
}

function partTest(part: NamePart): (name: string) => boolean {
  if (!isGlob(part)) return (name) => name === part.name
  const source = part.name.replaceAll(/[$*?]/g, (char) => (char === '*' ? '.*' : char === '?' ? '.' : '\\$'))
  const regexp = new RegExp(`^${source}$`, 'su')
  return (name) => regexp.test(name)
}

type Setting = 'tables' | 'columns'

function bad(text: string, why: string, setting: Setting = 'tables'): FrazilError {
  if (setting === 'columns') {
    return new FrazilError('config', 'bad-column-name', `columns: '${text}' ${why}`, {
      hint: `write public.orders.tags or 'public."Odd Name".tags'`,
    })
  }
  return new FrazilError('config', 'bad-table-pattern', `tables: '${text}' ${why}`, {
    hint: `write public.orders, 'sales.*' or 'public."Odd Name"'`,
  })
}

/** A name as SQL wants it, always in double quotes. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A string literal that means the same with any `standard_conforming_strings`. */
export function quoteText(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return text.includes('\\') ? ` E${quoted}` : quoted
}

/** A name for people: quoted only where it has to be. */
export function showName(schema: string, table: string): string {
  const part = (name: string): string => (/^[a-z_][a-z0-9_$]*$/.test(name) ? name : quoteName(name))
  return `${part(schema)}.${part(table)}`
}

/** Where a table goes in Iceberg. `template` has `{source}`, `{schema}` and `{table}`; its last dot parts namespace and name. */
export function icebergName(
  template: string | null,
  source: string,
  schema: string,
  table: string,
): { namespace: string; name: string } {
  const used = template ?? (schema === 'public' ? '{source}.{table}' : '{source}.{schema}_{table}')
  const dot = used.lastIndexOf('.')
  const unknown = used.replaceAll(/\{(source|schema|table)\}/g, '')
  if (dot <= 0 || dot === used.length - 1 || /[{}]/.test(unknown)) {
    throw new FrazilError('config', 'bad-into', `into: '${used}' has to be a namespace, a dot and a name`, {
      hint: "use {source}, {schema} and {table}, as in '{source}.{schema}_{table}'",
    })
  }
  const values: Record<string, string> = { source, schema, table }
  const fill = (part: string): string => part.replaceAll(/\{(source|schema|table)\}/g, (_, key: string) => values[key])
  return { namespace: fill(used.slice(0, dot)), name: fill(used.slice(dot + 1)) }
}
