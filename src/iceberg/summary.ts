import type { ManifestEntry } from './manifest.ts'

/** What a snapshot adds and takes away. */
export interface FileChanges {
  readonly addedData: readonly ManifestEntry[]
  readonly removedData: readonly ManifestEntry[]
  readonly addedVectors: readonly ManifestEntry[]
  readonly removedVectors: readonly ManifestEntry[]
}

export type Operation = 'append' | 'delete' | 'overwrite' | 'replace'

type Summary = Readonly<Record<string, string>>

/**
 * A snapshot's summary (specification, Appendix F "Optional Snapshot Summary Fields"). Totals are the parent's plus the change;
 * one that the parent lacks is left out, as nobody knows it.
 */
export function summarize(parent: Summary | null, operation: Operation, changes: FileChanges, extra: Summary): Summary {
  const summary: Record<string, string> = { operation, ...extra }
  const put = (key: string, value: number) => {
    if (value > 0) summary[key] = String(value)
  }
  const records = (entries: readonly ManifestEntry[]) => sum(entries, (entry) => entry.file.recordCount)
  // A vector counts with its own bytes, not those of the Puffin file around it.
  const size = (entries: readonly ManifestEntry[]) => sum(entries, (entry) => entry.file.contentSize ?? entry.file.fileSize)
  const { addedData, removedData, addedVectors, removedVectors } = changes

  put('added-data-files', addedData.length)
  put('deleted-data-files', removedData.length)
  put('added-delete-files', addedVectors.length)
  put('removed-delete-files', removedVectors.length)
  put('added-dvs', addedVectors.length)
  put('removed-dvs', removedVectors.length)
  put('added-records', records(addedData))
  put('deleted-records', records(removedData))
  put('added-position-deletes', records(addedVectors))
  put('removed-position-deletes', records(removedVectors))
  put('added-files-size', size(addedData) + size(addedVectors))
  put('removed-files-size', size(removedData) + size(removedVectors))

  const total = (key: string, change: number) => {
    const before = parent === null ? 0 : Number(parent[key])
    if (Number.isSafeInteger(before)) summary[key] = String(before + change)
  }
  total('total-data-files', addedData.length - removedData.length)
  total('total-delete-files', addedVectors.length - removedVectors.length)
  total('total-records', records(addedData) - records(removedData))
  total('total-position-deletes', records(addedVectors) - records(removedVectors))
  total('total-equality-deletes', 0)
  total('total-files-size', size(addedData) + size(addedVectors) - size(removedData) - size(removedVectors))
  return summary
}

function sum(entries: readonly ManifestEntry[], of: (entry: ManifestEntry) => number): number {
  return entries.reduce((total, entry) => total + of(entry), 0)
}
