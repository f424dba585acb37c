import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import { readRelations, readTableFacts, readVersion } from './catalogue-questions.ts'
import { parseColumnName, quoteName, showName } from './identifiers.ts'
import { chooseTables, withoutDoubleNames } from './table-choice.ts'
import type { Astray, ChoiceRequest } from './table-choice.ts'
import { planTable } from './table-plan.ts'
import type { CodecOf, ColumnSetting, LeftOut, PlanRequest, TablePlan } from './table-plan.ts'
import { readTypeContext } from './type-catalogue.ts'
import { resolveType, textCodec } from './types/index.ts'
import type { OutOfRange, Replaced, TypeContext } from './types/index.ts'

export interface Catalogue {
  readonly plans: readonly TablePlan[]
  readonly leftOut: readonly LeftOut[]
  /** Tables that were added and that nothing can be planned for: not there, no tables, not published. */
  readonly astray: readonly Astray[]
  /** Columns that the settings name and no table has. */
  readonly unknownColumns: readonly string[]
  /** The codec of any type, as far as this database's types are known. */
  readonly codecOf: CodecOf
  /** What the settings say of a column of a table, both as the source names them; null for nothing. */
  settingOf(sourceName: string, column: string): ColumnSetting | null
  /** Asks for types that may have been made since. */
  learnTypes(client: Client, typeOids: readonly number[]): Promise<void>
}

export interface ValueSettings {
  /** What becomes of values that Iceberg cannot hold. Default `error`: their table stops. */
  readonly outOfRange?: OutOfRange
  /** Columns by `schema.table.column`, as SQL identifiers, that are mirrored as their text or have a rule of their own. */
  readonly columns?: Readonly<Record<string, ColumnSetting>>
}

export interface CatalogueRequest extends ValueSettings, ChoiceRequest, PlanRequest {
  /** Types that the columns of {@link ChoiceRequest.known} had. */
  readonly knownTypes: readonly number[]
  readonly replaced: Replaced
}

/**
 * Finds the tables that the settings mean and plans how each is read, all as of one moment: between two statements tables are dropped and made
 * anew. Throws `config` for settings that mean nothing. The connection must not have a transaction open.
 */
export async function readCatalogue(client: Client, request: CatalogueRequest): Promise<Catalogue> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    return await catalogueOfNow(client, request)
  } finally {
    // Of a connection that is lost the error that says so is the other one.
    await client.query('ROLLBACK').catch(() => {})
  }
}

async function catalogueOfNow(client: Client, request: CatalogueRequest): Promise<Catalogue> {
  const { chosen: relations, astray } = chooseTables(await readRelations(client, request.publication), request)
  const chosen = await readTableFacts(client, relations)
  const { context, learn: learnTypes } = await readTypeContext(client, {
    wanted: [...[...chosen.values()].flatMap(({ columns }) => columns.map(({ type }) => type)), ...request.knownTypes],
    outOfRange: request.outOfRange ?? 'error',
    replaced: request.replaced,
  })
  const codecOf = codecsFor(context)
  const settings = new Map(Object.entries(request.columns ?? {}).map(([name, setting]) => [parseColumnName(name), setting]))
  const settingOf = (sourceName: string, column: string): ColumnSetting | null =>
    settings.get(`${sourceName}.${quoteName(column)}`) ?? null
  const rules = { version: await readVersion(client), codecOf, settingOf }

  const plans: TablePlan[] = []
  const leftOut: LeftOut[] = []
  const columnNames = new Set<string>()
  for (const [relation, facts] of chosen) {
    const sourceName = showName(relation.schema, relation.name)
    for (const { name } of facts.columns) columnNames.add(`${sourceName}.${quoteName(name)}`)
    try {
      plans.push(planTable(relation, facts, rules, request))
    } catch (error) {
      if (!(error instanceof FrazilError) || error.kind !== 'unsupported') throw error
      leftOut.push({ id: String(relation.oid), sourceName, error })
    }
  }
  const kept = withoutDoubleNames(plans, request)
  leftOut.push(...kept.leftOut)
  const unknownColumns = Object.keys(request.columns ?? {}).filter((name) => !columnNames.has(parseColumnName(name)))
  return { plans: kept.plans, leftOut, astray, unknownColumns, codecOf, settingOf, learnTypes }
}

function codecsFor(context: TypeContext): CodecOf {
  return (typeOid, modifier, setting) => {
    if (setting === 'text') return textCodec(context)
    return resolveType(typeOid, modifier, setting === null ? context : { ...context, outOfRange: setting })
  }
}
