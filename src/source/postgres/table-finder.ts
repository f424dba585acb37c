import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { SourceEvent, SourceTable } from '../../data/index.ts'
import type { TableName } from '../source.ts'
import { readBorrowed } from './borrowed-publication.ts'
import type { BorrowedPublication } from './borrowed-publication.ts'
import { readCatalogue } from './catalogue.ts'
import { digestRelations } from './catalogue-questions.ts'
import type { Catalogue, CatalogueRequest } from './catalogue.ts'
import { underName } from './compared-tables.ts'
import { parseShownName, parseTablePattern } from './identifiers.ts'
import type { TablePattern } from './identifiers.ts'
import { isBorrowed } from './ownership.ts'
import type { Names } from './ownership.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { readPublication } from './preflight.ts'
import type { ReplacedValues } from './replaced-values.ts'
import type { StreamTable } from './stream-table.ts'
import type { TablePlan } from './table-plan.ts'

type CatalogueSettings = Omit<CatalogueRequest, 'borrowed' | 'detached' | 'known' | 'knownTypes'>

/** What the settings say about tables. */
export function catalogueSettings(config: PostgresConfig, names: Names, replaced: ReplacedValues): CatalogueSettings {
  return {
    source: config.name,
    tables: config.tables,
    added: config.added,
    into: config.into ?? null,
    publication: names.publication,
    outOfRange: config.outOfRange,
    columns: config.columns,
    replaced,
  }
}

const defaultEveryMs = 10_000

/** The server's tables as they are now. */
interface Look {
  readonly catalogue: Catalogue
  readonly borrowed: BorrowedPublication | null
}

export interface TableFinderOptions {
  readonly names: Names
  readonly version: number
  readonly settings: CatalogueSettings
  /** What the source has begun with. */
  readonly known: {
    readonly known: readonly StreamTable[]
    readonly catalogue: Pick<Catalogue, 'plans' | 'leftOut'>
    readonly detached: readonly string[]
  }
  /** How often to look for new tables. Default 10 seconds. */
  readonly everyMs?: number
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly asking: <T>(ask: (client: Client) => Promise<T>) => Promise<T>
  /** Has tables copied, and read from then on. */
  readonly take: (plans: readonly TablePlan[], borrowed: BorrowedPublication | null) => void
  readonly notice: (message: string, hint?: string) => void
}

/** Finds tables at the server while the source runs: those of the settings, and those that somebody asks for by name. */
export class TableFinder {
  readonly #options: TableFinderOptions
  #added: readonly string[]
  /** Ids of tables that are read, are to be copied, or were detached. */
  readonly #taken: Set<string>
  /** Ids of tables that are left out, which was said. */
  readonly #told: Set<string>
  /** Of the server at the last look of the watch; null when what it is compared with has changed since. */
  #seen: string | null = null

  constructor(options: TableFinderOptions) {
    this.#options = options
    const { known, catalogue, detached } = options.known
    this.#added = options.settings.added ?? []
    this.#taken = new Set([...detached, ...known.map(({ table }) => table.id), ...catalogue.plans.map(({ source }) => source.id)])
    this.#told = new Set(catalogue.leftOut.map(({ id }) => id))
  }

  /**
   * Has a table copied again by its Iceberg name, also one that was detached; or, when nothing has that name by now, the one of the
   * `known` that had it. Throws `request`, or what is wrong with it.
   */
  async again({ namespace, name }: TableName, known: readonly SourceTable[]): Promise<void> {
    const { catalogue, borrowed } = await this.#look(known, this.#added)
    const { plans, leftOut } = catalogue
    const plan = plans.find(({ source }) => source.namespace === namespace && source.name === name)
    const renamed = known.find((table) => table.namespace === namespace && table.name === name)
    const now = renamed && plans.find(({ source }) => source.id === renamed.id)
    // Tables that have taken each other's names are those that they were until the next start.
    const isOther = known.some((table) => table.id === plan?.source.id && !(table.namespace === namespace && table.name === name))
    if (plan && !(isOther && now)) return this.#options.take([plan], borrowed)
    if (now) return this.#options.take([underName(now, renamed)], borrowed)
    const refused = leftOut.find(({ error }) => error.table === `${namespace}.${name}`)
    if (refused) throw refused.error
    const { source } = this.#options.settings
    const message = `there is nothing to copy ${namespace}.${name} from: its table was dropped at source ${source}, or is not among the source's tables any more`
    throw new FrazilError('request', 'unknown-table', message, {
      hint: 'its rows in the lake stay as they are; to go on with it make it again there, or name it in "tables", and then frazil resync it',
    })
  }

  /** The table of this name, as it would be read. Throws `request`: `unknown-table`, `table-refused`. */
  async examine(text: string): Promise<SourceTable> {
    return (await this.#named(text)).plan.source
  }

  /** The same table is read from now on; one that is already goes on. */
  async include(text: string): Promise<void> {
    const { plan, borrowed } = await this.#named(text)
    if (!this.#added.includes(text)) this.#added = [...this.#added, text]
    const { id } = plan.source
    if (this.#taken.has(id)) return
    this.#taken.add(id)
    this.#options.take([plan], borrowed)
  }

  /** The name or pattern in the settings by which the table is read without being asked for; null: none. */
  async namedBy(text: string): Promise<string | null> {
    const { schema, table } = parseShownName(text)
    const matching = this.#options.settings.tables.map(parseTablePattern).filter((pattern) => pattern.matches(schema, table))
    const named = matching.find(({ exact }) => exact)
    if (named || matching.length === 0) return named?.text ?? null
    const { plans, leftOut } = (await this.#look([], [])).catalogue
    const isMeant = ({ sourceName }: { readonly sourceName: string }): boolean => sourceName === text
    return plans.some(({ source }) => isMeant(source)) || leftOut.some(isMeant) ? matching[0].text : null
  }

  /** The table is not read any more, and may be included again. */
  exclude(text: string, ids: readonly string[]): void {
    this.#seen = null
    this.#added = this.#added.filter((name) => name !== text)
    for (const id of ids) this.#taken.delete(id)
  }

  async #named(text: string): Promise<{ readonly plan: TablePlan; readonly borrowed: BorrowedPublication | null }> {
    const pattern = namePattern(text)
    const { catalogue, borrowed } = await this.#look([], [...this.#added, text])
    const { plans, leftOut, astray } = catalogue
    const isMeant = ({ sourceName }: { readonly sourceName: string }): boolean => {
      const { schema, table } = parseShownName(sourceName)
      return pattern.matches(schema, table)
    }
    const plan = plans.find(({ source }) => isMeant(source))
    const refused = leftOut.find(isMeant)?.error ?? astray.find(({ name }) => name === text)?.error
    if (!plan) {
      if (refused) throw asRequest(refused)
      throw new FrazilError('request', 'unknown-table', `source ${this.#options.settings.source} has no table ${text}`)
    }
    // Its rows would come under the name of the root, and those of a partition that is read by itself no more.
    const divided =
      plan.partitioned && leftOut.find(({ id, error }) => error.code === 'partition-of-mirrored' && this.#taken.has(id))
    if (divided) throw asRequest(divided.error)
    return { plan, borrowed }
  }

  /** Tells of tables that were made since and match a pattern, until the source is closed. */
  async *watch(): AsyncGenerator<readonly SourceEvent[], void> {
    const { clock, closing, everyMs = defaultEveryMs, notice, take } = this.#options
    for (;;) {
      await clock.sleep(everyMs, closing)
      if (closing.aborted) return
      const added = this.#added
      let now: Look
      let seen: string
      try {
        // Asked before the look: what happens between them is seen the next time.
        seen = await this.#digest()
        if (seen === this.#seen) continue
        now = await this.#look([], added)
      } catch (error) {
        // The stream notices a server that has gone.
        if (error instanceof FrazilError) continue
        throw error
      }
      // A table that was excluded meanwhile would be taken for a new one. The next look knows.
      if (added !== this.#added) continue
      this.#seen = seen
      const isNew = (id: string): boolean => !this.#taken.has(id) && !this.#told.has(id)
      const { leftOut, plans } = now.catalogue
      for (const { id, error } of leftOut) if (isNew(id)) notice(error.message, error.hint)
      const found = plans.filter(({ source }) => isNew(source.id))
      for (const { id } of leftOut) this.#told.add(id)
      for (const { source } of found) this.#taken.add(source.id)
      take(found, now.borrowed)
      yield []
    }
  }

  /**
   * Stays the same while there is no other table to find: every table that was meant at the last look is taken or was told of, so all that can
   * make a new one is in what tables are chosen by.
   */
  #digest(): Promise<string> {
    const { asking, names, version } = this.#options
    return asking(async (client) => {
      const relations = await digestRelations(client, names.publication)
      if (!isBorrowed(names, await readPublication(client, names.publication))) return relations
      const { members, ...kinds } = await readBorrowed(client, names.publication, version)
      return JSON.stringify([relations, kinds, [...members]])
    })
  }

  /** Tables as they are at the server now, also those that were detached. */
  #look(known: readonly SourceTable[], added: readonly string[]): Promise<Look> {
    const { asking, names, version, settings } = this.#options
    return asking(async (client) => {
      const isOther = isBorrowed(names, await readPublication(client, names.publication))
      const borrowed = isOther ? await readBorrowed(client, names.publication, version) : null
      const mistakes: FrazilError[] = []
      const catalogue = await readCatalogue(client, {
        ...settings,
        added,
        borrowed,
        detached: new Set(),
        known: new Map(known.map(({ id, sourceName }) => [id, sourceName])),
        knownTypes: [],
        mistakes,
      })
      // A table that the settings name and that is gone by now is in nobody's way: the next start tells of it.
      const twice = mistakes.find(({ code }) => code === 'same-name-twice')
      if (twice) throw twice
      return { catalogue, borrowed }
    })
  }
}

/** Throws `request` `table-refused` for what is not the name of one table. */
function namePattern(text: string): TablePattern {
  const wrong = (cause?: unknown): FrazilError =>
    new FrazilError('request', 'table-refused', 'this is not the name of one table', {
      hint: 'write public.orders or public."Odd Name"',
      cause,
    })
  try {
    const pattern = parseTablePattern(text)
    if (pattern.exact) return pattern
  } catch (error) {
    throw wrong(error)
  }
  throw wrong()
}

/** What is wrong with a table, said to whoever asked for it. */
function asRequest(error: FrazilError): FrazilError {
  const { code, message, hint } = error
  return new FrazilError('request', code === 'unknown-table' ? code : 'table-refused', message, { hint, cause: error })
}
