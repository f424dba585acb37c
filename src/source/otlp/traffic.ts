import type { EngineEvent } from '../../observe/index.ts'
import type { Signal } from './tables.ts'

type Received = Extract<EngineEvent, { type: 'received' }>

/** Events have what came in so many milliseconds. */
const tellEveryMs = 1000

/** What one request was. */
export interface Exchange {
  readonly transport: Received['transport']
  /** Null: of a kind that is not taken. */
  readonly signal: Signal | null
  outcome: Received['outcome']
  /** Of its body, as sent. */
  bytes: number
  records: number
  rejected: number
}

export function newExchange(transport: Exchange['transport'], signal: Signal | null): Exchange {
  return { transport, signal, outcome: 'refused', bytes: 0, records: 0, rejected: 0 }
}

/** Counts requests, and tells of them from time to time. */
export class Traffic {
  readonly #source: string
  readonly #observe: (event: EngineEvent) => void
  readonly #counts = new Map<string, { -readonly [name in keyof Received]: Received[name] }>()
  #timer: NodeJS.Timeout | null = null

  constructor(source: string, observe: (event: EngineEvent) => void) {
    this.#source = source
    this.#observe = observe
  }

  count({ transport, signal, outcome, bytes, records, rejected }: Exchange): void {
    const kind = `${transport} ${signal} ${outcome}`
    let sums = this.#counts.get(kind)
    if (!sums) {
      const none = { requests: 0, bytes: 0, records: 0, rejected: 0 }
      sums = { type: 'received', source: this.#source, transport, signal: signal ?? 'unknown', outcome, ...none }
      this.#counts.set(kind, sums)
    }
    sums.requests++
    sums.bytes += bytes
    sums.records += records
    sums.rejected += rejected
    this.#timer ??= setTimeout(() => this.tell(), tellEveryMs).unref()
  }

  /** Tells what has been counted since the last time. */
  tell(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    for (const sums of this.#counts.values()) this.#observe(sums)
    this.#counts.clear()
  }
}
