import type { Client } from 'pg'
import { isInParts, partsOf, planParts, whyAgain } from './copy-parts.ts'
import type { CopiedTable, PartialCopy, Relation } from './copy-parts.ts'
import { quoteName, quoteText } from './identifiers.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

/** What one COPY reads of a table: pages of one relation, or all of it. Exact only within one snapshot, since rows move. */
export interface CopyRange {
  readonly plan: TablePlan
  /** The table, or one of its partitions: as `schema.table` in SQL. */
  readonly relation: string
  readonly oid: number
  /** Pages [from, to); `to` null: to the end, which may be beyond what was the end when the ranges were planned. Null: all rows. */
  readonly pages: { readonly from: number; readonly to: number | null } | null
  /** The part of a copy in parts that it is. */
  readonly part: number | null
  /** Only rows that were written by this transaction or a later one (64 bits); null: all. */
  readonly since: bigint | null
}

export interface PlannedCopy {
  readonly plan: TablePlan
  readonly ranges: readonly CopyRange[]
  /** By the server's statistics; null where it has none. */
  readonly estimatedRows: number | null
  /** The plan of a copy in parts, of which some may be complete; null for any other. */
  readonly parts: PartialCopy | null
  /** Why it does not go on with the parts that were complete; null when it does, or when there were none. */
  readonly again: string | null
}

export interface CopyPlanning {
  /** What is done of copies, by the table's id. */
  readonly partial: ReadonlyMap<string, PartialCopy>
  /** Where the slot began, as text. */
  readonly start: string
  /** Tables of more pages go by parts of so many. */
  readonly partPages: number
}

/** Pages of one COPY: enough that its start costs nothing, few enough that tables and connections end together. */
const rangePages = 4096

interface RelationRow {
  readonly root: string
  readonly oid: string
  readonly schema: string
  readonly name: string
  readonly heap: boolean
  /** Whether our role reads it as it reads the root: partitions have rights and policies of their own. */
  readonly open: boolean
  readonly pages: string
  readonly file: string
  readonly tuples: number
  readonly analyzed_pages: number
  readonly columns: string
  readonly next_xid: string
}

// Where a table is not partitioned it is its own only leaf.
const relationsSql = `
select r.oid::text as root, c.oid::int8::text as oid, n.nspname as schema, c.relname as name, c.relkind = 'r' and a.amname = 'heap' as heap,
  c.oid = r.oid or (pg_catalog.has_table_privilege(c.oid, 'SELECT') and not pg_catalog.row_security_active(c.oid)) as open,
  (pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::int8)::text as pages,
  coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::int8::text as file,
  c.reltuples::float8 as tuples, c.relpages as analyzed_pages,
  (select pg_catalog.md5(pg_catalog.string_agg(pg_catalog.format('%s %s %s %s', t.attnum, t.attname, t.atttypid, t.atttypmod), ',' order by t.attnum))
    from pg_catalog.pg_attribute t where t.attrelid = r.oid::oid and t.attnum > 0 and not t.attisdropped) as columns,
  pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text as next_xid
from unnest($1::int8[]) r(oid)
cross join lateral (
  select r.oid::oid as relid where not r.oid = any($2::int8[])
  union all select t.relid from pg_catalog.pg_partition_tree(r.oid::oid::regclass) t where t.isleaf and r.oid = any($2::int8[])
) leaf
join pg_catalog.pg_class c on c.oid = leaf.relid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_am a on a.oid = c.relam
order by r.oid, c.oid`

/** Cuts tables into ranges that several connections can copy at once. */
export async function planCopies(client: Client, plans: readonly TablePlan[], planning: CopyPlanning): Promise<PlannedCopy[]> {
  const roots = plans.filter((plan) => plan.partitioned)
  const { rows } = await client.query<RelationRow>(relationsSql, [plans.map(({ oid }) => oid), roots.map(({ oid }) => oid)])
  return plans.map((plan) => {
    const own = rows.filter(({ root }) => Number(root) === plan.oid)
    const estimatedRows = estimate(own)
    const relations = own.map(relationOf)
    if (own.length === 0 || !own.every(({ open }) => open)) {
      const relation = `${quoteName(plan.schema)}.${quoteName(plan.table)}`
      const whole: CopyRange = { plan, oid: plan.oid, relation, pages: null, part: null, since: null }
      return { plan, ranges: [whole], estimatedRows, parts: null, again: null }
    }
    const table = { plan, relations, columns: own[0].columns, nextXid: BigInt(own[0].next_xid) }
    if (isInParts(table, planning.partPages)) return { estimatedRows, ...inParts(table, planning) }
    return { plan, ranges: relations.flatMap((one) => cut(plan, one)), estimatedRows, parts: null, again: null }
  })
}

function relationOf({ oid, schema, name, heap, pages, file }: RelationRow): Relation {
  return { oid: Number(oid), schema, name, heap, pages: Number(pages), file: Number(file) }
}

function cut(plan: TablePlan, { oid, schema, name, heap, pages }: Relation): CopyRange[] {
  const relation = `${quoteName(schema)}.${quoteName(name)}`
  const count = Math.ceil(pages / rangePages)
  const whole: CopyRange = { plan, oid, relation, pages: null, part: null, since: null }
  if (!heap || count <= 1) return [whole]
  return Array.from({ length: count }, (_, i) => {
    const from = i * rangePages
    return { ...whole, pages: { from, to: i + 1 < count ? from + rangePages : null } }
  })
}

/** The parts that are left, and what has changed in those that are complete. */
function inParts(table: CopiedTable, { partial, start, partPages }: CopyPlanning): Omit<PlannedCopy, 'estimatedRows'> {
  const { plan } = table
  const before = partial.get(plan.source.id)
  const again = before ? whyAgain(before, table, start) : null
  const parts = before && again === null ? before : { plan: planParts(table, start, partPages), complete: new Map() }
  const left: CopyRange[] = []
  const changed: CopyRange[] = []
  for (const [part, { oid, relation, ...pages }] of partsOf(parts.plan, table).entries()) {
    const complete = parts.complete.get(part)
    if (complete) changed.push({ plan, oid, relation, pages, part: null, since: complete.xmin })
    else left.push({ plan, oid, relation, pages, part, since: null })
  }
  return { plan, ranges: [...left, ...changed], parts, again }
}

/** As the planner does: the density of the last ANALYZE in the pages that there are now. */
function estimate(relations: readonly RelationRow[]): number | null {
  let rows = 0
  for (const { pages, tuples, analyzed_pages } of relations) {
    if (pages === '0') continue
    if (tuples < 0) return null
    rows += analyzed_pages > 0 ? (tuples / analyzed_pages) * Number(pages) : tuples
  }
  return Math.round(rows)
}

/** What {@link copyStatement} fails with before it copies a table that is not what it was: a division by zero. */
export const rewrittenCode = '22012'

/** What it fails with when the columns are not those of the plan any more: a square root of a negative number. */
export const reshapedCode = '2201F'

/**
 * The statements that copy a range in a transaction with an imported snapshot. A table that was truncated or rewritten after the
 * snapshot shows no rows to it (Postgres documentation, "MVCC caveats"), so that is an error (`rewrittenCode`): the snapshot has the
 * old file's number, the function tells the current one's. The lock lasts until the range is copied, no longer.
 */
export function copyStatement({ plan, oid, relation, pages, since }: CopyRange): string {
  // Inheritance children are tables of their own; what is copied through its root has its partitions in it.
  const from = plan.partitioned && pages === null ? relation : `ONLY ${relation}`
  const columns = plan.columns.map(copyExpression).join(', ')
  const conditions: string[] = []
  if (pages !== null) conditions.push(`ctid >= '(${pages.from},0)'::pg_catalog.tid`)
  if (pages !== null && pages.to !== null) conditions.push(`ctid < '(${pages.to},0)'::pg_catalog.tid`)
  if (since !== null) {
    // The 32 bits that a row has; those of vacuumed rows stay, and are old.
    const xid = BigInt.asUintN(32, since)
    conditions.push(`pg_catalog.age(xmin) <= pg_catalog.age('${xid}'::pg_catalog.xid)`)
  }
  if (plan.filter !== null) conditions.push(`(${plan.filter})`)
  const where = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : ''
  return (
    `SAVEPOINT range; LOCK TABLE ${from} IN ACCESS SHARE MODE; ` +
    `SELECT 1 / (pg_catalog.to_regclass(${quoteText(relation)})::oid = ${oid} AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c ` +
    `WHERE c.oid IN (SELECT ${oid}::oid UNION ALL SELECT relid FROM pg_catalog.pg_partition_tree(${oid}::oid)) ` +
    `AND nullif(c.relfilenode, 0) IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)))::int; ` +
    `SELECT pg_catalog.sqrt(-EXISTS (${reshaped(plan)})::int); ` +
    `COPY (SELECT ${columns} FROM ${from}${where}) TO STDOUT (FORMAT binary); ` +
    releaseStatement
  )
}

/**
 * Finds the columns of a plan that were renamed, dropped or given another type: by the snapshot, or after it. COPY goes by their names
 * as they are now while the snapshot shows the catalogue as it was: a row that a later transaction has replaced has its number as `xmax`.
 * And columns that came before the snapshot, or another key, of which the stream does not tell any more.
 */
function reshaped({ oid, columns, index, memo, source: { key } }: TablePlan): string {
  const expected = columns.map(({ id, name, typeOid, modifier }) => `(${id}, ${quoteText(name)}, ${typeOid}::oid, ${modifier})`)
  const next = 'pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8'
  // Of the transactions with these 32 bits the one that is nearest.
  const replacedBy = `(${next} + (a.xmax::text::int8 - ${next} % 4294967296 + 6442450944) % 4294967296 - 2147483648)::text::xid8`
  return (
    `SELECT FROM (VALUES ${expected.join(', ')}) p (id, name, type, modifier) LEFT JOIN pg_catalog.pg_attribute a ` +
    `ON a.attrelid = ${oid} AND a.attnum = p.id AND a.attname = p.name AND a.atttypid = p.type AND a.atttypmod = p.modifier ` +
    `WHERE a.attnum IS NULL OR CASE WHEN a.xmax::text <> '0' THEN pg_catalog.pg_xact_status(${replacedBy}) = 'committed' END ` +
    `UNION ALL SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = ${oid} AND a.attnum > ${memo.highest} AND NOT a.attisdropped` +
    (key.kind === 'columns' ? ` UNION ALL SELECT WHERE NOT EXISTS (${identityIndex(oid, index)})` : '') +
    (key.kind === 'row'
      ? ` UNION ALL SELECT FROM pg_catalog.pg_class c WHERE c.oid = ${oid} AND c.relkind = 'r' AND c.relreplident <> 'f'`
      : '')
  )
}

/** Finds the index of a plan's key if changes still name their row by it, or have all of the row. */
function identityIndex(oid: number, index: number | null): string {
  return (
    `SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid WHERE i.indrelid = ${oid} ` +
    `AND i.indexrelid = ${index} AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary AND c.relreplident <> 'n' END`
  )
}

/** Gives up the locks of a range, also after an error in it. */
export const releaseStatement = 'ROLLBACK TO SAVEPOINT range; RELEASE SAVEPOINT range'

/**
 * What is asked for to get a column. For text, the very function that a stream's text comes from: a cast may print something else,
 * and a composite of nulls is not null.
 */
function copyExpression({ name, codec }: PlannedColumn): string {
  const column = quoteName(name)
  return codec.textOnly ? `CASE WHEN pg_catalog.num_nulls(${column}) = 0 THEN pg_catalog.format('%s', ${column}) END` : column
}
