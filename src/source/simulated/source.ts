import { FrazilError, assert } from '../../base/index.ts'
import type { Random } from '../../base/index.ts'
import type { Change, Position, SourceEvent, SourceTable, StreamedPart, Value } from '../../data/index.ts'
import { checkNumber, reachedNumber } from '../numbered-positions.ts'
import type { Source, SourceParts, SourceState, TableName } from '../source.ts'
import { Ahead } from './ahead.ts'
import type { Piece } from './ahead.ts'
import { ChangeEncoder, joined } from './change-encoder.ts'
import type { SimulatedChange, SimulatedHistory } from './history.ts'

export interface SimulatedOptions {
  readonly name: string
  readonly history: SimulatedHistory
  /** Decides where arrays of events end, where the connection is lost, and how fast copies are. */
  readonly random: Random
  /** Rows of a segment. */
  readonly capacity: number
  /** Chance that the connection is lost within a transaction. */
  readonly lostConnection?: number
  /** Chance, at each transaction, that some are given out in pieces before their turn, and some that never happened. */
  readonly streamed?: number
  /** Most transactions in one array of events. */
  readonly batch?: number
}

/** Rows of an initial copy beside one turn of the stream. */
const maxCopyRows = 8

/** A table being copied: its rows as of position `floor`. */
interface Copy {
  readonly table: SourceTable
  readonly floor: number
  readonly rows: readonly (readonly Value[])[]
  sent: number
  done: boolean
}

/**
 * A source that reads a {@link SimulatedHistory} as a real one reads its server: initial copies beside the stream, transactions,
 * lost connections, progress, failed tables, and a new start from any position that was not acknowledged away. For simulations and
 * for tests of whoever takes events.
 */
export class SimulatedSource implements Source {
  readonly name: string
  readonly #options: SimulatedOptions
  readonly #parts: SourceParts
  readonly #ahead: Ahead
  readonly #encoders = new Map<string, ChangeEncoder>()
  /** By table: the position from which its changes are wanted; absent while it is copied. */
  readonly #floors = new Map<string, number>()
  readonly #failed = new Set<string>()
  #copies: Copy[] = []
  /** Transactions given out. */
  #position = 0
  #closed = false
  #recopied: () => void = () => undefined
  /** Not given out yet. */
  readonly #events: SourceEvent[] = []
  #end: () => void = () => undefined
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve))

  constructor(options: SimulatedOptions, parts: SourceParts) {
    this.name = options.name
    this.#options = options
    this.#parts = parts
    this.#ahead = new Ahead(options.history, options.random)
  }

  async *open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]> {
    const { history } = this.#options
    this.#resume(state)
    try {
      yield [
        ...this.#copies.map(({ table }): SourceEvent => ({ type: 'table', table, copying: { estimatedRows: null } })),
        this.#progress(),
      ]
      let isStreaming = false
      while (!this.#closed) {
        yield* this.#copy()
        yield* this.#stream()
        if (this.#copies.length === 0 && !isStreaming) {
          isStreaming = true
          this.#events.push({ type: 'streaming' })
        }
        yield* this.#send()
        if (this.#copies.length > 0 || this.#position < history.transactions.length) continue
        this.#events.push(this.#progress())
        yield* this.#send()
        if (this.#position === history.transactions.length && !this.#closed) {
          const asked = new Promise<void>((resolve) => (this.#recopied = resolve))
          if (this.#copies.length === 0) await Promise.race([history.grown(), asked, this.#ended])
        }
      }
    } finally {
      for (const encoder of this.#encoders.values()) encoder.close()
    }
  }

  /** Gives out what there is. Whoever needs a segment of it has pinned it when this goes on. */
  async *#send(): AsyncIterableIterator<readonly SourceEvent[]> {
    if (this.#events.length === 0 || this.#closed) return
    yield this.#events.splice(0)
    for (const encoder of this.#encoders.values()) encoder.taken()
  }

  /** Gives out what there is, so that its memory can come back, or waits for some. */
  async *#makeRoom(): AsyncIterableIterator<readonly SourceEvent[]> {
    if (this.#events.length > 0) yield* this.#send()
    else await Promise.race([this.#parts.pool.freed(), this.#ended])
  }

  #resume(state: SourceState | null): void {
    const { history } = this.#options
    this.#position = state?.position == null ? history.acknowledged : Number(state.position)
    assert(this.#position >= history.acknowledged, 'what was acknowledged is not asked for again')
    for (const { table, floor } of state?.tables ?? []) this.#floors.set(table.id, Number(floor))
    for (const id of state?.detached ?? []) this.#failed.add(id)
    const again = new Set(state?.again?.map(({ namespace, name }) => `${namespace}.${name}`))
    for (const table of history.tables) {
      const wanted = again.has(`${table.namespace}.${table.name}`)
      if (!wanted && (this.#floors.has(table.id) || this.#failed.has(table.id))) continue
      this.#beginCopy(table)
    }
  }

  #beginCopy(table: SourceTable): void {
    const { history } = this.#options
    const floor = history.transactions.length
    const rows = [...history.rowsAt(table.id, floor).values()].flatMap(({ row, count }) =>
      Array.from({ length: count }, () => row),
    )
    this.#copies = [...this.#copies.filter((other) => other.table !== table), { table, floor, rows, sent: 0, done: false }]
  }

  #progress(): SourceEvent {
    return { type: 'progress', position: String(this.#position) }
  }

  /** A part of each copy; most end soon after the stream has come to their snapshot. */
  async *#copy(): AsyncIterableIterator<readonly SourceEvent[]> {
    const { random } = this.#options
    for (const copy of this.#copies) {
      const { table, rows, floor } = copy
      // Not every source can tell before the end.
      if (copy.sent === 0 && floor % 2 === 0) this.#events.push({ type: 'copying-from', table: table.id, floor: String(floor) })
      let left = this.#position >= floor && random.below(4) === 0 ? rows.length : random.below(maxCopyRows)
      while (copy.sent < rows.length && left > 0) {
        if (this.#closed) return
        const placed = this.#encoder(table).copyRow(rows[copy.sent])
        if (!placed) {
          yield* this.#makeRoom()
          continue
        }
        const { segment, row } = placed
        const last = this.#events.at(-1)
        if (last?.type === 'copy' && last.segment === segment && last.to === row) this.#replaceLast({ ...last, to: row + 1 })
        else this.#events.push({ type: 'copy', table: table.id, segment, from: row, to: row + 1 })
        copy.sent++
        left--
      }
      if (copy.sent === rows.length) {
        copy.done = true
        // One that is copied again goes on from where it is.
        if (!this.#floors.has(table.id)) this.#floors.set(table.id, floor)
        this.#events.push({ type: 'copied', table: table.id, floor: String(floor), rows: rows.length })
      }
    }
    this.#copies = this.#copies.filter(({ done }) => !done)
  }

  /** Some transactions; at times beyond the snapshot of a table that is still copied. */
  async *#stream(): AsyncIterableIterator<readonly SourceEvent[]> {
    const { history, random, lostConnection = 0, streamed = 0, batch = 8 } = this.#options
    const floors = random.below(2) === 0 ? this.#copies.map(({ floor }) => floor) : []
    const end = Math.min(history.transactions.length, ...floors)
    for (let left = 1 + random.below(batch); left > 0 && this.#position < end; left--) {
      if (random.next() < streamed) {
        for (const piece of this.#ahead.pieces(this.#position, end)) yield* this.#piece(piece)
      }
      if (this.#closed) return
      const open = this.#ahead.finish(this.#position)
      if (open) {
        for (const piece of open.rest) yield* this.#piece(piece)
        if (this.#closed) return
        this.#position++
        this.#events.push(this.#commit(open.transaction))
        continue
      }
      const isLost = random.next() < lostConnection
      const changes = history.transactions[this.#position]
      for (const change of changes.slice(0, isLost ? random.below(changes.length + 1) : changes.length)) {
        yield* this.#change(change, this.#position)
        if (this.#closed) return
      }
      if (isLost) {
        this.#ahead.clear()
        this.#events.push({ type: 'abort' })
        continue
      }
      this.#position++
      this.#events.push(this.#commit())
    }
  }

  #commit(transaction?: number): SourceEvent {
    const commit = { type: 'commit', position: String(this.#position), timeMs: this.#parts.clock.now() } as const
    return transaction === undefined ? commit : { ...commit, transaction }
  }

  async *#piece(piece: Piece): AsyncIterableIterator<readonly SourceEvent[]> {
    if ('rollback' in piece) {
      const { transaction, part } = piece.rollback
      this.#events.push({ type: 'rollback', transaction, part, table: null })
      return
    }
    for (const change of piece.changes) {
      if (!this.#closed) yield* this.#change(change, piece.place, piece.streamed)
    }
  }

  /** @param place of its transaction in the history */
  async *#change(change: SimulatedChange, place: number, streamed?: StreamedPart): AsyncIterableIterator<readonly SourceEvent[]> {
    const floor = this.#floors.get(change.table)
    if (this.#failed.has(change.table) || (floor !== undefined && place < floor)) return
    const table = this.#options.history.tables.find(({ id }) => id === change.table)
    assert(table, 'a table of the history')
    if (change.op === 'fail') {
      this.#failed.add(table.id)
      const error = new FrazilError('unsupported', 'simulated', `the rows of ${table.sourceName} cannot be decoded any more`)
      this.#events.push({ type: 'failed', table: table.id, error })
      return
    }
    let next = this.#encoder(table).encode(change)
    while (!next) {
      yield* this.#makeRoom()
      if (this.#closed) return
      next = this.#encoder(table).encode(change)
    }
    if (streamed) next = { ...next, streamed }
    const last = this.#events.at(-1)
    const both = last && isChange(last) ? joined(last, next) : null
    if (both) this.#replaceLast(both)
    else this.#events.push(next)
  }

  #replaceLast(event: SourceEvent): void {
    this.#events[this.#events.length - 1] = event
  }

  #encoder(table: SourceTable): ChangeEncoder {
    const known = this.#encoders.get(table.id)
    if (known) return known
    const encoder = new ChangeEncoder(table, this.#parts, this.#options.capacity)
    this.#encoders.set(table.id, encoder)
    return encoder
  }

  memo(): string {
    return JSON.stringify({ simulated: this.#options.name })
  }

  reached(a: Position, b: Position): boolean {
    return reachedNumber(a, b)
  }

  checkPosition(text: string): Position {
    return checkNumber(text, this.name)
  }

  async head(): Promise<Position> {
    return this.#options.history.head
  }

  async recopy({ namespace, name }: TableName): Promise<void> {
    const table = this.#options.history.tables.find((one) => one.namespace === namespace && one.name === name)
    if (!table) throw new FrazilError('request', 'unknown-table', `the simulation has no table ${namespace}.${name}`)
    if (this.#failed.delete(table.id)) this.#floors.delete(table.id)
    this.#beginCopy(table)
    this.#events.push({ type: 'table', table, copying: { estimatedRows: null } })
    this.#recopied()
  }

  acknowledge(position: Position): void {
    assert(Number(position) <= this.#position, 'only what was given out is acknowledged')
    const { history } = this.#options
    history.acknowledged = Math.max(history.acknowledged, Number(position))
  }

  stop(): void {
    this.#closed = true
    this.#end()
  }

  async close(): Promise<void> {
    this.stop()
  }
}

function isChange(event: SourceEvent): event is Change {
  const { type } = event
  return type === 'insert' || type === 'upsert' || type === 'update' || type === 'delete' || type === 'truncate'
}
