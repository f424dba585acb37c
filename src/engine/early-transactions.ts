import { assert } from '../base/index.ts'
import type { Position } from '../data/index.ts'

/** Whether `a` is at or past `b`. */
export type Reached = (a: Position, b: Position) => boolean

/** Transactions with parts [from, to] of a log, none of which a floor that is known or may still come tells from the others. */
interface Run {
  readonly from: number
  to: number
  /** The lowest and the highest position at which one of them ended. */
  lowest: Position
  highest: Position
  /** How many of the known floors they are not in. */
  before: number
}

/** What becomes of the transactions with parts [from, to]. */
export interface SettledParts {
  readonly from: number
  to: number
  /** How many moments of the copy they are not in. */
  readonly before: number
}

/**
 * The transactions that were kept beside a copy before it is known which of them it has. Once its source has told the floor of the
 * snapshot, those between the same floors are one: a later snapshot has all that was given out before its copy began. Only those that
 * come while a snapshot is taken, and those of a source that tells no floor before the end, are remembered one by one.
 */
export class EarlyTransactions {
  readonly #reached: Reached
  /** What rows of the copy may be as of, in ascending order. */
  #floors: Position[] = []
  #runs: Run[] = []
  /** Where those ended that came since {@link begin}; the last has part `#nextPart - 1`, each of the others the one before. */
  #loose: Position[] = []
  #nextPart = 1
  /** Whether no other floor is to come before {@link begin}. */
  #isTold = false
  /** The highest position of a transaction that has no part. */
  #omitted: Position | null = null

  /** What the copy has from before is as of `floors`. */
  constructor(floors: readonly Position[], reached: Reached) {
    this.#reached = reached
    for (const floor of floors) this.#know(floor)
  }

  /** How many runs and single transactions are remembered. */
  get size(): number {
    return this.#runs.length + this.#loose.length
  }

  /** Rows that come from here on are of another snapshot, which has all transactions so far. */
  begin(): void {
    this.#isTold = false
  }

  /** Rows that the copy has, or that come from here on, are as of `floors`. */
  tell(floors: readonly Position[]): void {
    for (const floor of floors) this.#know(floor)
    this.#checkOmitted(this.#floors)
    for (const run of this.#runs) run.before = this.#beforeOf(this.#floors, run)
    const first = this.#nextPart - this.#loose.length
    for (const [i, position] of this.#loose.entries()) this.#join(first + i, position)
    this.#loose = []
    this.#isTold = true
  }

  /** The part of the log for what a transaction has changed that ended at `position`; null: the copy has it, whatever comes. */
  add(position: Position): number | null {
    if (!this.#isTold) {
      this.#loose.push(position)
      return this.#nextPart++
    }
    if (this.#reached(this.#floors[0], position)) {
      if (this.#omitted === null || this.#reached(position, this.#omitted)) this.#omitted = position
      return null
    }
    const { to } = this.#join(this.#nextPart, position, false)
    if (to === this.#nextPart) this.#nextPart++
    return to
  }

  /** Forgets all, and says what becomes of it: the rows of the copy are as of `moments`. */
  settle(moments: readonly Position[]): readonly SettledParts[] {
    this.#checkOmitted(moments)
    const settled: SettledParts[] = []
    const add = (from: number, to: number, before: number): void => {
      const last = settled.at(-1)
      if (last?.before === before) last.to = to
      else settled.push({ from, to, before })
    }
    for (const run of this.#runs) add(run.from, run.to, this.#beforeOf(moments, run))
    const first = this.#nextPart - this.#loose.length
    for (const [i, position] of this.#loose.entries()) add(first + i, first + i, this.momentsBefore(moments, position))
    this.#runs = []
    this.#loose = []
    this.#omitted = null
    return settled
  }

  /** How many of `moments` a transaction that ended at `position` is not in. */
  momentsBefore(moments: readonly Position[], position: Position): number {
    return moments.filter((moment) => !this.#reached(moment, position)).length
  }

  #know(floor: Position): void {
    if (this.#floors.includes(floor)) return
    const above = this.#floors.findIndex((other) => this.#reached(other, floor))
    this.#floors.splice(above < 0 ? this.#floors.length : above, 0, floor)
  }

  /** Makes a transaction one of the last run, or of a new one; with its own part, or with any of that run. */
  #join(part: number, position: Position, hasPart = true): Run {
    const floors = this.#floors
    const last = this.#runs.at(-1)
    // What comes after the last floor is most of all.
    const follows = last?.before === floors.length && this.#reached(position, last.highest)
    const before = follows ? floors.length : this.momentsBefore(floors, position)
    if (last?.before !== before) {
      const run = { from: part, to: part, lowest: position, highest: position, before }
      this.#runs.push(run)
      return run
    }
    if (hasPart) last.to = part
    if (this.#reached(position, last.highest)) last.highest = position
    else if (!this.#reached(position, last.lowest)) last.lowest = position
    return last
  }

  /** How many moments a run is not in: the same for all of it, or rows would be lost. */
  #beforeOf(moments: readonly Position[], { lowest, highest }: Run): number {
    const before = this.momentsBefore(moments, highest)
    assert(before === this.momentsBefore(moments, lowest), 'a snapshot has what was given out before its copy began')
    return before
  }

  #checkOmitted(moments: readonly Position[]): void {
    const isIn = this.#omitted === null || this.momentsBefore(moments, this.#omitted) === 0
    assert(isIn, 'a snapshot has what was given out before its copy began')
  }
}
