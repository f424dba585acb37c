import { FrazilError, asError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import type { Visibility } from './visibility.ts'

/** How long one may still be applied when the pipeline is to end. */
const longestEndMs = 5000

export interface SourceCommitsParts {
  readonly visible: Visibility
  readonly clock: Clock
  /** Aborted when the pipeline ends or has failed. */
  readonly ending: AbortSignal
  /** Told of what a commit failed by, in the same turn. */
  readonly fail: (error: Error) => void
}

/**
 * Changes the tables one source commit after another, each as a whole: it becomes visible at once. A long one is applied in steps, between
 * which others get a turn. Whoever must not see it half-applied waits while {@link underWay} is set, and then goes on in the same turn.
 */
export class SourceCommits {
  readonly #parts: SourceCommitsParts
  #underWay: Promise<void> | null = null
  #endingSince: number | null = null

  constructor(parts: SourceCommitsParts) {
    this.#parts = parts
  }

  /** Set while a long one is being applied: resolves when the tables are whole again. */
  get underWay(): Promise<void> | null {
    return this.#underWay
  }

  /**
   * Applies what `begin` does, after the commit before; then `done`, and it is visible at `position`. With a position of null that stays where
   * it is: what is done has nothing to do with the source. Returns the rows.
   */
  async apply(
    position: Position | null,
    done: () => void,
    begin: (commit: number) => Generator<Promise<void> | null, number>,
  ): Promise<number> {
    const { visible, fail } = this.#parts
    while (this.#underWay) await this.#underWay
    const number = visible.commit + 1
    const steps = begin(number)
    let finish: (() => void) | null = null
    let rows: number
    try {
      let step = steps.next()
      while (step.done !== true) {
        // A long transaction: queries and timers get a turn, but nobody sees what is half done.
        if (!finish) this.#underWay = new Promise((resolve) => (finish = resolve))
        let failure: { readonly cause: unknown } | null = null
        await (step.value ?? new Promise<void>((resolve) => setImmediate(resolve))).catch((cause: unknown) => {
          failure = { cause }
        })
        // Where it was waited for, it is known which table it belongs to.
        step = failure === null ? steps.next() : steps.throw((failure as { readonly cause: unknown }).cause)
        if (this.#isCutShort()) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
      }
      rows = step.value
      done()
      visible.advance(number, position ?? visible.position)
    } catch (error) {
      // Before anybody else has a turn: half of this transaction must not reach the lake.
      fail(asError(error))
      steps.return(0)
      throw error
    } finally {
      this.#underWay = null
      ;(finish as (() => void) | null)?.()
    }
    return rows
  }

  /** Whether one that is being applied keeps the end of the pipeline waiting for too long. The source sends it again. */
  #isCutShort(): boolean {
    const { ending, clock } = this.#parts
    if (!ending.aborted) return false
    const now = clock.monotonic()
    this.#endingSince ??= now
    return now - this.#endingSince > longestEndMs
  }
}
