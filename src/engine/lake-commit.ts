import { FrazilError, retry } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import { deletionVectorFile } from '../iceberg/index.ts'
import type { DeletionVector, IcebergTable, PreparedCommit } from '../iceberg/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { TableCommit } from '../table/index.ts'

/** Attempts of one commit at a catalog that does not answer; after them everything is planned anew. */
const commitAttempts = 6
const minRetryMs = 100
const maxRetryMs = 2_000

export interface LakeCommitParts {
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock
  readonly random: Random
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
  readonly retention: { readonly maxSnapshots: number; readonly maxAgeMs: number }
  /** The source's state record and the fence. */
  readonly states: readonly StateChange[]
}

export interface LakeCommitResult {
  /** The tables as of this commit, in the order of the entries. */
  readonly tables: readonly IcebergTable[]
  /** Nothing references these any more; to be deleted after the readers' grace. */
  readonly unreferenced: readonly string[]
  /** Objects written. */
  readonly objects: number
}

/**
 * Makes frozen rows, deletes and the source's position durable in one catalog transaction. Throws `fenced` when another process
 * owns the lake, `conflict` when somebody else changed a table; nothing is visible then, and what was written is removed.
 */
export async function commitToLake(parts: LakeCommitParts, request: LakeCommitRequest): Promise<LakeCommitResult> {
  const { store, catalog, clock, random } = parts
  const commitId = random.uuid()
  const prepared: { commit: PreparedCommit; next: IcebergTable }[] = []
  const written: string[] = []
  let objects = 0
  try {
    for (const { iceberg, plan } of request.entries) {
      const vectors: DeletionVector[] = []
      // The vector that each new one was made from: a foreign one that came meanwhile is then a conflict, not an overwrite.
      const live = plan.vectors.length > 0 ? await iceberg.files() : []
      const replaced = new Map(live.map((file) => [file.path, file.deletionVector?.path ?? null]))
      for (const { dataFile, bits } of plan.vectors) {
        const replaces = replaced.get(dataFile) ?? null
        const { path, bytes, vector } = deletionVectorFile(iceberg.location, random, { dataFile, bits, replaces })
        await store.put(path, bytes, { ifAbsent: true })
        written.push(path)
        objects++
        vectors.push(vector)
      }
      const positions = JSON.stringify({ [request.source]: { from: request.from, to: request.to, ts: request.timeMs } })
      const ready = await iceberg.prepare({
        added: plan.added,
        removed: plan.removed,
        deletionVectors: vectors,
        summary: { 'frazil.positions': positions, 'frazil.epoch': String(request.epoch), 'frazil.commit-id': commitId },
        properties: {
          'frazil.format': '1',
          [`frazil.position.${request.source}`]: JSON.stringify({ to: request.to, epoch: request.epoch, 'commit-id': commitId }),
        },
        retention: request.retention,
      })
      prepared.push(ready)
      written.push(...ready.commit.written)
      objects += ready.commit.written.length
    }
    const tables = prepared.map(({ commit }) => ({
      namespace: commit.namespace,
      name: commit.name,
      base: commit.base,
      next: commit.metadataLocation,
    }))
    await retry(clock, random, { attempts: commitAttempts, minMs: minRetryMs, maxMs: maxRetryMs }, async () => {
      try {
        await catalog.commit({ tables, states: request.states })
      } catch (error) {
        // A lost answer or an earlier attempt of ours may have won: look before anything else.
        if (!(error instanceof FrazilError) || (error.kind !== 'uncertain' && error.kind !== 'conflict')) throw error
        if (await landed(catalog, tables)) return
        if (error.kind === 'uncertain') {
          throw new FrazilError('unavailable', 'commit-unknown', 'the catalog did not say whether a commit landed', {
            cause: error,
          })
        }
        throw error
      }
    })
  } catch (error) {
    // Only a definite failure reaches this with the files unreferenced; when in doubt they stay.
    const definite = !(error instanceof FrazilError) || error.kind !== 'unavailable'
    if (definite) await store.delete(written).catch(() => undefined)
    throw error
  }
  return {
    tables: prepared.map(({ next }) => next),
    unreferenced: prepared.flatMap(({ commit }) => commit.unreferenced),
    objects,
  }
}

async function landed(
  catalog: Catalog,
  tables: readonly { readonly namespace: string; readonly name: string; readonly next: string }[],
): Promise<boolean> {
  if (tables.length === 0) return false
  for (const table of tables) {
    const pointer = await catalog.load(table)
    if (pointer?.metadataLocation !== table.next) return false
  }
  return true
}
