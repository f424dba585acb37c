import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FrazilError, assert } from '../base/index.ts'
import { sameType } from '../data/index.ts'
import type { SourceTable } from '../data/index.ts'
import { readDeletionVector } from '../iceberg/index.ts'
import type { DataFile, IcebergTable, LiveDataFile } from '../iceberg/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { fullName } from './mirrored-table.ts'
import { ColdFile, KeyRun, Table, keySpecOf, keyTag, keyWords } from '../table/index.ts'
import type { FilePool, ForeignRows, TableParts, TableShape } from '../table/index.ts'

/** Key runs that may be rebuilt at one time: the workers serve one file each. */
const parallelRebuilds = 4

export interface RecoveryParts {
  readonly store: ObjectStore
  readonly files: FilePool
  /** What tables are made with. */
  readonly memory: TableParts
  readonly warehouse: string
  readonly local: string
}

/** Where a data file's key run lies on local disk. A run by another key has another name. */
export function runPathOf(local: string, tableUuid: string, dataFile: string, tag: string): string {
  return join(local, 'runs', tableUuid, `${basename(dataFile)}.${tag}.run`)
}

/**
 * Brings a table back to life from the lake: its data files with their deletion vectors, and the key runs, which are rebuilt
 * where local disk does not have them.
 */
export async function recoverTable(parts: RecoveryParts, source: SourceTable, iceberg: IcebergTable): Promise<Table> {
  const shape = { source, fields: iceberg.schema.fields, lastFieldId: iceberg.lastColumnId }
  const table = new Table(shape, parts.memory)
  table.foreign = foreignRowsOf(iceberg)
  try {
    const live = await iceberg.files()
    const runs = table.keySpec ? await openRuns(parts, table, iceberg.uuid, live) : null
    for (const [i, file] of live.entries()) {
      table.adopt(new ColdFile(file, runs ? runs[i] : null, { vector: await vectorOf(parts.store, file) }))
    }
  } catch (error) {
    table.close()
    throw error
  }
  removeStrayRuns(parts.local, iceberg.uuid, new Set(table.files.map(({ run }) => basename(run?.path ?? ''))))
  return table
}

/**
 * That the lake has all that was committed to a table: a rollback by another program leaves the position property ahead of the newest
 * snapshot of ours, a table that was made anew has none, and one that was replaced has a history without us.
 */
export function checkNotRolledBack(name: string, iceberg: IcebergTable): void {
  const property = iceberg.properties[`frazil.position.${name}`]
  const own = iceberg.history().find(({ summary }) => positionIn(summary, name) !== undefined)?.summary
  // Without snapshots of ours nobody knows, unless none can have been there.
  if (property === undefined || (!own && iceberg.isBegunAnew)) {
    throw new FrazilError('config', 'table-replaced', `the table ${fullName(iceberg)} was replaced by another program`, {
      table: fullName(iceberg),
      hint: 'Put the former table, or its newest snapshot of frazil, in its place again, or drop the source with frazil drop and copy it anew.',
    })
  }
  if (!own) return
  // Both are ours: written in the same commit.
  const { to, 'commit-id': commit } = JSON.parse(property) as { to?: string; 'commit-id'?: string }
  if (commit === undefined ? positionIn(own, name) === to : own['frazil.commit-id'] === commit) return
  throw new FrazilError('config', 'rolled-back', `the table ${fullName(iceberg)} was rolled back by another program`, {
    table: fullName(iceberg),
    hint: 'Make its newest snapshot current again, or drop the source with frazil drop and copy it anew.',
  })
}

function positionIn(summary: Readonly<Record<string, string>>, source: string): string | undefined {
  const positions = summary['frazil.positions']
  return positions === undefined ? undefined : (JSON.parse(positions) as Record<string, { to?: string } | undefined>)[source]?.to
}

/** What is in a table's history cannot be relied on: its source would not send it again. */
export function rolledBack(table: IcebergTable): FrazilError {
  const name = fullName(table)
  return new FrazilError('unsupported', 'rolled-back', `the table ${name} was rolled back by another program`, {
    table: name,
    hint: 'Copy it anew with frazil resync.',
  })
}

/** That the lake has the columns that the source's record says it has, in their order: values are put into them by their places. */
export function checkColumns({ fields }: SourceTable, iceberg: IcebergTable): void {
  const stored = iceberg.schema.fields
  const isSame = (i: number): boolean => stored[i].name === fields[i].name && sameType(stored[i].type, fields[i].type)
  if (stored.length !== fields.length || !fields.every((_, i) => isSame(i))) throw changedColumns(iceberg)
}

/** That files of a table are where we can read them: others may add some from anywhere. */
export async function checkWithin(store: ObjectStore, files: readonly DataFile[]): Promise<void> {
  for (const { path } of files) if (!path.startsWith(`${store.root}/`)) await store.head(path)
}

/** A table that another program has dropped or renamed. */
export function missingTable(table: { readonly namespace: string; readonly name: string }): FrazilError {
  const name = fullName(table)
  return new FrazilError('unsupported', 'table-missing', `the table ${name} was taken out of the catalog by another program`, {
    table: name,
    hint: 'Register it again from its newest metadata file, or drop the source with frazil drop and start anew.',
  })
}

export function changedColumns(table: IcebergTable): FrazilError {
  const name = fullName(table)
  return new FrazilError('unsupported', 'foreign-schema', `the columns of ${name} were changed by another program`, {
    table: name,
    hint: 'Copy the table anew with frazil resync: it gets the columns of its source.',
  })
}

/** Property with what others have done to the rows of a table, so that it is known when their snapshots have expired. */
const foreignRowsProperty = 'frazil.foreign-rows'

/** What others have done to the rows of a table, as far as its history tells. */
export function foreignRowsOf(iceberg: IcebergTable): ForeignRows {
  const history = iceberg.history()
  const noted = iceberg.properties[foreignRowsProperty] ?? ''
  let [added, deleted] = [noted.includes('added'), noted.includes('deleted')]
  let isOwn = history.length === 0
  for (const { summary } of history) {
    if (summary['frazil.positions'] !== undefined) isOwn = true
    else {
      if (summary.operation === 'append' || summary.operation === 'overwrite') added = true
      if (summary.operation === 'delete' || summary.operation === 'overwrite') deleted = true
    }
  }
  // Nothing of ours is left of the history: nobody knows what came before.
  return isOwn ? { added, deleted } : { added: true, deleted: true }
}

/** The property to be set when that is not what the lake says; none otherwise. */
export function foreignRowsNote(foreign: ForeignRows | null, { properties }: IcebergTable): Record<string, string> {
  if (!foreign) return {}
  const text = [foreign.added ? 'added' : [], foreign.deleted ? 'deleted' : []].flat().join(',') || 'none'
  return text === (properties[foreignRowsProperty] ?? 'none') ? {} : { [foreignRowsProperty]: text }
}

async function vectorOf(store: ObjectStore, file: LiveDataFile): Promise<{ bits: Uint8Array; cardinality: number } | null> {
  const vector = file.deletionVector
  if (!vector) return null
  return { bits: await readDeletionVector(store, vector, file.recordCount), cardinality: vector.cardinality }
}

/** What key runs are opened with. */
interface RunParts extends Pick<RecoveryParts, 'files' | 'warehouse' | 'local'> {
  readonly memory: Pick<TableParts, 'pool'>
}

/** Opens the key runs of data files of a table with a key, see {@link openRun}; all or none. */
export async function openRuns(
  parts: Omit<RunParts, 'memory'>,
  table: Table,
  tableUuid: string,
  live: readonly LiveDataFile[],
): Promise<KeyRun[]> {
  const runs: KeyRun[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let i = next++; i < live.length; i = next++)
      runs[i] = await openRun({ ...parts, memory: table }, tableUuid, table.shape, live[i])
  }
  const lanes = Array.from({ length: Math.min(parallelRebuilds, live.length) }, lane)
  const outcomes = await Promise.allSettled(lanes)
  if (outcomes.some(({ status }) => status === 'rejected')) for (const run of runs) run?.close()
  await Promise.all(lanes)
  return runs
}

/** Opens the key run of a data file that was written by an earlier process; makes it anew where local disk does not have it. */
export async function openRun(parts: RunParts, tableUuid: string, shape: TableShape, file: DataFile): Promise<KeyRun> {
  const key = keySpecOf(shape.fields, shape.source.key)
  assert(key, 'a table with a key has key runs')
  const runPath = runPathOf(parts.local, tableUuid, file.path, keyTag(key, shape.fields))
  try {
    return KeyRun.open(runPath, keyWords(key), file.recordCount, parts.memory.pool)
  } catch {
    // Missing, torn or of an older format: it is only a cache.
    return rebuildRun(parts, tableUuid, shape, file)
  }
}

/** Makes the key run of a data file anew. */
export async function rebuildRun(
  parts: RunParts,
  tableUuid: string,
  { source, fields }: TableShape,
  { path: uri, fileSize, recordCount }: DataFile,
): Promise<KeyRun> {
  const key = keySpecOf(fields, source.key)
  assert(key, 'only keyed tables have key runs')
  const runPath = runPathOf(parts.local, tableUuid, uri, keyTag(key, fields))
  await parts.files.rebuildRun({ warehouse: parts.warehouse, uri, fileSize, fields, key, runPath })
  return KeyRun.open(runPath, keyWords(key), recordCount, parts.memory.pool)
}

/** Runs of files that no snapshot has: left by a process that died. */
function removeStrayRuns(local: string, tableUuid: string, wanted: ReadonlySet<string>): void {
  const folder = join(local, 'runs', tableUuid)
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch {
    return
  }
  for (const name of names) if (!wanted.has(name)) rmSync(join(folder, name), { force: true })
}

const localFormat = 1

/** Makes the local folder, or refuses one that belongs to another lake. */
export function claimLocal(local: string, lakeId: string): void {
  mkdirSync(local, { recursive: true })
  const owner = localOwner(local)
  if (owner === undefined) writeFileSync(localMark(local), JSON.stringify({ format: localFormat, lake: lakeId }))
  else if (owner !== lakeId) throw foreignLocal(local)
}

/** Throws `config` (`foreign-local`) for a local folder of another lake; `lakeId` is null for a lake that is not made yet. */
export function checkLocal(local: string, lakeId: string | null): void {
  const owner = localOwner(local)
  if (owner !== undefined && owner !== lakeId) throw foreignLocal(local)
}

function localMark(local: string): string {
  return join(local, 'frazil.json')
}

/** The lake that a local folder belongs to; undefined when it has no mark, null when the mark cannot be read. */
function localOwner(local: string): unknown {
  let text: string
  try {
    text = readFileSync(localMark(local), 'utf8')
  } catch {
    return undefined
  }
  try {
    const content: unknown = JSON.parse(text)
    return typeof content === 'object' && content !== null && 'lake' in content ? content.lake : null
  } catch {
    return null
  }
}

function foreignLocal(local: string): FrazilError {
  return new FrazilError('config', 'foreign-local', `the folder ${local} belongs to another lake`, {
    hint: 'Give this lake a folder of its own with `local:`, or delete that one if its lake is gone.',
  })
}
