import type { Client } from 'pg'
import type { FrazilError } from '../../base/index.ts'
import { typeText } from '../../data/index.ts'
import type { TableKey } from '../../data/index.ts'
import { readCatalogue } from './catalogue.ts'
import type { CatalogueRequest } from './catalogue.ts'
import { finding, findingOf, sizeText } from './finding.ts'
import type { SourceFinding } from './finding.ts'
import { parseShownName, parseTablePattern } from './identifiers.ts'
import type { TablePlan } from './table-plan.ts'

/** A table that would be mirrored, as people want to see it before. */
export interface CheckedTable {
  /** Name at the source. */
  readonly sourceName: string
  /** Iceberg namespace and table. */
  readonly namespace: string
  readonly name: string
  /** What tells rows apart: names of columns; `row` for all of the row, `none` for rows that are only appended. */
  readonly key: readonly string[] | 'row' | 'none'
  /** `iceberg` is null for columns that are not mirrored. */
  readonly columns: readonly { readonly name: string; readonly type: string; readonly iceberg: string | null }[]
  /** Size on the server's disk without indexes, partitions included. */
  readonly bytes: number
  /** As the planner estimates; null when the table was never analysed. */
  readonly rows: number | null
}

/** A table that would be left out, and why. */
export interface UncheckedTable {
  readonly sourceName: string
  readonly error: FrazilError
  readonly bytes: number
}

export interface CheckedTables {
  readonly tables: readonly CheckedTable[]
  readonly leftOut: readonly UncheckedTable[]
  readonly findings: readonly SourceFinding[]
}

/** What the settings mean at this database. Throws `config` only for a pattern that cannot be read. */
export async function checkTables(client: Client, request: CatalogueRequest): Promise<CheckedTables> {
  const mistakes: FrazilError[] = []
  const catalogue = await readCatalogue(client, { ...request, mistakes })
  const findings = mistakes.map((error) => findingOf(error))
  const sizes = await readSizes(client, [
    ...catalogue.plans.map(({ source }) => source.id),
    ...catalogue.leftOut.map(({ id }) => id),
  ])
  const tables = catalogue.plans.map((plan) => checkedTable(plan, sizes.get(plan.source.id)))
  for (const { sourceName, error } of catalogue.leftOut) {
    findings.push(findingOf(error, sourceName, isNamed(request.tables, sourceName) ? 'error' : 'warning'))
  }
  for (const { error } of catalogue.astray) findings.push({ ...findingOf(error), level: 'warning' })
  for (const { sourceName, columns } of tables) {
    const left = columns.filter(({ iceberg }) => iceberg === null).map(({ name }) => `"${name}"`)
    if (left.length === 0) continue
    const message = `table ${sourceName}: ${left.length === 1 ? 'column' : 'columns'} ${left.join(', ')} not mirrored`
    findings.push({ ...finding('note', 'unmirrored-column', message), table: sourceName })
  }
  for (const { filter, source } of catalogue.plans) {
    if (filter === null) continue
    const message = `table ${source.sourceName}: only rows with ${filter} are published, and so mirrored`
    findings.push({ ...finding('note', 'row-filter', message), table: source.sourceName })
  }
  for (const column of catalogue.unknownColumns) {
    findings.push(finding('warning', 'unknown-column', `columns: no table that is read has the column ${column}`))
  }
  const asText = catalogue.plans.flatMap(({ source, columns }) =>
    columns.flatMap(({ name, codec }) => (codec.textOnly ? [`${source.sourceName}.${name}`] : [])),
  )
  if (asText.length > 0) {
    findings.push(finding('note', 'text-form', `the stream is in text form, which is slower, because of ${asText.join(', ')}`))
  }
  for (const pattern of request.tables.map(parseTablePattern)) {
    const matches = ({ sourceName }: { sourceName: string }): boolean => {
      const { schema, table } = parseShownName(sourceName)
      return pattern.matches(schema, table)
    }
    if (pattern.exact || tables.some(matches) || catalogue.leftOut.some(matches)) continue
    findings.push(finding('warning', 'pattern-without-tables', `tables: '${pattern.text}' matches no table now`))
  }
  const leftOut = catalogue.leftOut.map(({ id, sourceName, error }) => ({ sourceName, error, bytes: sizes.get(id)?.bytes ?? 0 }))
  return { tables, leftOut, findings }
}

/** One line for a table: `public.orders → shop.orders, key id, 12 MB, about 1000 rows`. */
export function tableText(table: CheckedTable): string {
  const key = typeof table.key === 'string' ? keyWords[table.key] : `key ${table.key.join(', ')}`
  const rows = table.rows === null ? '' : `, about ${table.rows.toLocaleString('en-US')} rows`
  return `${table.sourceName} → ${table.namespace}.${table.name}, ${key}, ${sizeText(table.bytes)}${rows}`
}

const keyWords = { row: 'no key: rows are told apart by all their values', none: 'rows are only appended' }

function isNamed(patterns: readonly string[], sourceName: string): boolean {
  const { schema, table } = parseShownName(sourceName)
  return patterns.map(parseTablePattern).some((pattern) => pattern.exact && pattern.matches(schema, table))
}

function checkedTable(plan: TablePlan, size: Size | undefined): CheckedTable {
  const { sourceName, namespace, name, fields, key } = plan.source
  const types = new Map(fields.map((field) => [field.name, typeText(field.type)]))
  return {
    sourceName,
    namespace,
    name,
    key: keyNames(key, (place) => fields[place].name),
    columns: plan.shown.map((column) => ({
      name: column.name,
      type: column.type,
      iceberg: types.get(column.name) ?? null,
    })),
    bytes: size?.bytes ?? 0,
    rows: size?.rows ?? null,
  }
}

function keyNames(key: TableKey, nameOf: (place: number) => string): CheckedTable['key'] {
  return key.kind === 'columns' ? key.columns.map(nameOf) : key.kind
}

interface Size {
  readonly bytes: number
  readonly rows: number | null
}

async function readSizes(client: Client, ids: readonly string[]): Promise<Map<string, Size>> {
  const { rows } = await client.query<{ id: string; bytes: string; rows: number | null }>(
    `select c.oid::int8::text as id,
       coalesce((select sum(pg_catalog.pg_table_size(t.relid)) from pg_catalog.pg_partition_tree(c.oid) t),
                pg_catalog.pg_table_size(c.oid))::text as bytes,
       nullif(coalesce((select sum(nullif(p.reltuples, -1)) from pg_catalog.pg_partition_tree(c.oid) t
                          join pg_catalog.pg_class p on p.oid = t.relid where t.isleaf),
                       c.reltuples), -1)::float8 as rows
     from pg_catalog.pg_class c where c.oid::int8 = any($1::int8[])`,
    [ids],
  )
  return new Map(rows.map((row) => [row.id, { bytes: Number(row.bytes), rows: row.rows }]))
}
