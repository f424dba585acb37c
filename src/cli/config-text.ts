import { isNamespaceOfSql, tableText } from '../engine/index.ts'
import type { Survey } from '../engine/index.ts'

/** A connection string as it is written down: with a reference in place of the password. */
export interface WritableUrl {
  readonly text: string
  /** What the references in it mean now. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Environment variables that the text refers to. */
  readonly variables: readonly string[]
}

const passwordVariable = 'PGPASSWORD'

/** Takes the password out of a connection string. One that has references already stays as it is. */
export function writableUrl(given: string, env: Readonly<Record<string, string | undefined>>): WritableUrl {
  const variables = Array.from(given.matchAll(/\$\{env:([^}]+)\}/g), ([, name]) => name)
  if (/\$\{(?:env|file):/.test(given) || !URL.canParse(given)) return { text: given, env, variables }
  const url = new URL(given)
  const parameter = url.searchParams.get('password')
  const password = url.password === '' ? parameter : decodeURIComponent(url.password)
  url.searchParams.delete('password')
  if (url.pathname === '' || url.pathname === '/') url.pathname = `/${url.username || 'postgres'}`
  const known = password ?? env[passwordVariable] ?? null
  url.password = ''
  const bare = url.href.replaceAll('${', '%24{')
  if (known === null || url.host === '') return { text: bare, env, variables: [] }
  const user = url.username === '' ? 'postgres' : url.username
  const text = bare.replace(/^([a-z]+:\/\/)(?:[^@/]*@)?/, (_, scheme: string) => `${scheme}${user}:\${env:${passwordVariable}}@`)
  return { text, env: { ...env, [passwordVariable]: known }, variables: [passwordVariable] }
}

/** A name for a source after the database in a connection string. */
export function sourceNameOf(given: string): string {
  const path = URL.canParse(given) ? new URL(given).pathname : ''
  const database = path.replace(/^\//, '').replaceAll(/%[0-9A-Fa-f]{2}/g, '_')
  const name = database
    .replaceAll(/[^A-Za-z0-9_-]/g, '_')
    .replace(/^(?=[^A-Za-z_])/, '_')
    .slice(0, 50)
  if (name === '_' || name === '') return 'postgres'
  // The one is that of rows over HTTP, the others mean something else in SQL.
  return name === 'http' || isNamespaceOfSql(name) ? `${name}_` : name
}

/** The text of a configuration that mirrors a database, with comments. */
export function configText({ name, url, survey }: { name: string; url: string; survey: Survey }): string {
  const { tables, leftOut, findings, server, database, into } = survey
  const lines = [
    `# frazil init wrote this from database ${comment(database)}, ${comment(server)}.`,
    '# Next: frazil check says what would be done and what is in the way; frazil run starts.',
    '# All settings: docs/configuration.md.',
    '',
    'warehouse: ./lake          # the Iceberg tables and their catalog',
    'local: ./.frazil           # key runs, cache, spill; rows sent over HTTP that the lake does not have yet: keep it',
    'listen: 127.0.0.1:3030     # SQL, status and metrics over HTTP',
    'memory: 512MB              # rows that are not in the lake yet, their index, queues',
    'commit: { every: 5s }      # rows are visible to queries before that',
    '',
    'sources:',
    `  ${name}:                 # the Iceberg namespace`,
    '    type: postgres',
    `    url: ${scalar(url)}`,
    `    # frazil makes the replication slot and the publication frazil_${name.toLowerCase().replaceAll('-', '_')} there;`,
    `    # frazil drop ${name} takes them away again. A slot that nobody reads keeps WAL.`,
  ]
  if (into !== null) lines.push(`    into: ${scalar(into)}   # by the default name two tables would meet`)
  lines.push(
    "    # SQL identifiers, or globs over bare names such as 'public.*'; tables that are made later and match are taken as well.",
  )
  if (tables.length === 0) {
    lines.push("    tables: ['public.*']   # no table can be mirrored now")
  } else {
    lines.push('    tables:')
    const names = tables.map(({ sourceName }) => `      - ${scalar(sourceName)}`)
    const width = Math.min(60, Math.max(...names.map((each) => each.length)))
    for (const [i, table] of tables.entries()) lines.push(`${names[i].padEnd(width)}   # ${comment(tableText(table))}`)
  }
  for (const { sourceName, error } of leftOut) {
    lines.push('', `      # ${comment(error.message)}`)
    if (error.hint !== undefined) lines.push(`      #   ${comment(error.hint)}`)
    lines.push(`      # - ${scalar(sourceName)}`)
  }
  for (const { code, message } of findings) if (code === 'same-name-twice') lines.push('', `      # ${comment(message)}`)
  return `${lines.join('\n')}\n`
}

/** One line of YAML that means this text: in single quotes, or as JSON where it has line breaks and the like. */
function scalar(text: string): string {
  return /[\p{Control}\u2028\u2029]/u.test(text) ? JSON.stringify(text) : `'${text.replaceAll("'", "''")}'`
}

/** A name from the database must not end the comment that it stands in. */
function comment(text: string): string {
  return text.replaceAll(/[\p{Control}\u2028\u2029]/gu, ' ')
}
