import { isDeepStrictEqual } from 'node:util'
import { encodeJson } from '../format/json/index.ts'
import type { JsonObject } from '../format/json/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ancestry } from './expiry.ts'
import { int } from './json-fields.ts'
import { decodeTableFile } from './metadata-file.ts'
import { findSnapshot } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'

/** A state of a table, and where it is stored. */
export interface StoredMetadata {
  readonly metadata: TableMetadata
  readonly metadataLocation: string | null
}

/**
 * Whether everything that was committed up to `base` is part of the head of `next`, a later state of the same table. No after a rollback,
 * or when another snapshot was made current. Where snapshots in between have expired, the metadata files in the log say what each
 * commit did; no also when those are gone.
 */
export async function continues(store: ObjectStore, base: StoredMetadata, { metadata: next }: StoredMetadata): Promise<boolean> {
  const head = base.metadata.currentSnapshotId
  if (head === null || follows(next, head)) return true
  if (next.snapshots.some(({ id }) => id === head)) return false
  const from = next.metadataLog.findIndex(({ metadataFile }) => metadataFile === base.metadataLocation)
  if (from < 0) return false
  let last = head
  for (const { metadataFile } of next.metadataLog.slice(from + 1)) {
    const step = await decodeTableFile(await store.get(metadataFile), metadataFile)
    if (!follows(step, last)) return false
    last = step.currentSnapshotId ?? last
  }
  return follows(next, last)
}

/** Whether a snapshot is the head of main or an ancestor of it, so far as those are retained. */
function follows({ snapshots, currentSnapshotId }: TableMetadata, id: bigint): boolean {
  const main = ancestry(new Map(snapshots.map((snapshot) => [snapshot.id, snapshot])), currentSnapshotId)
  return main.some((snapshot) => snapshot.id === id || snapshot.parentId === id)
}

/** Whether files that were written by a layout of `base` mean the same in `next`: its specs and sort orders are there, unchanged. */
export function keepsLayouts(base: TableMetadata, next: TableMetadata): boolean {
  const within = (before: readonly JsonObject[], after: readonly JsonObject[], key: string): boolean =>
    before.every((each) => after.some((other) => int(other, key) === int(each, key) && isSame(each, other)))
  return within(base.partitionSpecs, next.partitionSpecs, 'spec-id') && within(base.sortOrders, next.sortOrders, 'order-id')
}

/** Other engines write the same in another order. */
function isSame(a: JsonObject, b: JsonObject): boolean {
  return isDeepStrictEqual(JSON.parse(encodeJson(a)), JSON.parse(encodeJson(b)))
}

/** Id and summary of the head of main and of its ancestors that are retained, newest first. */
export function history(metadata: TableMetadata): { id: bigint; summary: Readonly<Record<string, string>> }[] {
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot.id, snapshot]))
  return ancestry(byId, findSnapshot(metadata, metadata.currentSnapshotId)?.id ?? null)
}
