/** Names of catalogs and schemas that DuckDB itself has. */
const own: ReadonlySet<string> = new Set(['temp', 'system', 'memory', 'information_schema', 'pg_catalog'])

/** Whether a namespace means something else in every query: none could name a table in it. */
export function isNamespaceOfSql(namespace: string): boolean {
  return own.has(namespace.toLowerCase())
}
