import type { Client, QueryResult } from 'pg'
import { errorCode } from './errors.ts'
import { quoteName } from './identifiers.ts'

// ALTER COLUMN … TYPE … USING writes a table anew with other values, of which the log tells nothing: not even that it happened, if the
// type is the same. What tells is that the rows are in other files, that the column's row in pg_attribute is that transaction's, and
// that it has written each row there is. VACUUM FULL, CLUSTER and TRUNCATE change files as well, but touch no column; the first two
// leave rows the numbers of the transactions that wrote them.

/** A look at a table: what happened to it before is known. */
export interface Look {
  /** The files that held its rows, see `TableDescription.storage`. */
  readonly storage: string
  /** Transactions below this number (64 bits, as text) had ended, and what they did was seen. */
  readonly xid: string
}

/** Number below which all transactions have ended as of a statement's snapshot. */
export const endedXidSql = 'pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text'

/** Number above those of all transactions that had begun as of a statement's snapshot. */
export const nextXidSql = 'pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8'

/**
 * Whether a row was written by transaction `since` (64 bits) or a later one, by the lower half of its writer's number. One that is more than
 * 2^32 transactions older than the next one may count as well. Null without `since`. `next`: {@link nextXidSql}, where it was asked for once.
 */
export function writtenSinceSql(xmin: string, since: string, next = nextXidSql): string {
  // Below 3 are numbers of no transaction: rows as old as the database.
  return `(${xmin}::text::int8 > 2 and (${next} % 4294967296 - ${xmin}::text::int8 + 4294967296) % 4294967296 <= ${next} - ${since})`
}

/** Pages of a file that are looked at: any old row shows that the file was not written by one ALTER. */
const sampledPages = 64
const sampledFiles = 16
const lockTimeoutMs = 100

const filesSql = `
select pg_catalog.format('%I.%I', n.nspname, c.relname) as name, c.oid::int8::float8 as oid
from (select $1::oid as id union select p.relid from pg_catalog.pg_partition_tree($1::oid) p where p.isleaf) l
join pg_catalog.pg_class c on c.oid = l.id join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' order by c.oid limit ${sampledFiles}`

/** The numbers and the names are ours and the catalogue's. One message, so that an error leaves no transaction open to whoever asks next. */
const rowsSql = ({ name, oid }: FileRow, since: bigint, filled: string): string => `
set local lock_timeout = ${lockTimeoutMs};
select count(*)::int4 as rows, (count(*) filter (where not written))::int4 as old,
  (count(*) filter (where filled))::int4 as filled, (count(*) filter (where filled and not written))::int4 as old_filled,
  pg_catalog.pg_relation_size(${oid}) > ${sampledPages} * current_setting('block_size')::int8 as more
from (select ${writtenSinceSql('r.xmin', `${since}::int8`)} as written, ${filled} as filled
      from only ${name} r where r.ctid < '(${sampledPages},0)' limit 10000) s`

interface FileRow {
  /** Quoted, for SQL. */
  readonly name: string
  readonly oid: number
}

interface SampledRows {
  readonly rows: number
  readonly old: number
  readonly filled: number
  readonly old_filled: number
  readonly more: boolean
}

/** Errors that leave it open: a lock, a right, a table or a column that has gone. */
const openAfter: ReadonlySet<string> = new Set(['55P03', '42501', '42P01', '42703', '57014'])

/**
 * Whether all rows of a table with other files than before may have been written since transaction `since`; null when nobody can look now. True
 * is said, too, of a table whose first rows have all come or changed since.
 */
export async function mayBeWrittenAnew(client: Client, oid: number, since: string): Promise<boolean | null> {
  const files = await sample(client, oid, BigInt(since), 'false')
  if (files === null) return null
  return files.every(({ old }) => old === 0) && files.some(({ rows, more }) => rows > 0 || more)
}

/**
 * Whether rows of a table with other files than before may have values in new columns of which the log does not tell: those with a value for
 * each row, whose default or expression was dropped since. True is said, too, of a table whose first rows have all come since, with values
 * there, and when nobody can look now. `since`: transaction before which all had ended at a look before; null: there was none.
 */
export async function mayHaveOwnValues(
  client: Client,
  oid: number,
  since: string | null,
  columns: readonly string[],
): Promise<boolean> {
  const filled = columns.map((column) => `pg_catalog.num_nonnulls(r.${quoteName(column)}) > 0`).join(' or ')
  const files = await sample(client, oid, BigInt(since ?? 0), filled)
  if (files === null || files.some(({ old_filled }) => old_filled > 0)) return true
  return files.every(({ old }) => old === 0) && files.some((file) => file.filled > 0)
}

/** The first rows of each file of a table; null when nobody can look now. */
async function sample(client: Client, oid: number, since: bigint, filled: string): Promise<readonly SampledRows[] | null> {
  const files = await client.query<FileRow>(filesSql, [oid])
  const sampled: SampledRows[] = []
  try {
    for (const file of files.rows) {
      // Of two statements pg gives back two results, which its types do not say.
      const [, found] = (await client.query(rowsSql(file, since, filled))) as unknown as QueryResult<SampledRows>[]
      sampled.push(found.rows[0])
    }
    return sampled
  } catch (error) {
    if (!openAfter.has(errorCode(error))) throw error
    return null
  }
}
