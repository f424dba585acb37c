import { FrazilError, retry } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import { containsCommit, deletionVectorFile } from '../iceberg/index.ts'
import type { DeletionVector, IcebergTable, PreparedCommit, Retention, TableUpdate } from '../iceberg/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { FileReaper, Note } from './file-reaper.ts'
import { foreignRowsNote } from './recovery.ts'
import { identifierFieldIds } from '../table/index.ts'
import type { TableCommit } from '../table/index.ts'

/** How often a catalog that does not answer is asked: the same commit again; after that everything is planned anew. */
export const catalogRetry = { attempts: 6, minMs: 100, maxMs: 2_000 }

/** Tables whose metadata is written at one time: each waits for the disk or the network several times. */
const tablesAtOnce = 8
/** Deletion vectors of a table on their way to the store at one time. */
const vectorsAtOnce = 16

export interface LakeCommitParts {
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock
  readonly random: Random
  /** Is told which files nothing references any more. */
  readonly reaper: FileReaper
}

/** One table's share of a lake commit. */
export interface CommitEntry {
  readonly iceberg: IcebergTable
  readonly plan: TableCommit
}

export interface LakeCommitRequest {
  readonly source: string
  readonly epoch: number
  readonly entries: readonly CommitEntry[]
  /** The position before and after; together the commit's place in the source's history. */
  readonly from: Position | null
  readonly to: Position
  readonly timeMs: number
  readonly retention: Retention
  /** The rows stay the same: only their files change. */
  readonly rewrite?: boolean
}

/** A lake commit whose files are written and which is in no catalog yet. */
export interface LakeCommit {
  /** The tables as of this commit, in the order of the entries. */
  readonly tables: readonly IcebergTable[]
  /** Objects written. */
  readonly objects: number
  /**
   * The catalog transaction, with the source's state record. Throws as {@link swap}. Then one of the others follows, or the same again
   * where nobody knows.
   */
  commit(states: readonly StateChange[]): Promise<void>
  landed(): void
  /** Removes what was written: at once, or, when the outcome was in doubt for a while, after the readers' grace. */
  failed(late: boolean): Promise<void>
}

/**
 * Writes all that makes frozen rows and deletes part of the lake; its catalog transaction makes them so. When that fails on the way, what
 * was written is removed.
 */
export async function prepareLakeCommit(parts: LakeCommitParts, request: LakeCommitRequest): Promise<LakeCommit> {
  const { store, random, reaper } = parts
  const commitId = random.uuid()
  const prepared: { readonly commit: PreparedCommit; readonly next: IcebergTable }[] = []
  const written: string[] = []
  let objects = 0
  let note: Note
  try {
    const { entries } = request
    let next = 0
    const lane = async (): Promise<void> => {
      for (let i = next++; i < entries.length; i = next++) {
        const { iceberg, plan } = entries[i]
        const vectors = await putVectors(parts, iceberg, plan.vectors, written)
        objects += vectors.length
        prepared[i] = await iceberg.prepare(updateOf(request, commitId, { iceberg, plan }, vectors))
        written.push(...prepared[i].commit.written)
        objects += prepared[i].commit.written.length
      }
    }
    const lanes = Array.from({ length: Math.min(tablesAtOnce, entries.length) }, lane)
    // What another one is still writing could not be removed.
    await Promise.allSettled(lanes)
    await Promise.all(lanes)
    note = await reaper.note(prepared.flatMap(({ commit }) => commit.unreferenced))
  } catch (error) {
    await store.delete(written).catch(() => undefined)
    throw error
  }
  let isAgain = false
  return {
    tables: prepared.map(({ next }) => next),
    objects,
    commit(states) {
      const commits = prepared.map(({ commit }) => commit)
      const swapped = swap(parts, commits, [...states, ...note.states], isAgain)
      isAgain = true
      return swapped
    },
    landed: () => note.landed(),
    async failed(late) {
      note.failed()
      if (late) reaper.later(written)
      else await store.delete(written).catch(() => undefined)
    },
  }
}

/**
 * A lake commit that leaves the source's position and its state record as they are. `insist` does what the lake does not answer to again: the
 * commit is prepared once, so that one which had landed is known when it comes again. Throws `fenced` when another process owns the
 * lake, `conflict` when somebody else changed a table; nothing is visible then. `unavailable`: nobody knows.
 */
export async function commitToLake(
  parts: LakeCommitParts,
  request: LakeCommitRequest,
  insist: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<LakeCommit> {
  const lake = await insist(() => prepareLakeCommit(parts, request))
  let attempts = 0
  await insist(async () => {
    attempts++
    try {
      await lake.commit([])
    } catch (error) {
      // Only what definitely never became visible is removed; when in doubt it stays.
      if (!(error instanceof FrazilError) || error.kind !== 'unavailable') await lake.failed(attempts > 1)
      throw error
    }
  })
  lake.landed()
  return lake
}

/** What a commit does to one table. */
function updateOf(
  { source, epoch, from, to, timeMs, retention, rewrite = false }: LakeCommitRequest,
  commitId: string,
  { iceberg, plan }: CommitEntry,
  vectors: readonly DeletionVector[],
): TableUpdate {
  const rowsChange = plan.added.length + plan.removed.length + plan.vectors.length > 0
  return {
    added: plan.added,
    removed: plan.removed,
    deletionVectors: vectors,
    rewrite,
    ...(plan.shape
      ? {
          schema: {
            fields: plan.shape.fields,
            identifierFieldIds: identifierFieldIds(plan.shape),
            lastColumnId: plan.shape.lastFieldId,
            base: iceberg.schema.schemaId,
          },
        }
      : {}),
    summary: {
      'frazil.positions': JSON.stringify({ [source]: { from, to, ts: timeMs } }),
      'frazil.epoch': String(epoch),
      'frazil.commit-id': commitId,
    },
    properties: {
      'frazil.format': '1',
      ...foreignRowsNote(plan.foreign, iceberg),
      ...plan.properties,
      // As the newest snapshot has it: new columns alone make none, and must not look as if it had been rolled back.
      ...(rowsChange || iceberg.currentSnapshotId === null
        ? { [`frazil.position.${source}`]: JSON.stringify({ to, epoch, 'commit-id': commitId }) }
        : {}),
    },
    retention,
  }
}

/**
 * Stores deletion vectors, some at a time: each waits for the disk or the network by itself. Paths are in `written` before anything is.
 * When one fails no other is on its way any more.
 */
async function putVectors(
  { store, random }: LakeCommitParts,
  iceberg: IcebergTable,
  vectors: TableCommit['vectors'],
  written: string[],
): Promise<DeletionVector[]> {
  if (vectors.length === 0) return []
  // The vector that each new one was made from: a foreign one that came meanwhile is then a conflict, not an overwrite.
  const live = await iceberg.files()
  const replaced = new Map(live.map((file) => [file.path, file.deletionVector?.path ?? null]))
  const stored: DeletionVector[] = []
  for (let from = 0; from < vectors.length; from += vectorsAtOnce) {
    const files = vectors.slice(from, from + vectorsAtOnce).map(({ dataFile, bits }) => {
      const replaces = replaced.get(dataFile) ?? null
      return deletionVectorFile(iceberg.location, random, { dataFile, bits, replaces })
    })
    written.push(...files.map(({ path }) => path))
    const puts = files.map(({ path, bytes }) => store.put(path, bytes, { ifAbsent: true }))
    await Promise.allSettled(puts)
    await Promise.all(puts)
    stored.push(...files.map(({ vector }) => vector))
  }
  return stored
}

/**
 * The catalog transaction of prepared commits and state records. An answer that was lost is looked up: also when somebody else has
 * committed on top meanwhile. `isAgain`: an earlier call did not know. Throws `unavailable` when it stays unknown; any other error means
 * that nothing is visible.
 */
export async function swap(
  parts: Omit<LakeCommitParts, 'reaper'>,
  prepared: readonly PreparedCommit[],
  states: readonly StateChange[],
  isAgain = false,
): Promise<void> {
  const { catalog, clock, random } = parts
  const tables = prepared.map(({ namespace, name, base, metadataLocation }) => ({
    namespace,
    name,
    base,
    next: metadataLocation,
  }))
  let doubt: FrazilError | null = null
  await retry(clock, random, catalogRetry, async () => {
    try {
      await catalog.commit({ tables, states })
    } catch (error) {
      if (!(error instanceof FrazilError)) throw error
      if (error.kind === 'uncertain') doubt = error
      if (doubt === null && !isAgain) throw error
      // This attempt or an earlier one may have won.
      if (await landed(parts, prepared, states)) return
      // It has not: what stands in its way is somebody else's.
      if (error.kind === 'conflict' || error.kind === 'fenced') throw error
      throw new FrazilError('unavailable', 'commit-unknown', 'the catalog did not say whether a commit landed', {
        cause: doubt ?? error,
      })
    }
  })
}

/** All tables and records of a commit are in or none is, so one of them tells. */
async function landed(
  parts: Omit<LakeCommitParts, 'reaper'>,
  prepared: readonly PreparedCommit[],
  states: readonly StateChange[],
): Promise<boolean> {
  if (prepared.length > 0) {
    const [commit] = prepared
    const pointer = await parts.catalog.load(commit)
    return pointer !== null && containsCommit(parts, pointer, commit)
  }
  for (const { key, value } of states) {
    if (value === undefined) continue
    return ((await parts.catalog.state(key))?.value ?? null) === value
  }
  return false
}
