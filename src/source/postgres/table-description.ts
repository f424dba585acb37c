import { Buffer } from 'node:buffer'
import { isDeepStrictEqual } from 'node:util'
import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { storageSql } from './catalogue-questions.ts'
import type { Attribute, KnownColumn } from './column-match.ts'
import { endedXidSql, mayBeWrittenAnew, mayHaveOwnValues, writtenSinceSql } from './rewrites.ts'
import type { ShapeMemo } from './shape-memo.ts'

/** What rows that are older than a column have in it. */
export type OldRows =
  /** Nothing. */
  | { readonly kind: 'null' }
  /** This value, in the binary form of its type. */
  | { readonly kind: 'value'; readonly bytes: Buffer }
  /** Something else in each: they were written anew without being sent. */
  | { readonly kind: 'unknown' }

/** A table as the catalogue has it at the moment of the question, later than what the stream tells of. */
export interface TableDescription {
  /** Ascending. */
  readonly attributes: readonly Attribute[]
  /** Highest attribute number. */
  readonly highest: number
  /** The files that hold the rows: other ones when the table was written anew or truncated. */
  readonly storage: string
  /** Transactions below this number (64 bits, as text) had ended. */
  readonly xid: string
  /** All rows may have been written anew since the last look, by a change of a column's type; null: nobody can look now. */
  readonly rewritten: boolean | null
  /** `pg_class.relreplident` */
  readonly identity: string
  /** Attribute numbers by which changes name their row; null when they do not, or by all. */
  readonly key: readonly number[] | null
  /** Attribute numbers of an immediate primary key; null for none. */
  readonly primaryKey: readonly number[] | null
  /** Oid of its index. */
  readonly primaryIndex: number | null
  /** Length of a type that was asked for, negative when it varies; null for one that does not exist any more. */
  lengthOf(typeOid: number): number | null
  /** What older rows have in the column with this attribute number, for a table whose files were `storage` when it came. */
  oldRows(id: number, storage: string): OldRows
}

interface AttributeRow {
  readonly id: number
  readonly name: string
  readonly type: number
  readonly modifier: number
  readonly dropped: boolean
  /** Length of the type, also of a type that does not exist any more. */
  readonly length: number
  readonly generated: boolean
  readonly required: boolean
  /** Has a default of now, or is an identity: values that are made row by row. */
  readonly filled: boolean
  /** Whether something was done to it since the last look; null without one. */
  readonly altered: boolean | null
}

interface TableRow {
  readonly highest: number
  readonly storage: string
  /** Whether older rows may have a value in a column that came later. */
  readonly missing: boolean
  readonly xid: string
  readonly identity: string
  readonly key: readonly number[] | null
  readonly identityKey: readonly number[] | null
  readonly primaryIndex: number | null
  readonly attributes: readonly AttributeRow[] | null
  readonly types: readonly { readonly oid: number; readonly length: number }[] | null
}

// The stream has the lower half of a transaction's number; it lies less than 2^31 from the next one.
const visibleSql = `
select pg_catalog.pg_visible_in_snapshot((n.id + case when n.id > n.next + 2147483648 then -4294967296 when n.id < n.next - 2147483648 then 4294967296 else 0 end)::text::xid8, n.now)
from (select s.now, s.next, (s.next >> 32 << 32) + $1::int8 as id
      from (select pg_catalog.pg_current_snapshot() as now,
                   pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 as next) s) n`

const attributesSql = `
select json_agg(json_build_object('id', a.attnum, 'name', a.attname, 'type', a.atttypid::int8, 'modifier', a.atttypmod,
  'dropped', a.attisdropped, 'length', a.attlen, 'generated', a.attgenerated <> '', 'required', a.attnotnull,
  'filled', a.atthasdef or a.attidentity <> '', 'altered', ${writtenSinceSql('a.xmin', '$4::int8')}) order by a.attnum)
from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0`

const indexSql = (value: string, which: 'indisprimary' | 'indisreplident'): string => `
select ${value} from pg_catalog.pg_index i
where i.indrelid = c.oid and i.${which} and i.indimmediate and i.indisvalid`

const keyValue = 'array_to_json(i.indkey[0:i.indnkeyatts - 1]::int2[])'

const typesSql = `
select json_agg(json_build_object('oid', t.oid::int8, 'length', t.typlen)) from pg_catalog.pg_type t where t.oid::int8 = any($3::int8[])`

// One question, because a server with many tables is asked often: the stream sends a Relation anew after each TRUNCATE or ANALYZE.
const descriptionSql = `
select (${visibleSql}) as visible, (
  select json_build_object('highest', c.relnatts, 'storage', ${storageSql}, 'xid', ${endedXidSql}, 'identity', c.relreplident,
    'key', (${indexSql(keyValue, 'indisprimary')}), 'primaryIndex', (${indexSql('i.indexrelid::int8', 'indisprimary')}),
    'identityKey', (${indexSql(keyValue, 'indisreplident')}), 'attributes', (${attributesSql}),
    'types', (${typesSql}), 'missing', c.relkind = 'p' or exists (
      select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and a.atthasmissing and not a.attisdropped))
  from pg_catalog.pg_class c where c.oid = $2::oid) as description`

// Of the table, or of its partitions: those have the rows, and the columns under the same names.
const missingSql = (value: string): string => `
select a.attnum::int4 as id, pg_catalog.pg_relation_filenode(m.attrelid)::text as file, ${value} as value
from (select $1::oid as relid union select p.relid from pg_catalog.pg_partition_tree($1::oid) p where p.isleaf) leaf
join pg_catalog.pg_attribute m on m.attrelid = leaf.relid and m.attnum > 0 and m.atthasmissing and not m.attisdropped
join pg_catalog.pg_attribute a on a.attrelid = $1::oid and a.attnum > 0 and a.attname = m.attname`

// The array of one element in its binary form.
const missingValue = 'pg_catalog.array_send(m.attmissingval)'

interface Question {
  readonly oid: number
  readonly types: readonly number[]
  /** Number of the transaction whose Relation message it was; null: of none. */
  readonly transaction: number | null
  /** The table as it is known. */
  readonly known: { readonly columns: readonly KnownColumn[]; readonly memo: ShapeMemo }
}

/**
 * Asks the catalogue for a table, and for what it knows of some types; null when the table does not exist any more. Too early: the
 * catalogue does not show yet what the transaction did.
 */
export async function describeTable(client: Client, question: Question & { transaction: null }): Promise<TableDescription | null>
export async function describeTable(client: Client, question: Question): Promise<TableDescription | 'too early' | null>
export async function describeTable(client: Client, question: Question): Promise<TableDescription | 'too early' | null> {
  let found = await readTable(client, question)
  let missing: ReadonlyMap<string, Buffer | null> = new Map()
  if (found === null || found === 'too early') return found
  if (found.missing) {
    // One moment for both answers.
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    try {
      found = await readTable(client, question)
      if (found === null || found === 'too early') return found
      missing = await readMissing(client, question.oid)
    } finally {
      await client.query('ROLLBACK')
    }
  }
  const rewritten = await isRewritten(client, question, found)
  return description({ ...found, rewritten, ownValues: await haveOwnValues(client, question, found) }, missing)
}

/**
 * Whether rows in files that came since the last look may have values in columns that came since, although nothing fills those any more: a
 * default that is another one for each row, or an expression, may have been dropped right after it was given.
 */
async function haveOwnValues(client: Client, { oid, known }: Question, now: TableRow): Promise<boolean> {
  const { columns, memo } = known
  const files = new Set(memo.storage.split(','))
  if (now.storage.split(',').every((file) => files.has(file))) return false
  const ids = new Set([...columns.map(({ id }) => id), ...memo.ignored])
  const fresh = (now.attributes ?? []).filter(({ id, dropped, generated, filled, required }) => {
    return id > memo.highest && !ids.has(id) && !dropped && !generated && !filled && !required
  })
  if (fresh.length === 0) return false
  return mayHaveOwnValues(
    client,
    oid,
    memo.look?.xid ?? null,
    fresh.map(({ name }) => name),
  )
}

/** See {@link TableDescription.rewritten}. */
async function isRewritten(client: Client, { oid, known }: Question, now: TableRow): Promise<boolean | null> {
  const { columns, memo } = known
  if (!memo.look || memo.look.storage === '') return false
  const files = new Set(now.storage.split(','))
  // It writes all files of a table.
  if (memo.look.storage.split(',').some((file) => files.has(file))) return false
  const ids = new Set(columns.map(({ id }) => id))
  const isAltered = now.attributes?.some(({ id, dropped, altered }) => ids.has(id) && !dropped && altered === true) ?? false
  return isAltered ? mayBeWrittenAnew(client, oid, memo.look.xid) : false
}

async function readTable(client: Client, { oid, types, transaction, known }: Question): Promise<TableRow | 'too early' | null> {
  const { rows } = await client.query<{ visible: boolean | null; description: TableRow | null }>(descriptionSql, [
    transaction,
    oid,
    types,
    known.memo.look?.xid ?? null,
  ])
  return rows[0].visible === false ? 'too early' : rows[0].description
}

function description(
  {
    highest,
    storage,
    xid,
    identity,
    key,
    primaryIndex,
    identityKey,
    attributes,
    types,
    rewritten,
    ownValues,
  }: TableRow & { rewritten: boolean | null; ownValues: boolean },
  missing: ReadonlyMap<string, Buffer | null>,
): TableDescription {
  const lengths = new Map(types?.map((type) => [type.oid, type.length]))
  const rows = attributes ?? []
  const byId = new Map(rows.map((row) => [row.id, row]))
  return {
    attributes: rows.map(({ id, name, type, modifier, dropped, generated, length }): Attribute =>
      dropped ? { id, dropped, modifier, length } : { id, dropped, generated, name, typeOid: type, modifier },
    ),
    highest,
    storage,
    xid,
    rewritten,
    identity,
    key: identity === 'd' ? key : identity === 'i' ? identityKey : null,
    primaryKey: key,
    primaryIndex,
    lengthOf: (typeOid) => lengths.get(typeOid) ?? null,
    oldRows(id, before) {
      const row = byId.get(id)
      if (!row || row.dropped) return { kind: 'unknown' }
      const known = new Set(before.split(','))
      const each = storage.split(',').map((file): OldRows => {
        const bytes = missing.get(`${file} ${id}`)
        if (bytes !== undefined) return bytes === null ? { kind: 'unknown' } : { kind: 'value', bytes }
        // Without a value for older rows either they have none, or all rows were written anew, each with one of its own.
        return known.has(file) || (!row.filled && !row.required && !ownValues) ? { kind: 'null' } : { kind: 'unknown' }
      })
      return each.every((old) => isDeepStrictEqual(old, each[0])) ? each[0] : { kind: 'unknown' }
    },
  }
}

const longestWaitMs = 1_000

/** Asks again until it is not too early: the server sends a commit from the log a moment before it ends for others. */
export async function whenVisible<T>(ask: () => Promise<T | 'too early'>, clock: Clock, signal: AbortSignal): Promise<T> {
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    const answer = await ask()
    if (answer !== 'too early') return answer
    await clock.sleep(waitMs, signal)
    if (signal.aborted) throw new FrazilError('unavailable', 'closed', 'the source is closing')
  }
}

/** What older rows have in columns that came later: by file and attribute number, null where it cannot be told. */
async function readMissing(client: Client, oid: number): Promise<Map<string, Buffer | null>> {
  const read = async (sql: string): Promise<Map<string, Buffer | null>> => {
    const { rows } = await client.query<{ id: number; file: string; value: Buffer | null }>(sql, [oid])
    return new Map(rows.map(({ id, file, value }) => [`${file} ${id}`, value && onlyElement(value)]))
  }
  await client.query('SAVEPOINT missing')
  try {
    return await read(missingSql(missingValue))
  } catch (error) {
    // A type without a binary form: what older rows have is then unknown, which is said where it matters.
    await client.query('ROLLBACK TO SAVEPOINT missing')
    if (!(error instanceof Error && 'code' in error && error.code === '42883')) throw error
    return read(missingSql('null::bytea'))
  }
}

/** The element of an array of one dimension and one element: behind five words and its own length. */
function onlyElement(array: Buffer): Buffer {
  const start = 24
  return array.subarray(start, start + array.readInt32BE(start - 4))
}
