import { FrazilError, nearest } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import type { QueryViews, ViewProvider } from '../query/index.ts'
import type { PipelineHandle } from './pipeline-contract.ts'
import { pushSource } from './sources.ts'

interface TableName {
  readonly namespace: string
  readonly name: string
}

interface OwnedTable extends TableName {
  readonly pipeline: PipelineHandle
}

interface Owners {
  readonly byName: ReadonlyMap<string, OwnedTable>
  /** Tables to which programs send rows, by the names that they send them to. */
  readonly byIngestName: ReadonlyMap<string, OwnedTable>
  /** The same array until a table comes or goes. */
  readonly names: readonly TableName[]
  /** Sources that do not say which tables they have. */
  readonly silent: readonly string[]
}

const later = 'Ask again when it has been started again.'

/** Which pipeline has which table, and so what queries read. */
export class TableOwners implements ViewProvider {
  readonly #pipelines: ReadonlyMap<string, PipelineHandle>
  #known: Promise<Owners> | null = null
  #isClosed = false

  /** @param pipelines by the names of their sources; they come and go */
  constructor(pipelines: ReadonlyMap<string, PipelineHandle>) {
    this.#pipelines = pipelines
  }

  /** A table or a pipeline has come or gone. */
  changed(): void {
    this.#known = null
  }

  /** From now on nothing is said of tables: their pipelines end. */
  close(): void {
    this.#isClosed = true
  }

  /** All there are; asked again after {@link changed}. */
  all(): Promise<Owners> {
    this.#known ??= this.#ask()
    return this.#known
  }

  async #ask(): Promise<Owners> {
    const byName = new Map<string, OwnedTable>()
    const byIngestName = new Map<string, OwnedTable>()
    const silent: string[] = []
    for (const pipeline of this.#pipelines.values()) {
      // A source that is being started again has no tables for now; the others answer.
      const names = await pipeline.names().catch(() => {
        silent.push(pipeline.name)
        return []
      })
      for (const { namespace, name, sourceName } of names) {
        const table = { namespace, name, pipeline }
        byName.set(`${namespace}.${name}`, table)
        if (pipeline.name === pushSource) byIngestName.set(sourceName, table)
      }
    }
    return { byName, byIngestName, names: [...byName.values()].map(({ namespace, name }) => ({ namespace, name })), silent }
  }

  /**
   * The table to which rows that are sent to `ingest` go, or null. Throws `unavailable` (`closed`, `source-failed`) while nobody knows: a table
   * that is there is not to be taken for none.
   */
  async sentTo(ingest: string): Promise<TableName | null> {
    const { byIngestName, silent } = await this.all()
    const found = byIngestName.get(ingest)
    if (found) return { namespace: found.namespace, name: found.name }
    if (this.#isClosed) throw closed()
    if (!silent.includes(pushSource)) return null
    throw new FrazilError('unavailable', 'source-failed', `the source ${pushSource} does not answer`, { hint: later })
  }

  /** Throws `request` with code `unknown-table`, and `unavailable` (`closed`, `source-failed`). */
  async of(namespace: string, name: string): Promise<PipelineHandle> {
    if (this.#isClosed) throw closed()
    const all = this.all()
    const { byName } = await all
    const owner = byName.get(`${namespace}.${name}`)
    if (owner && owner.namespace === namespace) return owner.pipeline
    throw await this.known(unknownTable(`${namespace}.${name}`, [...byName.keys()]), all)
  }

  /**
   * What an error is really: a table that nobody knows may be one of a source that is being started again, and is there later.
   *
   * @param before what {@link all} gave before
   */
  async known(error: unknown, before: Promise<Owners>): Promise<unknown> {
    if (!(error instanceof FrazilError) || error.code !== 'unknown-table' || this.#isClosed) return error
    const silent = new Set([...(await before).silent, ...(await this.all()).silent])
    if (silent.size === 0) return error
    const names = [...silent].join(', ')
    return new FrazilError('unavailable', 'source-failed', `${error.message}, but the source ${names} does not answer`, {
      hint: later,
      cause: error,
    })
  }

  async names(): Promise<readonly TableName[]> {
    return (await this.all()).names
  }

  async views(tables: readonly TableName[]): Promise<QueryViews> {
    const wanted = new Map<PipelineHandle, { namespace: string; name: string }[]>()
    for (const table of tables) {
      const owner = await this.of(table.namespace, table.name)
      const list = wanted.get(owner) ?? []
      list.push(table)
      wanted.set(owner, list)
    }
    const pins: (() => void)[] = []
    const release = (): void => {
      for (const unpin of pins.splice(0)) unpin()
    }
    try {
      const asked = await Promise.allSettled(
        [...wanted].map(async ([pipeline, list]) => {
          const view = await pipeline.views(list)
          pins.push(() => pipeline.release(view.id))
          return { name: pipeline.name, view }
        }),
      )
      const views = asked.map((result) => {
        if (result.status === 'rejected') throw result.reason
        return result.value
      })
      const positions: Record<string, Position> = {}
      for (const { name, view } of views) if (view.position !== null) positions[name] = view.position
      return { tables: views.flatMap(({ view }) => view.tables), positions, release }
    } catch (error) {
      release()
      throw error
    }
  }
}

function closed(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the engine is closing')
}

function unknownTable(name: string, known: readonly string[]): FrazilError {
  const close = nearest(name, known)
  return new FrazilError('request', 'unknown-table', `there is no table ${name}`, {
    hint: close
      ? `Did you mean ${close}?`
      : known.length > 0
        ? `There are ${known.slice(0, 10).join(', ')}.`
        : 'There are no tables yet.',
  })
}
