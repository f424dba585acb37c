import { FrazilError } from '../base/index.ts'
import type { Clock, SlabPool } from '../base/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { Committer } from './committer.ts'
import type { Mirror } from './mirror.ts'

/** While memory is short: how long until we look whether something has freed any. */
const roomCheckMs = 100
/** How long until a lake or a disk that did not take what was to make room is tried again. */
const roomRetryMs = 1000

export interface RoomParts {
  /** Name of the source, and its `memory`: for messages. */
  readonly source: string
  readonly memory: number
  readonly clock: Clock
  readonly pool: SlabPool
  readonly mirror: Mirror
  readonly committer: Committer
  /** Aborted when the pipeline ends or has failed. */
  readonly ending: AbortSignal
  /** Whether a source commit is being applied. */
  readonly applying: () => boolean
  /** Lets go of views that are too old; returns how many are left. */
  readonly dropOldViews: () => number
  readonly emit: (event: EngineEvent) => void
  readonly fail: (error: unknown) => void
}

/** Makes room in a pipeline's memory when its pool has refused an allocation. */
export class Room {
  readonly #parts: RoomParts
  /** Set by a source commit that waits for memory: lets it exceed the budget. */
  #exceed: (() => void) | null = null
  /** The round that is under way. */
  #round: Promise<void> | null = null
  /** An allocation was refused since the last round began. */
  #pressed = false

  constructor(parts: RoomParts) {
    this.#parts = parts
    parts.ending.addEventListener('abort', () => this.#exceed?.(), { once: true })
  }

  /** The pool has refused an allocation: whatever is applied goes to files. */
  press(): void {
    this.#parts.mirror.arrivals.handOver()
    this.#pressed = true
    if (this.#round || this.#parts.ending.aborted) return
    this.#round = this.#make()
      .catch((error: unknown) => this.#parts.fail(error))
      .finally(() => {
        this.#round = null
      })
  }

  /** For the end, when the committer has failed or finished: resolves when nothing is written any more to make room. */
  async rest(): Promise<void> {
    await this.#round
  }

  /** For the source commit that is being applied: resolves when memory may be asked for again, with true when there will be none. */
  wait(): Promise<boolean> {
    if (this.#parts.ending.aborted) return Promise.resolve(true)
    const exceeded = new Promise<boolean>((resolve) => (this.#exceed = () => resolve(true)))
    return Promise.race([exceeded, this.#parts.pool.freed().then(() => false)])
  }

  /** Spills and stages until nobody waits for memory any more. */
  async #make(): Promise<void> {
    const { clock, pool, mirror, committer, ending, emit } = this.#parts
    let committed = false
    let attempt = 0
    while ((this.#pressed || pool.waiting) && !ending.aborted) {
      this.#pressed = false
      const views = this.#parts.dropOldViews()
      const { used } = pool
      let freed = 0
      try {
        // What takes most goes first: a large open transaction must not make small files of everything else, nor the other way round.
        const isPendingFirst = mirror.pending * 2 > used
        if (isPendingFirst) freed = await this.#spilled(used)
        if (freed === 0 || pool.used >= used) freed += await this.#staged(used)
        if (freed === 0 && !isPendingFirst) freed = await this.#spilled(used)
      } catch (error) {
        if (!(error instanceof FrazilError) || error.kind !== 'unavailable') throw error
        // A full disk, a store that does not answer: the commit loop tries again as well.
        committer.want()
        attempt++
        const { code, message } = error
        emit({ type: 'retry', what: 'lake', attempt, delayMs: roomRetryMs, code, message })
        await clock.sleep(roomRetryMs, ending)
        continue
      }
      if (ending.aborted || !pool.waiting || pool.used < used) continue
      if (freed > 0 || committer.busy || mirror.arrivals.copying || views > 0) {
        // Something is on its way that will free memory, or may: look again.
        await clock.sleep(roomCheckMs, ending)
        continue
      }
      if (this.#parts.applying()) {
        // It cannot wait for what only its end will free, and asks for no more than a segment at a time.
        this.#exceed?.()
        await clock.sleep(roomCheckMs, ending)
        continue
      }
      if (!committed) {
        // An acknowledgement makes the source give up what it keeps for replay and for quiet tables.
        committed = true
        await committer.flush().catch(() => undefined)
        continue
      }
      throw new FrazilError(
        'config',
        'memory-too-small',
        `what the source ${this.#parts.source} needs at one time does not fit into memory`,
        {
          hint: `Raise memory (now ${Math.round(this.#parts.memory / 1e6)}MB): each table with changes under way needs a segment, with its largest row.`,
        },
      )
    }
  }

  async #spilled(used: number): Promise<number> {
    const freed = await this.#parts.mirror.spill()
    if (freed > 0) this.#parts.emit({ type: 'pressure', action: 'spilling', used })
    return freed
  }

  async #staged(used: number): Promise<number> {
    const staged = await this.#parts.committer.stage()
    if (staged > 0) this.#parts.emit({ type: 'pressure', action: 'staging', used })
    return staged
  }
}
