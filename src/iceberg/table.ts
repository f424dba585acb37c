import { FrazilError, assert } from '../base/index.ts'
import type { Field, Schema } from '../data/index.ts'
import { assignFieldIds } from '../data/index.ts'
import type { TablePointer } from './catalog/index.ts'
import { prepareCommit } from './commit.ts'
import type { TableParts, TableState } from './commit.ts'
import type { IcebergTable, LiveDataFile, PreparedCommit, Retention, TableDefinition, TableUpdate } from './contract.ts'
import { ancestry, expire } from './expiry.ts'
import { carriedOver } from './garbage.ts'
import { fileLayout, withRequestedLayout } from './layout/index.ts'
import type { FileLayout, LayoutRequest } from './layout/index.ts'
import { liveFiles } from './live-files.ts'
import { decodeManifestList } from './manifest-list.ts'
import { Manifest } from './manifest-set.ts'
import { decodeTableFile } from './metadata-file.ts'
import { currentSchema, findSnapshot, withoutReserved } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'
import { schemaToJson } from './schema-json.ts'
import { continues, history, keepsLayouts } from './succession.ts'

class Table implements IcebergTable {
  readonly state: TableState
  readonly schema: Schema
  readonly #parts: TableParts
  #files: Promise<readonly LiveDataFile[]> | null = null

  constructor(parts: TableParts, state: TableState) {
    this.#parts = parts
    this.state = state
    this.schema = currentSchema(state.metadata)
  }

  get namespace(): string {
    return this.state.namespace
  }

  get name(): string {
    return this.state.name
  }

  get uuid(): string {
    return this.state.metadata.uuid
  }

  get location(): string {
    return this.state.metadata.location
  }

  get metadataLocation(): string | null {
    return this.state.metadataLocation
  }

  get lastColumnId(): number {
    return this.state.metadata.lastColumnId
  }

  get properties(): Readonly<Record<string, string>> {
    return this.state.metadata.properties
  }

  get currentSnapshotId(): bigint | null {
    return this.state.metadata.currentSnapshotId
  }

  get summary(): Readonly<Record<string, string>> | null {
    return findSnapshot(this.state.metadata, this.currentSnapshotId)?.summary ?? null
  }

  get isBegunAnew(): boolean {
    const { snapshots, currentSnapshotId, lastSequenceNumber } = this.state.metadata
    const byId = new Map(snapshots.map((snapshot) => [snapshot.id, snapshot]))
    const first = ancestry(byId, currentSnapshotId).at(-1)
    return first ? first.parentId === null && first.sequenceNumber > 1n : lastSequenceNumber > 0n
  }

  history(): { id: bigint; summary: Readonly<Record<string, string>> }[] {
    return history(this.state.metadata)
  }

  layoutFor(fields: readonly Field[]): FileLayout {
    return fileLayout(this.state.metadata, fields)
  }

  /** The same table, to be committed with another layout. */
  withLayout(request: LayoutRequest, fields: readonly Field[]): Table {
    const metadata = withRequestedLayout(this.state.metadata, request, fields, `${this.namespace}.${this.name}`)
    return metadata === this.state.metadata ? this : new Table(this.#parts, { ...this.state, metadata })
  }

  isOverdue(retention: Retention): boolean {
    const { metadata } = this.state
    const nowMs = this.#parts.clock.now()
    if (metadata.snapshots.length < 2 || metadata.lastUpdatedMs >= nowMs - retention.maxAgeMs) return false
    return expire(metadata, retention, nowMs).expired.length > 0
  }

  files(): Promise<readonly LiveDataFile[]> {
    this.#files ??= liveFiles(this.#parts.store, this.state.metadata, this.state.manifests).catch((error: unknown) => {
      this.#files = null
      throw error
    })
    return this.#files
  }

  async prepare(update: TableUpdate): Promise<{ commit: PreparedCommit; next: IcebergTable }> {
    const { commit, next } = await prepareCommit(this.#parts, this.state, update)
    return { commit, next: new Table(this.#parts, next) }
  }
}

/** Settings of a table that we create, unless its definition says otherwise. Row-level changes of other engines become vectors. */
const defaultProperties = {
  'write.parquet.compression-codec': 'zstd',
  'write.delete.mode': 'merge-on-read',
  'write.update.mode': 'merge-on-read',
  'write.merge.mode': 'merge-on-read',
  'write.metadata.previous-versions-max': '100',
  'write.metadata.delete-after-commit.enabled': 'true',
}

/**
 * A new, unpartitioned table of format version 3 that exists nowhere yet: its first commit creates it. Field ids are assigned
 * level by level from 1.
 */
export function createTable(parts: TableParts, definition: TableDefinition): IcebergTable {
  const version = definition.properties['format-version'] ?? '3'
  if (version !== '3') {
    throw new FrazilError('unsupported', 'format-version', `tables of format version ${version} cannot be created, only 3`)
  }
  assert(!definition.location.endsWith('/'), 'a table location has no trailing slash')
  assert(
    definition.fields.every(({ id }) => id === 0),
    'a new table gives the field ids',
  )
  const { fields, last } = assignFieldIds(definition.fields)
  const identifierFieldIds = definition.key.map((position) => {
    assert(fields[position]?.required, 'key columns are required')
    return fields[position].id
  })
  const metadata: TableMetadata = {
    formatVersion: 3,
    uuid: definition.uuid ?? parts.random.uuid(),
    location: definition.location,
    lastSequenceNumber: 0n,
    lastUpdatedMs: parts.clock.now(),
    lastColumnId: last,
    currentSchemaId: 0,
    schemas: [schemaToJson({ schemaId: 0, fields, identifierFieldIds })],
    defaultSpecId: 0,
    partitionSpecs: [{ 'spec-id': 0, fields: [] }],
    lastPartitionId: 999,
    defaultSortOrderId: 0,
    sortOrders: [{ 'order-id': 0, fields: [] }],
    properties: { ...defaultProperties, ...withoutReserved(definition.properties) },
    currentSnapshotId: null,
    nextRowId: 0n,
    refs: {},
    snapshots: [],
    statistics: [],
    partitionStatistics: [],
    snapshotLog: [],
    metadataLog: [],
    rest: {},
  }
  const { namespace, name } = definition
  return new Table(parts, {
    namespace,
    name,
    metadata,
    metadataLocation: null,
    manifests: [],
    journal: { since: 0n, obsolete: [] },
  })
}

/**
 * The table with the layout that is asked for: its next commit makes it known, and files written from here on have it. Those that are
 * there stay as they are. Throws `config` (code `layout-invalid`) when it does not fit the columns `fields`, which are the table's or
 * those that its next commit gives it.
 */
export function withLayout(table: IcebergTable, request: LayoutRequest, fields = table.schema.fields): IcebergTable {
  assert(table instanceof Table, 'a table of this module')
  return table.withLayout(request, fields)
}

/**
 * The table at `pointer`, whoever wrote it. With `previous`, an earlier state of the same table, manifests that did not change
 * are not read again, what waits for the end of older snapshots is remembered, and a table that was dropped and made anew is `corrupt` (code `table-replaced`): what is planned for the
 * old one must not go into the new one.
 */
export async function loadTable(parts: TableParts, pointer: TablePointer, previous?: IcebergTable): Promise<IcebergTable> {
  const { store } = parts
  const { namespace, name, metadataLocation } = pointer
  const metadata = await decodeTableFile(await store.get(metadataLocation), metadataLocation)
  if (previous !== undefined && previous.uuid !== metadata.uuid) {
    throw new FrazilError('corrupt', 'table-replaced', 'the table was dropped and created again by somebody else', {
      table: `${namespace}.${name}`,
    })
  }
  const known = new Map(previous instanceof Table ? previous.state.manifests.map((each) => [each.file.path, each]) : [])
  const snapshot = findSnapshot(metadata, metadata.currentSnapshotId)
  const listed = snapshot === null ? [] : decodeManifestList(await store.get(snapshot.manifestList))
  const manifests = listed.map((file) => {
    const manifest = known.get(file.path)
    return manifest?.isSame(file) === true ? manifest : new Manifest(file)
  })
  const former = previous instanceof Table ? previous.state.journal : { since: 0n, obsolete: [] }
  const journal = carriedOver(former, metadata.lastSequenceNumber)
  return new Table(parts, { namespace, name, metadata, metadataLocation, manifests, journal })
}

/**
 * How a table that others may have changed goes on from an earlier state: whether all that was committed up to `base` is part of it
 * (not after a rollback), and whether files that were laid out for `base` mean the same in it.
 */
export async function succession(
  { store }: TableParts,
  base: IcebergTable,
  next: IcebergTable,
): Promise<{ readonly isContinued: boolean; readonly keepsLayouts: boolean }> {
  assert(base instanceof Table && next instanceof Table, 'tables of this module')
  return {
    isContinued: await continues(store, base.state, next.state),
    keepsLayouts: keepsLayouts(base.state.metadata, next.state.metadata),
  }
}

/**
 * Whether the table at `pointer` contains `commit`: how an uncertain commit is resolved. True when its metadata file is the
 * current one or in the log, or its snapshot is main's head or an ancestor of it. False can also mean that it has left both,
 * after many commits of others; so ask soon.
 */
export async function containsCommit(parts: TableParts, pointer: TablePointer, commit: PreparedCommit): Promise<boolean> {
  if (pointer.metadataLocation === commit.metadataLocation) return true
  const metadata = await decodeTableFile(await parts.store.get(pointer.metadataLocation), pointer.metadataLocation)
  if (metadata.metadataLog.some((entry) => entry.metadataFile === commit.metadataLocation)) return true
  if (commit.snapshotId === null) return false
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot.id, snapshot]))
  return ancestry(byId, metadata.currentSnapshotId).some((snapshot) => snapshot.id === commit.snapshotId)
}
