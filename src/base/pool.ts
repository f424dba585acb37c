import { assert } from './errors.ts'

/** A piece of shared memory. `bytes` covers exactly the requested size; the piece itself is a power of two. */
export interface Block {
  readonly bytes: Uint8Array<SharedArrayBuffer>
  /** Position in the pool; meaningful to the pool only. */
  readonly slab: number
  readonly offset: number
  readonly order: number
}

export interface SlabPoolOptions {
  /** Most bytes handed out at one time. */
  budget: number
  /** Bytes that may be held beside the slabs, see {@link SlabPool.hold}, before they count against the budget. Default 0. */
  beside?: number
  /** Bytes of one slab, a power of two; also the largest block. Default 32 MiB, less for small budgets. */
  slabBytes?: number
}

const minOrder = 8 // 256 bytes

/**
 * Hot memory: fixed slabs of shared memory, carved by halving (a buddy allocator), re-used and never given back to the
 * system, because shared buffers that were sent to a worker stay in its heap until it happens to collect them.
 *
 * One thread owns a pool. Other threads get typed arrays over its slabs in messages and only read (or, for file workers,
 * fill blocks that were lent to them).
 */
export class SlabPool {
  readonly budget: number
  readonly slabBytes: number
  readonly #beside: number
  #held = 0
  readonly #maxOrder: number
  readonly #slabs: SharedArrayBuffer[] = []
  /** Free block starts by order, as slab * slabBytes + offset. */
  readonly #free: Set<number>[] = []
  #used = 0
  #waiters: (() => void)[] = []
  /** Called when an allocation is refused: the owner should make room (flush early). */
  onPressure: (() => void) | null = null

  constructor(options: SlabPoolOptions) {
    this.budget = options.budget
    this.#beside = options.beside ?? 0
    let slab = options.slabBytes ?? 32 << 20
    while (options.slabBytes === undefined && slab > 1 << 20 && slab * 4 > options.budget) slab /= 2
    assert((slab & (slab - 1)) === 0, 'slab size is a power of two')
    this.slabBytes = slab
    this.#maxOrder = 31 - Math.clz32(slab)
    for (let order = 0; order <= this.#maxOrder; order++) this.#free.push(new Set())
  }

  /** Bytes handed out, rounded up to whole blocks. */
  get used(): number {
    return this.#used
  }

  /** Bytes still to be had within the budget (fragmentation aside). */
  get available(): number {
    return this.budget - this.#used - Math.max(0, this.#held - this.#beside)
  }

  /** Bytes held beside the slabs. */
  get held(): number {
    return this.#held
  }

  /**
   * Counts memory that its owner has for long, outside the slabs: what is more than `beside` is not handed out as blocks. False, and
   * nothing is counted, when it would leave less than half of the budget for those.
   */
  hold(bytes: number): boolean {
    if (this.#held + bytes > this.#beside + this.budget / 2) return false
    this.#held += bytes
    return true
  }

  /** What was held is not there any more. */
  letGo(bytes: number): void {
    this.#held -= bytes
    assert(this.#held >= 0, 'no more is let go than was held')
    this.#wake()
  }

  /**
   * A block of at least `bytes` bytes, its content arbitrary, or null when the budget does not allow it now. `overBudget` is for
   * the little that cannot wait: it is counted all the same.
   */
  allocate(bytes: number, options?: { overBudget?: boolean }): Block | null {
    let order = minOrder
    while (2 ** order < bytes) order++
    assert(order <= this.#maxOrder, `a block of ${bytes} bytes exceeds the slab size ${this.slabBytes}`)
    const size = 2 ** order
    if (size > this.available && options?.overBudget !== true) {
      this.onPressure?.()
      return null
    }
    let from = order
    while (from <= this.#maxOrder && this.#free[from].size === 0) from++
    let start: number
    if (from > this.#maxOrder) {
      // Whole slabs only. Fragmentation can make them about twice the budget; pages never written to take no memory.
      start = this.#slabs.length * this.slabBytes
      this.#slabs.push(new SharedArrayBuffer(this.slabBytes))
      from = this.#maxOrder
    } else {
      start = first(this.#free[from])
      this.#free[from].delete(start)
    }
    while (from > order) {
      from--
      this.#free[from].add(start + 2 ** from)
    }
    this.#used += size
    const slab = Math.floor(start / this.slabBytes)
    const offset = start - slab * this.slabBytes
    return { bytes: new Uint8Array(this.#slabs[slab], offset, bytes), slab, offset, order }
  }

  /**
   * Returns a block. Giving one back twice is a bug that corrupts data: caught unless its memory was handed out again. Whoever gives back
   * what he took a moment ago, because the rest of what he needs was refused, does not wake those who wait: they were refused with it,
   * and two of them would wake each other for ever.
   */
  free(block: Block, wakes = true): void {
    let order = block.order
    let start = block.slab * this.slabBytes + block.offset
    for (let larger = order; larger <= this.#maxOrder; larger++) {
      assert(!this.#free[larger].has(start - (start % 2 ** larger)), 'a block is freed once')
    }
    this.#used -= 2 ** order
    while (order < this.#maxOrder) {
      const offset = start % this.slabBytes
      const buddy = start - offset + (offset ^ (2 ** order))
      if (!this.#free[order].delete(buddy)) break
      start = Math.min(start, buddy)
      order++
    }
    this.#free[order].add(start)
    if (wakes) this.#wake()
  }

  #wake(): void {
    if (this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  /** Whether somebody waits for memory now. */
  get waiting(): boolean {
    return this.#waiters.length > 0
  }

  /** Resolves at the next `free` or `letGo`: the caller then tries again. To be asked in the turn of the refusal, or a `free` is missed. */
  freed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve))
  }
}

function first(set: Set<number>): number {
  for (const value of set) return value
  throw new Error('empty set')
}
