import { FrazilError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Catalog, TableName } from '../iceberg/catalog/index.ts'
import { removeReachable } from '../iceberg/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { markOf } from './writer-mark.ts'
import type { WriterMark } from './writer-mark.ts'

/** Younger objects are left alone, whoever wrote them. */
export const orphanAgeMs = 3_600_000
/** Objects of one table that are compared with what it refers to at one time; and, when so many are orphans, the next time has the others. */
const maxCandidates = 20_000

export interface OrphanParts {
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock
  /** This lake, and the epoch from which on files may still come into use: those of earlier ones cannot, the fence sees to it. */
  readonly mark: WriterMark
  /** Objects that wait for the end of their grace, or will if the commit that is under way lands. */
  readonly waiting: () => ReadonlySet<string>
  /** Gives up the search. */
  readonly ending?: AbortSignal
  /** Default {@link maxCandidates}. */
  readonly most?: number
}

/** An object that nothing refers to, and its size. */
export interface Orphan {
  readonly uri: string
  readonly size: number
}

/**
 * What processes that have ended left in a table's folder: staged files, files of commits and copies that failed. An object is an
 * orphan only if all of this holds: it is where we put files of this table, under a name that only we give, made under this lake's
 * id by a process that has lost the lease; it is older than {@link orphanAgeMs}; and neither the table as the catalog has it after
 * the listing refers to it nor any snapshot that it retains. A table whose folder contains another table's is left alone.
 */
export async function findOrphans(parts: OrphanParts, table: TableName, location: string): Promise<Orphan[]> {
  const { store, clock, mark, ending, most = maxCandidates } = parts
  const orphans: Orphan[] = []
  let found = new Map<string, Orphan>()
  const before = clock.now() - orphanAgeMs
  for (const folder of ['data', 'metadata']) {
    for await (const { uri, size, modifiedMs } of store.list(`${location}/${folder}`)) {
      if (ending?.aborted || orphans.length >= most) return orphans
      const writer = markOf(uri.slice(location.length + 1))
      if (writer === null || writer.lake !== mark.lake || writer.epoch >= mark.epoch) continue
      if (modifiedMs >= before) continue
      found.set(uri, { uri, size })
      if (found.size < most) continue
      // Most of a large table are in use: behind them there may be others.
      orphans.push(...(await notReferred(parts, table, location, found)))
      found = new Map()
    }
  }
  orphans.push(...(await notReferred(parts, table, location, found)))
  return orphans
}

/** Those of the objects, all listed by now, that nothing refers to. */
async function notReferred(
  { store, catalog, waiting }: OrphanParts,
  table: TableName,
  location: string,
  found: ReadonlyMap<string, Orphan>,
): Promise<Orphan[]> {
  if (found.size === 0) return []
  const others = (await catalog.list()).filter(({ namespace, name }) => namespace !== table.namespace || name !== table.name)
  if (others.some(({ metadataLocation }) => metadataLocation.startsWith(`${location}/`))) return []
  // Only now: whatever was committed before the listing is in it.
  const pointer = await catalog.load(table)
  if (pointer === null) return []
  const candidates = new Set(found.keys())
  try {
    // Another table by this name is none of ours.
    if ((await removeReachable(store, pointer, candidates)) !== location) return []
  } catch (error) {
    // A manifest that another writer has expired meanwhile, or one that we cannot read: nothing is known then.
    if (error instanceof FrazilError && (error.kind === 'corrupt' || error.kind === 'unsupported')) return []
    throw error
  }
  // And this later still: what a commit has just expired, readers may be using.
  const spared = waiting()
  return [...candidates].flatMap((uri) => (spared.has(uri) ? [] : (found.get(uri) ?? [])))
}
