import { FrazilError } from './errors.ts'

export interface TurnsOptions {
  /** How many may wait behind the one that is under way. */
  readonly waiting: number
  /** Of the error for those beyond. */
  readonly message: string
}

/** Jobs that must not run beside each other: one at a time, in the order in which they were asked for. */
export class Turns {
  readonly #options: TurnsOptions
  /** Settles with the last one that was asked for; never rejects. */
  #last: Promise<unknown> = Promise.resolve()
  /** Asked for and not done, the one under way included. */
  #undone = 0

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** As the job settles; one that fails does not stop the next. Rejects with `unavailable` (`overloaded`) when too many wait. */
  async take<T>(job: () => Promise<T>): Promise<T> {
    const { waiting, message } = this.#options
    if (this.#undone > waiting) throw new FrazilError('unavailable', 'overloaded', message, { hint: 'Send it again later.' })
    this.#undone++
    const done = this.#last.then(job).finally(() => this.#undone--)
    this.#last = done.catch(() => undefined)
    return done
  }
}
