import type { Client } from 'pg'

/**
 * A publication that somebody else made and the configuration names: it is used as it is, and never altered or dropped. It may
 * leave out rows (row filters), columns (column lists) and kinds of changes.
 */
export interface BorrowedPublication {
  readonly inserts: boolean
  readonly updates: boolean
  readonly deletes: boolean
  readonly truncates: boolean
  /** By oid: the tables whose changes it sends, partitioned ones by their root where it does so. */
  readonly members: ReadonlyMap<number, PublishedTable>
}

/** What a publication sends of a table. */
export interface PublishedTable {
  /** Names of the columns; null where the server does not tell (before 15): all that are not generated. */
  readonly columns: readonly string[] | null
  /** Whether the publication names them; null where it cannot. */
  readonly listed: boolean | null
  /** The condition of its rows as SQL, null for all of them. */
  readonly filter: string | null
}

const listedSql = `select r.prrelid from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
  where p.pubname = $1 and r.prattrs is not null`

// A list may be that of a partitioned table above.
const detailsSql = `t.attnames::text[] as columns, t.rowfilter as filter, (c.oid in (${listedSql}) or c.relispartition
  and exists (select from pg_catalog.pg_partition_ancestors(c.oid) a where a.relid in (${listedSql}))) as listed`

/** What a publication of this name sends. */
export async function readBorrowed(client: Client, name: string, version: number): Promise<BorrowedPublication> {
  interface Row {
    oid: string
    columns: string[] | null
    listed: boolean | null
    filter: string | null
  }
  const details = version >= 150_000 ? detailsSql : 'null as columns, null as listed, null as filter'
  const { rows } = await client.query<Row>(
    `select c.oid::int8::text as oid, ${details}
     from pg_catalog.pg_publication_tables t
     join pg_catalog.pg_namespace n on n.nspname = t.schemaname
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
     where t.pubname = $1`,
    [name],
  )
  const kinds = await client.query<{ inserts: boolean; updates: boolean; deletes: boolean; truncates: boolean }>(
    `select pubinsert as inserts, pubupdate as updates, pubdelete as deletes, pubtruncate as truncates
     from pg_catalog.pg_publication where pubname = $1`,
    [name],
  )
  return { ...kinds.rows[0], members: new Map(rows.map(({ oid, ...table }) => [Number(oid), table])) }
}

/**
 * Whether changes may speak of rows that the lake does not have, or has already: where kinds of changes are left out, and where
 * the condition of the rows may have been another one before.
 */
export function isLoose(publication: BorrowedPublication, table: PublishedTable): boolean {
  const { inserts, updates, deletes, truncates } = publication
  return table.filter !== null || !(inserts && updates && deletes && truncates)
}

/** What is remembered of the source, with what a publication that is not ours sends of these tables, too. */
export function withPublished<T extends { readonly published: Readonly<Record<string, string>> | null }>(
  memo: T,
  plans: readonly { readonly oid: number }[],
  borrowed: BorrowedPublication | null,
): T {
  if (!borrowed) return memo
  const sent = plans.map(({ oid }) => [String(oid), publishedSignature(borrowed, oid)])
  return { ...memo, published: { ...memo.published, ...Object.fromEntries(sent) } }
}

/** What of a publication decides over a table's rows: remembered, because a change of it cannot be made up for. */
export function publishedSignature(publication: BorrowedPublication, oid: number): string {
  const { inserts, updates, deletes, truncates, members } = publication
  return JSON.stringify([members.get(oid)?.filter ?? null, inserts, updates, deletes, truncates])
}
