import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { SourceTable } from '../../data/index.ts'

// What decides whether a table's changes are sent: that it is in the publication, since when (by the oids of what says so: a table that is taken out
// and put back has another one), the kinds of changes, and the tables that it is a partition of. An unlogged table is in no log. Behind the bar:
// lists of columns.
const membershipsSql = (version: number): string => `
with p as (select * from pg_catalog.pg_publication where pubname = $1),
c as (select oid, relispartition, relpersistence, relnamespace from pg_catalog.pg_class where oid::int8 = any($2::int8[])),
o as (select c.oid as id, c.oid as relid from c
  union all select c.oid, a.relid from c cross join lateral pg_catalog.pg_partition_ancestors(c.oid) a where c.relispartition and a.relid <> c.oid),
m as (select o.id, pg_catalog.string_agg(r.oid::text, ',' order by r.oid) as tables,
    ${version >= 150_000 ? "pg_catalog.string_agg(r.prattrs::text, ',' order by r.oid)" : 'null'} as lists
  from o join pg_catalog.pg_publication_rel r on r.prrelid = o.relid join p on p.oid = r.prpubid group by o.id),
n as (${version >= 150_000 ? 'select pnnspid as id, n.oid from pg_catalog.pg_publication_namespace n join p on p.oid = n.pnpubid' : 'select null::oid as id, null::oid as oid'})
select c.oid::int8::text as id, pg_catalog.concat_ws(' ', p.oid, p.pubinsert::int, p.pubupdate::int, p.pubdelete::int, p.pubtruncate::int,
  p.pubviaroot::int, c.relpersistence, coalesce(m.tables, '-'), coalesce(n.oid::text, '-')) || '|' || coalesce(m.lists, '') as membership
from p cross join c left join m on m.id = c.oid left join n on n.id = c.relnamespace`

const digestSql = (version: number): string => `
select coalesce((select pg_catalog.concat_ws(' ', p.oid, p.xmin, pg_catalog.md5(pg_catalog.concat_ws(' ',
    (select pg_catalog.string_agg(r.oid::text, ',' order by r.oid) from pg_catalog.pg_publication_rel r where r.prpubid = p.oid),
    ${version >= 150_000 ? "(select pg_catalog.string_agg(n.oid::text, ',' order by n.oid) from pg_catalog.pg_publication_namespace n where n.pnpubid = p.oid)" : "''"})))
  from pg_catalog.pg_publication p where p.pubname = $1), '') as digest`

/**
 * By the ids of tables: text that stays the same while a publication sends all that it sends of the table. Without tables that are not there; none
 * when the publication is not.
 */
export async function readMemberships(
  client: Client,
  publication: string,
  version: number,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map()
  const { rows } = await client.query<{ id: string; membership: string }>(membershipsSql(version), [publication, ids])
  return new Map(rows.map(({ id, membership }) => [id, membership]))
}

/** Stays the same while nothing is put into a publication or taken out of it. */
export async function digestMembers(client: Client, publication: string, version: number): Promise<string> {
  const { rows } = await client.query<{ digest: string }>(digestSql(version), [publication])
  return rows[0].digest
}

/** What is wrong with a table that was published like `before`, and is like `now`; null: nothing. Undefined where nobody knows. */
export function missedChanges(
  source: string,
  { sourceName, namespace, name }: SourceTable,
  before: string | undefined,
  now: string | undefined,
): FrazilError | null {
  if (before === undefined || now === undefined || before === now) return null
  const table = `${namespace}.${name}`
  const hint = `frazil resync ${table}`
  if (listsOf(before) !== listsOf(now)) {
    const message = `table ${sourceName} is published with other columns than before, whose values in the rows that are there nobody knows`
    return new FrazilError('unsupported', 'schema-changed', message, { hint, table })
  }
  const message = `table ${sourceName} was not in the publication of source ${source} all the time: changes are missing`
  return new FrazilError('unsupported', 'not-published', message, { hint, table })
}

function listsOf(membership: string): string {
  return membership.slice(membership.indexOf('|'))
}
