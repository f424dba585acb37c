import type { JsonObject } from '../format/json/index.ts'
import type { Retention } from './contract.ts'
import { int64 } from './json-fields.ts'
import { refSnapshotId } from './metadata.ts'
import { withoutOldTags } from './tags.ts'
import type { Snapshot, TableMetadata } from './metadata.ts'

/** Whether files of a table may be deleted at all. As Java's library reads it: what is not `true` means no. */
export function mayDeleteFiles({ 'gc.enabled': enabled = 'true' }: Readonly<Record<string, string>>): boolean {
  return enabled.toLowerCase() === 'true'
}

/** Whether metadata files are deleted that have left the metadata log. */
export function deletesOldMetadata(properties: Readonly<Record<string, string>>): boolean {
  const { 'write.metadata.delete-after-commit.enabled': enabled = 'true' } = properties
  return mayDeleteFiles(properties) && enabled.toLowerCase() === 'true'
}

/**
 * Takes the snapshots out of `metadata` that its retention no longer keeps, with the refs, log entries and statistics that belong
 * to them (specification, "Snapshot Retention Policy"). Main keeps its head and the newest `maxSnapshots` before it that are
 * young enough, without gaps; what another ref names stays, and so does another branch's own history. Snapshots that no ref
 * reaches (rolled back, staged) go when they are too old.
 */
export function expire(
  metadata: TableMetadata,
  retention: Retention,
  nowMs: number,
): { metadata: TableMetadata; expired: readonly Snapshot[] } {
  if (!mayDeleteFiles(metadata.properties)) return { metadata, expired: [] }
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot.id, snapshot]))
  const refs = withoutOldTags(youngRefs(metadata.refs, byId, nowMs), retention)
  const main = ancestry(byId, metadata.currentSnapshotId)
  const onMain = new Set(main.map((snapshot) => snapshot.id))

  const kept = new Set<bigint>()
  for (const [distance, snapshot] of main.entries()) {
    if (distance > 0 && (distance > retention.maxSnapshots || snapshot.timestampMs < nowMs - retention.maxAgeMs)) break
    kept.add(snapshot.id)
  }
  for (const ref of Object.values(refs)) {
    kept.add(refSnapshotId(ref))
    for (const snapshot of ancestry(byId, refSnapshotId(ref))) {
      if (onMain.has(snapshot.id)) break
      kept.add(snapshot.id)
    }
  }
  const released = new Set(
    Object.keys(metadata.refs).flatMap((name) => (name in refs ? [] : [refSnapshotId(metadata.refs[name])])),
  )
  const expired = metadata.snapshots.filter(
    ({ id, timestampMs }) => !kept.has(id) && (onMain.has(id) || released.has(id) || timestampMs < nowMs - retention.maxAgeMs),
  )
  if (expired.length === 0) return { metadata: { ...metadata, refs }, expired }

  const gone = new Set(expired.map((snapshot) => snapshot.id))
  const lastGone = metadata.snapshotLog.findLastIndex((entry) => gone.has(entry.snapshotId))
  const stays = (statistics: JsonObject) => !gone.has(int64(statistics, 'snapshot-id'))
  return {
    metadata: {
      ...metadata,
      refs,
      snapshots: metadata.snapshots.filter((snapshot) => !gone.has(snapshot.id)),
      snapshotLog: metadata.snapshotLog.slice(lastGone + 1),
      statistics: metadata.statistics.filter(stays),
      partitionStatistics: metadata.partitionStatistics.filter(stays),
    },
    expired,
  }
}

/** The snapshots from `head` to its oldest ancestor still there, newest first. */
export function ancestry(byId: ReadonlyMap<bigint, Snapshot>, head: bigint | null): Snapshot[] {
  const found: Snapshot[] = []
  let next = head === null ? undefined : byId.get(head)
  // Bounded by the number of snapshots, so that a cycle in foreign metadata ends too.
  while (next !== undefined && found.length < byId.size) {
    found.push(next)
    next = next.parentId === null ? undefined : byId.get(next.parentId)
  }
  return found
}

function youngRefs(
  refs: Readonly<Record<string, JsonObject>>,
  byId: ReadonlyMap<bigint, Snapshot>,
  nowMs: number,
): Record<string, JsonObject> {
  return Object.fromEntries(
    Object.entries(refs).filter(([name, ref]) => {
      const maxAgeMs = ref['max-ref-age-ms']
      const snapshot = byId.get(refSnapshotId(ref))
      if (name === 'main' || typeof maxAgeMs !== 'number' || snapshot === undefined) return true
      return snapshot.timestampMs >= nowMs - maxAgeMs
    }),
  )
}
