import { accessSync, constants, existsSync, statSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { FrazilError, asError } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import { checkOtlpSource, checkPostgresSource } from '../source/index.ts'
import type { SourceFinding, SourceReport } from '../source/index.ts'
import type { Config } from './config.ts'
import { catalogPath, storedLakeId } from './lake.ts'
import { readLeaseHolder } from './lease.ts'
import { checkLocal } from './recovery.ts'
import { addedTo, rememberedBy, revealed } from './sources.ts'

/** What `frazil check` found out. */
export interface CheckReport {
  /** About the lake and its folders. */
  readonly lake: readonly Finding[]
  readonly sources: readonly (SourceReport & { readonly name: string })[]
}

/** One thing found out; `error` keeps a start, or a named table, from working. */
export type Finding = Omit<SourceFinding, 'table'>

/**
 * Looks at the lake and connects to every source; says what a start would do and what is in its way. Changes nothing.
 * `running`: a process of this lake runs, which then holds its lease and its slots.
 */
export async function checkConfig(config: Config, running: boolean): Promise<CheckReport> {
  const lake: Finding[] = []
  const lakeId = await checkCatalog(config, running, lake)
  checkFolder('warehouse', config.warehouse, lake)
  checkFolder('local', config.local, lake)
  attempt(lake, () => checkLocal(config.local, lakeId))
  const sources = await Promise.all(
    Object.entries(config.sources).map(async ([name, source]) => {
      if (source.type === 'otlp') return { name, ...(await checkOtlpSource(source, config.auth.tokens.length > 0, running)) }
      return {
        name,
        ...(await checkPostgresSource(
          { name, ...revealed(source), added: lakeId === null ? [] : await addedTo(config, name) },
          { lakeId, running, ...(lakeId === null ? { memo: null, position: null } : await rememberedBy(config, name)) },
        )),
      }
    }),
  )
  const toCopy = sources.flatMap(({ tables }) => tables).reduce((sum, table) => sum + table.bytes, 0)
  if (lakeId === null) checkRoom(config.warehouse, toCopy, lake)
  return { lake, sources }
}

/** Opens the catalog, if there is one. Returns the lake's id. */
async function checkCatalog(config: Config, running: boolean, findings: Finding[]): Promise<string | null> {
  const path = catalogPath(config.warehouse)
  if (!existsSync(path)) {
    findings.push({ level: 'ok', code: 'lake', message: `a new lake would be made in ${config.warehouse}`, hint: null })
    return null
  }
  try {
    const catalog = await SqliteCatalog.open(path)
    try {
      const lakeId = await storedLakeId(catalog)
      findings.push({ level: 'ok', code: 'lake', message: `the lake in ${config.warehouse} can be opened`, hint: null })
      const held = await readLeaseHolder(catalog)
      if (held !== null && held.fate !== 'dead' && !running) {
        const { holder, fate } = held
        findings.push({
          level: fate === 'alive' ? 'error' : 'warning',
          code: 'lease-held',
          message: `the lake is in use by process ${holder.pid} on host ${holder.host}${fate === 'alive' ? '' : ', or was when that ended'}`,
          hint: 'stop that process, or start with --take-over to displace it',
        })
      }
      return lakeId
    } finally {
      await catalog.close()
    }
  } catch (error) {
    if (!(error instanceof FrazilError)) throw error
    findings.push(findingOf(error))
    return null
  }
}

/** A folder that is or will be made has to be writable. */
function checkFolder(key: 'warehouse' | 'local', folder: string, findings: Finding[]): void {
  const there = nearestExisting(folder)
  const wrong = (code: string, message: string, hint: string): void => {
    findings.push({ level: 'error', code, message, hint })
  }
  try {
    if (!statSync(there).isDirectory()) {
      wrong('folder', `${key}: ${there} is not a directory`, `name another directory with ${key}:`)
      return
    }
    accessSync(there, constants.W_OK | constants.X_OK)
  } catch (error) {
    const message = `${key}: ${folder} cannot be written: ${asError(error).message}`
    wrong('no-access', message, 'give the user that runs frazil the right to write there, or name another directory')
  }
}

function nearestExisting(folder: string): string {
  let there = folder
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there)
  return there
}

function checkRoom(warehouse: string, bytes: number, findings: Finding[]): void {
  const { bavail, bsize } = statfsSync(nearestExisting(warehouse))
  const free = bavail * bsize
  if (free >= bytes) return
  const message = `${warehouse} has ${Math.round(free / 1e9)} GB free, and the tables have ${Math.round(bytes / 1e9)} GB at their sources`
  findings.push({ level: 'warning', code: 'disk-full', message, hint: 'the lake is compressed, but have more room than that' })
}

function attempt(findings: Finding[], check: () => void): void {
  try {
    check()
  } catch (error) {
    if (!(error instanceof FrazilError)) throw error
    findings.push(findingOf(error))
  }
}

function findingOf(error: FrazilError): Finding {
  return { level: 'error', code: error.code, message: error.message, hint: error.hint ?? null }
}
