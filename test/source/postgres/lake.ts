import type { Client } from 'pg'
import { SlabPool, systemClock } from '../../../src/base/index.ts'
import type { Clock } from '../../../src/base/index.ts'
import { readRow } from '../../../src/data/index.ts'
import type { Change, Position, Segment, SourceEvent, SourceTable, Value } from '../../../src/data/index.ts'
import type { EngineEvent } from '../../../src/observe/index.ts'
import { createPostgresSource } from '../../../src/source/index.ts'
import type { PostgresConfig, Source, SourceState } from '../../../src/source/index.ts'

/** Values as text that compares: keys of the maps below. */
export function show(value: Value): string {
  if (value instanceof Uint8Array) return `x${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return `[${value.map((item: Value) => show(item)).join(',')}]`
  return typeof value === 'bigint' ? `${value}` : typeof value === 'number' && Object.is(value, -0) ? '-0' : JSON.stringify(value)
}

interface Table {
  source: SourceTable
  /** Rows by key; under key kind `row` each row's text with its count. */
  rows: Map<string, { values: readonly Value[]; count: number }>
  copied: { floor: Position; rows: number } | null
  /** What the rows of its copy are as of; null while their snapshot has not been taken. */
  copying: Position | null
  /** While it is copied: changes of transactions, each with its position. */
  held: { readonly position: Position; readonly changes: readonly (() => void)[] }[]
  failed: Error | null
}

/** Rows of a query at the source, as {@link MapLake.rows} shows them; integers, text and nulls only. */
export async function rowsOf(client: Client, query: string): Promise<string[]> {
  const { rows } = await client.query<(string | number | null)[]>({ text: query, rowMode: 'array' })
  return rows.map((row) => row.map(show).join(' ')).sort()
}

/**
 * What an engine would make of a source's events, in the simplest way that can be right: every table a map. Rows are read when
 * the events come and again nowhere, so a segment that is given back too early shows.
 */
export class MapLake {
  readonly source: Source
  readonly pool: SlabPool
  readonly tables = new Map<string, Table>()
  readonly observed: EngineEvent[] = []
  /** Everything but rows, in order. */
  readonly log: string[] = []
  position: Position | null = null
  commits = 0
  aborts = 0
  streaming = false
  error: Error | null = null
  /** Asked after all events that came at once: what to wait for before the next are asked for. */
  stalled: () => Promise<void> | null = () => null
  done: Promise<void>
  /** By transaction; null is the plain one. */
  readonly #changes = new Map<number | null, { readonly part: number; readonly table: string; readonly make: () => void }[]>()
  #waiters: (() => void)[] = []
  readonly #acknowledging: boolean

  constructor(
    config: Partial<PostgresConfig> & { url: string; tables: readonly string[] },
    options: { state?: SourceState | null; memory?: number; acknowledge?: boolean; clock?: Clock } = {},
  ) {
    this.pool = new SlabPool({ budget: options.memory ?? 64 << 20 })
    this.#acknowledging = options.acknowledge ?? true
    let segments = 0
    this.source = createPostgresSource(
      { name: 'shop', lakeId: 'lake-1', ...config },
      {
        pool: this.pool,
        clock: options.clock ?? systemClock,
        nextSegmentId: () => ++segments,
        currentCommit: () => this.commits,
        deletable: (table) => table.key.kind !== 'none',
        onSchemaChange: () => null,
        observe: (event) => this.observed.push(event),
      },
    )
    for (const { table, floor } of options.state?.tables ?? []) this.#addTable(table).copied = { floor, rows: 0 }
    this.done = this.#run(options.state ?? null)
  }

  /** What a state record would hold. */
  state(): SourceState {
    const tables = [...this.tables.values()].filter((table) => table.failed === null && table.copied !== null)
    return {
      position: this.position,
      memo: this.source.memo(this.position),
      tables: tables.map((table) => ({ table: table.source, floor: table.copied?.floor ?? '0/0' })),
      detached: [],
    }
  }

  async #run(state: SourceState | null): Promise<void> {
    try {
      for await (const events of this.source.open(state)) {
        for (const event of events) this.#take(event)
        if (this.#acknowledging && this.position !== null) this.source.acknowledge(this.position)
        this.#wake()
        await this.stalled()
      }
    } catch (error) {
      this.error = error instanceof Error ? error : new Error(String(error))
    }
    this.#wake()
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter()
  }

  /** Resolves when `condition` holds after some event; rejects when the source has ended or after 100 seconds. */
  async until(condition: () => boolean | Promise<boolean>, what = 'condition'): Promise<void> {
    const deadline = Date.now() + 100_000
    while (!(await condition())) {
      if (this.error) throw this.error
      if (Date.now() > deadline) throw new Error(`waited too long for: ${what}; log: ${this.log.join(' ')}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50)
        this.#waiters.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** Waits until everything that has happened at the source is here. */
  async caughtUp(): Promise<void> {
    await this.until(() => this.streaming, 'streaming')
    const head = await this.source.head()
    await this.until(() => this.position !== null && this.source.reached(this.position, head), `position ${head}`)
  }

  async close(): Promise<void> {
    await this.source.close()
    await this.done
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Table by its Iceberg name. */
  table(name: string): Table {
    const found = [...this.tables.values()].find(({ source }) => `${source.namespace}.${source.name}` === name)
    if (!found) throw new Error(`no table ${name}: ${[...this.tables.values()].map((t) => t.source.name).join(', ')}`)
    return found
  }

  /** Rows of a table as text, sorted. */
  rows(name: string): string[] {
    return [...this.table(name).rows.values()]
      .flatMap(({ values, count }) => Array<string>(count).fill(values.map(show).join(' ')))
      .sort()
  }

  #addTable(source: SourceTable): Table {
    const table: Table = { source, rows: new Map(), copied: null, copying: null, held: [], failed: null }
    this.tables.set(source.id, table)
    return table
  }

  #take(event: SourceEvent): void {
    switch (event.type) {
      case 'table': {
        this.log.push(`table ${event.table.name}`)
        const known = this.tables.get(event.table.id)
        // Another shape: rows that are there stay as they are.
        if (known?.copied) this.#later({ type: 'truncate', table: known.source.id }, () => (known.source = event.table))
        // Its copy begins again; changes of an open transaction name it already.
        else if (known) Object.assign(known, { source: event.table, rows: new Map(), copying: null, held: [], failed: null })
        else this.#addTable(event.table)
        return
      }
      case 'copying-from': {
        const table = this.#known(event.table)
        if (table.copying !== null) throw new Error('a snapshot without its table event')
        table.copying = event.floor
        return
      }
      case 'copy': {
        const table = this.#known(event.table)
        if (table.copying === null) throw new Error('rows of no snapshot')
        each(event.segment, event.from, event.to, (values) => put(table, values))
        return
      }
      case 'copied':
        if (this.#known(event.table).copying !== event.floor) throw new Error('rows of another snapshot')
        this.#join(this.#known(event.table), event)
        this.log.push(`copied ${event.rows}`)
        return
      case 'failed': {
        const table = this.tables.get(event.table)
        if (table) table.failed = event.error
        this.log.push(`failed ${event.error.code}: ${event.error.message}`)
        return
      }
      case 'streaming':
        this.streaming = true
        this.log.push('streaming')
        return
      case 'progress':
        if (this.#changes.has(null)) throw new Error('progress inside a transaction')
        this.position = event.position
        return
      case 'abort':
        this.#changes.clear()
        this.aborts++
        return
      case 'rollback': {
        const { transaction, part, table } = event
        this.log.push(part === null ? 'rollback' : 'rollback of a part')
        const left = (this.#changes.get(transaction) ?? []).filter(
          (change) => (part !== null && change.part !== part) || (table !== null && change.table !== table),
        )
        if (left.length > 0) this.#changes.set(transaction, left)
        else this.#changes.delete(transaction)
        return
      }
      case 'commit':
        for (const { table, make } of this.#changes.get(event.transaction ?? null) ?? []) {
          const { copied, held } = this.#known(table)
          // A copy that began again may have everything up to a later position than the stream has come to.
          if (copied && !this.source.reached(copied.floor, event.position)) make()
          else if (!copied) held.push({ position: event.position, changes: [make] })
        }
        this.#changes.delete(event.transaction ?? null)
        this.commits++
        if (event.transaction !== undefined) this.log.push('streamed commit')
        if (this.position !== null && this.source.reached(this.position, event.position)) throw new Error('a commit came twice')
        this.position = event.position
        return
      case 'insert': {
        const table = this.#known(event.table)
        this.log.push(`insert ${event.to - event.from}`)
        each(event.segment, event.from, event.to, (values) => this.#later(event, () => put(table, values)))
        return
      }
      case 'upsert': {
        const table = this.#known(event.table)
        this.log.push(`upsert ${event.to - event.from}`)
        each(event.segment, event.from, event.to, (values) =>
          this.#later(event, () => {
            const key = keyOf(table.source, values)
            if (event.mustExist && !table.rows.has(key)) throw new Error('an update of no row')
            table.rows.set(key, { values: completed(values, table.rows.get(key)?.values, event.unchanged), count: 1 })
          }),
        )
        return
      }
      case 'update': {
        const table = this.#known(event.table)
        this.log.push(`update ${event.to - event.from}`)
        each(event.segment, event.from, event.to, (values, i) => {
          const key = readRow(event.keys, event.keysFrom + i)
            .map(show)
            .join(' ')
          this.#later(event, () => {
            const old = table.rows.get(key)?.values
            remove(table, key)
            put(table, completed(values, old, event.unchanged))
          })
        })
        return
      }
      case 'delete': {
        const table = this.#known(event.table)
        this.log.push(`delete ${event.to - event.from}`)
        each(event.keys, event.from, event.to, (values) => {
          const key = values.map(show).join(' ')
          this.#later(event, () => {
            if (event.mustExist || table.rows.has(key)) remove(table, key)
          })
        })
        return
      }
      case 'truncate': {
        const table = this.#known(event.table)
        this.log.push(`truncate ${table.source.name}`)
        this.#later(event, () => table.rows.clear())
        return
      }
      case 'assigned':
      case 'revoked':
      case 'lost':
        throw new Error('Postgres has no scopes')
    }
  }

  #later(change: Change, make: () => void): void {
    const transaction = change.streamed?.transaction ?? null
    const changes = this.#changes.get(transaction) ?? []
    changes.push({ part: change.streamed?.part ?? 0, table: change.table, make })
    this.#changes.set(transaction, changes)
  }

  /** What was committed up to the floor is in the copy. */
  #join(table: Table, copied: { floor: Position; rows: number }): void {
    table.copied = copied
    for (const { position, changes } of table.held) {
      if (this.source.reached(copied.floor, position)) continue
      for (const change of changes) change()
    }
    table.held = []
  }

  #known(id: string): Table {
    const table = this.tables.get(id)
    if (!table) throw new Error(`an event of table ${id} before its own`)
    if (table.failed) throw new Error('an event of a table that has failed')
    return table
  }
}

function each(segment: Segment, from: number, to: number, use: (values: readonly Value[], i: number) => void): void {
  if (from >= to || to > segment.rows) throw new Error('a run of no rows, or beyond its segment')
  for (let row = from; row < to; row++) use(readRow(segment, row), row - from)
}

/** A row with the values that did not change. */
function completed(
  values: readonly Value[],
  old: readonly Value[] | undefined,
  unchanged: readonly number[] = [],
): readonly Value[] {
  if (unchanged.some((i) => values[i] !== null)) throw new Error('a cell that was not sent has a value')
  if (unchanged.length > 0 && !old) throw new Error('no row has the values that did not change')
  return values.map((value, i) => (old && unchanged.includes(i) ? old[i] : value))
}

function keyOf(source: SourceTable, values: readonly Value[]): string {
  const columns = source.key.kind === 'columns' ? source.key.columns : values.map((_, i) => i)
  return columns.map((i) => show(values[i])).join(' ')
}

function put(table: Table, values: readonly Value[]): void {
  const key = keyOf(table.source, values)
  const present = table.rows.get(key)
  if (present && table.source.key.kind === 'columns') throw new Error(`a second row with key ${key}`)
  table.rows.set(key, { values, count: (present?.count ?? 0) + 1 })
}

function remove(table: Table, key: string): void {
  const present = table.rows.get(key)
  if (!present) throw new Error(`no row has key ${key}`)
  if (present.count === 1) table.rows.delete(key)
  else table.rows.set(key, { values: present.values, count: present.count - 1 })
}
