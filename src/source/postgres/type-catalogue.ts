import type { Client } from 'pg'
import type { OutOfRange, Replaced, TypeContext, TypeRow } from './types/index.ts'

const typesSql = `
select t.oid::int8::text as oid, t.typname as name, t.typtype as kind, t.typcategory as category, t.typdelim as delimiter,
  t.typbasetype::int8::text as base, t.typtypmod as modifier, t.typelem::int8::text as element,
  coalesce(r.rngsubtype, 0)::int8::text as bound,
  coalesce((select json_agg(json_build_array(a.attname, a.atttypid::int8, a.atttypmod) order by a.attnum)
            from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '[]') as attributes
from pg_catalog.pg_type t left join pg_catalog.pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
where t.oid::int8 = any($1::int8[])`

interface TypeSqlRow {
  oid: string
  name: string
  kind: string
  category: string
  delimiter: string
  base: string
  modifier: number
  element: string
  bound: string
  attributes: [name: string, type: number, modifier: number][]
}

/** Adds the rows of these types and of those that they are made of. */
async function readTypes(client: Client, types: Map<number, TypeRow>, wanted: readonly number[]): Promise<void> {
  let next = [...new Set(wanted)].filter((oid) => !types.has(oid))
  while (next.length > 0) {
    const { rows } = await client.query<TypeSqlRow>(typesSql, [next])
    for (const row of rows) {
      const oid = Number(row.oid)
      types.set(oid, {
        oid,
        name: row.name,
        kind: row.kind,
        category: row.category,
        baseOid: Number(row.base),
        baseModifier: row.modifier,
        elementOid: Number(row.element),
        delimiter: row.delimiter,
        boundOid: Number(row.bound),
        attributes: row.attributes.map(([name, typeOid, modifier]) => ({ name, typeOid, modifier })),
      })
    }
    const parts = rows.flatMap((row) => [row.base, row.element, row.bound, ...row.attributes.map(([, oid]) => oid)])
    next = [...new Set(parts.map(Number))].filter((oid) => oid > 0 && !types.has(oid))
  }
}

export interface TypeRequest {
  readonly wanted: readonly number[]
  readonly outOfRange: OutOfRange
  readonly replaced: Replaced
}

/** What the codecs of these types depend on, asked from the database; `learn` adds other types later. */
export async function readTypeContext(
  client: Client,
  request: TypeRequest,
): Promise<{ context: TypeContext; readonly learn: (client: Client, wanted: readonly number[]) => Promise<void> }> {
  const types = new Map<number, TypeRow>()
  await readTypes(client, types, request.wanted)
  // Digits of money after the point, by lc_monetary.
  const { rows } = await client.query<{ encoding: string; scale: number }>(
    `select pg_catalog.current_setting('server_encoding') as encoding,
       pg_catalog.scale(0::pg_catalog.money::pg_catalog.numeric) as scale`,
  )
  const [{ encoding, scale }] = rows
  const { outOfRange, replaced } = request
  const context = { types, checkText: encoding === 'SQL_ASCII', moneyScale: scale, outOfRange, replaced }
  return { context, learn: (asked, wanted) => learn(asked, types, wanted) }
}

/** Reads types that are not known, and composites anew: they may have other attributes by now. */
async function learn(client: Client, types: Map<number, TypeRow>, wanted: readonly number[]): Promise<void> {
  const composites = partsOf(types, wanted).filter((oid) => types.get(oid)?.kind === 'c')
  const fresh = new Map(types)
  for (const oid of composites) fresh.delete(oid)
  await readTypes(client, fresh, [...wanted, ...composites])
  for (const [oid, row] of fresh) types.set(oid, row)
}

/** These types and those that they are made of, as far as they are known. */
function partsOf(types: ReadonlyMap<number, TypeRow>, wanted: readonly number[]): number[] {
  const found = new Set(wanted)
  for (const oid of found) {
    const row = types.get(oid)
    if (!row) continue
    for (const part of [row.baseOid, row.elementOid, row.boundOid]) found.add(part)
    for (const { typeOid } of row.attributes) found.add(typeOid)
  }
  return [...found]
}
