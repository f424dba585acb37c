import { FrazilError } from '../../base/index.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import type { RelationRow } from './catalogue-questions.ts'
import { parseShownName, parseTablePattern, quoteName, showName } from './identifiers.ts'
import type { TablePattern } from './identifiers.ts'
import type { LeftOut, TablePlan } from './table-plan.ts'

export interface ChoiceRequest {
  readonly source: string
  readonly tables: readonly string[]
  /** Names of tables that were added while the source ran. What is wrong with one of them ends it alone, not the start. */
  readonly added?: readonly string[]
  /** Ids of tables that are not read any more. */
  readonly detached: ReadonlySet<string>
  /**
   * Tables that the lake has: id → the name that they had at the source. They are chosen by that name too, so that a table that was
   * renamed is read on; when they are gone that is their failure, not a mistake in the settings.
   */
  readonly known: ReadonlyMap<string, string>
  /** Publication whose tables need no right to be added. */
  readonly publication: string
  /** What that one sends, if it is not ours. */
  readonly borrowed: BorrowedPublication | null
  /** Collects what is wrong with the settings, so that everything is found at once; without it the first is thrown. */
  readonly mistakes?: FrazilError[]
}

/** A name that was added and for which nothing can be planned. */
export interface Astray {
  /** As in {@link ChoiceRequest.added}. */
  readonly name: string
  readonly error: FrazilError
}

/** The tables that the settings and the added names mean. Throws `config` for settings that mean nothing. */
export function chooseTables(
  relations: readonly RelationRow[],
  request: ChoiceRequest,
): { readonly chosen: RelationRow[]; readonly astray: Astray[] } {
  const known = Array.from(request.known.values(), parseShownName)
  const own = request.tables.map(parseTablePattern)
  const patterns = [...own, ...(request.added ?? []).map(parseTablePattern)]
  const astray: Astray[] = []
  for (const pattern of patterns) {
    const wrong = (code: string, message: string, hint: string): void => {
      const error = new FrazilError('config', code, message, { hint })
      if (own.includes(pattern)) mistake(request, error)
      else astray.push({ name: pattern.text, error })
    }
    const found = relations.filter((relation) => pattern.matches(relation.schema, relation.name))
    if (found.length === 0 && pattern.exact && !known.some(({ schema, table }) => pattern.matches(schema, table))) {
      const message = `source ${request.source}: the database has no table ${pattern.text}`
      wrong('unknown-table', message, nearest(relations, pattern))
    }
    const odd = pattern.exact ? found.find((relation) => relation.kind !== 'r' && relation.kind !== 'p') : undefined
    if (odd) {
      const what = odd.kind === 'f' ? 'a foreign table' : odd.kind === 'v' ? 'a view' : 'a materialized view'
      const message = `source ${request.source}: ${showName(odd.schema, odd.name)} is ${what}, whose changes Postgres does not tell`
      wrong('not-a-table', message, 'name the tables behind it')
    }
    const hidden = pattern.exact && !odd ? found.find(({ oid }) => !isPublished(request, oid)) : undefined
    if (hidden) {
      const name = showName(hidden.schema, hidden.name)
      const message = `source ${request.source}: publication ${request.publication} does not send table ${name}`
      const sql = `${quoteName(hidden.schema)}.${quoteName(hidden.name)}`
      const hint =
        hidden.kind === 'p'
          ? `name its partitions; or: ALTER PUBLICATION ${quoteName(request.publication)} SET (publish_via_partition_root = true)`
          : `ALTER PUBLICATION ${quoteName(request.publication)} ADD TABLE ${sql}`
      wrong('not-in-publication', message, hint)
    }
  }
  const chosen = relations.filter((relation) => {
    const id = String(relation.oid)
    if ((relation.kind !== 'r' && relation.kind !== 'p') || request.detached.has(id)) return false
    if (!isPublished(request, relation.oid)) return false
    const name = request.known.get(id)
    const names = [{ schema: relation.schema, table: relation.name }, ...(name === undefined ? [] : [parseShownName(name)])]
    return patterns.some(
      (pattern) => (pattern.exact || !relation.leaf) && names.some(({ schema, table }) => pattern.matches(schema, table)),
    )
  })
  return { chosen, astray }
}

/** The settings' own tables keep their names; of those that were added the ones that would have the name of another are left out. */
export function withoutDoubleNames(
  plans: readonly TablePlan[],
  request: ChoiceRequest,
): { readonly plans: TablePlan[]; readonly leftOut: LeftOut[] } {
  const own = request.tables.map(parseTablePattern)
  const isOwn = ({ schema, table, source }: TablePlan): boolean => {
    const before = parseShownName(request.known.get(source.id) ?? source.sourceName)
    return own.some((pattern) => pattern.matches(schema, table) || pattern.matches(before.schema, before.table))
  }
  const seen = new Map<string, TablePlan>()
  const leftOut: LeftOut[] = []
  const ordered = [...plans.filter(isOwn), ...plans.filter((plan) => !isOwn(plan))]
  const kept = ordered.filter((plan) => {
    const { id, sourceName, namespace, name: bare } = plan.source
    const name = `${namespace}.${bare}`
    const other = seen.get(name)
    seen.set(name, other ?? plan)
    if (!other) return true
    const message = `tables ${other.source.sourceName} and ${sourceName} would both become ${name}`
    const hint = "give the source another 'into', for example '{source}.{schema}_{table}'"
    if (isOwn(plan)) mistake(request, new FrazilError('config', 'same-name-twice', message, { hint }))
    else leftOut.push({ id, sourceName, error: new FrazilError('unsupported', 'same-name-twice', message, { hint }) })
    return false
  })
  return { plans: kept, leftOut }
}

function isPublished({ borrowed }: ChoiceRequest, oid: number): boolean {
  return borrowed === null || borrowed.members.has(oid)
}

function mistake(request: ChoiceRequest, error: FrazilError): void {
  if (!request.mistakes) throw error
  request.mistakes.push(error)
}

function nearest(relations: readonly RelationRow[], pattern: TablePattern): string {
  const bare = pattern.text.split('.').at(-1)?.replaceAll('"', '').toLowerCase()
  const similar = relations.filter((relation) => relation.name.toLowerCase() === bare)
  if (similar.length > 0) return `there is ${similar.map((relation) => showName(relation.schema, relation.name)).join(', ')}`
  return 'check schema and name; names with capitals need double quotes'
}
