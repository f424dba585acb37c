import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import { setDecodingMemory } from './connection.ts'
import { errorCode, isRefusal } from './errors.ts'
import { quoteName, quoteText } from './identifiers.ts'
import type { Lsn } from './lsn.ts'
import { lsnToText, parseLsn } from './lsn.ts'
import { readPublication } from './preflight.ts'
import type { PublicationFacts, ServerFacts, SlotFacts } from './preflight.ts'
import type { TablePlan } from './table-plan.ts'

/** What a source has at the server. */
export interface Names {
  readonly source: string
  readonly slot: string
  readonly publication: string
  /** The configuration names the publication, and not as we would call it. */
  readonly publicationNamed: boolean
  readonly lakeId: string
}

/** The comment on a publication says whose it and the slot are. */
export function lakeMark(lakeId: string): string {
  return `frazil lake ${lakeId}`
}

/**
 * Name of a temporary slot beside ours. The process of the connection that makes it makes the name unique, also beside a dead
 * predecessor's.
 */
export function copyName(slot: string, kind: 'b' | 'c', pid: number): string {
  return `${slot.slice(0, 50)}_${kind}${pid}`
}

/** What {@link copyName} makes of a slot's name, as a regular expression of Postgres. */
export function copyPattern(slot: string): string {
  return `^${slot.slice(0, 50)}_[bc][0-9]+$`
}

/** Whether a publication is somebody else's that the configuration names on purpose. One of another lake is not. */
export function isBorrowed(names: Names, publication: PublicationFacts | null): boolean {
  if (publication === null || !names.publicationNamed) return false
  return !(publication.comment?.startsWith(lakeMark('')) ?? false)
}

/**
 * Throws `config` for a slot or a publication that another lake or somebody else made: those are never touched. A publication
 * says whose the slot is; beside a borrowed one only the lake's own record can: `slotKnown`.
 */
export function refuseForeign(
  names: Names,
  slot: SlotFacts | null,
  publication: PublicationFacts | null,
  facts: Pick<ServerFacts, 'database'>,
  slotKnown: boolean,
): void {
  const ways = (what: 'slot' | 'publication'): string =>
    `give this source another name or '${what}:'; or, if nobody needs it, run frazil drop ${names.source} with the lake that made it, ` +
    (what === 'slot'
      ? `or SELECT pg_drop_replication_slot(${quoteText(names.slot)})`
      : `or DROP PUBLICATION ${quoteName(names.publication)}; to hand it to this lake: COMMENT ON PUBLICATION ${quoteName(names.publication)} IS ${quoteText(lakeMark(names.lakeId))}`)
  const borrowed = isBorrowed(names, publication)
  if (publication && !borrowed && publication.comment !== lakeMark(names.lakeId)) {
    const whose = publication.comment?.startsWith(lakeMark('')) ? 'belongs to another lake' : 'was not made by frazil'
    throw new FrazilError('config', 'publication-not-ours', `publication ${names.publication} ${whose}`, {
      hint: ways('publication'),
    })
  }
  if (!slot) return
  const elsewhere = slot.database !== facts.database || slot.plugin !== 'pgoutput'
  if (elsewhere || !publication || (borrowed && !slotKnown)) {
    if (borrowed && !elsewhere) throw unknownSlot(names, slot)
    const why =
      slot.plugin !== 'pgoutput'
        ? `has the plugin ${slot.plugin ?? 'physical'}`
        : `belongs to somebody else (database ${slot.database})`
    throw new FrazilError('config', 'slot-not-ours', `replication slot ${names.slot} ${why}`, { hint: ways('slot') })
  }
}

/**
 * Beside a publication of somebody else nothing at the server says whose a slot is: a process of ours that was killed right after it had made
 * one leaves it looking like another's.
 */
function unknownSlot({ source, slot: name }: Names, { activePid, restart }: SlotFacts): FrazilError {
  const drop = `SELECT pg_drop_replication_slot(${quoteText(name)})`
  const message =
    `replication slot ${name} is there, and the lake does not know it: somebody else made it, or a first start of this source ` +
    'that was killed before the lake could remember it'
  const reader =
    activePid === null
      ? `nobody reads it now${restart === null ? '' : `, and it keeps the log from ${lsnToText(restart)} on`}`
      : `process ${activePid} reads it now`
  const hint = `${reader}; if it is of such a start: ${drop}, and start again: no row was taken through it; else give source ${source} another 'slot:'`
  return new FrazilError('config', 'slot-not-ours', message, { hint })
}

/** A publication that was somebody else's is not made again in our way: nobody knows what it sent. */
export function publicationGone(names: Names): FrazilError {
  return new FrazilError(
    'corrupt',
    'publication-missing',
    `publication ${names.publication} was dropped or replaced: changes are missing`,
    { hint: `frazil resync ${names.source}, and start again: its tables are copied anew` },
  )
}

/**
 * Throws when the stream cannot go on at `position`: the changes in between are gone, or never were, and nobody would notice.
 */
export function checkSlot(names: Names, slot: SlotFacts | null, position: Lsn, facts: ServerFacts): void {
  const hint = `the changes since ${lsnToText(position)} cannot be had any more: frazil resync ${names.source}, and start again: its tables are copied anew`
  if (!slot) {
    throw new FrazilError('corrupt', 'slot-missing', `replication slot ${names.slot} is gone`, { hint })
  }
  if (slot.walStatus === 'lost' || slot.confirmed === null || slot.invalidation !== null) {
    const message = `replication slot ${names.slot} was given up by Postgres: ${whyInvalid(slot.invalidation)}`
    throw new FrazilError('corrupt', 'slot-lost', message, { hint })
  }
  if (slot.confirmed > position) {
    const message =
      `replication slot ${names.slot} was moved to ${lsnToText(slot.confirmed)}, beyond the lake's position ${lsnToText(position)}: ` +
      'somebody else read or recreated it'
    throw new FrazilError('corrupt', 'slot-moved', message, { hint })
  }
  // A server that has lost something has less than that in memory, too; what it says is on its disk may lag behind what it has sent.
  if (position > facts.inserted) {
    const message = `the lake is at ${lsnToText(position)}, beyond the end of the server's log ${lsnToText(facts.inserted)}: it was restored to an earlier time`
    throw new FrazilError('corrupt', 'position-ahead', message, { hint })
  }
}

/** What `invalidation_reason` (17 and newer) means; before, there was one reason only that a slot of a primary can have. */
function whyInvalid(reason: string | null): string {
  switch (reason) {
    case null:
    case 'wal_removed':
      return 'more log waited in it than max_slot_wal_keep_size allows'
    case 'idle_timeout':
      return 'nobody read it for longer than idle_replication_slot_timeout'
    case 'rows_removed':
      return 'catalogue rows that it needs were removed'
    case 'wal_level_insufficient':
      return 'wal_level was set lower than logical'
    default:
      return reason
  }
}

/** Makes the publication be what we want: ours, exactly these tables, partitions under their root's name. */
export async function arrangePublication(
  client: Client,
  names: Names,
  plans: readonly TablePlan[],
  existing: PublicationFacts | null,
): Promise<void> {
  const name = quoteName(names.publication)
  const statements: string[] = []
  if (!existing) {
    const tables = plans.length > 0 ? ` FOR TABLE ${plans.map(published).join(', ')}` : ''
    statements.push(`CREATE PUBLICATION ${name}${tables} WITH (publish_via_partition_root = true)`)
    statements.push(`COMMENT ON PUBLICATION ${name} IS ${quoteText(lakeMark(names.lakeId))}`)
  } else if (!existing.everything) {
    const wanted = new Set(plans.map((plan) => plan.oid))
    const added = plans.filter((plan) => !existing.tables.includes(plan.oid))
    const dropped = existing.tables.filter((oid) => !wanted.has(oid))
    if (!existing.viaRoot || !existing.complete) {
      statements.push(
        `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`,
      )
    }
    if (dropped.length > 0) {
      const list = await tableList(client, dropped)
      if (list !== '') statements.push(`ALTER PUBLICATION ${name} DROP TABLE ${list}`)
    }
    if (added.length > 0) statements.push(`ALTER PUBLICATION ${name} ADD TABLE ${added.map(published).join(', ')}`)
  }
  await alter(client, statements, plans)
}

/** Changes the publication, if all tables are still those of their plans. */
async function alter(client: Client, statements: readonly string[], plans: readonly TablePlan[]): Promise<void> {
  if (statements.length === 0) return
  await client.query('BEGIN')
  try {
    for (const statement of statements) await client.query(statement)
    const [other] = await notThere(client, plans)
    if (other) {
      const message = `table ${other.source.sourceName} was dropped or renamed while it was being published`
      throw new FrazilError('unavailable', 'table-recreated', message)
    }
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

/** Plans of tables that do not exist any more under their names. */
async function notThere(client: Client, plans: readonly TablePlan[]): Promise<TablePlan[]> {
  const { rows } = await client.query<{ is: boolean }>(
    `select coalesce(pg_catalog.to_regclass(t.name)::oid::int8 = t.oid, false) as is
     from unnest($1::text[], $2::int8[]) with ordinality t(name, oid, nth) order by t.nth`,
    [plans.map(({ schema, table }) => `${quoteName(schema)}.${quoteName(table)}`), plans.map(({ oid }) => oid)],
  )
  return plans.filter((_, i) => !rows[i].is)
}

/** Adds tables to our publication, where they are not in it. Returns those that do not exist any more. */
export async function publish(client: Client, names: Names, plans: readonly TablePlan[]): Promise<readonly TablePlan[]> {
  const publication = await readPublication(client, names.publication)
  if (publication === null) {
    throw new FrazilError('corrupt', 'publication-missing', `publication ${names.publication} is gone`, {
      hint: `frazil resync ${names.source}, and start again: its tables are copied anew`,
    })
  }
  const gone = await notThere(client, plans)
  if (isBorrowed(names, publication) || publication.everything) return gone
  const missing = plans.filter((plan) => !publication.tables.includes(plan.oid) && !gone.includes(plan))
  if (missing.length > 0) {
    const add = `ALTER PUBLICATION ${quoteName(names.publication)} ADD TABLE ${missing.map(published).join(', ')}`
    await alter(client, [add], missing)
  }
  return gone
}

/** Takes a table out of our publication, if it is in it. */
export async function unpublish(client: Client, names: Names, id: string): Promise<void> {
  const publication = await readPublication(client, names.publication)
  if (publication === null || isBorrowed(names, publication) || publication.everything) return
  const list = publication.tables.includes(Number(id)) ? await tableList(client, [Number(id)]) : ''
  if (list !== '') await client.query(`ALTER PUBLICATION ${quoteName(names.publication)} DROP TABLE ${list}`)
}

/** Tables as SQL lists them, without their inheritance children; empty when none of them exists. */
async function tableList(client: Client, oids: readonly number[]): Promise<string> {
  const { rows } = await client.query<{ schema: string; table: string }>(
    `select n.nspname as schema, c.relname as table from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid::int8 = any($1::int8[])`,
    [oids],
  )
  return rows.map(({ schema, table }) => `ONLY ${quoteName(schema)}.${quoteName(table)}`).join(', ')
}

/** Without its inheritance children, which are tables of their own. */
function published(plan: TablePlan): string {
  return `ONLY ${quoteName(plan.schema)}.${quoteName(plan.table)}`
}

export interface NewSlot {
  readonly consistentPoint: Lsn
  /** Name to import, for slots made with `export`; valid until the connection is asked anything else. */
  readonly snapshot: string | null
}

export interface SlotRequest {
  readonly name: string
  readonly kind: 'permanent' | 'temporary'
  readonly version: number
  /** Kept on standbys too, where the version has that; not for temporary ones. */
  readonly failover?: boolean
  /** How long to wait for open transactions, which all have to end first. */
  readonly waitMs: number
  /** Aborted: it is not begun any more. */
  readonly closing?: AbortSignal
}

/**
 * What the server may hold in memory of transactions that are open while a slot is made. Postgres 18 crashes as a whole when it had
 * to give up one there that has savepoints and was rolled back (docs/postgres-faults.md).
 */
const slotMemoryKb = 262_144

/**
 * Makes a slot on a replication connection; `control` is asked who is in the way when it takes too long. A temporary one
 * exports its snapshot. Throws `unavailable` (`blocked-by-transaction`) naming the blocking process.
 */
export async function createSlot(replication: Client, control: Client, request: SlotRequest): Promise<NewSlot> {
  const temporary = request.kind === 'temporary'
  const snapshot = temporary ? 'export' : 'nothing'
  const failover = request.version >= 170_000 && !temporary && request.failover ? ', FAILOVER true' : ''
  const options =
    request.version >= 150_000 ? `(SNAPSHOT '${snapshot}'${failover})` : temporary ? 'EXPORT_SNAPSHOT' : 'NOEXPORT_SNAPSHOT'
  await replication.query(`SET lock_timeout = ${Math.max(1, Math.round(request.waitMs))}`)
  if (request.version >= 180_000) await setDecodingMemory(replication, 'greatest', slotMemoryKb)
  if (request.closing?.aborted) throw new FrazilError('unavailable', 'closed', 'the source is closed')
  try {
    const { rows } = await replication.query<{ consistent_point: string; snapshot_name: string | null }>(
      `CREATE_REPLICATION_SLOT ${quoteName(request.name)} ${temporary ? 'TEMPORARY ' : ''}LOGICAL pgoutput ${options}`,
    )
    return { consistentPoint: parseLsn(rows[0].consistent_point), snapshot: rows[0].snapshot_name }
  } catch (error) {
    if (errorCode(error) !== '55P03') throw error
    throw await blocked(control, error)
  }
}

/**
 * Commits a change of the catalogue that changes nothing, for a slot that was just made. The server's first picture of the catalogue may lack
 * what was committed while it waited for older transactions, and is used until somebody changes the catalogue
 * (docs/postgres-faults.md). What is decoded behind this has a true one.
 */
export async function touchCatalogue(client: Client, names: Names, borrowed: boolean): Promise<void> {
  if (borrowed) {
    // Nothing there is ours. Who may not make one does without: it takes a TRUNCATE or an ALTER in the wrong moment to be wrong.
    await client.query('CREATE TEMP TABLE frazil_beside_slot () ON COMMIT DROP').catch((error: unknown) => {
      if (!isRefusal(error)) throw error
    })
    return
  }
  await client.query(`COMMENT ON PUBLICATION ${quoteName(names.publication)} IS ${quoteText(lakeMark(names.lakeId))}`)
}

/** Processes that are named as being waited for, the oldest transactions first. */
const mostNamed = 10

async function blocked(control: Client, cause: unknown): Promise<FrazilError> {
  const { rows } = await control.query<{ pid: number; seconds: number; user: string | null; app: string | null }>(
    `select pid, extract(epoch from now() - xact_start)::int as seconds, usename::text as user, application_name as app
     from pg_catalog.pg_stat_activity where backend_xid is not null and pid <> pg_catalog.pg_backend_pid()
     order by xact_start limit ${mostNamed}`,
  )
  if (rows.length === 0) {
    return new FrazilError('unavailable', 'blocked-by-transaction', 'a transaction at the source blocks the replication slot', {
      cause,
    })
  }
  const [oldest, ...others] = rows.map(({ pid, seconds, user, app }) => {
    return `process ${pid} (${[user, app].filter(Boolean).join(', ')}) has had a transaction open for ${seconds} s`
  })
  const message = `${[oldest, ...others].join('; ')}; a replication slot can be made only when ${others.length > 0 ? 'those end that are older' : 'it ends'}`
  const hint =
    others.length > 0
      ? `end these transactions, or: ${rows.map(({ pid }) => `SELECT pg_terminate_backend(${pid})`).join('; ')}`
      : `end that transaction, or: SELECT pg_terminate_backend(${rows[0].pid})`
  return new FrazilError('unavailable', 'blocked-by-transaction', message, { cause, hint })
}
