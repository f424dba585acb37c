import { FrazilError } from '../base/index.ts'
import type { AvroSchema } from '../format/avro/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { Content, Status, decodeManifest } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import type { ManifestFile } from './manifest-list.ts'

/** A manifest's entries in memory. */
export interface LoadedManifest {
  readonly file: ManifestFile
  readonly partitionType: AvroSchema
  readonly entries: readonly ManifestEntry[]
  /** Live entries: data files by their path, deletion vectors by the path of their data file. */
  readonly live: ReadonlyMap<string, ManifestEntry>
}

/**
 * A manifest of a table: its row in the manifest list, and its entries once they were needed. Immutable and shared by all the
 * table states that list it, so an unchanged manifest is read once.
 */
export class Manifest {
  readonly file: ManifestFile
  #loaded: Promise<LoadedManifest> | null

  constructor(file: ManifestFile, loaded: LoadedManifest | null = null) {
    this.file = file
    this.#loaded = loaded === null ? null : Promise.resolve(loaded)
  }

  get liveFiles(): number {
    return this.file.addedFiles + this.file.existingFiles
  }

  /** Same path and same inherited values. */
  isSame(file: ManifestFile): boolean {
    return this.file.path === file.path && this.file.firstRowId === file.firstRowId
  }

  /** Throws `unsupported` for position-delete and equality-delete files, which we could not keep right. */
  load(store: ObjectStore): Promise<LoadedManifest> {
    this.#loaded ??= store.get(this.file.path).then(
      (bytes) => loadedManifest(this.file, decodeManifest(bytes, this.file)),
      (error: unknown) => {
        this.#loaded = null
        throw error
      },
    )
    return this.#loaded
  }
}

export function loadedManifest(
  file: ManifestFile,
  content: { partitionType: AvroSchema; entries: readonly ManifestEntry[] },
): LoadedManifest {
  const live = new Map<string, ManifestEntry>()
  for (const entry of content.entries) {
    if (entry.status === Status.deleted) continue
    live.set(file.content === Content.data ? entry.file.path : vectorTarget(entry), entry)
  }
  return { file, partitionType: content.partitionType, entries: content.entries, live }
}

function vectorTarget(entry: ManifestEntry): string {
  const { content, contentOffset, referencedDataFile } = entry.file
  if (content === 1 && contentOffset !== null && referencedDataFile !== null) return referencedDataFile
  const what = content === 2 ? 'equality deletes' : 'position-delete files'
  throw new FrazilError('unsupported', 'delete-files', `the table has ${what}; only deletion vectors can be kept here`, {
    hint: 'Rewrite the data files once with another engine, for example Spark: CALL system.rewrite_data_files with delete-file-threshold 1.',
  })
}

/** Loads many manifests, a bounded number at a time. */
export async function loadAll(store: ObjectStore, manifests: readonly Manifest[]): Promise<LoadedManifest[]> {
  const loaded: LoadedManifest[] = []
  for (let i = 0; i < manifests.length; i += maxReads) {
    loaded.push(...(await Promise.all(manifests.slice(i, i + maxReads).map((manifest) => manifest.load(store)))))
  }
  return loaded
}

const maxReads = 16
