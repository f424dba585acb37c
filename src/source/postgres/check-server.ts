import type { Client } from 'pg'
import { finding, sizeText } from './finding.ts'
import type { SourceFinding } from './finding.ts'
import { quoteName, quoteText } from './identifiers.ts'
import type { ServerFacts, SlotFacts } from './preflight.ts'

/** Newest major version that was tested. */
const newestMajor = 18
/** First minor version of each major one without the loss of changes beside `ALTER PUBLICATION … ADD TABLE` (May 2025). */
const mendedMinor: Readonly<Record<number, number>> = { 14: 18, 15: 13, 16: 9, 17: 5 }
/** Room for WAL that a busy server can fill while frazil is restarted. */
const tightKeepBytes = 1 << 30
/** Decoding with less than the default spills transactions of ordinary size to the server's disk. */
const defaultWorkMemBytes = 64 << 20
/** Transactions that are open for longer may stay so; a slot can be made only when they end. */
const longTransactionSeconds = 2
const mostTransactions = 10

interface SettingsRow {
  keep: string
  keep_bytes: string
  idle_seconds: number
  idle: string
  sender_ms: number
  work_mem: string
  work_mem_bytes: string
  encoding: string
  encrypted: boolean | null
}

const settingsSql = `
select current_setting('max_slot_wal_keep_size') as keep,
  (select case when setting = '-1' then -1 else setting::int8 << 20 end from pg_catalog.pg_settings
   where name = 'max_slot_wal_keep_size')::text as keep_bytes,
  coalesce((select setting::int * case unit when 'min' then 60 else 1 end from pg_catalog.pg_settings
            where name = 'idle_replication_slot_timeout'), 0) as idle_seconds,
  coalesce(current_setting('idle_replication_slot_timeout', true), '0') as idle,
  (select setting::int from pg_catalog.pg_settings where name = 'wal_sender_timeout') as sender_ms,
  current_setting('logical_decoding_work_mem') as work_mem,
  (select setting::int8 << 10 from pg_catalog.pg_settings where name = 'logical_decoding_work_mem')::text as work_mem_bytes,
  current_setting('server_encoding') as encoding,
  (select ssl from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()) as encrypted`

/** What of the server's version and settings will hurt although a start would succeed. */
export async function checkServerSettings(client: Client, facts: ServerFacts, host: string): Promise<SourceFinding[]> {
  const { rows } = await client.query<SettingsRow>(settingsSql)
  return [...versionFindings(facts), ...settingsFindings(rows[0]), ...encryptionFindings(rows[0].encrypted, host)]
}

function* versionFindings({ version }: ServerFacts): Generator<SourceFinding> {
  const [major, minor] = [Math.floor(version / 10_000), version % 10_000]
  if (major > newestMajor) {
    const message = `Postgres ${major} is newer than what frazil was tested with (${newestMajor})`
    yield finding('warning', 'untested-version', message, `use Postgres 14 to ${newestMajor}`)
  }
  if (minor < (mendedMinor[major] ?? 0)) {
    const message =
      `Postgres ${major}.${minor} can lose changes of transactions that are open while a table is added to a publication ` +
      '(mended in the releases of May 2025)'
    yield finding('warning', 'old-minor', message, `install ${major}.${mendedMinor[major]} or a later ${major}`)
  }
}

function* settingsFindings(row: SettingsRow): Generator<SourceFinding> {
  const keep = Number(row.keep_bytes)
  if (keep < 0) {
    yield finding(
      'note',
      'slot-keeps-all',
      'max_slot_wal_keep_size is unlimited: while frazil does not run, its slot keeps WAL until the disk of the server is full',
      "to give the slot up before that: ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT pg_reload_conf()",
    )
  } else if (keep < tightKeepBytes) {
    yield finding(
      'warning',
      'slot-keeps-little',
      `max_slot_wal_keep_size is ${row.keep}: after a short stop of frazil its slot is lost, and all tables have to be copied anew`,
      "ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT pg_reload_conf()",
    )
  }
  if (row.idle_seconds > 0) {
    yield finding(
      'warning',
      'slot-times-out',
      `idle_replication_slot_timeout is ${row.idle}: when frazil does not run for so long, its slot is lost, and all tables have to be copied anew`,
      'ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()',
    )
  }
  if (row.sender_ms === 0) {
    yield finding(
      'note',
      'no-sender-timeout',
      'wal_sender_timeout is 0: the server keeps the connection of a frazil that is gone for as long as TCP does',
      "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()",
    )
  }
  if (Number(row.work_mem_bytes) < defaultWorkMemBytes) {
    yield finding(
      'note',
      'small-decoding-memory',
      `logical_decoding_work_mem is ${row.work_mem}: larger transactions are written to the disk of the server before they are sent`,
      "ALTER SYSTEM SET logical_decoding_work_mem = '64MB'; SELECT pg_reload_conf()",
    )
  }
  if (row.encoding === 'SQL_ASCII') {
    yield finding(
      'note',
      'no-encoding',
      'the encoding of the database is SQL_ASCII: text that is not UTF-8 stops its table',
      null,
    )
  }
}

function* encryptionFindings(encrypted: boolean | null, host: string): Generator<SourceFinding> {
  if (encrypted !== false || isLocal(host)) return
  const message = `the connection to ${host} is not encrypted: rows travel in the clear`
  yield finding('warning', 'not-encrypted', message, 'add ?sslmode=verify-full to url')
}

function isLocal(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
}

/** Transactions that a new slot would have to wait for: everything open that writes, in whatever database. */
export async function checkTransactions(client: Client, role: string): Promise<SourceFinding[]> {
  interface Row {
    pid: number
    seconds: number
    who: string
  }
  const { rows } = await client.query<Row>(
    `select pid, extract(epoch from pg_catalog.now() - xact_start)::int as seconds,
       concat_ws(', ', usename, nullif(application_name, ''), datname) as who
     from pg_catalog.pg_stat_activity
     where backend_xid is not null and pid <> pg_catalog.pg_backend_pid() and xact_start < pg_catalog.now() - interval '1 s' * $1
     order by xact_start limit $2`,
    [longTransactionSeconds, mostTransactions],
  )
  const findings = rows.map(({ pid, seconds, who }) =>
    finding(
      'warning',
      'blocked-by-transaction',
      `process ${pid} (${who}) has had a transaction open for ${seconds} s; the replication slot can be made only when it ends`,
      `end that transaction, or: SELECT pg_terminate_backend(${pid})`,
    ),
  )
  const prepared = await client.query<{ gid: string; seconds: number; database: string }>(
    `select gid, extract(epoch from pg_catalog.now() - prepared)::int as seconds, database
     from pg_catalog.pg_prepared_xacts order by prepared limit $1`,
    [mostTransactions],
  )
  for (const { gid, seconds, database } of prepared.rows) {
    const message = `the prepared transaction ${quoteText(gid)} of database ${database} is ${seconds} s old; the replication slot can be made only when it ends`
    const hint = `in database ${database}: COMMIT PREPARED ${quoteText(gid)}, or ROLLBACK PREPARED ${quoteText(gid)}`
    findings.push(finding('warning', 'blocked-by-transaction', message, hint))
  }
  const sees = await client.query<{ all: boolean }>("select pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') as all")
  if (!sees.rows[0].all) {
    const message = `role ${role} does not see the transactions of others, which a new replication slot has to wait for`
    findings.push(finding('note', 'transactions-hidden', message, `GRANT pg_read_all_stats TO ${quoteName(role)}`))
  }
  return findings
}

/** An existing slot of ours: who reads it, and what it costs the server. `running`: this lake's own process does. */
export async function checkSlotUse(client: Client, slot: SlotFacts, running: boolean): Promise<SourceFinding[]> {
  const findings: SourceFinding[] = []
  if (slot.activePid !== null && !running) {
    const message = `replication slot ${slot.name} is read by another process (${slot.activePid} at the server)`
    findings.push(finding('error', 'slot-in-use', message, 'stop it, or give this source another name or slot'))
  }
  const { rows } = await client.query<{ held: string | null }>(
    `select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::text as held
     from pg_catalog.pg_replication_slots where slot_name = $1`,
    [slot.name],
  )
  const held = rows.length > 0 ? rows[0].held : null
  if (slot.walStatus === 'lost') {
    const message = `replication slot ${slot.name} was invalidated by Postgres`
    findings.push(finding('error', 'slot-lost', message, 'frazil resync with the name of the source, and start it again'))
  } else if (held !== null) {
    findings.push(finding('ok', 'slot', `slot ${slot.name} exists and keeps ${sizeText(Number(held))} of WAL`))
  }
  return findings
}
