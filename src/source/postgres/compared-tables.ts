import { FrazilError } from '../../base/index.ts'
import type { Position, SourceEvent, SourceTable } from '../../data/index.ts'
import { sameType } from '../../data/index.ts'
import type { SourceState } from '../source.ts'
import { publishedSignature } from './borrowed-publication.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import type { Catalogue } from './catalogue.ts'
import { completePart } from './copy-parts.ts'
import type { PartialCopy } from './copy-parts.ts'
import { attributeOf } from './kept-columns.ts'
import { missedChanges } from './membership.ts'
import type { Memo } from './memo.ts'
import type { PublicationFacts } from './preflight.ts'
import type { KnownTable } from './shape-change.ts'
import { readShapeMemo, withoutLook } from './shape-memo.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

/** A table of the lake that goes on: as it was when its last rows went into the lake, and what it is called now. */
export interface GoingOn extends KnownTable {
  readonly floor: Position
  readonly plan: TablePlan
}

export interface ComparedTables {
  readonly known: readonly GoingOn[]
  readonly toCopy: readonly TablePlan[]
  readonly failed: readonly SourceEvent[]
}

/** Which tables go on, which begin, and which cannot: what the lake has beside what the server has now. */
export function compareTables(catalogue: Catalogue, state: SourceState | null, source: string): ComparedTables {
  const failed: SourceEvent[] = catalogue.leftOut.map(({ id, error }) => ({ type: 'failed', table: id, error }))
  const known: GoingOn[] = []
  const byId = new Map(catalogue.plans.map((plan) => [plan.source.id, plan]))
  const taken = new Set<string>()
  for (const { table, floor } of state?.tables ?? []) {
    const name = `${table.namespace}.${table.name}`
    taken.add(name)
    const plan = byId.get(table.id)
    const fail = (code: string, message: string, hint = `frazil resync ${name}`): void => {
      failed.push({
        type: 'failed',
        table: table.id,
        error: new FrazilError('unsupported', code, message, { hint, table: name }),
      })
    }
    const again = catalogue.plans.some(({ source: other }) => other.sourceName === table.sourceName && other.id !== table.id)
    if (again && plan) {
      fail('table-renamed', `table ${table.sourceName} was renamed at the source, and its name belongs to another one`)
    } else if (again) {
      fail('table-recreated', `table ${table.sourceName} was dropped at the source, and its name belongs to another one`)
    } else if (!plan) {
      if (catalogue.leftOut.some(({ id }) => id === table.id)) continue
      fail(
        'table-gone',
        `table ${table.sourceName} was dropped at the source, or is not among the tables of source ${source} any more`,
        `its rows in the lake stay as they are; to go on with it make it again there, or name it in "tables", and then frazil resync ${name}`,
      )
    } else {
      const before = asBefore(table, plan, catalogue)
      if (before) known.push({ ...before, floor, plan })
      else
        fail(
          'schema-changed',
          `table ${table.sourceName} has other columns or another key than the lake has, or is read otherwise`,
        )
    }
  }
  const had = new Set(state?.tables.map(({ table }) => table.id))
  const toCopy = catalogue.plans.filter(
    ({ source: { id, namespace, name } }) => !had.has(id) && !taken.has(`${namespace}.${name}`),
  )
  return { known, toCopy, failed }
}

/** Plans of tables that go on, and were asked to be copied again before the last start. */
export function askedAgain(known: readonly GoingOn[], state: SourceState | null): TablePlan[] {
  const asked = new Set(state?.again?.map(({ namespace, name }) => `${namespace}.${name}`))
  return known
    .filter(({ table }) => asked.has(`${table.namespace}.${table.name}`))
    .map(({ table, plan }) => underName(plan, table))
}

/** The plan of a table under the names by which the lake and the settings know it: it may have been renamed at the source since. */
export function underName(plan: TablePlan, { namespace, name, sourceName }: SourceTable): TablePlan {
  return { ...plan, source: { ...plan.source, namespace, name, sourceName } }
}

/**
 * Tables of the lake whose changes were not all published while we were away: the server decodes by the publication as it was at
 * each change, so what happened meanwhile never comes, however soon the table is put back.
 */
export function notPublished<T extends { readonly table: SourceTable; readonly plan: TablePlan }>(
  known: readonly T[],
  now: {
    readonly source: string
    readonly publication: PublicationFacts | null
    readonly borrowed: BorrowedPublication | null
    readonly memo: Memo | null
    /** How they are published now, see `readMemberships`. */
    readonly memberships: ReadonlyMap<string, string>
  },
): Map<T, SourceEvent> {
  const { source, publication, borrowed, memo, memberships } = now
  const failed = new Map<T, SourceEvent>()
  for (const entry of known) {
    const { table, plan } = entry
    const whole = publication !== null && publication.complete && publication.viaRoot
    const before = table.memo === undefined ? undefined : readShapeMemo(table.memo).memo.member
    const missed = missedChanges(source, table, before, memberships.get(table.id))
    const isSame = borrowed
      ? memo?.published?.[plan.oid] === publishedSignature(borrowed, plan.oid)
      : whole && (publication.everything || publication.tables.includes(plan.oid))
    if (isSame && missed === null) continue
    const error = isSame
      ? missed
      : new FrazilError(
          'unsupported',
          'not-published',
          borrowed
            ? `publication of source ${source}: other rows of table ${table.sourceName} are published than before`
            : `table ${table.sourceName} was not in the publication of source ${source} all the time: changes are missing`,
          { hint: `frazil resync ${table.namespace}.${table.name}`, table: `${table.namespace}.${table.name}` },
        )
    if (error) failed.set(entry, { type: 'failed', table: table.id, error })
  }
  return failed
}

/** What a lake has of copies that were interrupted, by the table's id: of tables that are as they were, and were published all the time. */
export function interruptedCopies(
  state: SourceState | null,
  plans: readonly TablePlan[],
  now: Parameters<typeof notPublished>[1],
): Map<string, PartialCopy> {
  if (now.memo === null) return new Map()
  const same = (state?.copies ?? []).flatMap(({ table, plan: text, parts }) => {
    const plan = plans.find(({ source }) => source.id === table.id)
    if (!plan || looks(plan.source) !== looks(table)) return []
    return { table, plan, partial: { plan: text, complete: new Map(parts.map((part) => [part.part, completePart(part)])) } }
  })
  const missed = notPublished(same, now)
  return new Map(same.filter((copy) => !missed.has(copy)).map(({ table, partial }) => [table.id, partial]))
}

function looks(table: SourceTable): string {
  return JSON.stringify({ ...table, memo: table.memo === undefined ? null : withoutLook(table.memo) })
}

/**
 * The table as it was at the lake's position: the stream goes on from there, and tells of later changes in their place. Null when
 * its values cannot be read any more as they were.
 */
function asBefore(table: SourceTable, plan: TablePlan, catalogue: Catalogue): KnownTable | null {
  if (table.memo === undefined || table.columnIds === undefined) {
    // From a version that did not remember what columns are.
    if (!sameTable(table, plan.source)) return null
    const { columnIds, memo } = plan.source
    return { table: { ...table, columnIds, memo }, columns: plan.columns, memo: plan.memo }
  }
  const { memo, types } = readShapeMemo(table.memo)
  const columns: PlannedColumn[] = []
  for (const [i, wire] of types.entries()) {
    const { name, type } = table.fields[i]
    const setting = catalogue.settingOf(table.sourceName, name)
    const codec = catalogue.codecOf(wire.typeOid, wire.modifier, setting)
    if (!codec || !sameType(codec.type, type)) return null
    columns.push({ id: attributeOf(table.columnIds[i]), name, ...wire, codec, setting })
  }
  return { table, columns, memo }
}

function sameTable(a: SourceTable, b: SourceTable): boolean {
  return (
    JSON.stringify(a.key) === JSON.stringify(b.key) &&
    a.fields.length === b.fields.length &&
    a.fields.every((field, i) => {
      const other = b.fields[i]
      return field.name === other.name && field.required === other.required && sameType(field.type, other.type)
    })
  )
}
