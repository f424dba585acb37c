import type { Client } from 'pg'
import type { Clock } from '../../base/index.ts'
import type { Catalogue } from './catalogue.ts'
import type { ChangeDecoder } from './change-decoder.ts'
import { readHead } from './log-head.ts'
import type { Lsn } from './lsn.ts'
import { digestMembers, missedChanges, readMemberships } from './membership.ts'
import type { Relation } from './relation.ts'
import { endedXidSql, nextXidSql, writtenSinceSql } from './rewrites.ts'
import type { KnownTable } from './shape-change.ts'
import type { Sighting } from './sightings.ts'
import { describeTable } from './table-description.ts'
import type { TableDescription } from './table-description.ts'

const defaultEveryMs = 10_000

export interface ShapeWatchOptions {
  /** Default 10 seconds. */
  readonly everyMs?: number
  readonly clock: Clock
  /** Name of the source, for messages. */
  readonly source: string
  readonly publication: string
  /** `server_version_num` */
  readonly version: number
  readonly decoder: ChangeDecoder
  readonly catalogue: Catalogue
  readonly asking: <T>(ask: (client: Client) => Promise<T>) => Promise<T>
  /** The stream has to get there, also when nothing happens. */
  readonly reach: (position: Lsn) => void
}

// Any row of the catalogue that says how a table looks and that a transaction wrote which had not ended at the last look.
const changedSql = `
select k.oid::text as id, coalesce(${writtenSinceSql('c.xmin', 'k.xid')}
  or exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and ${writtenSinceSql('a.xmin', 'k.xid')})
  or exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and ${writtenSinceSql('i.xmin', 'k.xid')}), true) as changed,
  ${endedXidSql} as xid
from unnest($1::int8[], $2::int8[]) k(oid, xid) join pg_catalog.pg_class c on c.oid = k.oid::oid`

// Asked first: the same of any table of the database. While no transaction has had a number nothing is read at all.
const anyChangedSql = `
select n.xid, case when n.next <= $1::int8 then false else
  exists (select from pg_catalog.pg_class c where ${writtenSinceSql('c.xmin', '$1::int8', 'n.next')})
  or exists (select from pg_catalog.pg_attribute a where a.attnum > 0 and ${writtenSinceSql('a.xmin', '$1::int8', 'n.next')})
  or exists (select from pg_catalog.pg_index i where ${writtenSinceSql('i.xmin', '$1::int8', 'n.next')}) end as changed
from (select ${nextXidSql} as next, ${endedXidSql} as xid offset 0) n`

/**
 * Postgres tells of changed columns by the next change of a row. A table that nobody writes to is looked at in the catalogue, now and then: what it
 * says holds behind all that was in the log at that moment. Rows from before the change are before that, since it waited for their transactions.
 */
export class ShapeWatch {
  readonly #options: ShapeWatchOptions
  /** By the tables' ids: the digest of the publication when they were last found to be in it as before. */
  readonly #published = new Map<string, string>()

  constructor(options: ShapeWatchOptions) {
    this.#options = options
  }

  /** Until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, everyMs = defaultEveryMs } = this.#options
    for (;;) {
      await clock.sleep(everyMs, signal)
      if (signal.aborted) return
      try {
        await this.#look(signal)
      } catch {
        // Whoever reads the stream says it.
      }
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { asking, catalogue, decoder, reach } = this.#options
    const known = decoder.tables.sightings.watched(decoder.position)
    if (known.size === 0) return
    await this.#lookAtPublication(known)
    const looks = [...known.values()].map(({ memo }) => memo.look?.xid ?? null)
    const oldest = leastOf(looks)
    if (oldest !== null) {
      const [{ changed, xid }] = await asking(async (client) => {
        return (await client.query<{ changed: boolean; xid: string }>(anyChangedSql, [oldest])).rows
      })
      if (!changed) {
        decoder.tables.sightings.unchanged(known, xid)
        return
      }
    }
    const { rows } = await asking((client) =>
      client.query<{ id: string; changed: boolean; xid: string }>(changedSql, [[...known.keys()], looks]),
    )
    // It may be unlogged by now, or a partition of another table.
    for (const { id, changed } of rows) if (changed) this.#published.delete(id)
    await this.#lookAtPublication(known)
    const same = new Map(rows.flatMap(({ id, changed }) => (changed ? [] : [[id, known.get(id) as KnownTable] as const])))
    if (rows.length > 0) decoder.tables.sightings.unchanged(same, rows[0].xid)
    for (const { id, changed } of rows) {
      const table = known.get(id)
      if (!changed || !table || signal.aborted) continue
      // What is visible to the question was in the log before it was asked.
      const sighting = await asking(async (client): Promise<Sighting | null> => {
        const description = await describeTable(client, { oid: Number(id), types: [], transaction: null, known: table })
        const relation = description && relationOf(table, description)
        if (!relation) return null
        await catalogue.learnTypes(
          client,
          relation.columns.map(({ typeOid }) => typeOid),
        )
        return { known: table, relation, description, at: await readHead(client) }
      })
      if (!sighting) continue
      decoder.tables.sightings.add(id, sighting)
      reach(sighting.at)
    }
  }

  /** Fails tables that are not published as they were: of what they do not send the stream does not tell, nor that they do not. */
  async #lookAtPublication(known: ReadonlyMap<string, KnownTable>): Promise<void> {
    const { asking, decoder, publication, reach, source, version } = this.#options
    const digest = await asking((client) => digestMembers(client, publication, version))
    const ids = [...known.keys()].filter((id) => this.#published.get(id) !== digest)
    if (ids.length === 0) return
    const { memberships, at } = await asking(async (client) => {
      return { memberships: await readMemberships(client, publication, version, ids), at: await readHead(client) }
    })
    for (const id of ids) {
      const table = known.get(id)
      this.#published.set(id, digest)
      const error = table && missedChanges(source, table.table, table.memo.member, memberships.get(id))
      if (!error) continue
      decoder.tables.miss(id, table.memo, error)
      reach(at)
    }
  }
}

/** The lowest of these numbers; null when one of them is not known. */
function leastOf(xids: readonly (string | null)[]): string | null {
  let least: string | null = null
  for (const xid of xids) {
    if (xid === null) return null
    // Most have the same one, from the last look.
    if (least === null || (xid !== least && BigInt(xid) < BigInt(least))) least = xid
  }
  return least
}

/** The message that would come now; null while the table has no identity by which changes could name its rows. */
function relationOf({ table, columns, memo }: KnownTable, { attributes, identity, key }: TableDescription): Relation | null {
  if (identity !== 'f' && key === null && table.key.kind !== 'none') return null
  const known = new Set([...columns.map(({ id }) => id), ...memo.ignored])
  const sent = attributes.flatMap((attribute) =>
    attribute.dropped || ((attribute.generated || memo.sent === 'listed') && !known.has(attribute.id)) ? [] : [attribute],
  )
  return {
    oid: Number(table.id),
    identity,
    columns: sent.map(({ id, name, typeOid, modifier }) => {
      return { name, typeOid, modifier, key: identity === 'f' || (key?.includes(id) ?? false) }
    }),
  }
}
