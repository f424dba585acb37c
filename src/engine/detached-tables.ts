import { FrazilError } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { SourceTable } from '../data/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { createTable, loadTable } from '../iceberg/index.ts'
import type { IcebergTable } from '../iceberg/index.ts'
import { locationSegment } from '../storage/index.ts'
import { nameTakenError } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { unlessTableFault } from './policy.ts'
import { checkNotRolledBack, recoverTable } from './recovery.ts'
import type { RecoveryParts } from './recovery.ts'
import type { DetachedTable } from './state-record.ts'

export interface DetachedTableParts extends RecoveryParts {
  readonly catalog: Catalog
  readonly clock: Clock
  readonly random: Random
}

/** A table of the lake by its name; null when the catalog has none. */
export async function loadNamed(
  { store, catalog, clock, random }: Pick<DetachedTableParts, 'store' | 'catalog' | 'clock' | 'random'>,
  name: { readonly namespace: string; readonly name: string },
): Promise<IcebergTable | null> {
  const pointer = await catalog.load(name)
  return pointer && loadTable({ store, clock, random }, pointer)
}

/**
 * A table that the state record says is detached, as of its last lake commit; one that was refused in its first copy is told of, without
 * rows. Null when its name is another table's, when the lake does not have it any more, or when what the lake has cannot be read.
 */
export async function openDetached(parts: DetachedTableParts, entry: DetachedTable): Promise<MirroredTable | null> {
  const { id, namespace, name, position, reason, pushed } = entry
  const common = { health: 'detached', reason, floor: null, committed: position } as const
  const source = (fields: SourceTable['fields']): SourceTable => {
    return { id, sourceName: pushed?.ingest ?? name, namespace, name, fields, key: { kind: 'none' } }
  }
  if (position === null) {
    if (await parts.catalog.load(entry)) return null
    return { ...common, source: source([]), iceberg: unmade(parts, entry), table: null, joined: false }
  }
  let opened: MirroredTable | null = null
  const open = async (): Promise<void> => {
    const iceberg = await loadNamed(parts, entry)
    if (!iceberg) return
    const readable = source(iceberg.schema.fields)
    opened = { ...common, source: readable, iceberg, table: await recoverTable(parts, readable, iceberg), joined: true }
  }
  await open().catch(unlessTableFault)
  return opened
}

/**
 * A table that programs sent rows to, as it can go on: with the rows and the columns that the lake has of it now. Null when the lake has none of
 * this name. Throws what is wrong with it, as `check` does.
 */
export async function reopenPushed(
  parts: DetachedTableParts,
  source: string,
  entry: DetachedTable,
  check: (table: SourceTable) => void,
): Promise<MirroredTable | null> {
  const { id, namespace, name, position, pushed } = entry
  const iceberg = await loadNamed(parts, entry)
  if (!iceberg) return null
  // The lake never had it: what is there under its name is somebody else's.
  if (position === null) throw nameTakenError(entry)
  checkNotRolledBack(source, iceberg)
  const { fields, identifierFieldIds } = iceberg.schema
  const columns = identifierFieldIds.map((column) => fields.findIndex((field) => field.id === column))
  if (columns.includes(-1)) {
    throw new FrazilError('unsupported', 'foreign-schema', `the key of ${namespace}.${name} is not one of columns by now`)
  }
  const table: SourceTable = {
    id,
    sourceName: pushed?.ingest ?? name,
    namespace,
    name,
    fields,
    key: columns.length === 0 ? { kind: 'none' } : { kind: 'columns', columns },
    ...(pushed?.memo === undefined ? {} : { memo: pushed.memo }),
  }
  check(table)
  return {
    source: table,
    iceberg,
    table: await recoverTable(parts, table, iceberg),
    health: 'streaming',
    reason: null,
    floor: null,
    joined: true,
    committed: position,
  }
}

/** What stands for a table that the lake never had: nothing is ever written to it. */
function unmade(parts: DetachedTableParts, { namespace, name }: DetachedTable): IcebergTable {
  const location = `${parts.store.root}/${locationSegment(namespace)}/${locationSegment(name)}`
  return createTable(parts, { namespace, name, location, fields: [], key: [], properties: {} })
}
