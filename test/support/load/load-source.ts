import { FrazilError } from '../../../src/base/index.ts'
import type { Change, Field, Position, SourceEvent, SourceTable } from '../../../src/data/index.ts'
import type { Source, SourceParts, SourceState } from '../../../src/source/index.ts'
import { RowWriter } from './row-writer.ts'
import type { Rows } from './row-writer.ts'

/** Rows of one table that change in a transaction. `update`: by key, and it must exist. */
export interface LoadChange {
  readonly table: SourceTable
  readonly op: 'insert' | 'update' | 'delete'
  /** Numbers of rows. */
  readonly ids: ArrayLike<number>
  /** Version of a row by its number. */
  readonly version: (id: number) => number
}

/** A table with a number, a version, a text, a time and a figure: some 90 bytes a row. */
export function loadTable(name: string, options: { keyed?: boolean; id?: string; more?: readonly Field[] } = {}): SourceTable {
  const { keyed = true, id = name, more = [] } = options
  const field = (column: string, type: Field['type'], required = false): Field => ({ id: 0, name: column, type, required })
  return {
    id,
    sourceName: `public.${name}`,
    namespace: 'load',
    name,
    fields: [
      field('id', { kind: 'long' }, true),
      field('version', { kind: 'int' }),
      field('note', { kind: 'string' }),
      field('at', { kind: 'timestamptz' }),
      field('score', { kind: 'double' }),
      ...more,
    ],
    key: keyed ? { kind: 'columns', columns: [0] } : { kind: 'none' },
  }
}

/** A range of whole numbers as a list. */
export function numbers(from: number, to: number): Int32Array {
  return Int32Array.from({ length: to - from }, (_, i) => from + i)
}

/** Tables that are copied with these rows each. */
export interface LoadCopy {
  readonly tables: readonly SourceTable[]
  readonly rows: number
  /** Number of the row at a place; without it places are numbers. */
  readonly idAt?: (place: number) => number
  /** Version of a row by its number; without it 0. */
  readonly version?: (id: number) => number
}

type Task = ({ readonly kind: 'copy' } & LoadCopy) | { readonly kind: 'transaction'; readonly changes: readonly LoadChange[] }

interface Waiting {
  readonly task: Task
  done(position: Position): void
}

/** Most rows of one array of events. */
const batchRows = 16_384

/**
 * A source without a server: it makes rows up, straight in segments, as fast as they are asked for, so that what is measured is the
 * engine. A position is a number of transactions; nothing can be read again, so a process that died has to be told what it lacks.
 */
export class LoadSource implements Source {
  readonly name = 'load'
  readonly #parts: SourceParts
  readonly #textBytes: number
  readonly #rows = new Map<string, RowWriter>()
  readonly #keys = new Map<string, RowWriter>()
  readonly #queue: Waiting[] = []
  #position = 0
  #wake: () => void = () => undefined
  #closed = false

  constructor(textBytes: number, parts: SourceParts) {
    this.#textBytes = textBytes
    this.#parts = parts
  }

  /** Tables come by the path of an initial copy. Resolves when their rows are given out. */
  copy(copy: LoadCopy): Promise<Position> {
    return this.#add({ kind: 'copy', ...copy })
  }

  /** One transaction; resolves with its position when it is given out. */
  transaction(changes: readonly LoadChange[]): Promise<Position> {
    return this.#add({ kind: 'transaction', changes })
  }

  #add(task: Task): Promise<Position> {
    return new Promise((resolve) => {
      this.#queue.push({ task, done: resolve })
      this.#wake()
    })
  }

  async *open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]> {
    this.#position = Number(state?.position ?? 0)
    try {
      yield [{ type: 'progress', position: String(this.#position) }, { type: 'streaming' }]
      while (!this.#closed) {
        const next = this.#queue.shift()
        if (next) {
          if (next.task.kind === 'copy') yield* this.#copy(next.task)
          else yield* this.#transaction(next.task.changes)
          next.done(String(this.#position))
        } else {
          await this.#woken()
        }
      }
    } finally {
      for (const writer of [...this.#rows.values(), ...this.#keys.values()]) writer.close()
    }
  }

  async *#copy({ tables, rows: count, idAt, version = () => 0 }: LoadCopy): AsyncIterableIterator<readonly SourceEvent[]> {
    for (const table of tables) {
      yield [{ type: 'table', table, copying: { estimatedRows: count } }]
      for (let from = 0; from < count && !this.#closed; from += batchRows) {
        const places = numbers(from, Math.min(count, from + batchRows))
        const ids = idAt ? places.map(idAt) : places
        for await (const rows of this.#written(this.#writer(table), ids, version)) {
          yield [{ type: 'copy', table: table.id, ...rows }]
          this.#taken()
        }
      }
      yield [{ type: 'copied', table: table.id, floor: String(this.#position), rows: count }]
    }
    this.#position++
    yield [{ type: 'commit', position: String(this.#position), timeMs: this.#parts.clock.now() }]
  }

  async *#transaction(changes: readonly LoadChange[]): AsyncIterableIterator<readonly SourceEvent[]> {
    for (const change of changes) {
      const { table, op, ids, version } = change
      const writer = op === 'delete' ? this.#keyWriter(table) : this.#writer(table)
      for await (const rows of this.#written(writer, ids, version)) {
        yield [event(table.id, op, rows)]
        this.#taken()
      }
    }
    this.#position++
    yield [{ type: 'commit', position: String(this.#position), timeMs: this.#parts.clock.now() }]
    this.#taken()
  }

  /** All of these rows, segment by segment; waits for memory where there is none. */
  async *#written(writer: RowWriter, ids: ArrayLike<number>, version: (id: number) => number): AsyncIterableIterator<Rows> {
    for (let at = 0; at < ids.length && !this.#closed;) {
      const rows = writer.write(ids, version, at, Math.min(ids.length, at + batchRows))
      if (rows) {
        at += rows.to - rows.from
        yield rows
      } else await this.#woken(this.#parts.pool.freed())
    }
  }

  /** Resolves with `event`, or when there is something to do, or nothing any more. */
  #woken(event?: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
      void event?.then(resolve)
    })
  }

  #taken(): void {
    for (const writer of this.#rows.values()) writer.taken()
    for (const writer of this.#keys.values()) writer.taken()
  }

  #writer(table: SourceTable): RowWriter {
    let writer = this.#rows.get(table.id)
    if (!writer) {
      writer = new RowWriter(table.fields, this.#textBytes, this.#parts.deletable(table), this.#parts)
      this.#rows.set(table.id, writer)
    }
    return writer
  }

  #keyWriter(table: SourceTable): RowWriter {
    let writer = this.#keys.get(table.id)
    if (!writer) {
      writer = new RowWriter([table.fields[0]], this.#textBytes, false, this.#parts)
      this.#keys.set(table.id, writer)
    }
    return writer
  }

  memo(): string {
    return '{}'
  }

  reached(a: Position, b: Position): boolean {
    return Number(a) >= Number(b)
  }

  checkPosition(text: string): Position {
    return text
  }

  async head(): Promise<Position> {
    return String(this.#position)
  }

  recopy(): Promise<void> {
    return Promise.reject(new FrazilError('request', 'unknown-table', 'made-up rows are not copied again'))
  }

  acknowledge(): void {}

  stop(): void {
    this.#closed = true
    this.#wake()
  }

  async close(): Promise<void> {
    this.stop()
  }
}

function event(table: string, op: LoadChange['op'], { segment, from, to }: Rows): Change {
  if (op === 'insert') return { type: 'insert', table, segment, from, to }
  if (op === 'update') return { type: 'upsert', table, segment, from, to, mustExist: true }
  return { type: 'delete', table, keys: segment, from, to, mustExist: true }
}
