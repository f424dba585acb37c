import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { Field, SourceTable, TableKey } from '../../data/index.ts'
import { isLoose } from './borrowed-publication.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import { icebergName, parseColumnName, parseShownName, parseTablePattern, quoteName, showName } from './identifiers.ts'
import type { TablePattern } from './identifiers.ts'
import { endedXidSql } from './rewrites.ts'
import { writeShapeMemo } from './shape-memo.ts'
import type { ShapeMemo } from './shape-memo.ts'
import { readTypeContext } from './type-catalogue.ts'
import { resolveType, textCodec } from './types/index.ts'
import type { Codec, OutOfRange, Replaced, TypeContext } from './types/index.ts'

/** How a column is read other than its source's columns are: as the text that Postgres prints, or by a rule of its own. */
export type ColumnSetting = 'text' | OutOfRange

/** A column as the catalogue has it, and how it is read. */
export interface PlannedColumn {
  /** Attribute number: given once in a table's life. */
  readonly id: number
  readonly name: string
  readonly typeOid: number
  readonly modifier: number
  readonly codec: Codec
  /** What the settings say of this column; null for nothing. */
  readonly setting: ColumnSetting | null
}

/** A table that will be read, as it is now. `columns` are those of `source.fields`. */
export interface TablePlan {
  readonly oid: number
  readonly schema: string
  readonly table: string
  readonly partitioned: boolean
  readonly columns: readonly PlannedColumn[]
  /** All columns as Postgres writes them, for people, also those that are not mirrored. */
  readonly shown: readonly { readonly name: string; readonly type: string }[]
  /** Condition of the rows that are published, as SQL; null for all of them. */
  readonly filter: string | null
  /** Changes may speak of rows that the lake does not have, or has already. */
  readonly loose: boolean
  readonly memo: ShapeMemo
  readonly source: SourceTable
}

/** A table that cannot be read, and why. The others go on. */
interface LeftOut {
  readonly id: string
  readonly sourceName: string
  readonly error: FrazilError
}

interface Astray {
  /** As in {@link CatalogueRequest.added}. */
  readonly name: string
  readonly error: FrazilError
}

export interface Catalogue {
  readonly plans: readonly TablePlan[]
  readonly leftOut: readonly LeftOut[]
  /** Tables that were added and that nothing can be planned for: not there, no tables, not published. */
  readonly astray: readonly Astray[]
  /** Columns that the settings name and no table has. */
  readonly unknownColumns: readonly string[]
  /** The codec of any type, as far as this database's types are known. */
  readonly codecOf: CodecOf
  /** What the settings say of a column of a table, both as the source names them; null for nothing. */
  settingOf(sourceName: string, column: string): ColumnSetting | null
  /** Asks for types that may have been made since. */
  learnTypes(client: Client, typeOids: readonly number[]): Promise<void>
}

/** The codec of a type with its modifier, in a column with this setting; null when the type is not known. */
export type CodecOf = (typeOid: number, modifier: number, setting: ColumnSetting | null) => Codec | null

export interface ValueSettings {
  /** What becomes of values that Iceberg cannot hold. Default `error`: their table stops. */
  readonly outOfRange?: OutOfRange
  /** Columns by `schema.table.column`, as SQL identifiers, that are mirrored as their text or have a rule of their own. */
  readonly columns?: Readonly<Record<string, ColumnSetting>>
}

export interface CatalogueRequest extends ValueSettings {
  readonly source: string
  readonly tables: readonly string[]
  /** Names of tables that were added while the source ran. What is wrong with one of them ends it alone, not the start. */
  readonly added?: readonly string[]
  readonly into: string | null
  /** Ids of tables that are not read any more. */
  readonly detached: ReadonlySet<string>
  /**
   * Tables that the lake has: id → the name that they had at the source. They are chosen by that name too, so that a table that was
   * renamed is read on; when they are gone that is their failure, not a mistake in the settings.
   */
  readonly known: ReadonlyMap<string, string>
  /** Types that the columns of those tables had. */
  readonly knownTypes: readonly number[]
  /** Publication whose tables need no right to be added. */
  readonly publication: string
  /** What that one sends, if it is not ours. */
  readonly borrowed: BorrowedPublication | null
  /** Collects what is wrong with the settings, so that everything is found at once; without it the first is thrown. */
  readonly mistakes?: FrazilError[]
  readonly replaced: Replaced
}

interface RelationRow {
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

interface ColumnRow {
  relation: number
  id: number
  name: string
  type: number
  modifier: number
  generated: string
  shown: string
}

interface IndexRow {
  relation: number
  columns: string[]
}

interface CandidateRow {
  relation: number
  index: string
  primary: boolean
  immediate: boolean
}

interface AncestorRow {
  leaf: number
  root: number
  schema: string
  name: string
}

interface PartitionRow {
  root: number
  name: string
  schema: string
  identity: string
  kind: string
  primary: boolean
}

/** The files that hold a table's rows, as of the statement's snapshot; `c` is its row of `pg_class`. */
export const storageSql = `(select coalesce(string_agg(f.relfilenode::text, ',' order by s.id), '')
   from (select c.oid as id where c.relkind <> 'p'
         union all select p.relid from pg_catalog.pg_partition_tree(c.oid) p where c.relkind = 'p' and p.isleaf) s
   join pg_catalog.pg_class f on f.oid = s.id and f.relfilenode <> 0)`

const relationsSql = `
select c.oid::int8::text as oid, n.nspname as schema, c.relname as name, c.relkind as kind, c.relpersistence as persistence,
  c.relreplident as identity, c.relispartition as leaf,
  coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), true) as readable, -- null: dropped meanwhile, which its copy finds
  pg_catalog.row_security_active(c.oid) as filtered,
  pg_catalog.pg_has_role(c.relowner, 'USAGE') as owned,
  exists (select from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
          where r.prrelid = c.oid and p.pubname = $1) as published,
  current_user::text as role, c.relnatts::int4 as highest, ${storageSql} as storage, ${endedXidSql} as ended
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
order by n.nspname, c.relname`

const columnsSql = `
select a.attrelid::int8::text as relation, a.attnum::int4 as id, a.attname as name, a.atttypid::int8::text as type, a.atttypmod as modifier,
  a.attgenerated as generated, pg_catalog.format_type(a.atttypid, a.atttypmod) as shown
from pg_catalog.pg_attribute a
where a.attrelid::int8 = any($1::int8[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum`

// Only indexes that can be a replica identity: unique, complete, immediate, on columns.
const indexesSql = `
select i.indrelid::int8::text as relation,
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

/**
 * Finds the tables that the settings mean and plans how each is read, all as of one moment: between two statements tables are dropped and made
 * anew. Throws `config` for settings that mean nothing. The connection must not have a transaction open.
 */
export async function readCatalogue(client: Client, request: CatalogueRequest): Promise<Catalogue> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    return await catalogueOfNow(client, request)
  } finally {
    // Of a connection that is lost the error that says so is the other one.
    await client.query('ROLLBACK').catch(() => {})
  }
}

async function catalogueOfNow(client: Client, request: CatalogueRequest): Promise<Catalogue> {
  const { rows } = await client.query<Omit<RelationRow, 'oid'> & { oid: string }>(relationsSql, [request.publication])
  const relations = rows.map((row) => ({ ...row, oid: Number(row.oid) }))
  const { chosen, astray } = chooseTables(relations, request)
  const oids = chosen.map((relation) => relation.oid)
  const columns = await readColumns(client, oids)
  const indexes = await readIndexes(client, oids)
  const candidates = await readCandidates(client, oids)
  const partitions = await readPartitions(client, chosen)
  const { context, learn: learnTypes } = await readTypeContext(client, {
    wanted: [...[...columns.values()].flat().map((column) => column.type), ...request.knownTypes],
    outOfRange: request.outOfRange ?? 'error',
    replaced: request.replaced,
  })
  const codecOf = codecsFor(context)
  const settings = new Map(Object.entries(request.columns ?? {}).map(([name, setting]) => [parseColumnName(name), setting]))
  const settingOf = (sourceName: string, column: string): ColumnSetting | null =>
    settings.get(`${sourceName}.${quoteName(column)}`) ?? null
  const ancestors = await readAncestors(client, chosen)
  const server = await client.query<{ version: number }>("select current_setting('server_version_num')::int as version")
  const [{ version }] = server.rows

  const plans: TablePlan[] = []
  const leftOut: LeftOut[] = []
  for (const relation of chosen) {
    try {
      plans.push(
        planTable(relation, {
          columns: columns.get(relation.oid) ?? [],
          indexes: indexes.filter((index) => index.relation === relation.oid),
          candidates: candidates.filter((candidate) => candidate.relation === relation.oid),
          partitions: partitions.filter((partition) => partition.root === relation.oid),
          mirroredRoot: ancestors.find(({ leaf }) => leaf === relation.oid) ?? null,
          version,
          codecOf,
          settingOf: (column) => settingOf(showName(relation.schema, relation.name), column),
          request,
        }),
      )
    } catch (error) {
      if (!(error instanceof FrazilError) || error.kind !== 'unsupported') throw error
      leftOut.push({ id: String(relation.oid), sourceName: showName(relation.schema, relation.name), error })
    }
  }
  const kept = withoutDoubleNames(plans, request)
  leftOut.push(...kept.leftOut)
  const columnNames = new Set(
    chosen.flatMap(({ oid, schema, name }) =>
      (columns.get(oid) ?? []).map((column) => `${showName(schema, name)}.${quoteName(column.name)}`),
    ),
  )
  const unknownColumns = Object.keys(request.columns ?? {}).filter((name) => !columnNames.has(parseColumnName(name)))
  return { plans: kept.plans, leftOut, astray, unknownColumns, codecOf, settingOf, learnTypes }
}

function codecsFor(context: TypeContext): CodecOf {
  return (typeOid, modifier, setting) => {
    if (setting === 'text') return textCodec(context)
    return resolveType(typeOid, modifier, setting === null ? context : { ...context, outOfRange: setting })
  }
}

function chooseTables(
  relations: readonly RelationRow[],
  request: CatalogueRequest,
): { readonly chosen: RelationRow[]; readonly astray: Astray[] } {
  const known = Array.from(request.known.values(), parseShownName)
  const own = request.tables.map(parseTablePattern)
  const patterns = [...own, ...(request.added ?? []).map(parseTablePattern)]
  const astray: Astray[] = []
  for (const pattern of patterns) {
    const wrong = (code: string, message: string, hint: string): void => {
      const error = new FrazilError('config', code, message, { hint })
      if (own.includes(pattern)) mistake(request, error)
      else astray.push({ name: pattern.text, error })
    }
    const found = relations.filter((relation) => pattern.matches(relation.schema, relation.name))
    if (found.length === 0 && pattern.exact && !known.some(({ schema, table }) => pattern.matches(schema, table))) {
      const message = `source ${request.source}: the database has no table ${pattern.text}`
      wrong('unknown-table', message, nearest(relations, pattern))
    }
    const odd = pattern.exact ? found.find((relation) => relation.kind !== 'r' && relation.kind !== 'p') : undefined
    if (odd) {
      const what = odd.kind === 'f' ? 'a foreign table' : odd.kind === 'v' ? 'a view' : 'a materialized view'
      const message = `source ${request.source}: ${showName(odd.schema, odd.name)} is ${what}, whose changes Postgres does not tell`
      wrong('not-a-table', message, 'name the tables behind it')
    }
    const hidden = pattern.exact && !odd ? found.find(({ oid }) => !isPublished(request, oid)) : undefined
    if (hidden) {
      const name = showName(hidden.schema, hidden.name)
      const message = `source ${request.source}: publication ${request.publication} does not send table ${name}`
      const sql = `${quoteName(hidden.schema)}.${quoteName(hidden.name)}`
      const hint =
        hidden.kind === 'p'
          ? `name its partitions; or: ALTER PUBLICATION ${quoteName(request.publication)} SET (publish_via_partition_root = true)`
          : `ALTER PUBLICATION ${quoteName(request.publication)} ADD TABLE ${sql}`
      wrong('not-in-publication', message, hint)
    }
  }
  const chosen = relations.filter((relation) => {
    const id = String(relation.oid)
    if ((relation.kind !== 'r' && relation.kind !== 'p') || request.detached.has(id)) return false
    if (!isPublished(request, relation.oid)) return false
    const name = request.known.get(id)
    const names = [{ schema: relation.schema, table: relation.name }, ...(name === undefined ? [] : [parseShownName(name)])]
    return patterns.some(
      (pattern) => (pattern.exact || !relation.leaf) && names.some(({ schema, table }) => pattern.matches(schema, table)),
    )
  })
  return { chosen, astray }
}

function isPublished({ borrowed }: CatalogueRequest, oid: number): boolean {
  return borrowed === null || borrowed.members.has(oid)
}

function mistake(request: CatalogueRequest, error: FrazilError): void {
  if (!request.mistakes) throw error
  request.mistakes.push(error)
}

function nearest(relations: readonly RelationRow[], pattern: TablePattern): string {
  const bare = pattern.text.split('.').at(-1)?.replaceAll('"', '').toLowerCase()
  const similar = relations.filter((relation) => relation.name.toLowerCase() === bare)
  if (similar.length > 0) return `there is ${similar.map((relation) => showName(relation.schema, relation.name)).join(', ')}`
  return 'check schema and name; names with capitals need double quotes'
}

interface PlanParts {
  readonly columns: readonly ColumnRow[]
  readonly indexes: readonly IndexRow[]
  readonly candidates: readonly CandidateRow[]
  readonly partitions: readonly PartitionRow[]
  /** A table chosen as well that this one is a partition of: its changes come under that one's name. */
  readonly mirroredRoot: AncestorRow | null
  /** `server_version_num` */
  readonly version: number
  readonly codecOf: CodecOf
  settingOf(column: string): ColumnSetting | null
  readonly request: CatalogueRequest
}

/** Throws `unsupported` when this table cannot be read. */
function planTable(relation: RelationRow, parts: PlanParts): TablePlan {
  const sourceName = showName(relation.schema, relation.name)
  const { source, into, publication } = parts.request
  const target = icebergName(into, source, relation.schema, relation.name)
  const refuse = (code: string, message: string, hint: string): FrazilError =>
    new FrazilError('unsupported', code, `table ${sourceName} ${message}`, { hint, table: `${target.namespace}.${target.name}` })
  const sql = `${quoteName(relation.schema)}.${quoteName(relation.name)}`
  if (relation.persistence === 'u') {
    throw refuse('unlogged-table', 'is unlogged, so its changes are not in the log', `ALTER TABLE ${sql} SET LOGGED`)
  }
  if (parts.mirroredRoot) {
    const root = showName(parts.mirroredRoot.schema, parts.mirroredRoot.name)
    const hint = 'name either the partitioned table or its partitions in tables'
    throw refuse('partition-of-mirrored', `is a partition of ${root}, which is mirrored and has its rows`, hint)
  }
  if (!relation.readable) {
    throw refuse('missing-select', `may not be read by ${relation.role}`, `GRANT SELECT ON ${sql} TO ${quoteName(relation.role)}`)
  }
  if (relation.filtered) {
    const hint = `ALTER ROLE ${quoteName(relation.role)} BYPASSRLS`
    throw refuse('row-security', `has row-level security, which would hide rows from ${relation.role}`, hint)
  }
  const { borrowed } = parts.request
  const member = borrowed?.members.get(relation.oid)
  if (!borrowed && !relation.owned && !relation.published) {
    const hint = `let its owner run: ALTER PUBLICATION ${quoteName(publication)} ADD TABLE ${sql}; or: GRANT the owner's role to ${quoteName(relation.role)}`
    throw refuse('not-owner', `can be published only by its owner, and ${relation.role} is not`, hint)
  }
  const columns = parts.columns
    // Generated columns are not sent, and can be computed again from the others. From 18 on a publication may have them sent.
    .filter(({ name, generated }) => {
      const listed = member?.columns?.includes(name) ?? true
      return listed && (generated === '' || (member?.columns != null && parts.version >= 180_000))
    })
    .map((column): PlannedColumn => {
      const setting = parts.settingOf(column.name)
      const codec = parts.codecOf(column.type, column.modifier, setting)
      if (!codec) {
        // Only a type that was made or dropped between two of our questions.
        throw refuse('unsupported-type', `has column ${quoteName(column.name)} of unknown type ${column.shown}`, 'start again')
      }
      return { id: column.id, name: column.name, typeOid: column.type, modifier: column.modifier, codec, setting }
    })
  // Each UPDATE would fail at the source ("Replica identity must not contain unpublished generated columns").
  const full = relation.kind === 'p' ? parts.partitions.some(({ identity }) => identity === 'f') : relation.identity === 'f'
  if (!borrowed && full && parts.version >= 180_000 && columns.length < parts.columns.length) {
    throw refuse(
      'generated-in-identity',
      'has REPLICA IDENTITY FULL and a generated column, so from Postgres 18 on its UPDATEs and DELETEs would fail once it is published',
      `with a primary key: ALTER TABLE ${sql} REPLICA IDENTITY DEFAULT; or drop the generated column`,
    )
  }
  const key = keyOf(relation, columns, parts, (why) =>
    refuse(
      'no-identity',
      `${why}, so its UPDATEs and DELETEs would fail once it is published`,
      identityHint(sql, parts.candidates),
    ),
  )
  const required = key.kind === 'columns' ? new Set(key.columns) : new Set<number>()
  const fields = columns.map((column, i): Field => ({
    id: 0,
    name: column.name,
    type: column.codec.type,
    required: required.has(i),
  }))
  const { storage, highest, ended } = relation
  const memo: ShapeMemo = { storage, highest, ignored: [], look: { storage, xid: ended } }
  return {
    oid: relation.oid,
    schema: relation.schema,
    table: relation.name,
    partitioned: relation.kind === 'p',
    filter: member?.filter ?? null,
    loose: borrowed && member ? isLoose(borrowed, member) : false,
    columns,
    shown: parts.columns.map(({ name, shown }) => ({ name, type: shown })),
    memo,
    source: {
      id: String(relation.oid),
      sourceName,
      ...target,
      fields,
      key,
      columnIds: columns.map(({ id }) => id),
      memo: writeShapeMemo(memo, columns),
    },
  }
}

/** By which columns changes name their row: what the replica identity sends. */
function keyOf(
  relation: RelationRow,
  columns: readonly PlannedColumn[],
  parts: PlanParts,
  refuse: (why: string) => FrazilError,
): TableKey {
  for (const partition of parts.partitions) {
    const usable = partition.identity === 'f' || (partition.identity === 'd' && partition.primary)
    if (!usable || partition.kind !== 'r') {
      throw refuse(`has the partition ${showName(partition.schema, partition.name)} without a replica identity`)
    }
  }
  const { borrowed } = parts.request
  if (borrowed && !borrowed.updates && !borrowed.deletes) return { kind: 'none' }
  const [index] = parts.indexes
  if (index) {
    const places = index.columns.map((name) => columns.findIndex((column) => column.name === name))
    // In the order in which the stream tells of them, whatever the index has: a copy and the stream hash the same key.
    if (places.every((place) => place >= 0) && places.length > 0)
      return { kind: 'columns', columns: places.toSorted((a, b) => a - b) }
    if (relation.identity !== 'f') {
      const left = borrowed ? 'is published without a column of its key' : 'has a generated column in its key'
      throw refuse(left)
    }
  }
  if (relation.identity === 'f' && parts.partitions.every((partition) => partition.identity === 'f')) return { kind: 'row' }
  if (relation.identity === 'n') throw refuse('has REPLICA IDENTITY NOTHING')
  const deferrable = relation.identity === 'd' && parts.candidates.some(({ primary, immediate }) => primary && !immediate)
  throw refuse(deferrable ? 'has a deferrable primary key, which is no replica identity' : 'has no usable key')
}

/** The statement that gives a table an identity, the cheapest first. */
function identityHint(sql: string, candidates: readonly CandidateRow[]): string {
  const full = `or: ALTER TABLE ${sql} REPLICA IDENTITY FULL`
  const usable = candidates.find(({ immediate }) => immediate)
  if (usable?.primary) return `ALTER TABLE ${sql} REPLICA IDENTITY DEFAULT; ${full}`
  if (usable) return `ALTER TABLE ${sql} REPLICA IDENTITY USING INDEX ${quoteName(usable.index)}; ${full}`
  const [deferrable] = candidates.filter(({ primary }) => primary)
  if (deferrable) return `ALTER TABLE ${sql} DROP CONSTRAINT ${quoteName(deferrable.index)}, ADD PRIMARY KEY (…); ${full}`
  return `ALTER TABLE ${sql} ADD PRIMARY KEY (…); ${full}`
}

/** The settings' own tables keep their names; of those that were added the ones that would have the name of another are left out. */
function withoutDoubleNames(
  plans: readonly TablePlan[],
  request: CatalogueRequest,
): { readonly plans: TablePlan[]; readonly leftOut: LeftOut[] } {
  const own = request.tables.map(parseTablePattern)
  const isOwn = ({ schema, table, source }: TablePlan): boolean => {
    const before = parseShownName(request.known.get(source.id) ?? source.sourceName)
    return own.some((pattern) => pattern.matches(schema, table) || pattern.matches(before.schema, before.table))
  }
  const seen = new Map<string, TablePlan>()
  const leftOut: LeftOut[] = []
  const ordered = [...plans.filter(isOwn), ...plans.filter((plan) => !isOwn(plan))]
  const kept = ordered.filter((plan) => {
    const { id, sourceName, namespace, name: bare } = plan.source
    const name = `${namespace}.${bare}`
    const other = seen.get(name)
    seen.set(name, other ?? plan)
    if (!other) return true
    const message = `tables ${other.source.sourceName} and ${sourceName} would both become ${name}`
    const hint = "give the source another 'into', for example '{source}.{schema}_{table}'"
    if (isOwn(plan)) mistake(request, new FrazilError('config', 'same-name-twice', message, { hint }))
    else leftOut.push({ id, sourceName, error: new FrazilError('unsupported', 'same-name-twice', message, { hint }) })
    return false
  })
  return { plans: kept, leftOut }
}

async function readColumns(client: Client, oids: readonly number[]): Promise<Map<number, ColumnRow[]>> {
  type Row = Omit<ColumnRow, 'relation' | 'type'> & { relation: string; type: string }
  const { rows } = await client.query<Row>(columnsSql, [oids])
  const columns = new Map<number, ColumnRow[]>()
  for (const row of rows) {
    const relation = Number(row.relation)
    const list = columns.get(relation) ?? []
    list.push({ ...row, relation, type: Number(row.type) })
    columns.set(relation, list)
  }
  return columns
}

async function readIndexes(client: Client, oids: readonly number[]): Promise<IndexRow[]> {
  const { rows } = await client.query<Omit<IndexRow, 'relation'> & { relation: string }>(indexesSql, [oids])
  return rows.map((row) => ({ ...row, relation: Number(row.relation) }))
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
