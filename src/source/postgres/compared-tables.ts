import { FrazilError } from '../../base/index.ts'
import type { Position, SourceEvent, SourceTable } from '../../data/index.ts'
import { sameType } from '../../data/index.ts'
import type { SourceState } from '../source.ts'
import { publishedSignature } from './borrowed-publication.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import type { Catalogue, TablePlan } from './catalogue.ts'
import type { Memo } from './memo.ts'
import type { PublicationFacts } from './preflight.ts'

export interface ComparedTables {
  readonly known: readonly { readonly table: SourceTable; readonly floor: Position; readonly plan: TablePlan }[]
  readonly toCopy: readonly TablePlan[]
  readonly failed: readonly SourceEvent[]
}

/** Which tables go on, which begin, and which cannot: what the lake has beside what the server has now. */
export function compareTables(catalogue: Catalogue, state: SourceState | null, source: string): ComparedTables {
  const failed: SourceEvent[] = catalogue.leftOut.map(({ id, error }) => ({ type: 'failed', table: id, error }))
  const known: ComparedTables['known'][number][] = []
  const byId = new Map(catalogue.plans.map((plan) => [plan.source.id, plan]))
  const taken = new Set<string>()
  for (const { table, floor } of state?.tables ?? []) {
    const name = `${table.namespace}.${table.name}`
    taken.add(name)
    const plan = byId.get(table.id)
    const fail = (code: string, message: string): void => {
      const hint = `frazil resync ${name}`
      failed.push({
        type: 'failed',
        table: table.id,
        error: new FrazilError('unsupported', code, message, { hint, table: name }),
      })
    }
    if (!plan) {
      if (catalogue.leftOut.some(({ id }) => id === table.id)) continue
      const again = catalogue.plans.some((other) => other.source.sourceName === table.sourceName)
      if (again) fail('table-recreated', `table ${table.sourceName} was dropped and made again at the source`)
      else
        fail(
          'table-gone',
          `table ${table.sourceName} was dropped at the source, or is not among the tables of source ${source} any more`,
        )
    } else if (!sameTable(table, plan.source)) {
      fail('schema-changed', `table ${table.sourceName} has other columns or another key than the lake has`)
    } else {
      known.push({ table, floor, plan })
    }
  }
  const had = new Set(state?.tables.map(({ table }) => table.id))
  const toCopy = catalogue.plans.filter(
    ({ source: { id, namespace, name } }) => !had.has(id) && !taken.has(`${namespace}.${name}`),
  )
  return { known, toCopy, failed }
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
  },
): Map<T, SourceEvent> {
  const { source, publication, borrowed, memo } = now
  const failed = new Map<T, SourceEvent>()
  for (const entry of known) {
    const { table, plan } = entry
    const whole = publication !== null && publication.complete && publication.viaRoot
    if (borrowed ? memo?.published?.[plan.oid] === publishedSignature(borrowed, plan.oid) : false) continue
    if (!borrowed && whole && (publication.everything || publication.tables.includes(plan.oid))) continue
    const error = new FrazilError(
      'unsupported',
      'not-published',
      borrowed
        ? `publication of source ${source}: other rows of table ${table.sourceName} are published than before`
        : `table ${table.sourceName} was not in the publication of source ${source} all the time: changes are missing`,
      { hint: 'copy it anew with frazil resync', table: `${table.namespace}.${table.name}` },
    )
    failed.set(entry, { type: 'failed', table: table.id, error })
  }
  return failed
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
