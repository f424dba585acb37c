import assert from 'node:assert/strict'
import { int64 } from '../../../src/iceberg/json-fields.ts'
import { currentSchemaJson, findSnapshot, partitionSpec, refSnapshotId } from '../../../src/iceberg/metadata.ts'
import type { Snapshot, TableMetadata } from '../../../src/iceberg/metadata.ts'
import { isJsonArray, isJsonObject, parseJson } from '../../../src/format/json/index.ts'
import type { JsonValue } from '../../../src/format/json/index.ts'

/** What table metadata says of itself must fit together, before any other file is opened. */
export function checkMetadata(metadata: TableMetadata): void {
  checkSchemas(metadata)
  checkSpecs(metadata)
  checkSnapshots(metadata)
  checkLogs(metadata)
}

/** Of a metadata file and the one that it replaced: what may only grow has not shrunk, what is written once is as it was. */
export function checkStep(before: TableMetadata, after: TableMetadata, beforeLocation: string): void {
  assert.equal(after.uuid, before.uuid, 'the uuid stays')
  assert.equal(after.location, before.location, 'the location stays')
  assert.ok(after.formatVersion >= before.formatVersion, 'the format version does not go back')
  assert.ok(after.lastSequenceNumber >= before.lastSequenceNumber, 'last-sequence-number does not go back')
  assert.ok(after.nextRowId >= before.nextRowId, 'next-row-id does not go back')
  assert.ok(after.lastColumnId >= before.lastColumnId, 'last-column-id does not go back')
  assert.ok(after.lastPartitionId >= before.lastPartitionId, 'last-partition-id does not go back')
  assert.ok(after.lastUpdatedMs >= before.lastUpdatedMs, 'last-updated-ms does not go back')
  const logged = after.metadataLog.at(-1)
  assert.equal(logged?.metadataFile, beforeLocation, 'the metadata log ends with the previous file')
  assert.equal(logged?.timestampMs, before.lastUpdatedMs, 'and with the time of it')
  const known = new Map(before.snapshots.map((snapshot) => [snapshot.id, snapshot]))
  for (const snapshot of after.snapshots) {
    const { id, json } = snapshot
    const was = known.get(id)
    // Other programs write the same in another order.
    if (was && was.json.text !== json.text) assert.deepEqual(facts(snapshot), facts(was), `snapshot ${id} is as it was`)
  }
  const fresh = after.snapshots.filter(({ id }) => !known.has(id))
  for (const { sequenceNumber } of fresh) {
    assert.ok(sequenceNumber > before.lastSequenceNumber, 'a new snapshot has a new sequence number')
  }
}

function facts(snapshot: Snapshot): unknown {
  const { id, parentId, sequenceNumber, timestampMs, manifestList, summary } = snapshot
  const numbers = ['schema-id', 'first-row-id', 'added-rows'].map((name) => member(snapshot, name))
  return { id, parentId, sequenceNumber, timestampMs, manifestList, summary, numbers }
}

function checkSchemas(metadata: TableMetadata): void {
  unique(
    metadata.schemas.map((schema) => schema['schema-id']),
    'schema ids',
  )
  for (const schema of metadata.schemas) {
    const ids = fieldIds(schema)
    unique(ids, `field ids of schema ${Number(schema['schema-id'])}`)
    for (const id of ids)
      assert.ok(id > 0 && id <= metadata.lastColumnId, `field id ${id} is at most last-column-id, ${metadata.lastColumnId}`)
    const fields = isJsonArray(schema.fields) ? schema.fields.filter(isJsonObject) : []
    for (const id of isJsonArray(schema['identifier-field-ids']) ? schema['identifier-field-ids'] : []) {
      assert.equal(fields.find((field) => field.id === id)?.required, true, `the identifier field ${Number(id)} is required`)
    }
  }
  currentSchemaJson(metadata)
}

/** Ids of fields, list elements, map keys and values. */
function fieldIds(value: JsonValue): number[] {
  if (isJsonArray(value)) return value.flatMap(fieldIds)
  if (!isJsonObject(value)) return []
  const own = ['id', 'element-id', 'key-id', 'value-id'].map((name) => value[name]).filter((id) => typeof id === 'number')
  return [...own, ...['fields', 'type', 'element', 'key', 'value'].flatMap((name) => fieldIds(value[name] ?? null))]
}

function checkSpecs(metadata: TableMetadata): void {
  unique(
    metadata.partitionSpecs.map((spec) => spec['spec-id']),
    'spec ids',
  )
  for (const { fields } of metadata.partitionSpecs) {
    for (const field of isJsonArray(fields) ? fields.filter(isJsonObject) : []) {
      assert.ok(Number(field['field-id']) <= metadata.lastPartitionId, 'partition field ids are at most last-partition-id')
    }
  }
  partitionSpec(metadata, metadata.defaultSpecId)
  unique(
    metadata.sortOrders.map((order) => order['order-id']),
    'sort order ids',
  )
  assert.ok(
    metadata.sortOrders.some((order) => order['order-id'] === metadata.defaultSortOrderId),
    'the default sort order exists',
  )
}

function checkSnapshots(metadata: TableMetadata): void {
  const { snapshots, refs } = metadata
  const byId = new Map(snapshots.map((snapshot) => [snapshot.id, snapshot]))
  assert.equal(byId.size, snapshots.length, 'snapshot ids are unique')
  for (const snapshot of snapshots) {
    const { id, parentId, sequenceNumber, timestampMs } = snapshot
    assert.ok(id > 0n, 'snapshot ids are positive')
    assert.ok(sequenceNumber <= metadata.lastSequenceNumber, `snapshot ${id}: at most last-sequence-number`)
    assert.ok(timestampMs <= metadata.lastUpdatedMs, `snapshot ${id}: not later than last-updated-ms`)
    const schemaId = member(snapshot, 'schema-id')
    assert.ok(
      metadata.schemas.some((schema) => Number(schema['schema-id']) === Number(schemaId)),
      `snapshot ${id}: its schema exists`,
    )
    const parent = parentId === null ? undefined : byId.get(parentId)
    if (!parent) continue
    assert.ok(parent.sequenceNumber < sequenceNumber, `snapshot ${id}: its parent has a lower sequence number`)
    assert.ok(parent.timestampMs <= timestampMs, `snapshot ${id}: not before its parent`)
  }
  unique(
    snapshots.map(({ sequenceNumber }) => sequenceNumber),
    'sequence numbers of snapshots',
  )
  for (const [name, ref] of Object.entries(refs)) {
    assert.ok(byId.has(refSnapshotId(ref)), `the snapshot of the ref ${name} exists`)
    assert.ok(ref.type === 'branch' || ref.type === 'tag', `the ref ${name} is a branch or a tag`)
  }
  assert.equal(refs.main && refSnapshotId(refs.main), metadata.currentSnapshotId ?? undefined, 'main is the current snapshot')
  for (const statistics of [...metadata.statistics, ...metadata.partitionStatistics]) {
    findSnapshot(metadata, int64(statistics, 'snapshot-id'))
  }
  if (metadata.formatVersion === 3) checkRowIds(metadata)
}

/** Row ids that snapshots have given: each its own range, in the order of the snapshots, all below next-row-id. */
function checkRowIds({ snapshots, nextRowId }: TableMetadata): void {
  let next = 0n
  for (const snapshot of snapshots.toSorted((a, b) => (a.sequenceNumber < b.sequenceNumber ? -1 : 1))) {
    const first = member(snapshot, 'first-row-id')
    const added = member(snapshot, 'added-rows')
    // From before an upgrade.
    if (first === null && added === null) continue
    assert.ok(first !== null && added !== null, `snapshot ${snapshot.id}: first-row-id and added-rows`)
    assert.ok(first >= next, `snapshot ${snapshot.id}: its row ids begin behind those of the one before`)
    next = first + added
  }
  assert.ok(next <= nextRowId, 'all row ids are below next-row-id')
}

/** An integer of a snapshot's JSON that we do not interpret elsewhere. */
export function member(snapshot: Snapshot, name: string): bigint | null {
  const json = parseJson(snapshot.json.text)
  const value = isJsonObject(json) ? json[name] : undefined
  return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : null
}

function checkLogs(metadata: TableMetadata): void {
  const { snapshotLog, metadataLog, snapshots, currentSnapshotId } = metadata
  const known = new Set(snapshots.map(({ id }) => id))
  for (const { snapshotId } of snapshotLog) assert.ok(known.has(snapshotId), `the snapshot log names ${snapshotId}, which exists`)
  if (snapshotLog.length > 0 || currentSnapshotId !== null) {
    assert.equal(snapshotLog.at(-1)?.snapshotId, currentSnapshotId, 'the snapshot log ends with the current snapshot')
  }
  for (const log of [snapshotLog, metadataLog]) {
    for (let i = 1; i < log.length; i++) assert.ok(log[i].timestampMs >= log[i - 1].timestampMs, 'a log is in the order of time')
    const last = log.at(-1)
    if (last) assert.ok(last.timestampMs <= metadata.lastUpdatedMs, 'a log does not end after last-updated-ms')
  }
  unique(
    metadataLog.map(({ metadataFile }) => metadataFile),
    'files in the metadata log',
  )
  const most = Number(metadata.properties['write.metadata.previous-versions-max'] ?? 100)
  assert.ok(metadataLog.length <= most, `the metadata log has at most ${most} entries`)
}

export function unique(values: readonly unknown[], what: string): void {
  assert.equal(new Set(values).size, values.length, `${what} are unique`)
}
