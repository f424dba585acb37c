import { FrazilError } from '../../base/index.ts'

/**
 * Whether the stream gives out large transactions before they end. An open transaction may turn out to change more than rows, which only a
 * whole one may: the stream is opened again without open ones, up to where that transaction has ended, and once more with them.
 */
export class WholeTransactions {
  /** What the stream is asked for: large transactions before they end. */
  streaming = true
  /** The transaction because of which the next connection is to give out whole ones only. */
  #wanted: number | null = null
  /** The one because of which this connection does: behind it, they may come before they end again. */
  #until: number | null = null

  /** This transaction, which is open, has to come whole: the error that ends the connection. */
  needed(transaction: number, cause: FrazilError): FrazilError {
    this.#wanted = transaction
    const message = 'the stream is opened again for whole transactions, because an open one changes more than rows'
    return new FrazilError('unavailable', 'whole-needed', message, { cause })
  }

  /** The next connection begins. */
  reconnect(): void {
    this.streaming = this.#wanted === null
    this.#until = this.#wanted
    this.#wanted = null
  }

  /** A whole transaction has ended and was given out. Throws what ends the connection when it was the one that had to come so. */
  ended(transaction: number): void {
    if (transaction !== this.#until) return
    this.#until = null
    throw new FrazilError('unavailable', 'streaming-again', 'the stream is opened again, for large transactions before they end')
  }
}
