import type { Random } from '../../base/index.ts'
import type { StreamedPart } from '../../data/index.ts'
import type { SimulatedChange, SimulatedHistory } from './history.ts'

/** How far ahead of its turn a transaction may begin. */
const furthest = 4
/** Most changes in one piece. */
const longestPiece = 5

/** A transaction that is given out before its turn. */
interface Open {
  readonly transaction: number
  /** Its place in the history; null for one that will be rolled back. */
  readonly place: number | null
  readonly changes: readonly SimulatedChange[]
  sent: number
  parts: number
}

/** What comes next of streamed transactions. */
export type Piece =
  | { readonly streamed: StreamedPart; readonly changes: readonly SimulatedChange[]; readonly place: number }
  | { readonly rollback: { readonly transaction: number; readonly part: number | null } }

/**
 * Chooses transactions that are given out in pieces before their turn, beside others, as a server does with large ones: also
 * some that never happened, and parts that are rolled back.
 */
export class Ahead {
  readonly #history: SimulatedHistory
  readonly #random: Random
  readonly #open: Open[] = []
  #next = 1

  constructor(history: SimulatedHistory, random: Random) {
    this.#history = history
    this.#random = random
  }

  /** The connection was lost: all begin again. */
  clear(): void {
    this.#open.length = 0
  }

  /** Some pieces, while the transaction at `place` is next; none of a transaction at `end` or later. */
  *pieces(place: number, end: number): Generator<Piece, void> {
    const random = this.#random
    if (random.below(2) === 0) this.#begin(place, end)
    for (const open of this.#open.slice()) {
      if (random.below(2) === 0) yield* this.#piece(open, 1 + random.below(longestPiece))
      if (open.place !== null || random.below(4) > 0) continue
      this.#open.splice(this.#open.indexOf(open), 1)
      yield { rollback: { transaction: open.transaction, part: null } }
    }
  }

  /** The rest of the transaction at `place`, and its number; null when it was not begun. */
  finish(place: number): { readonly transaction: number; readonly rest: Iterable<Piece> } | null {
    const open = this.#open.find((one) => one.place === place)
    if (!open) return null
    this.#open.splice(this.#open.indexOf(open), 1)
    return { transaction: open.transaction, rest: this.#piece(open, open.changes.length) }
  }

  #begin(place: number, end: number): void {
    const { transactions } = this.#history
    const chosen = place + this.#random.below(furthest)
    if (chosen >= end || this.#open.some((open) => open.place === chosen)) return
    const changes = transactions[chosen]
    if (changes.some(({ op }) => op === 'fail')) return
    const isReal = this.#random.below(3) > 0
    this.#open.push({ transaction: this.#next++, place: isReal ? chosen : null, changes, sent: 0, parts: 0 })
  }

  *#piece(open: Open, most: number): Generator<Piece, void> {
    const { transaction } = open
    const place = open.place ?? 0
    const part = (): StreamedPart => ({ transaction, part: ++open.parts })
    const to = Math.min(open.changes.length, open.sent + most)
    yield { streamed: part(), changes: open.changes.slice(open.sent, to), place }
    open.sent = to
    if (this.#random.below(3) > 0 || open.changes.length === 0) return
    // Something that is taken back: at once, or when more of the rest has come.
    const gone = part()
    yield { streamed: gone, changes: open.changes.slice(this.#random.below(open.changes.length)), place }
    yield { rollback: gone }
  }
}
