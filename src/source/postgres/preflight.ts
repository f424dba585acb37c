import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import { lsnOf, parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { quoteName, quoteText } from './identifiers.ts'

/** What the server is, and what it lets us do. */
export interface ServerFacts {
  readonly version: number
  readonly systemId: string
  readonly timeline: number
  readonly database: string
  readonly role: string
  /** End of the log that is safe on its disk. */
  readonly flushed: Lsn
  /** End of the log, also of what is not on its disk yet. */
  readonly inserted: Lsn
  /** Slots that are kept on standbys are read only up to what these have (`synchronized_standby_slots`, 17 and newer). */
  readonly waitsForStandbys: boolean
}

export interface SlotFacts {
  readonly name: string
  readonly plugin: string | null
  readonly database: string | null
  readonly activePid: number | null
  readonly walStatus: string | null
  readonly confirmed: Lsn | null
  /** Where the server begins to read its log for it: what it keeps. */
  readonly restart: Lsn | null
  /** Why it can be read no more (17 and newer); null while it can. */
  readonly invalidation: string | null
  /** It is kept on standbys too (17 and newer). */
  readonly failover: boolean
}

export interface PublicationFacts {
  readonly name: string
  readonly comment: string | null
  readonly viaRoot: boolean
  readonly everything: boolean
  readonly complete: boolean
  /** Oids of its tables. */
  readonly tables: readonly number[]
}

const oldestVersion = 140_000

interface FactsRow {
  version: number
  wal_level: string
  recovery: boolean
  synchronous: string
  slots: number
  slots_used: number
  senders: number
  senders_used: number
  may_replicate: boolean
  may_create: boolean
  system_id: string
  timeline: number
  database: string
  role: string
  flushed: string | null
  inserted: string | null
  standbys: boolean
}

const systemIdSql = 'select system_identifier::text from pg_catalog.pg_control_system()'

const factsSql = `
select current_setting('server_version_num')::int as version, current_setting('wal_level') as wal_level,
  pg_catalog.pg_is_in_recovery() as recovery, current_setting('synchronous_standby_names') as synchronous,
  current_setting('max_replication_slots')::int as slots, (select count(*)::int from pg_catalog.pg_replication_slots) as slots_used,
  current_setting('max_wal_senders')::int as senders, (select count(*)::int from pg_catalog.pg_stat_replication) as senders_used,
  (select r.rolsuper or r.rolreplication from pg_catalog.pg_roles r where r.rolname = current_user)
    or exists (select from pg_catalog.pg_roles r where r.rolname in ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')
               and pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')) as may_replicate,
  pg_catalog.has_database_privilege(current_database(), 'CREATE') as may_create,
  (${systemIdSql}) as system_id,
  case when pg_catalog.pg_is_in_recovery() then 0
    -- The control file still has the old one just after a promotion.
    else ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int end as timeline,
  coalesce(current_setting('synchronized_standby_slots', true), '') <> '' as standbys,
  current_database()::text as database, current_user::text as role,
  case when pg_catalog.pg_is_in_recovery() then null else pg_catalog.pg_current_wal_flush_lsn()::text end as flushed,
  case when pg_catalog.pg_is_in_recovery() then null else pg_catalog.pg_current_wal_insert_lsn()::text end as inserted`

export interface PreflightRequest {
  readonly applicationName: string
  /** Slots that will be made beside those that exist. */
  readonly newSlots: number
  readonly newPublication: boolean
}

/** The server's and its standbys'; of a copy that was restored, too. */
export async function readSystemId(client: Client): Promise<string> {
  const { rows } = await client.query<{ system_identifier: string }>(systemIdSql)
  return rows[0].system_identifier
}

/** Asks the server everything that would make the source fail later. Throws `config` with the statement to run. */
export async function preflight(client: Client, request: PreflightRequest): Promise<ServerFacts> {
  const { facts, problems } = await examineServer(client, request)
  if (problems.length > 0) throw problems[0]
  return facts
}

/** The same, with everything that is wrong at once. Throws only for a server that is too old to be asked. */
export async function examineServer(
  client: Client,
  request: PreflightRequest,
): Promise<{ facts: ServerFacts; problems: readonly FrazilError[] }> {
  const version = await client.query<{ version: number }>("select current_setting('server_version_num')::int as version")
  if (version.rows[0].version < oldestVersion) {
    throw problem(
      'old-version',
      `Postgres ${Math.floor(version.rows[0].version / 10_000)} is too old`,
      'use Postgres 14 or newer',
    )
  }
  const { rows } = await client.query<FactsRow>(factsSql)
  const facts = rows[0]
  return {
    facts: {
      version: facts.version,
      systemId: facts.system_id,
      timeline: facts.timeline,
      database: facts.database,
      role: facts.role,
      flushed: facts.flushed === null ? lsnOf(0, 0) : parseLsn(facts.flushed),
      inserted: facts.inserted === null ? lsnOf(0, 0) : parseLsn(facts.inserted),
      waitsForStandbys: facts.standbys,
    },
    problems: [...serverProblems(facts, request)],
  }
}

function* serverProblems(facts: FactsRow, request: PreflightRequest): Generator<FrazilError> {
  if (facts.recovery) {
    yield problem(
      'standby',
      'this Postgres is a standby, where publications cannot be made',
      'give the address of the primary in url',
    )
  }
  if (facts.wal_level !== 'logical') {
    const hint = "ALTER SYSTEM SET wal_level = 'logical'; then restart Postgres"
    yield problem('wal-level', `wal_level is ${facts.wal_level}, so the log does not have row changes`, hint)
  }
  if (!facts.may_replicate) {
    const hint = `ALTER ROLE ${quoteName(facts.role)} REPLICATION`
    yield problem('missing-replication-right', `role ${facts.role} may not read the log`, hint)
  }
  if (request.newPublication && !facts.may_create) {
    const hint = `GRANT CREATE ON DATABASE ${quoteName(facts.database)} TO ${quoteName(facts.role)}`
    yield problem('missing-create-right', `role ${facts.role} may not create a publication`, hint)
  }
  if (facts.slots - facts.slots_used < request.newSlots) {
    const hint = `ALTER SYSTEM SET max_replication_slots = ${facts.slots_used + request.newSlots + 8}; then restart Postgres`
    yield problem('no-free-slot', `all ${facts.slots} replication slots are in use (${request.newSlots} needed)`, hint)
  }
  const newSenders = 1
  if (facts.senders - facts.senders_used < newSenders) {
    const hint = `ALTER SYSTEM SET max_wal_senders = ${facts.senders_used + 10}; then restart Postgres`
    yield problem('no-free-sender', `all ${facts.senders} WAL senders are in use`, hint)
  }
  if (namesStandby(facts.synchronous, request.applicationName)) {
    yield problem(
      'synchronous-standby',
      `synchronous_standby_names is ${quoteText(facts.synchronous)}: every COMMIT at the source would wait for the lake`,
      'ALTER SYSTEM SET synchronous_standby_names to the names of your standbys; SELECT pg_reload_conf()',
    )
  }
}

/** As a synchronous standby every COMMIT of the application would wait for our lake commits. */
function namesStandby(setting: string, applicationName: string): boolean {
  const names = setting.match(/"(?:[^"]|"")*"|[^\s,()]+/g) ?? []
  return names.some((name) => name === '*' || name.replaceAll('"', '').toLowerCase() === applicationName.toLowerCase())
}

function problem(code: string, message: string, hint: string): FrazilError {
  return new FrazilError('config', code, message, { hint })
}

export async function readSlot(client: Client, name: string): Promise<SlotFacts | null> {
  interface Row {
    plugin: string | null
    database: string | null
    pid: number | null
    status: string | null
    confirmed: string | null
    restart: string | null
    invalidation: string | null
    failover: boolean | null
  }
  // What only newer versions have is asked for by name.
  const { rows } = await client.query<Row>(
    `select plugin::text, database::text, active_pid as pid, wal_status as status, confirmed_flush_lsn::text as confirmed, restart_lsn::text as restart,
       pg_catalog.to_jsonb(s) ->> 'invalidation_reason' as invalidation, (pg_catalog.to_jsonb(s) ->> 'failover')::bool as failover
     from pg_catalog.pg_replication_slots s where slot_name = $1`,
    [name],
  )
  if (rows.length === 0) return null
  const [{ plugin, database, pid, status, confirmed, restart, invalidation, failover }] = rows
  return {
    name,
    plugin,
    database,
    activePid: pid,
    walStatus: status,
    confirmed: confirmed === null ? null : parseLsn(confirmed),
    restart: restart === null ? null : parseLsn(restart),
    invalidation,
    failover: failover ?? false,
  }
}

export async function readPublication(client: Client, name: string): Promise<PublicationFacts | null> {
  interface Row {
    comment: string | null
    via_root: boolean
    everything: boolean
    complete: boolean
    tables: string[]
  }
  const { rows } = await client.query<Row>(
    `select pg_catalog.obj_description(p.oid, 'pg_publication') as comment, p.pubviaroot as via_root, p.puballtables as everything,
       p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate as complete,
       array(select prrelid::int8::text from pg_catalog.pg_publication_rel where prpubid = p.oid) as tables
     from pg_catalog.pg_publication p where p.pubname = $1`,
    [name],
  )
  if (rows.length === 0) return null
  const [{ comment, via_root, everything, complete, tables }] = rows
  return { name, comment, viaRoot: via_root, everything, complete, tables: tables.map(Number) }
}
