import type { Clock, Random } from '../base/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { PreparedCommit, TableUpdate } from './contract.ts'
import { deletesOldMetadata, expire } from './expiry.ts'
import { collect } from './garbage.ts'
import type { Journal, Obsolete } from './garbage.ts'
import { Content } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import { assignFirstRowIds, encodeManifestList } from './manifest-list.ts'
import { planManifests } from './manifest-plan.ts'
import type { ManifestPlan } from './manifest-plan.ts'
import { Manifest, loadAll } from './manifest-set.ts'
import { asManifest, writeManifest } from './manifest-writer.ts'
import { encodeTableFile, metadataFolder, nextMetadataPath } from './metadata-file.ts'
import { evolveSchema } from './schema-update.ts'
import { findSnapshot, metadataLogEntry, newSnapshot, snapshotLogEntry, withoutReserved } from './metadata.ts'
import type { Snapshot, TableMetadata } from './metadata.ts'
import { summarize } from './summary.ts'
import { tagged } from './tags.ts'
import type { Operation } from './summary.ts'

/** What a table is made of besides its state. */
export interface TableParts {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: Random
}

/** Everything known about a table at one metadata file. */
export interface TableState {
  readonly namespace: string
  readonly name: string
  readonly metadata: TableMetadata
  readonly metadataLocation: string | null
  /** The manifests of the current snapshot. */
  readonly manifests: readonly Manifest[]
  readonly journal: Journal
}

const defaultPreviousVersions = 100

/**
 * Writes everything a commit needs; the catalog's compare-and-set makes it visible. When that fails on the way, what was written
 * is deleted again as far as possible: nobody refers to it.
 */
export async function prepareCommit(
  parts: TableParts,
  base: TableState,
  update: TableUpdate,
): Promise<{ commit: PreparedCommit; next: TableState }> {
  const written: string[] = []
  try {
    return await write(parts, base, update, written)
  } catch (error) {
    await parts.store.delete(written).catch(() => {})
    throw error
  }
}

async function write(
  parts: TableParts,
  base: TableState,
  update: TableUpdate,
  written: string[],
): Promise<{ commit: PreparedCommit; next: TableState }> {
  const nowMs = Math.max(parts.clock.now(), base.metadata.lastUpdatedMs)
  const withProperties: TableMetadata = {
    ...(update.schema === undefined ? base.metadata : evolveSchema(base.metadata, update.schema)),
    properties: { ...base.metadata.properties, ...withoutReserved(update.properties) },
    lastUpdatedMs: nowMs,
  }
  const changesFiles = update.added.length + update.removed.length + update.deletionVectors.length > 0
  const step = changesFiles
    ? await addSnapshot(parts, base, withProperties, update, nowMs, written)
    : await expireOnly(parts, base, withProperties, update, nowMs)

  const { metadata, dropped } = logPrevious(step.metadata, base)
  const folder = metadataFolder(metadata, parts.store.root)
  const metadataLocation = nextMetadataPath(metadata, folder, base.metadataLocation, parts.random.uuid())
  written.push(metadataLocation)
  await parts.store.put(metadataLocation, await encodeTableFile(metadata, metadataLocation), { ifAbsent: true })
  const { namespace, name } = base
  return {
    commit: {
      namespace,
      name,
      base: base.metadataLocation,
      metadataLocation,
      snapshotId: step.snapshotId,
      written,
      unreferenced: [...step.unreferenced, ...dropped],
    },
    next: { namespace, name, metadata, metadataLocation, manifests: step.manifests, journal: step.journal },
  }
}

/** What a commit makes of a table's state, and the files that nothing references then. */
interface Step {
  readonly metadata: TableMetadata
  readonly manifests: readonly Manifest[]
  readonly journal: Journal
  readonly snapshotId: bigint | null
  readonly unreferenced: readonly string[]
}

/** Without a snapshot of its own a commit still expires older ones: a table that is quiet gives up its history too. */
async function expireOnly(
  { store }: TableParts,
  base: TableState,
  metadata: TableMetadata,
  { retention }: TableUpdate,
  nowMs: number,
): Promise<Step> {
  const { manifests } = base
  const { metadata: after, expired } = expire(metadata, retention, nowMs)
  const { journal, unreferenced } = await collect(store, base.journal, expired, metadata, after, manifests)
  return { metadata: after, manifests, journal, snapshotId: null, unreferenced }
}

async function addSnapshot(
  parts: TableParts,
  base: TableState,
  metadata: TableMetadata,
  update: TableUpdate,
  nowMs: number,
  written: string[],
): Promise<Step> {
  const { store, random } = parts
  const parent = findSnapshot(metadata, metadata.currentSnapshotId)
  const snapshotId = unusedSnapshotId(metadata, random)
  const sequenceNumber = metadata.lastSequenceNumber + 1n
  const identity = { snapshotId, sequenceNumber }
  const folder = metadataFolder(metadata, store.root)
  const commitId = random.uuid()

  const plan = await planManifests(store, metadata, base.manifests, update, identity)
  const paths = plan.drafts.map((_draft, i) => `${folder}/${commitId}-m${i}.avro`)
  written.push(...paths)
  const drafted = await allSettled(plan.drafts.map((draft, i) => writeManifest(store, paths[i], metadata, identity, draft)))

  const lineage = metadata.formatVersion === 3
  const listed = [...plan.kept.map((manifest) => manifest.file), ...drafted.map((manifest) => manifest.file)]
  const { files, next } = lineage ? assignFirstRowIds(listed, metadata.nextRowId) : { files: listed, next: metadata.nextRowId }
  const manifests = files.map((file, i) => {
    const kept = plan.kept[i]
    if (kept === undefined) return asManifest(file, drafted[i - plan.kept.length].draft)
    // Manifests from before an upgrade get their row ids now: what was read of them has none yet.
    return kept.file === file ? kept : new Manifest(file)
  })

  const manifestList = `${folder}/snap-${snapshotId}-1-${commitId}.avro`
  written.push(manifestList)
  const listHeader = {
    formatVersion: metadata.formatVersion,
    snapshotId,
    parentSnapshotId: parent?.id ?? null,
    sequenceNumber,
    firstRowId: metadata.nextRowId,
  }
  await store.put(manifestList, await encodeManifestList(listHeader, files), { ifAbsent: true, followed: true })

  const snapshot = newSnapshot({
    id: snapshotId,
    parentId: parent?.id ?? null,
    sequenceNumber,
    timestampMs: nowMs,
    manifestList,
    summary: summarize(parent?.summary ?? null, operationOf(update), plan.changes, update.summary),
    schemaId: metadata.currentSchemaId,
    firstRowId: lineage ? metadata.nextRowId : null,
    addedRows: lineage ? next - metadata.nextRowId : null,
  })
  const refs = tagged(metadata.refs, parent, nowMs, update.retention)
  const withSnapshot = moveMain({ ...metadata, refs }, snapshot, next)
  const { metadata: expiredFrom, expired } = expire(withSnapshot, update.retention, nowMs)
  const journal = {
    since: base.journal.since,
    obsolete: [...base.journal.obsolete, ...(await obsoleted(store, base.manifests, manifests, plan, sequenceNumber))],
  }
  const garbage = await collect(store, journal, expired, withSnapshot, expiredFrom, manifests)
  return { metadata: expiredFrom, manifests, journal: garbage.journal, snapshotId, unreferenced: garbage.unreferenced }
}

/** Waits for all before it throws: what is still being written could not be deleted. */
async function allSettled<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

function unusedSnapshotId(metadata: TableMetadata, random: Random): bigint {
  const used = new Set(metadata.snapshots.map((snapshot) => snapshot.id))
  let id = random.positive63()
  while (used.has(id)) id = random.positive63()
  return id
}

/** As engines name them (specification, "Snapshots"): readers of changes skip `replace`. */
function operationOf(update: TableUpdate): Operation {
  if (update.rewrite === true) return 'replace'
  if (update.removed.length === 0 && update.deletionVectors.length === 0) return 'append'
  return update.added.length === 0 ? 'delete' : 'overwrite'
}

function moveMain(metadata: TableMetadata, snapshot: Snapshot, nextRowId: bigint): TableMetadata {
  return {
    ...metadata,
    lastSequenceNumber: snapshot.sequenceNumber,
    currentSnapshotId: snapshot.id,
    nextRowId,
    // A ref is replaced as a whole: its retention settings are repeated.
    refs: { ...metadata.refs, main: { ...metadata.refs.main, 'snapshot-id': snapshot.id, type: 'branch' } },
    snapshots: [...metadata.snapshots, snapshot],
    snapshotLog: [...metadata.snapshotLog, snapshotLogEntry(snapshot.id, snapshot.timestampMs)],
  }
}

/** What this commit stops referring to: manifests, data files, Puffin files. */
async function obsoleted(
  store: ObjectStore,
  before: readonly Manifest[],
  after: readonly Manifest[],
  plan: ManifestPlan,
  removed: bigint,
): Promise<Obsolete[]> {
  const listed = new Set(after.map((manifest) => manifest.file.path))
  const obsolete: Obsolete[] = before
    .filter(({ file }) => !listed.has(file.path))
    .map(({ file }) => ({ path: file.path, added: file.sequenceNumber, removed }))
  const put = (entry: ManifestEntry) => obsolete.push({ path: entry.file.path, added: entry.fileSequenceNumber, removed })
  plan.changes.removedData.forEach(put)
  if (plan.changes.removedVectors.length === 0) return obsolete
  // Other writers put several vectors into one Puffin file: it goes with the last of them.
  const deletes = await loadAll(
    store,
    after.filter(({ file }) => file.content === Content.deletes),
  )
  const live = new Set(deletes.flatMap((manifest) => [...manifest.live.values()].map((entry) => entry.file.path)))
  for (const entry of plan.changes.removedVectors) if (!live.has(entry.file.path)) put(entry)
  return obsolete
}

/** The metadata with its predecessor in its log, and the files that left the log. */
function logPrevious(metadata: TableMetadata, base: TableState): { metadata: TableMetadata; dropped: string[] } {
  if (base.metadataLocation === null) return { metadata, dropped: [] }
  const log = [...metadata.metadataLog, metadataLogEntry(base.metadataLocation, base.metadata.lastUpdatedMs)]
  const asked = Number(metadata.properties['write.metadata.previous-versions-max'] ?? defaultPreviousVersions)
  const kept = Number.isSafeInteger(asked) ? Math.max(1, asked) : defaultPreviousVersions
  const leaving = log.slice(0, Math.max(0, log.length - kept)).map((entry) => entry.metadataFile)
  const dropped = deletesOldMetadata(metadata.properties) ? leaving : []
  return { metadata: { ...metadata, metadataLog: log.slice(-kept) }, dropped }
}
