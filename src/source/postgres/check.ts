import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { Position } from '../../data/index.ts'
import { readBorrowed } from './borrowed-publication.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import type { CatalogueRequest } from './catalogue.ts'
import { checkServerSettings, checkSlotUse, checkTransactions } from './check-server.ts'
import { checkTables, tableText } from './check-tables.ts'
import type { CheckedTable, CheckedTables, UncheckedTable } from './check-tables.ts'
import { RawConnection, connectControl, placeOf } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { errorCode, postgresError } from './errors.ts'
import type { Place } from './errors.ts'
import { finding, findingOf, sizeText } from './finding.ts'
import type { SourceFinding } from './finding.ts'
import { parseLsn } from './lsn.ts'
import { knowsSlot, readMemo } from './memo.ts'
import { checkSlot, isBorrowed, publicationGone, refuseForeign } from './ownership.ts'
import { endpointOf, namesOf } from './postgres-config.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { examineServer, readPublication, readSlot } from './preflight.ts'
import { checkServer } from './timeline.ts'

/** Everything that was found out about a source. */
export interface SourceReport {
  readonly findings: readonly SourceFinding[]
  /** Tables that would be mirrored, and those that would be left out; empty when the database could not be asked. */
  readonly tables: readonly CheckedTable[]
  readonly leftOut: readonly UncheckedTable[]
}

export interface CheckOptions {
  /** Null for a lake that does not exist yet. */
  readonly lakeId: string | null
  /** This lake's own process runs, and so reads the slot. */
  readonly running: boolean
  /** What the lake remembers of the source, null for nothing. */
  readonly memo: string | null
  /** Up to where the lake has the source, null for a source that begins. */
  readonly position: Position | null
}

/** What is checked of a source's settings. */
type CheckedConfig = Pick<
  PostgresConfig,
  'name' | 'url' | 'tables' | 'added' | 'into' | 'slot' | 'publication' | 'outOfRange' | 'columns'
>

/**
 * Connects, asks everything that a start would ask, and more; says what a start would do, what is in its way and what will hurt
 * later. Changes nothing at the server. What goes wrong at the server is a finding, never thrown.
 */
export async function checkPostgresSource(config: CheckedConfig, options: CheckOptions): Promise<SourceReport> {
  const findings: SourceFinding[] = []
  const report = { findings, tables: [] as readonly CheckedTable[], leftOut: [] as readonly UncheckedTable[] }
  try {
    const place = placeOf(config.url)
    const client = await connectControl(endpointOf(config))
    try {
      Object.assign(report, await examine(client, config, options, findings))
    } catch (error) {
      findings.push(findingOf(postgresError(error, place)))
    } finally {
      await client.end().catch(() => {})
    }
  } catch (error) {
    if (!(error instanceof FrazilError)) throw error
    findings.push(findingOf(error))
  }
  return report
}

/** A database with all of its tables. */
export interface SurveyedSource extends CheckedTables {
  readonly database: string
  /** Version and address, for people. */
  readonly server: string
}

/** The tables of a database as they would be mirrored, for a first configuration. Throws when the database cannot be asked. */
export async function surveyPostgresSource(config: CheckedConfig): Promise<SurveyedSource> {
  const place = placeOf(config.url)
  const client = await connectControl(endpointOf(config))
  try {
    const { rows } = await client.query<{ database: string; version: string }>(
      "select current_database()::text as database, split_part(current_setting('server_version'), ' ', 1) as version",
    )
    const [{ database, version }] = rows
    const checked = await checkTables(client, requestOf(config))
    return { ...checked, database, server: `Postgres ${version} at ${place.host}:${place.port}` }
  } catch (error) {
    throw postgresError(error, place)
  } finally {
    await client.end().catch(() => {})
  }
}

/** As for a lake that has nothing yet. */
function requestOf(config: CheckedConfig): CatalogueRequest {
  const { publication } = namesOf({ ...config, lakeId: '' })
  const { name, into, ...settings } = config
  const nothing = { detached: new Set<string>(), known: new Map<string, string>(), knownTypes: [], replaced: { count: 0 } }
  return { ...settings, ...nothing, source: name, into: into ?? null, publication, borrowed: null }
}

async function examine(
  client: Client,
  config: CheckedConfig,
  { lakeId, running, memo, position }: CheckOptions,
  findings: SourceFinding[],
): Promise<Pick<SourceReport, 'tables' | 'leftOut'>> {
  const place = placeOf(config.url)
  const endpoint = endpointOf(config)
  const names = namesOf({ ...config, lakeId: lakeId ?? '' })
  const slot = await readSlot(client, names.slot)
  const publication = await readPublication(client, names.publication)
  const request = { applicationName: endpoint.applicationName, newSlots: slot ? 0 : 2, newPublication: publication === null }
  const { facts, problems } = await examineServer(client, request)
  const server = `Postgres ${(facts.version / 10_000) | 0}.${facts.version % 10_000} at ${place.host}:${place.port}`
  findings.push(finding('ok', 'server', `${server}, database ${facts.database}, role ${facts.role}`))
  findings.push(...problems.map((error) => findingOf(error)))
  if (!problems.some(({ code }) => code === 'missing-replication-right' || code === 'no-free-sender')) {
    findings.push(...(await checkReplication(endpoint, place)))
  }
  findings.push(...(await checkServerSettings(client, facts, place.host)))
  let refused = false
  try {
    const known = memo === null ? null : readMemo(memo)
    // A process that runs moves both, and says by itself what is wrong with them.
    if (known !== null && position !== null && !running) {
      const at = parseLsn(position)
      await checkServer(endpoint, names, { memo: known, facts, position: at, committed: at })
      if (known.published && !isBorrowed(names, publication)) throw publicationGone(names)
      checkSlot(names, slot, at, facts)
    }
    refuseForeign(names, slot, publication, facts, knowsSlot(known, names, facts.systemId))
  } catch (error) {
    refused = true
    findings.push(findingOf(postgresError(error, place)))
  }
  if (slot && !refused) findings.push(...(await checkSlotUse(client, slot, running)))
  if (!slot && !refused) findings.push(...(await checkTransactions(client, facts.role)))
  const borrowed = isBorrowed(names, publication) ? await readBorrowed(client, names.publication, facts.version) : null
  if (borrowed) findings.push(...borrowedFindings(names.publication, borrowed))
  const checked = await checkTables(client, { ...requestOf(config), borrowed })
  const { tables, leftOut } = checked
  if (!slot && !refused) {
    const bytes = tables.reduce((sum, table) => sum + table.bytes, 0)
    const made = `slot ${names.slot}${publication ? '' : ` and publication ${names.publication}`}`
    const what = `${made} would be made, and ${tables.length} ${tables.length === 1 ? 'table' : 'tables'} copied (${sizeText(bytes)})`
    findings.push(finding('ok', 'plan', what))
  }
  for (const table of tables) findings.push({ ...finding('ok', 'table', tableText(table)), table: table.sourceName })
  findings.push(...checked.findings)
  return { tables, leftOut }
}

/** A publication of somebody else may leave things out: said before anybody misses them. */
function* borrowedFindings(name: string, publication: BorrowedPublication): Generator<SourceFinding> {
  yield finding('ok', 'publication', `publication ${name} is used as it is; it is never changed or dropped`)
  const { inserts, updates, deletes, truncates } = publication
  const kinds = { INSERT: inserts, UPDATE: updates, DELETE: deletes, TRUNCATE: truncates }
  const missing = Object.entries(kinds).flatMap(([kind, sent]) => (sent ? [] : [kind]))
  if (missing.length === 0) return
  const appended = updates || deletes ? '' : ': rows are only appended'
  const message = `publication ${name} does not send ${missing.join(', ')}, so the lake does not see them${appended}`
  yield finding('note', 'partial-publication', message)
}

/** The stream needs a connection of its own kind, which poolers and pg_hba.conf may refuse. It is opened and closed again. */
async function checkReplication(endpoint: Endpoint, place: Place): Promise<SourceFinding[]> {
  let connection: RawConnection | null = null
  try {
    connection = await RawConnection.open(endpoint, 'replication')
    await connection.client.query('IDENTIFY_SYSTEM')
    return []
  } catch (thrown) {
    const error = postgresError(thrown, place)
    const code = errorCode(error.cause)
    if (code === '08P01' || code === '42601' || /unsupported startup parameter/i.test(error.message)) {
      const message = `what answers at ${place.host}:${place.port} does not pass on replication, as poolers do: ${error.message}`
      return [finding('error', 'pooler', message, 'give the address of the database itself in url, not that of a pooler')]
    }
    return [findingOf(error)]
  } finally {
    await connection?.close()
  }
}
