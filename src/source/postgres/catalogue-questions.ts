import type { Client } from 'pg'
import { endedXidSql } from './rewrites.ts'

/** A relation of the database, and what the role of the connection may do with it. */
export interface RelationRow {
  oid: number
  schema: string
  name: string
  kind: string
  persistence: string
  identity: string
  leaf: boolean
  readable: boolean
  filtered: boolean
  owned: boolean
  published: boolean
  role: string
  highest: number
  storage: string
  ended: string
}

export interface ColumnRow {
  relation: number
  id: number
  name: string
  type: number
  modifier: number
  generated: string
  shown: string
}

/** The index by whose columns changes name a row. */
export interface IndexRow {
  relation: number
  /** Its oid. */
  index: number
  primary: boolean
  columns: string[]
}

/** An index that could be a replica identity, or a primary key that cannot. */
export interface CandidateRow {
  relation: number
  index: string
  primary: boolean
  immediate: boolean
}

/** A partitioned table above a partition, both of which were chosen. */
export interface AncestorRow {
  leaf: number
  root: number
  schema: string
  name: string
}

/** A partition that has rows, of any depth. */
export interface PartitionRow {
  root: number
  name: string
  schema: string
  identity: string
  kind: string
  primary: boolean
}

/** What the catalogue says of one table. */
export interface TableFacts {
  readonly columns: readonly ColumnRow[]
  readonly indexes: readonly IndexRow[]
  readonly candidates: readonly CandidateRow[]
  readonly partitions: readonly PartitionRow[]
  /** A table chosen as well that this one is a partition of: its changes come under that one's name. */
  readonly chosenRoot: AncestorRow | null
}

/** The files that hold a table's rows, as of the statement's snapshot; `c` is its row of `pg_class`. */
export const storageSql = `(select coalesce(string_agg(f.relfilenode::text, ',' order by s.id), '')
   from (select c.oid as id where c.relkind <> 'p'
         union all select p.relid from pg_catalog.pg_partition_tree(c.oid) p where c.relkind = 'p' and p.isleaf) s
   join pg_catalog.pg_class f on f.oid = s.id and f.relfilenode <> 0)`

// What decides whether and under which name a relation is read.
const choiceSql = `
  c.oid::int8::text as oid, n.nspname as schema, c.relname as name, c.relkind as kind, c.relpersistence as persistence,
  c.relreplident as identity, c.relispartition as leaf,
  coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), true) as readable, -- null: dropped meanwhile, which its copy finds
  pg_catalog.row_security_active(c.oid) as filtered,
  pg_catalog.pg_has_role(c.relowner, 'USAGE') as owned,
  exists (select from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
          where r.prrelid = c.oid and p.pubname = $1) as published,
  current_user::text as role`

const fromRelationsSql = `
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`

const relationsSql = `
select ${choiceSql}, c.relnatts::int4 as highest, ${storageSql} as storage, ${endedXidSql} as ended
${fromRelationsSql} order by n.nspname, c.relname`

const digestSql = `
select count(*)::text || ' ' || coalesce(sum(pg_catalog.hashtextextended(r::text, 0)), 0)::text as digest
from (select ${choiceSql} ${fromRelationsSql}) r`

const columnsSql = `
select a.attrelid::int8::text as relation, a.attnum::int4 as id, a.attname as name, a.atttypid::int8::text as type, a.atttypmod as modifier,
  a.attgenerated as generated, pg_catalog.format_type(a.atttypid, a.atttypmod) as shown
from pg_catalog.pg_attribute a
where a.attrelid::int8 = any($1::int8[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum`

// Only indexes that can be a replica identity: unique, complete, immediate, on columns.
const indexesSql = `
select i.indrelid::int8::text as relation, i.indexrelid::int8::text as index, i.indisprimary as primary,
  array(select a.attname::text from unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality k(num, nth)
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num order by k.nth) as columns
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
where i.indrelid::int8 = any($1::int8[]) and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null
  and ((i.indisprimary and c.relreplident in ('d', 'f')) or (i.indisreplident and c.relreplident = 'i'))`

// For tables without an identity: what could be one, and a primary key that cannot.
const candidatesSql = `
select i.indrelid::int8::text as relation, x.relname as index, i.indisprimary as primary, i.indimmediate as immediate
from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
where i.indrelid::int8 = any($1::int8[]) and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
  and (i.indisprimary or not exists (select from pg_catalog.pg_attribute a where a.attrelid = i.indrelid
         and a.attnum = any(i.indkey[0:i.indnkeyatts - 1]) and not a.attnotnull))
order by i.indrelid, i.indisprimary desc, x.relname`

const partitionsSql = `
select r.root::text as root, n.nspname as schema, c.relname as name, c.relreplident as identity, c.relkind as kind,
  exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary and i.indimmediate) as primary
from unnest($1::int8[]) r(root) cross join lateral pg_catalog.pg_partition_tree(r.root::oid::regclass) t
join pg_catalog.pg_class c on c.oid = t.relid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.isleaf`

const ancestorsSql = `
select l.leaf::text as leaf, c.oid::int8::text as root, n.nspname as schema, c.relname as name
from unnest($1::int8[]) l(leaf) cross join lateral pg_catalog.pg_partition_ancestors(l.leaf::oid::regclass) a
join pg_catalog.pg_class c on c.oid = a.relid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where a.relid::int8 <> l.leaf and a.relid::int8 = any($2::int8[])`

/** All tables of the database and what looks like one, in order of their names. */
export async function readRelations(client: Client, publication: string): Promise<RelationRow[]> {
  const { rows } = await client.query<Omit<RelationRow, 'oid'> & { oid: string }>(relationsSql, [publication])
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }))
}

/** Stays the same while {@link readRelations} would say the same of which tables there are, their names and our rights. */
export async function digestRelations(client: Client, publication: string): Promise<string> {
  const { rows } = await client.query<{ digest: string }>(digestSql, [publication])
  return rows[0].digest
}

/** What there is to know of these, in their order. */
export async function readTableFacts(
  client: Client,
  chosen: readonly RelationRow[],
): Promise<ReadonlyMap<RelationRow, TableFacts>> {
  const oids = chosen.map((relation) => relation.oid)
  const columns = grouped(await readColumns(client, oids), ({ relation }) => relation)
  const indexes = grouped(await readIndexes(client, oids), ({ relation }) => relation)
  const candidates = grouped(await readCandidates(client, oids), ({ relation }) => relation)
  const partitions = grouped(await readPartitions(client, chosen), ({ root }) => root)
  const ancestors = grouped(await readAncestors(client, chosen), ({ leaf }) => leaf)
  return new Map(
    chosen.map((relation) => {
      const { oid } = relation
      const facts = {
        columns: columns.get(oid) ?? [],
        indexes: indexes.get(oid) ?? [],
        candidates: candidates.get(oid) ?? [],
        partitions: partitions.get(oid) ?? [],
        chosenRoot: ancestors.get(oid)?.[0] ?? null,
      }
      return [relation, facts]
    }),
  )
}

function grouped<T>(rows: readonly T[], of: (row: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>()
  for (const row of rows) {
    const group = groups.get(of(row))
    if (group) group.push(row)
    else groups.set(of(row), [row])
  }
  return groups
}

/** `server_version_num` */
export async function readVersion(client: Client): Promise<number> {
  const { rows } = await client.query<{ version: number }>("select current_setting('server_version_num')::int as version")
  return rows[0].version
}

async function readColumns(client: Client, oids: readonly number[]): Promise<ColumnRow[]> {
  type Row = Omit<ColumnRow, 'relation' | 'type'> & { relation: string; type: string }
  const { rows } = await client.query<Row>(columnsSql, [oids])
  return rows.map((row) => ({ ...row, relation: Number(row.relation), type: Number(row.type) }))
}

async function readIndexes(client: Client, oids: readonly number[]): Promise<IndexRow[]> {
  const { rows } = await client.query<Omit<IndexRow, 'relation' | 'index'> & { relation: string; index: string }>(indexesSql, [
    oids,
  ])
  return rows.map((row) => ({ ...row, relation: Number(row.relation), index: Number(row.index) }))
}

/** For partitions that were chosen: an ancestor that was chosen too. */
async function readAncestors(client: Client, chosen: readonly RelationRow[]): Promise<AncestorRow[]> {
  const leaves = chosen.filter(({ leaf }) => leaf).map(({ oid }) => oid)
  const roots = chosen.filter(({ kind }) => kind === 'p').map(({ oid }) => oid)
  if (leaves.length === 0 || roots.length === 0) return []
  const { rows } = await client.query<Omit<AncestorRow, 'leaf' | 'root'> & { leaf: string; root: string }>(ancestorsSql, [
    leaves,
    roots,
  ])
  return rows.map((row) => ({ ...row, leaf: Number(row.leaf), root: Number(row.root) }))
}

async function readCandidates(client: Client, oids: readonly number[]): Promise<CandidateRow[]> {
  const { rows } = await client.query<Omit<CandidateRow, 'relation'> & { relation: string }>(candidatesSql, [oids])
  return rows.map((row) => ({ ...row, relation: Number(row.relation) }))
}

async function readPartitions(client: Client, chosen: readonly RelationRow[]): Promise<PartitionRow[]> {
  const roots = chosen.filter((relation) => relation.kind === 'p').map((relation) => relation.oid)
  if (roots.length === 0) return []
  const { rows } = await client.query<Omit<PartitionRow, 'root'> & { root: string }>(partitionsSql, [roots])
  return rows.map((row) => ({ ...row, root: Number(row.root) })).filter((row) => row.kind !== 'p')
}
