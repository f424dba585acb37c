import { FrazilError } from '../base/index.ts'
import type { Position, SourceTable } from '../data/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { InterruptedCopy, SourceState } from '../source/index.ts'
import { fullName } from './mirrored-table.ts'

/** What the lake remembers of a source, beside the tables: written by compare-and-set in the same transaction as they are. */
export interface SourceRecord {
  readonly source: string
  readonly type: string
  /** Everything up to here is in the lake. Null until the first copy is in. */
  readonly position: Position | null
  /** What the source asked to be remembered. */
  readonly memo: string | null
  /** What it was before the source was to begin anew. */
  readonly lastMemo?: string | null
  readonly tables: readonly RecordedTable[]
  readonly detached: readonly DetachedTable[]
  /** Folders with files of copies that are in no snapshot: leftovers to be deleted when the process dies before the end. */
  readonly copying: readonly string[]
  /** `namespace.table` of tables that were asked to be copied again and are not yet. */
  readonly again?: readonly string[]
}

/** A table in the lake, healthy and complete. `floor`: changes before it are in the copy. */
export interface RecordedTable {
  readonly table: SourceTable
  readonly floor: Position
}

/** A table that cannot go on: it stays readable as of its last lake commit until it is copied anew. */
export interface DetachedTable {
  readonly id: string
  readonly namespace: string
  readonly name: string
  /** The last position that its rows contain; null when it never had any. */
  readonly position: Position | null
  readonly reason: string
  /** Of one that programs sent rows to, so that it can go on: the name by which they did, and what its source remembered of it. */
  readonly pushed?: PushedName
}

export interface PushedName {
  readonly ingest: string
  readonly memo?: string | undefined
}

/** Where the catalog has the state record of a source. */
export function sourceStateKey(source: string): string {
  return `source/${source}`
}

function tableStateKey(source: string, id: string): string {
  return tableStatePrefix(source) + id
}

function tableStatePrefix(source: string): string {
  return `table/${source}/`
}

export function emptyRecord(source: string, type: string): SourceRecord {
  return { source, type, position: null, memo: null, tables: [], detached: [], copying: [] }
}

/** What a source is told of it. A detached table that is to be copied again is no longer held back. */
export function sourceState(
  { position, memo, lastMemo, tables, detached, again = [] }: SourceRecord,
  copies: readonly InterruptedCopy[],
): SourceState {
  return {
    position,
    // Without a position it is of use only to copies that go on.
    memo: position === null && copies.length === 0 ? null : memo,
    lastMemo: memo ?? lastMemo ?? null,
    copies,
    tables,
    detached: detached.filter((table) => !again.includes(fullName(table))).map(({ id }) => id),
    left: detached,
    again: [...tables.map(({ table }) => table), ...detached]
      .filter((table) => again.includes(fullName(table)))
      .map(({ namespace, name }) => ({ namespace, name })),
  }
}

/** What the catalog has of a table, in a record of its own, so that a commit costs nothing for the tables that it does not touch. */
interface StoredTable {
  readonly entry: RecordedTable
  /** Of its record; null where it has none yet, undefined when it has to be asked. */
  readonly version: number | null | undefined
}

/** A source's records as they are in the catalog, by which the next ones are written. */
export interface StoredRecord {
  readonly record: SourceRecord
  /** Null while there is none, undefined when it has to be asked. */
  readonly version: number | null | undefined
  /** By the source's id. */
  readonly tables: ReadonlyMap<string, StoredTable>
}

/** The next state of a source on its way into the catalog. */
export interface RecordChange {
  /** The source's own record comes first: whoever writes anything of a source writes that, and its version decides. */
  readonly states: readonly StateChange[]
  /** When it has landed. */
  readonly next: StoredRecord
}

/**
 * Reads all records of a source; null when the lake does not know it. While somebody writes they may be of two moments. Throws `config`
 * for those of a newer version, `corrupt` for anything else that is not one.
 */
export async function readRecord(catalog: Catalog, source: string): Promise<StoredRecord | null> {
  const stored = await catalog.state(sourceStateKey(source))
  if (!stored) return null
  const { version } = stored
  const { format, content } = parse(stored.value)
  if (format === 1) {
    // Written by us alone, as all below.
    const record = content as SourceRecord
    return { record, version, tables: new Map(record.tables.map((entry) => [entry.table.id, { entry, version: null }])) }
  }
  const tables = new Map<string, StoredTable>()
  for (const state of await catalog.states(tableStatePrefix(source))) {
    const entry = parse(state.value).content as RecordedTable
    tables.set(entry.table.id, { entry, version: state.version })
  }
  const record = { ...(content as SourceRecord), tables: [...tables.values()].map(({ entry }) => entry) }
  return { record, version, tables }
}

export type Remembered = Pick<SourceRecord, 'memo' | 'position'>

/** What a source asked to be remembered, and its position; see {@link readRecord}. */
export async function readRemembered(catalog: Catalog, source: string): Promise<Remembered> {
  const stored = await catalog.state(sourceStateKey(source))
  if (stored === null) return { memo: null, position: null }
  const { memo, lastMemo, position } = parse(stored.value).content as SourceRecord
  return { memo: memo ?? lastMemo ?? null, position }
}

/** What has to be written so that the catalog has `record` in the place of `stored`. Asks it for versions where they are not known. */
export async function changeRecord(catalog: Catalog, stored: StoredRecord, record: SourceRecord): Promise<RecordChange> {
  const { source } = record
  const key = sourceStateKey(source)
  const versionOf = async (known: number | null | undefined, of: string): Promise<number | null> =>
    known === undefined ? ((await catalog.state(of))?.version ?? null) : known
  const expected = await versionOf(stored.version, key)
  const { tables: entries, ...own } = record
  const states: StateChange[] = [{ key, expected, value: JSON.stringify({ format: 2, ...own }) }]
  const tables = new Map<string, StoredTable>()
  for (const entry of entries) {
    const { id } = entry.table
    const known = stored.tables.get(id)
    if (known && known.version !== null && isSame(known.entry, entry)) {
      tables.set(id, known)
      continue
    }
    const of = tableStateKey(source, id)
    const version = await versionOf(known ? known.version : null, of)
    states.push({ key: of, expected: version, value: JSON.stringify({ format: 2, ...entry }) })
    tables.set(id, { entry, version: after(version) })
  }
  for (const [id, { version }] of stored.tables) {
    if (tables.has(id) || version === null) continue
    const of = tableStateKey(source, id)
    states.push({ key: of, expected: await versionOf(version, of), value: null })
  }
  return { states, next: { record, version: after(expected), tables } }
}

/** Who makes a record has to ask for its version: it may have been there before. */
function after(version: number | null): number | undefined {
  return version === null ? undefined : version + 1
}

function isSame(a: RecordedTable, b: RecordedTable): boolean {
  return a.floor === b.floor && (a.table === b.table || JSON.stringify(a.table) === JSON.stringify(b.table))
}

/** The records of this version; those of the first had the tables in them. */
const recordFormats: readonly unknown[] = [1, 2]

function parse(text: string): { readonly format: unknown; readonly content: unknown } {
  let record: unknown
  try {
    record = JSON.parse(text)
  } catch (cause) {
    throw new FrazilError('corrupt', 'state-record', 'the state record of a source is not JSON', { cause })
  }
  if (typeof record !== 'object' || record === null || !('format' in record)) {
    throw new FrazilError('corrupt', 'state-record', 'the state record of a source has no format version')
  }
  if (!recordFormats.includes(record.format)) {
    throw new FrazilError(
      'config',
      'newer-format',
      `this lake was written by a newer version (state record format ${String(record.format)})`,
      { hint: 'Install the newer version of frazil again.' },
    )
  }
  const { format, ...content } = record
  return { format, content }
}
