import { FrazilError, assert } from '../base/index.ts'
import type { AvroSchema } from '../format/avro/index.ts'
import { encodeJson } from '../format/json/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { DataFile, DeletionVector, TableUpdate } from './contract.ts'
import { encodePartition, partitionRecord } from './layout/index.ts'
import { Content, Status } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import { loadAll } from './manifest-set.ts'
import type { LoadedManifest, Manifest } from './manifest-set.ts'
import type { ManifestDraft, SnapshotIdentity } from './manifest-writer.ts'
import { int, objects } from './json-fields.ts'
import { partitionSpec } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'
import { encodeMetrics, noMetrics } from './metrics.ts'
import type { FileChanges } from './summary.ts'

/** So many data manifests of about the same number of files become one: the list grows with the logarithm of the commits. */
const mergeFactor = 32
const maxManifestBytes = 8 << 20
/** Files in one delete manifest: replacing one vector rewrites the manifest that lists it. */
const maxVectorsPerManifest = 512
/** So many delete manifests may be small; then they are merged. */
const maxSmallDeleteManifests = 8

export interface ManifestPlan {
  readonly kept: readonly Manifest[]
  readonly drafts: readonly ManifestDraft[]
  readonly changes: FileChanges
}

/**
 * Decides which manifests a commit keeps, and what the new ones contain. Throws `conflict` (codes `data-file-gone`,
 * `deletion-vector-changed`) when the update was planned on files that are no longer as it says.
 */
export async function planManifests(
  store: ObjectStore,
  metadata: TableMetadata,
  manifests: readonly Manifest[],
  update: TableUpdate,
  identity: SnapshotIdentity,
): Promise<ManifestPlan> {
  checkUpdate(metadata, update)
  const data = manifests.filter((manifest) => manifest.file.content === Content.data && manifest.liveFiles > 0)
  const deletes = manifests.filter((manifest) => manifest.file.content === Content.deletes && manifest.liveFiles > 0)
  const touchesLiveFiles = update.removed.length > 0 || update.deletionVectors.length > 0
  const loadedData = touchesLiveFiles ? await loadAll(store, data) : []
  const loadedDeletes = touchesLiveFiles ? await loadAll(store, deletes) : []

  const added = newDrafts(metadata, update.added, identity)
  const dataPlan = await planData(store, data, loadedData, new Set(update.removed), identity)
  const vectorPlan = planVectors(deletes, loadedDeletes, loadedData, added, update, identity)
  return {
    kept: [...dataPlan.kept, ...vectorPlan.kept],
    drafts: [...added, ...dataPlan.drafts, ...vectorPlan.drafts],
    changes: {
      addedData: added.flatMap(({ entries }) => entries),
      removedData: dataPlan.removed,
      addedVectors: vectorPlan.added,
      removedVectors: vectorPlan.removed,
    },
  }
}

function checkUpdate(metadata: TableMetadata, update: TableUpdate): void {
  const added = new Set(update.added.map((file) => file.path))
  const removed = new Set(update.removed)
  const targets = new Set(update.deletionVectors.map((vector) => vector.dataFile))
  assert(added.size === update.added.length, 'a data file is added once')
  assert(removed.size === update.removed.length, 'a data file is removed once')
  assert(targets.size === update.deletionVectors.length, 'a data file gets one deletion vector')
  assert(removed.isDisjointFrom(added) && removed.isDisjointFrom(targets), 'a removed data file is neither added nor marked')
  if (targets.size > 0 && metadata.formatVersion < 3) {
    throw new FrazilError('unsupported', 'format-version', 'deletion vectors need a table of format version 3')
  }
}

/** The added files, a draft for each partition spec. */
function newDrafts(metadata: TableMetadata, files: readonly DataFile[], identity: SnapshotIdentity): ManifestDraft[] {
  const bySpec = Map.groupBy(files, (file) => file.partition?.specId ?? specWithoutFields(metadata))
  return [...bySpec].map(([specId, ofSpec]) => {
    const partitionType = partitionRecord(metadata, partitionSpec(metadata, specId))
    const entries = ofSpec.map((file) => addedEntry(file, encodePartition(partitionType, file.partition?.values ?? []), identity))
    return { content: Content.data, specId, partitionType, entries }
  })
}

function specWithoutFields(metadata: TableMetadata): number {
  const spec = metadata.partitionSpecs.find((each) => objects(each, 'fields').length === 0)
  if (spec === undefined) {
    throw new FrazilError('unsupported', 'partitioned', 'the table has no place for a data file that is in no partition')
  }
  return int(spec, 'spec-id')
}

function addedEntry(file: DataFile, partition: Uint8Array, identity: SnapshotIdentity): ManifestEntry {
  return {
    status: Status.added,
    snapshotId: identity.snapshotId,
    sequenceNumber: identity.sequenceNumber,
    fileSequenceNumber: identity.sequenceNumber,
    file: {
      content: 0,
      path: file.path,
      format: 'PARQUET',
      partition,
      recordCount: file.recordCount,
      fileSize: file.fileSize,
      ...encodeMetrics(file.metrics),
      keyMetadata: null,
      splitOffsets: file.splitOffsets.length === 0 ? null : file.splitOffsets,
      equalityIds: null,
      sortOrderId: file.sortOrderId ?? null,
      firstRowId: null,
      referencedDataFile: null,
      contentOffset: null,
      contentSize: null,
    },
  }
}

interface DataPlan {
  readonly kept: readonly Manifest[]
  readonly drafts: readonly ManifestDraft[]
  readonly removed: readonly ManifestEntry[]
}

async function planData(
  store: ObjectStore,
  manifests: readonly Manifest[],
  loaded: readonly LoadedManifest[],
  paths: ReadonlySet<string>,
  identity: SnapshotIdentity,
): Promise<DataPlan> {
  const touched = new Set<LoadedManifest>()
  for (const path of paths) {
    const holder = loaded.find((manifest) => manifest.live.has(path))
    if (holder === undefined)
      throw new FrazilError('conflict', 'data-file-gone', 'a data file to be removed is no longer in the table')
    touched.add(holder)
  }
  const touchedFiles = new Set([...touched].map((manifest) => manifest.file))
  const untouched = manifests.filter((manifest) => !touchedFiles.has(manifest.file))
  const merged = mergeable(untouched)
  const kept = untouched.filter((manifest) => !merged.has(manifest))

  const removed: ManifestEntry[] = []
  const drafts: ManifestDraft[] = []
  const rewrite = [...touched, ...(await loadAll(store, [...merged]))]
  for (const group of binsBySize(rewrite)) {
    const entries = group.flatMap((manifest) =>
      [...manifest.live.values()].map((entry) => {
        if (!paths.has(entry.file.path)) return existing(entry)
        const gone = deleted(entry, identity)
        removed.push(gone)
        return gone
      }),
    )
    drafts.push({ content: Content.data, specId: group[0].file.specId, partitionType: group[0].partitionType, entries })
  }
  return { kept, drafts, removed }
}

/** Manifests of one spec and about one number of files, where there are enough of them. */
function mergeable(manifests: readonly Manifest[]): ReadonlySet<Manifest> {
  const tiers = Map.groupBy(
    manifests.filter((manifest) => manifest.file.length < maxManifestBytes),
    (manifest) => `${manifest.file.specId}/${tier(manifest.liveFiles)}`,
  )
  return new Set([...tiers.values()].filter((tier) => tier.length >= mergeFactor).flat())
}

function tier(files: number): number {
  let level = 0
  for (let rest = files; rest >= mergeFactor; rest /= mergeFactor) level++
  return level
}

/** Groups that may be written as one manifest, none of them much larger than a manifest should be. */
function binsBySize(manifests: readonly LoadedManifest[]): LoadedManifest[][] {
  const bins: LoadedManifest[][] = []
  for (const group of Map.groupBy(manifests, partitionKey).values()) {
    let bytes = Infinity
    for (const manifest of group) {
      if (bytes + manifest.file.length > maxManifestBytes) {
        bins.push([])
        bytes = 0
      }
      bins[bins.length - 1].push(manifest)
      bytes += manifest.file.length
    }
  }
  return bins
}

function partitionKey(manifest: { file: { specId: number }; partitionType: AvroSchema }): string {
  return `${manifest.file.specId}/${encodeJson(manifest.partitionType)}`
}

interface VectorPlan {
  readonly kept: readonly Manifest[]
  readonly drafts: readonly ManifestDraft[]
  readonly added: readonly ManifestEntry[]
  readonly removed: readonly ManifestEntry[]
}

function planVectors(
  manifests: readonly Manifest[],
  loaded: readonly LoadedManifest[],
  data: readonly LoadedManifest[],
  added: readonly ManifestDraft[],
  update: TableUpdate,
  identity: SnapshotIdentity,
): VectorPlan {
  if (update.removed.length === 0 && update.deletionVectors.length === 0)
    return { kept: manifests, drafts: [], added: [], removed: [] }
  // Vectors that go: replaced ones, and those of removed data files.
  const targets = new Set([...update.removed, ...update.deletionVectors.map((vector) => vector.dataFile)])
  const touched = new Set<LoadedManifest>()
  const old = new Map<string, ManifestEntry>()
  for (const manifest of loaded) {
    for (const target of targets) {
      const entry = manifest.live.get(target)
      if (entry === undefined) continue
      old.set(target, entry)
      touched.add(manifest)
    }
  }
  const small = loaded.filter((manifest) => !touched.has(manifest) && manifest.live.size < maxVectorsPerManifest / 2)
  if (small.length > maxSmallDeleteManifests) for (const manifest of small) touched.add(manifest)

  const groups = new Map<string, { specId: number; partitionType: AvroSchema; entries: ManifestEntry[] }>()
  const group = (of: { file: { specId: number }; partitionType: AvroSchema }) => {
    const key = partitionKey(of)
    let found = groups.get(key)
    if (found === undefined) groups.set(key, (found = { specId: of.file.specId, partitionType: of.partitionType, entries: [] }))
    return found.entries
  }
  const removed: ManifestEntry[] = []
  for (const manifest of touched) {
    for (const entry of manifest.live.values()) {
      const isGone = old.get(entry.file.referencedDataFile ?? '') === entry
      const rewritten = isGone ? deleted(entry, identity) : existing(entry)
      if (isGone) removed.push(rewritten)
      group(manifest).push(rewritten)
    }
  }
  const addedVectors: ManifestEntry[] = []
  for (const vector of update.deletionVectors) {
    const target = findData(vector.dataFile, data, added)
    checkVector(vector, target.entry, old.get(vector.dataFile))
    const entry = vectorEntry(vector, target.entry.file.partition, identity)
    addedVectors.push(entry)
    group(target.manifest).push(entry)
  }

  const drafts: ManifestDraft[] = []
  for (const { specId, partitionType, entries } of groups.values()) {
    for (let i = 0; i < entries.length; i += maxVectorsPerManifest) {
      drafts.push({ content: Content.deletes, specId, partitionType, entries: entries.slice(i, i + maxVectorsPerManifest) })
    }
  }
  const touchedFiles = new Set([...touched].map((manifest) => manifest.file))
  return { kept: manifests.filter((manifest) => !touchedFiles.has(manifest.file)), drafts, added: addedVectors, removed }
}

function findData(
  path: string,
  data: readonly LoadedManifest[],
  added: readonly ManifestDraft[],
): { entry: ManifestEntry; manifest: { file: { specId: number }; partitionType: AvroSchema } } {
  for (const manifest of data) {
    const entry = manifest.live.get(path)
    if (entry !== undefined) return { entry, manifest }
  }
  for (const { specId, partitionType, entries } of added) {
    const entry = entries.find((each) => each.file.path === path)
    if (entry !== undefined) return { entry, manifest: { file: { specId }, partitionType } }
  }
  throw new FrazilError('conflict', 'data-file-gone', 'a data file with new deletes is no longer in the table')
}

function checkVector(vector: DeletionVector, target: ManifestEntry, old: ManifestEntry | undefined): void {
  assert(vector.cardinality > 0, 'a deletion vector deletes something')
  assert(vector.cardinality < target.file.recordCount, 'a data file without live rows is removed, not marked')
  const isUnchanged = vector.replaces === undefined || vector.replaces === (old?.file.path ?? null)
  if (!isUnchanged || (old !== undefined && old.file.recordCount > vector.cardinality)) {
    throw new FrazilError('conflict', 'deletion-vector-changed', 'another writer has deleted rows of a data file meanwhile')
  }
}

function vectorEntry(vector: DeletionVector, partition: Uint8Array, identity: SnapshotIdentity): ManifestEntry {
  return {
    status: Status.added,
    snapshotId: identity.snapshotId,
    sequenceNumber: identity.sequenceNumber,
    fileSequenceNumber: identity.sequenceNumber,
    file: {
      content: 1,
      path: vector.path,
      format: 'PUFFIN',
      partition,
      recordCount: vector.cardinality,
      fileSize: vector.fileSize,
      ...noMetrics,
      keyMetadata: null,
      splitOffsets: null,
      equalityIds: null,
      sortOrderId: null,
      firstRowId: null,
      referencedDataFile: vector.dataFile,
      contentOffset: vector.contentOffset,
      contentSize: vector.contentSize,
    },
  }
}

function existing(entry: ManifestEntry): ManifestEntry {
  return { ...entry, status: Status.existing }
}

function deleted(entry: ManifestEntry, identity: SnapshotIdentity): ManifestEntry {
  return { ...entry, status: Status.deleted, snapshotId: identity.snapshotId }
}
