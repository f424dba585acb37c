import { FrazilError } from '../base/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ancestry } from './expiry.ts'
import { decodeManifest, Content, Status } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import { decodeManifestList } from './manifest-list.ts'
import type { ManifestFile } from './manifest-list.ts'
import { loadAll } from './manifest-set.ts'
import type { Manifest } from './manifest-set.ts'
import { refSnapshotId } from './metadata.ts'
import type { Snapshot, TableMetadata } from './metadata.ts'
import { isOwnTag } from './tags.ts'

/** A file that snapshots with `added` ≤ sequence number < `removed` refer to. */
export interface Obsolete {
  readonly path: string
  readonly added: bigint
  readonly removed: bigint
  /** Others have committed since: they may have brought it back. */
  readonly isCarried?: boolean
}

/**
 * What later snapshots stopped referring to and older ones, still retained, do not. Complete for the snapshots after `since`;
 * about the ones before, their manifests have to be asked.
 */
export interface Journal {
  readonly since: bigint
  readonly obsolete: readonly Obsolete[]
}

/** Files beyond this many wait for the removal of orphans. */
const maxObsolete = 200_000
const maxReads = 8

/**
 * The files that nothing refers to once `expired` are gone, and the journal without them. `before` is the metadata with the
 * expired snapshots, `after` without them and with the new head; `head` lists the manifests of that head.
 *
 * Along main's history a file's sequence numbers say who refers to it. Other retained snapshots (of branches, or others' tags whose
 * way to main is expired) are asked by reading them, once.
 */
export async function collect(
  store: ObjectStore,
  journal: Journal,
  expired: readonly Snapshot[],
  before: TableMetadata,
  after: TableMetadata,
  head: readonly Manifest[],
): Promise<{ journal: Journal; unreferenced: string[] }> {
  const lists = new Set(after.snapshots.map((snapshot) => snapshot.manifestList))
  const unreferenced = expired.map((snapshot) => snapshot.manifestList).filter((path) => !lists.has(path))
  const statistics = new Set([...after.statistics, ...after.partitionStatistics].map((each) => each['statistics-path']))
  for (const { 'statistics-path': path } of [...before.statistics, ...before.partitionStatistics]) {
    if (typeof path === 'string' && !statistics.has(path)) unreferenced.push(path)
  }

  const looked = await lookBack(store, journal.since, expired, before)
  const obsolete = [...journal.obsolete, ...looked.manifests, ...(await notRelisted(store, looked.files, head))]

  const main = new Set(ancestry(new Map(after.snapshots.map((each) => [each.id, each])), after.currentSnapshotId))
  // Our own tags name what was main's head: files come and go after them as they do on main.
  const heads = new Set(Object.entries(after.refs).flatMap(([name, ref]) => (isOwnTag(name, ref) ? [refSnapshotId(ref)] : [])))
  const isHead = (snapshot: Snapshot): boolean => main.has(snapshot) || heads.has(snapshot.id)
  const retained = after.snapshots.filter(isHead).map((snapshot) => snapshot.sequenceNumber)
  retained.sort((a, b) => (a < b ? -1 : 1))
  const others = after.snapshots.filter((snapshot) => !isHead(snapshot))
  const waiting: Obsolete[] = []
  const carried: Obsolete[] = []
  for (const file of obsolete) {
    const newest = lastBelow(retained, file.removed)
    const onMain = newest !== null && newest >= file.added
    if (onMain || (await isReferenced(store, file, others))) waiting.push(file)
    else if (file.isCarried === true) carried.push(file)
    else unreferenced.push(file.path)
  }
  for (const { path } of await notRelisted(store, carried, head)) unreferenced.push(path)
  return { journal: bounded(journal.since, waiting), unreferenced: [...new Set(unreferenced)] }
}

async function isReferenced(store: ObjectStore, file: Obsolete, snapshots: readonly Snapshot[]): Promise<boolean> {
  for (const snapshot of snapshots) {
    // A snapshot knows no file that was added later.
    if (file.added <= snapshot.sequenceNumber && (await pathsOf(store, snapshot)).has(file.path)) return true
  }
  return false
}

const knownPaths = new WeakMap<Snapshot, Promise<ReadonlySet<string>>>()

/** Everything that a snapshot refers to, kept as long as the snapshot is. */
function pathsOf(store: ObjectStore, snapshot: Snapshot): Promise<ReadonlySet<string>> {
  let paths = knownPaths.get(snapshot)
  if (paths === undefined) {
    paths = readPaths(store, snapshot)
    knownPaths.set(snapshot, paths)
    paths.catch(() => knownPaths.delete(snapshot))
  }
  return paths
}

async function readPaths(store: ObjectStore, snapshot: Snapshot): Promise<ReadonlySet<string>> {
  const paths = new Set<string>()
  for (const file of await readList(store, snapshot)) {
    paths.add(file.path)
    for (const entry of await readEntries(store, file)) if (entry.status !== Status.deleted) paths.add(entry.file.path)
  }
  return paths
}

/** The largest of `ascending` that is below `bound`. */
function lastBelow(ascending: readonly bigint[], bound: bigint): bigint | null {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle] < bound) low = middle + 1
    else high = middle
  }
  return low === 0 ? null : ascending[low - 1]
}

/**
 * The journal of a table to which others have committed: what was waiting still is, about their snapshots and those before them the
 * manifests have to be asked.
 */
export function carriedOver({ obsolete }: Journal, since: bigint): Journal {
  return { since, obsolete: obsolete.map((file) => (file.isCarried === true ? file : { ...file, isCarried: true })) }
}

function bounded(since: bigint, obsolete: readonly Obsolete[]): Journal {
  return { since, obsolete: obsolete.length > maxObsolete ? obsolete.slice(-maxObsolete) : obsolete }
}

/** What was found in old manifests: manifests, and data and Puffin files. */
interface Found {
  readonly manifests: readonly Obsolete[]
  readonly files: readonly Obsolete[]
}

/** What the children of expired snapshots stopped referring to, for children older than the journal. */
async function lookBack(store: ObjectStore, since: bigint, expired: readonly Snapshot[], before: TableMetadata): Promise<Found> {
  const parents = new Map(expired.map((snapshot) => [snapshot.id, snapshot]))
  const steps: { parent: Snapshot; child: Snapshot }[] = []
  for (const child of ancestry(new Map(before.snapshots.map((each) => [each.id, each])), before.currentSnapshotId)) {
    const parent = child.parentId === null ? undefined : parents.get(child.parentId)
    if (parent !== undefined && child.sequenceNumber <= since) steps.push({ parent, child })
  }
  const found: { manifests: Obsolete[]; files: Obsolete[] } = { manifests: [], files: [] }
  for (let i = 0; i < steps.length; i += maxReads) {
    const batch = steps.slice(i, i + maxReads).map(({ parent, child }) => obsoletedBy(store, parent, child))
    for (const { manifests, files } of await Promise.all(batch)) {
      found.manifests.push(...manifests)
      found.files.push(...files)
    }
  }
  return found
}

async function obsoletedBy(store: ObjectStore, parent: Snapshot, child: Snapshot): Promise<Found> {
  try {
    const [before, after] = await Promise.all([readList(store, parent), readList(store, child)])
    const removed = child.sequenceNumber
    const listed = new Set(after.map((file) => file.path))
    const manifests: Obsolete[] = before
      .filter((file) => !listed.has(file.path))
      .map((file) => ({ path: file.path, added: file.sequenceNumber, removed }))

    const deleted: { file: ManifestFile; entry: ManifestEntry }[] = []
    for (const file of after) {
      if (file.addedSnapshotId !== child.id || file.deletedFiles === 0) continue
      for (const entry of await readEntries(store, file)) {
        if (entry.status === Status.deleted && entry.snapshotId === child.id) deleted.push({ file, entry })
      }
    }
    // Other writers put several vectors into one Puffin file: it goes with the last of them.
    const livePuffins = new Set<string>()
    if (deleted.some(({ file }) => file.content === Content.deletes)) {
      for (const file of after) {
        if (file.content !== Content.deletes) continue
        for (const entry of await readEntries(store, file)) if (entry.status !== Status.deleted) livePuffins.add(entry.file.path)
      }
    }
    const files = deleted
      .filter(({ entry }) => !livePuffins.has(entry.file.path))
      .map(({ entry }) => ({ path: entry.file.path, added: entry.fileSequenceNumber, removed }))
    return { manifests, files }
  } catch (error) {
    // Another tool has cleaned up there already: what it left is for the removal of orphans.
    if (error instanceof FrazilError && error.code === 'object-missing') return { manifests: [], files: [] }
    throw error
  }
}

async function readList(store: ObjectStore, snapshot: Snapshot): Promise<ManifestFile[]> {
  return decodeManifestList(await store.get(snapshot.manifestList))
}

async function readEntries(store: ObjectStore, file: ManifestFile): Promise<readonly ManifestEntry[]> {
  return decodeManifest(await store.get(file.path), file).entries
}

/**
 * Without the files that the head refers to, against writers that add a file again which they had removed. Where the head lists
 * delete files we do not understand, nothing found by looking back is freed.
 */
async function notRelisted(
  store: ObjectStore,
  files: readonly Obsolete[],
  head: readonly Manifest[],
): Promise<readonly Obsolete[]> {
  if (files.length === 0) return files
  try {
    const live = new Set<string>()
    for (const { file } of head) live.add(file.path)
    for (const manifest of await loadAll(store, head)) {
      for (const entry of manifest.live.values()) live.add(entry.file.path)
    }
    return files.filter(({ path }) => !live.has(path))
  } catch (error) {
    if (error instanceof FrazilError && error.kind === 'unsupported') return []
    throw error
  }
}
