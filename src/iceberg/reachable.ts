import type { ObjectStore } from '../storage/index.ts'
import type { TablePointer } from './catalog/index.ts'
import { Status, decodeManifest } from './manifest.ts'
import { decodeManifestList } from './manifest-list.ts'
import { deletesOldMetadata } from './expiry.ts'
import { decodeTableFile } from './metadata-file.ts'

/**
 * Takes out of `candidates` what the table at `pointer` refers to: its metadata files, and the manifest lists, manifests and files
 * of all snapshots that it retains; those that have left its log where they are to stay. What is left is nobody's if no commit is under way.
 * Returns the table's location.
 */
export async function removeReachable(store: ObjectStore, pointer: TablePointer, candidates: Set<string>): Promise<string> {
  const metadata = await decodeTableFile(await store.get(pointer.metadataLocation), pointer.metadataLocation)
  candidates.delete(pointer.metadataLocation)
  for (const { metadataFile } of metadata.metadataLog) candidates.delete(metadataFile)
  if (!deletesOldMetadata(metadata.properties)) {
    for (const uri of candidates) if (uri.endsWith('.metadata.json')) candidates.delete(uri)
  }
  for (const { 'statistics-path': path } of [...metadata.statistics, ...metadata.partitionStatistics]) {
    if (typeof path === 'string') candidates.delete(path)
  }
  const read = new Set<string>()
  // The newest refers to most.
  for (const { manifestList } of metadata.snapshots.toReversed()) {
    if (candidates.size === 0) break
    candidates.delete(manifestList)
    for (const file of decodeManifestList(await store.get(manifestList))) {
      candidates.delete(file.path)
      if (read.has(file.path)) continue
      read.add(file.path)
      for (const {
        status,
        file: { path },
      } of decodeManifest(await store.get(file.path), file).entries) {
        if (status !== Status.deleted) candidates.delete(path)
      }
    }
  }
  return metadata.location
}
