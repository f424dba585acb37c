import type { Segment, SourceEvent, StreamedPart } from '../../data/index.ts'
import type { SegmentWriter } from './segment-writer.ts'

/** `put` and `remove`: `upsert` and `delete` of a row that need not be there. */
type RunKind = 'insert' | 'upsert' | 'update' | 'delete' | 'put' | 'remove'

/** Puts events in order, and rows that follow one another into one event: nothing is allocated per row. */
export class ChangeRuns {
  #events: SourceEvent[] = []
  // The run of equal changes that is being extended.
  #kind: RunKind | null = null
  #table = ''
  #segment: Segment | null = null
  #from = 0
  #to = 0
  #keys: Segment | null = null
  #keysFrom = 0
  #unchanged: readonly number[] = []
  #part: StreamedPart | null = null

  /**
   * Counts the row that `rows` decoded last, and the key that `keys` did (of updates that say which row they replace); they
   * become part of the run, or begin one.
   */
  add(table: string, kind: RunKind, rows: SegmentWriter, keys: SegmentWriter | null): void {
    const { segment, outcome } = rows
    const row = rows.accept()
    const keySegment = keys === null ? null : keys.segment
    const keyRow = keys === null ? 0 : keys.accept()
    if (
      kind !== this.#kind ||
      segment !== this.#segment ||
      keySegment !== this.#keys ||
      table !== this.#table ||
      !this.#sameUnchanged(outcome)
    ) {
      this.#close()
      this.#kind = kind
      this.#table = table
      this.#segment = segment
      this.#from = row
      this.#keys = keySegment
      this.#keysFrom = keyRow
      this.#unchanged = [...outcome.unchanged.subarray(0, outcome.unchangedCount)]
    }
    this.#to = row + 1
  }

  #sameUnchanged({ unchanged, unchangedCount }: SegmentWriter['outcome']): boolean {
    if (this.#unchanged.length !== unchangedCount) return false
    for (let i = 0; i < unchangedCount; i++) if (unchanged[i] !== this.#unchanged[i]) return false
    return true
  }

  /** What follows belongs to a part of a streamed transaction; null: to the plain one. */
  enter(transaction: number | null, part: number): void {
    const known = this.#part
    if (transaction === null ? known === null : known?.transaction === transaction && known.part === part) return
    this.#close()
    this.#part = transaction === null ? null : { transaction, part }
  }

  truncate(table: string): void {
    this.push({ type: 'truncate', table, ...this.#streamed() })
  }

  push(event: SourceEvent): void {
    this.#close()
    this.#events.push(event)
  }

  /** Takes the place of an equal event right before it. */
  progress(event: SourceEvent & { readonly type: 'progress' }): void {
    this.#close()
    if (this.#events.at(-1)?.type === 'progress') this.#events[this.#events.length - 1] = event
    else this.#events.push(event)
  }

  /** What has come since it was last asked, as an array to keep. */
  take(): SourceEvent[] {
    this.#close()
    const events = this.#events
    this.#events = []
    return events
  }

  #streamed(): { streamed?: StreamedPart } {
    return this.#part ? { streamed: this.#part } : {}
  }

  #close(): void {
    const segment = this.#segment
    if (this.#kind === null || segment === null) return
    const run = { table: this.#table, from: this.#from, to: this.#to, ...this.#streamed() }
    const partial = this.#unchanged.length > 0 ? { unchanged: this.#unchanged } : null
    if (this.#kind === 'insert') this.#events.push({ type: 'insert', ...run, segment })
    else if (this.#kind === 'upsert' || this.#kind === 'put') {
      this.#events.push({ type: 'upsert', ...run, segment, mustExist: this.#kind === 'upsert', ...partial })
    } else if (this.#kind === 'delete' || this.#kind === 'remove') {
      this.#events.push({ type: 'delete', ...run, keys: segment, mustExist: this.#kind === 'delete' })
    } else if (this.#keys) {
      this.#events.push({ type: 'update', ...run, segment, keys: this.#keys, keysFrom: this.#keysFrom, ...partial })
    }
    this.#kind = null
    this.#segment = null
    this.#keys = null
  }
}
