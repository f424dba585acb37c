import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { SourceEvent, SourceTable } from '../../data/index.ts'
import type { TableName } from '../source.ts'
import { readBorrowed } from './borrowed-publication.ts'
import { readCatalogue } from './catalogue.ts'
import type { Catalogue, CatalogueRequest, TablePlan } from './catalogue.ts'
import { underName } from './compared-tables.ts'
import { isBorrowed } from './ownership.ts'
import type { Names } from './ownership.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { readPublication } from './preflight.ts'
import type { ReplacedValues } from './replaced-values.ts'
import type { StreamTable } from './stream-table.ts'

type CatalogueSettings = Omit<CatalogueRequest, 'borrowed' | 'detached' | 'known' | 'knownTypes'>

/** What the settings say about tables. */
export function catalogueSettings(config: PostgresConfig, names: Names, replaced: ReplacedValues): CatalogueSettings {
  return {
    source: config.name,
    tables: config.tables,
    into: config.into ?? null,
    publication: names.publication,
    outOfRange: config.outOfRange,
    columns: config.columns,
    replaced,
  }
}

const defaultEveryMs = 10_000

export interface TableFinderOptions {
  readonly names: Names
  readonly version: number
  readonly settings: CatalogueSettings
  /** How often to look for new tables. Default 10 seconds. */
  readonly everyMs?: number
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly asking: <T>(ask: (client: Client) => Promise<T>) => Promise<T>
  readonly notice: (message: string, hint?: string) => void
}

/** Finds tables of the settings at the server while the source runs. */
export class TableFinder {
  readonly #options: TableFinderOptions

  constructor(options: TableFinderOptions) {
    this.#options = options
  }

  /**
   * The plan for a table by its Iceberg name, also for one that was detached; or, when nothing has that name by now, for the one of the
   * `known` that had it. Throws `request`, or what is wrong with it.
   */
  async find({ namespace, name }: TableName, known: readonly SourceTable[]): Promise<TablePlan> {
    const { plans, leftOut } = await this.#read(known)
    const plan = plans.find(({ source }) => source.namespace === namespace && source.name === name)
    if (plan) return plan
    const renamed = known.find((table) => table.namespace === namespace && table.name === name)
    const now = renamed && plans.find(({ source }) => source.id === renamed.id)
    if (now) return underName(now, renamed)
    const refused = leftOut.find(({ error }) => error.table === `${namespace}.${name}`)
    if (refused) throw refused.error
    const { source } = this.#options.settings
    throw new FrazilError('request', 'unknown-table', `source ${source} has no table ${namespace}.${name}`, {
      hint: 'it was dropped at the source, or is not among its tables in the configuration',
    })
  }

  /** Tells of tables that were made since and match a pattern, until the source is closed. */
  async *watch(
    known: { readonly known: readonly StreamTable[]; readonly catalogue: Catalogue; readonly detached: readonly string[] },
    found: (plans: readonly TablePlan[]) => void,
  ): AsyncGenerator<readonly SourceEvent[], void> {
    const { clock, closing, everyMs = defaultEveryMs, notice } = this.#options
    const seen = new Set(known.detached)
    for (const { table } of known.known) seen.add(table.id)
    for (const { source } of known.catalogue.plans) seen.add(source.id)
    for (const { id } of known.catalogue.leftOut) seen.add(id)
    for (;;) {
      await clock.sleep(everyMs, closing)
      if (closing.aborted) return
      let now: Catalogue
      try {
        now = await this.#read([])
      } catch (error) {
        // The stream notices a server that has gone; a table named in the settings may be gone as well.
        if (error instanceof FrazilError) continue
        throw error
      }
      for (const { id, error } of now.leftOut) if (!seen.has(id)) notice(error.message, error.hint)
      found(now.plans.filter(({ source }) => !seen.has(source.id)))
      for (const { id } of [...now.leftOut, ...now.plans.map(({ source }) => source)]) seen.add(id)
      yield []
    }
  }

  /** Tables as they are at the server now, also those that were detached. */
  #read(known: readonly SourceTable[]): Promise<Catalogue> {
    const { asking, names, version, settings } = this.#options
    return asking(async (client) => {
      const isOther = isBorrowed(names, await readPublication(client, names.publication))
      const borrowed = isOther ? await readBorrowed(client, names.publication, version) : null
      return readCatalogue(client, {
        ...settings,
        borrowed,
        detached: new Set(),
        known: new Map(known.map(({ id, sourceName }) => [id, sourceName])),
        knownTypes: [],
      })
    })
  }
}
