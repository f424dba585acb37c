import { FrazilError, Turns } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { SourceTable } from '../data/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { ServerSource, Source } from '../source/index.ts'
import type { Committer } from './committer.ts'
import type { AddedTable, TableToAdd } from './contract.ts'
import type { Mirror } from './mirror.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import type { DetachedTable } from './state-record.ts'

/** Tables that may be added to a source. */
const mostAdded = 1000
/** How long a request waits for its table to be readable. */
const longestWaitMs = 30_000
/** How often it looks. */
const lookMs = 20
/** Requests that may wait for their turn. */
const mostWaiting = 64
const recordFormat = 1

/** What the lake remembers of tables that were added to a source beside those of its configuration. */
interface AddedRecord {
  readonly tables: readonly Added[]
  /** Null while there is none. */
  readonly version: number | null
}

interface Added {
  /** Name at the source, as SQL has it. */
  readonly table: string
  /** `namespace.table` in the lake. */
  readonly as: string
}

function recordKey(source: string): string {
  return `added/${source}`
}

/** Names of the tables that were added to a source. Throws `config` for a record of a newer version, `corrupt` for what is none. */
export async function addedTables(catalog: Catalog, source: string): Promise<readonly string[]> {
  return (await readRecord(catalog, source)).tables.map(({ table }) => table)
}

/** Sources to which tables were added, and how many, in the lake's own order. */
export async function sourcesWithAdded(
  catalog: Catalog,
): Promise<readonly { readonly source: string; readonly tables: number }[]> {
  const states = await catalog.states(recordKey(''))
  return states
    .map(({ key, value }) => ({ source: key.slice(recordKey('').length), tables: parse(value).length }))
    .filter(({ tables }) => tables > 0)
}

/** The source to which a table (`namespace.table` in the lake) was added, whether anything of it has come into the lake or not; or null. */
export async function sourceOfAdded(catalog: Catalog, full: string): Promise<string | null> {
  const prefix = recordKey('')
  const found = (await catalog.states(prefix)).find(({ value }) => parse(value).some(({ as }) => as === full))
  return found === undefined ? null : found.key.slice(prefix.length)
}

async function readRecord(catalog: Catalog, source: string): Promise<AddedRecord> {
  const stored = await catalog.state(recordKey(source))
  return stored === null ? { tables: [], version: null } : { tables: parse(stored.value), version: stored.version }
}

function parse(text: string): readonly Added[] {
  let record: unknown
  try {
    record = JSON.parse(text)
  } catch (cause) {
    throw new FrazilError('corrupt', 'state-record', 'the record of tables that were added is not JSON', { cause })
  }
  const { format, tables } = (record ?? {}) as { readonly format?: unknown; readonly tables?: unknown }
  if (typeof format === 'number' && format > recordFormat) {
    const message = `this lake was written by a newer version (record of added tables, format ${format})`
    throw new FrazilError('config', 'newer-format', message, { hint: 'Install the newer version of frazil again.' })
  }
  if (format !== recordFormat || !Array.isArray(tables) || !tables.every(isAdded)) {
    throw new FrazilError('corrupt', 'state-record', 'the record of tables that were added is not one')
  }
  return tables
}

function isAdded(value: unknown): value is Added {
  const { table, as } = (value ?? {}) as { readonly [key in keyof Added]?: unknown }
  return typeof table === 'string' && typeof as === 'string'
}

function changeOf(source: string, version: number | null, tables: readonly Added[]): StateChange {
  return { key: recordKey(source), expected: version, value: JSON.stringify({ format: recordFormat, source, tables }) }
}

export interface TableAdditionsParts {
  readonly source: Source
  readonly mirror: Mirror
  readonly committer: Committer
  /** Commits carry the fence. */
  readonly catalog: Catalog
  readonly clock: Clock
  /** Set while a source commit is half applied. */
  readonly applying: () => Promise<void> | null
  /** Aborted when the pipeline ends. */
  readonly ending: AbortSignal
}

/**
 * Tables of a source's server that programs ask for while it runs. What was asked for is remembered in the lake before the source is told,
 * so that the table is read at every later start, whatever happens in between.
 */
export class TableAdditions {
  readonly #parts: TableAdditionsParts
  readonly #turns = new Turns({ waiting: mostWaiting, message: 'too many tables are being added or dropped' })

  constructor(parts: TableAdditionsParts) {
    this.#parts = parts
  }

  /**
   * Resolves when the table is readable, or is still being copied after {@link longestWaitMs}; also when it was added before. Rejects with
   * `request` for a table that is not there or cannot be read, `conflict` when the lake has another one of this name, or this one under
   * another.
   */
  async add(table: TableToAdd): Promise<AddedTable> {
    const source = this.#serverSource()
    const deadline = this.#parts.clock.monotonic() + longestWaitMs
    return this.#whenReadable(await this.#turns.take(() => this.#add(source, table)), deadline)
  }

  /**
   * Takes a table that was added out of the lake, with its rows, and has the source read it no more; also one that was gone at the source
   * before it came. Rejects with `request` `not-pushed` when it was not added, `conflict` `table-configured`, and `unavailable` while it is
   * copied.
   */
  async drop(namespace: string, name: string): Promise<void> {
    const source = this.#serverSource('that could be dropped: they are always those of OpenTelemetry')
    await this.#turns.take(() => this.#drop(source, fullName({ namespace, name })))
  }

  #serverSource(otherwise = 'that could be added'): ServerSource {
    const { source } = this.#parts
    if ('include' in source) return source as ServerSource
    throw new FrazilError('request', 'table-refused', `the source ${source.name} has no tables ${otherwise}`)
  }

  async #add(source: ServerSource, { sourceName, namespace, name }: TableToAdd): Promise<SourceTable> {
    const table = await source.examine(sourceName)
    const asked = fullName({ namespace, name })
    if (fullName(table) !== asked) {
      const message = `table ${table.sourceName} of source ${source.name} is ${fullName(table)} in the lake, not ${asked}`
      throw new FrazilError('request', 'table-refused', message, {
        hint: `Ask for that name, or have the configuration give it another one: into of the source ${source.name}.`,
      })
    }
    if (!(await this.#isHere(table))) await this.#include(source, table)
    return table
  }

  /** Whether it is read already, or copied. Throws `conflict` for what is in its way. */
  async #isHere(table: SourceTable): Promise<boolean> {
    const { mirror, catalog } = this.#parts
    this.#checkHealth(({ id }) => id === table.id)
    for (const { source: other } of mirror.tables) {
      if (other.id === table.id && fullName(other) === fullName(table)) return true
      if (other.id === table.id) {
        throw new FrazilError(
          'conflict',
          'table-exists',
          `table ${table.sourceName} is in the lake already, as ${fullName(other)}`,
        )
      }
    }
    if (await catalog.load(table)) {
      throw new FrazilError('conflict', 'table-exists', `the lake has a table ${fullName(table)} already, which is not this one`)
    }
    return false
  }

  #checkHealth(isMeant: (table: DetachedTable) => boolean): void {
    const detached = this.#parts.mirror.detached.find(isMeant)
    if (!detached) return
    const full = fullName(detached)
    throw new FrazilError('conflict', 'table-detached', `the table ${full} cannot go on: ${detached.reason}`, {
      hint: `POST /tables/{name}/resync, or frazil resync ${full}, has it copied again.`,
    })
  }

  async #include(source: ServerSource, { sourceName, namespace, name }: SourceTable): Promise<void> {
    const entry = { table: sourceName, as: fullName({ namespace, name }) }
    await this.#change((tables) => (tables.some(({ table }) => table === sourceName) ? null : [...tables, entry]))
    try {
      await source.include(sourceName)
    } catch (error) {
      // Whatever else it was, the next start or the next request goes on with it.
      if (error instanceof FrazilError && error.kind === 'request') {
        await this.#change((tables) => tables.filter(({ table }) => table !== sourceName))
      }
      throw error
    }
  }

  /** Writes what `change` makes of the names; null: nothing. Nobody else writes them; they are read for an outcome that was not known. */
  async #change(change: (tables: readonly Added[]) => readonly Added[] | null): Promise<void> {
    const { catalog, source } = this.#parts
    const { tables, version } = await readRecord(catalog, source.name)
    const next = change(tables)
    if (next === null) return
    if (next.length > mostAdded) {
      const message = `${mostAdded} tables were added to the source ${source.name} already`
      const hint = `Name them in the configuration, as tables of the source ${source.name}.`
      throw new FrazilError('request', 'too-many-tables', message, { hint })
    }
    await catalog.commit({ tables: [], states: [changeOf(source.name, version, next)] })
  }

  async #drop(source: ServerSource, full: string): Promise<void> {
    const { catalog, committer, mirror } = this.#parts
    const { tables, version } = await readRecord(catalog, source.name)
    const find = (): MirroredTable | undefined => [...mirror.tables].find((table) => fullName(table.source) === full)
    const entry = tables.find(({ as }) => as === full)
    // What has the name may be another table than the one that was added. Of one that was detached only the name in the lake is known.
    const known = find()
    const names = [entry?.table ?? [], known && known.health !== 'detached' ? known.source.sourceName : []].flat()
    for (const name of new Set(names)) {
      const pattern = await source.namedBy(name)
      if (pattern !== null) throw configured(source, name, pattern)
    }
    if (!entry) {
      const message = `the table ${full} of the source ${source.name} was not added by a program`
      throw new FrazilError('request', 'not-pushed', message, {
        hint: 'What the configuration had mirrored stays in the lake, also when it names it no more.',
      })
    }
    const change = changeOf(
      source.name,
      version,
      tables.filter((other) => other !== entry),
    )
    // One that the lake has, and that cannot be read, is among them alone.
    if (!find()) this.#checkHealth((table) => fullName(table) === full)
    const neverCame = !find() && (await isNoTable(source, entry.table))
    let gone = Promise.resolve()
    await committer.exclusively(async () => {
      const mirrored = find()
      if (!mirrored && neverCame) {
        await catalog.commit({ tables: [], states: [change] })
        gone = source.exclude(entry.table, [])
        return
      }
      if (!mirrored || mirrored.health === 'copying' || mirror.arrivals.get(mirrored.source.id)) {
        throw new FrazilError('unavailable', 'table-not-ready', `the table ${full} is still being copied`, { table: full })
      }
      // Also those that came to nothing because of this one, such as a table that was made anew at the source.
      const ids = new Set([mirrored.source.id])
      for (const other of mirror.detached) if (fullName(other) === full) ids.add(other.id)
      await committer.removeTable(ids, mirrored.iceberg, [change])
      // No `await` between here and the end: the next source commit may begin in any gap.
      for (let applying = this.#parts.applying(); applying; applying = this.#parts.applying()) await applying
      gone = source.exclude(entry.table, [...ids])
      mirror.arrivals.again.delete(full)
      for (const id of ids) mirror.remove(id)
    })
    // What the server still sends of it nobody reads, and the next start has it send no more.
    await gone.catch(() => undefined)
  }

  async #whenReadable(table: SourceTable, deadline: number): Promise<AddedTable> {
    const { mirror, clock, ending } = this.#parts
    for (;;) {
      this.#checkHealth(({ id }) => id === table.id)
      if (mirror.live.some(({ source }) => source.id === table.id)) return { state: 'streaming' }
      if (clock.monotonic() >= deadline) return { state: 'copying' }
      await clock.sleep(lookMs, ending)
      if (ending.aborted) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    }
  }
}

/** Whether the source has nothing to copy under a name. */
async function isNoTable(source: ServerSource, name: string): Promise<boolean> {
  try {
    await source.examine(name)
    return false
  } catch (error) {
    if (error instanceof FrazilError && error.kind === 'request') return true
    throw error
  }
}

function configured({ name: source }: ServerSource, table: string, pattern: string): FrazilError {
  const by = pattern === table ? '' : `: ${pattern}, which matches it`
  const message = `the table ${table} is among tables of the source ${source} in the configuration${by}`
  const what = by === '' ? 'Take it out of them' : `Write the names of the tables that are meant in the place of ${pattern}`
  return new FrazilError('conflict', 'table-configured', message, {
    hint: `${what}, and start frazil again; then it can be dropped.`,
  })
}
