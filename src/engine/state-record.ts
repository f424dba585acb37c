import { FrazilError } from '../base/index.ts'
import type { Position, SourceTable } from '../data/index.ts'
import type { InterruptedCopy, SourceState } from '../source/index.ts'
import { fullName } from './mirrored-table.ts'

/**
 * What the lake remembers of a source, beside the tables: written by compare-and-set in the same transaction as they are. JSON
 * in the catalog's state records under `source/<name>`.
 */
export interface SourceRecord {
  readonly format: 1
  readonly source: string
  readonly type: string
  /** Everything up to here is in the lake. Null until the first copy is in. */
  readonly position: Position | null
  /** What the source asked to be remembered. */
  readonly memo: string | null
  /** Tables in the lake, healthy and complete. `floor`: changes before it are in the copy. */
  readonly tables: readonly { readonly table: SourceTable; readonly floor: Position }[]
  readonly detached: readonly DetachedTable[]
  /** Folders with files of copies that are in no snapshot: leftovers to be deleted when the process dies before the end. */
  readonly copying: readonly string[]
  /** `namespace.table` of tables that were asked to be copied again and are not yet. */
  readonly again?: readonly string[]
}

/** A table that cannot go on: it stays readable as of its last lake commit until it is copied anew. */
export interface DetachedTable {
  readonly id: string
  readonly namespace: string
  readonly name: string
  /** The last position that its rows contain; null when it never had any. */
  readonly position: Position | null
  readonly reason: string
}

export function sourceStateKey(source: string): string {
  return `source/${source}`
}

export function emptyRecord(source: string, type: string): SourceRecord {
  return { format: 1, source, type, position: null, memo: null, tables: [], detached: [], copying: [] }
}

/** What a source is told of it. A detached table that is to be copied again is no longer held back. */
export function sourceState(
  { position, memo, tables, detached, again = [] }: SourceRecord,
  copies: readonly InterruptedCopy[],
): SourceState {
  return {
    position,
    // Without a position it is of use only to copies that go on.
    memo: position === null && copies.length === 0 ? null : memo,
    copies,
    tables,
    detached: detached.filter((table) => !again.includes(fullName(table))).map(({ id }) => id),
    left: detached,
    again: [...tables.map(({ table }) => table), ...detached]
      .filter((table) => again.includes(fullName(table)))
      .map(({ namespace, name }) => ({ namespace, name })),
  }
}

/** Throws `config` for a record of a newer version, `corrupt` for anything else that is not one. */
export function parseRecord(text: string): SourceRecord {
  let record: unknown
  try {
    record = JSON.parse(text)
  } catch (cause) {
    throw new FrazilError('corrupt', 'state-record', 'the state record of a source is not JSON', { cause })
  }
  if (typeof record !== 'object' || record === null || !('format' in record)) {
    throw new FrazilError('corrupt', 'state-record', 'the state record of a source has no format version')
  }
  if (record.format !== 1) {
    throw new FrazilError(
      'config',
      'newer-format',
      `this lake was written by a newer version (state record format ${String(record.format)})`,
      {
        hint: 'Install the newer version of frazil again.',
      },
    )
  }
  // Written by us alone, in one catalog transaction with the tables; its format version was just checked.
  return record as SourceRecord
}
