import type { Signal } from './tables.ts'

/** What became of a request. */
export interface Receipt {
  /** Contains what was kept; null when all of it was refused. */
  readonly position: string | null
  readonly kept: number
  readonly refused: number
  /** Why the first refused record was; null without any. */
  readonly reason: string | null
}

/** Takes requests, whatever brought them. */
export interface Receiver {
  /**
   * Resolves when what can be kept of an Export…ServiceRequest is durable. Rejects with `request` for what is none, and `unavailable` for
   * what may come again.
   */
  receive(signal: Signal, body: Uint8Array): Promise<Receipt>
}
