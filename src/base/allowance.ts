import { FrazilError } from './errors.ts'

/**
 * Bytes that may be held at one time: by all, by those of one connection, by one request. Each is counted in the one that it is a part
 * of, too.
 */
export class Allowance {
  readonly #most: number
  readonly #whole: Allowance | null
  #parts: WeakMap<object, Allowance> | null = null
  #held = 0

  constructor(mostBytes: number, whole: Allowance | null = null) {
    this.#most = mostBytes
    this.#whole = whole
  }

  /** A part of this one, which holds nothing yet. */
  part(mostBytes = Number.POSITIVE_INFINITY): Allowance {
    return new Allowance(mostBytes, this)
  }

  get held(): number {
    return this.#held
  }

  /** The part of this one that `owner` has, a connection for example, for as long as that lives. */
  of(owner: object, mostBytes: number): Allowance {
    this.#parts ??= new WeakMap()
    let part = this.#parts.get(owner)
    if (!part) this.#parts.set(owner, (part = this.part(mostBytes)))
    return part
  }

  /** Throws `unavailable` (`overloaded`) unless so much more may be held; it is not taken. */
  check(bytes: number): void {
    if (this.#held + bytes > this.#most) throw overloaded()
    this.#whole?.check(bytes)
  }

  /** Throws `unavailable` (`overloaded`) when more is held than may be; nothing is taken then. */
  grow(bytes: number): void {
    if (this.#held + bytes > this.#most) throw overloaded()
    this.#whole?.grow(bytes)
    this.#held += bytes
  }

  shrink(bytes: number): void {
    this.#held -= bytes
    this.#whole?.shrink(bytes)
  }

  /** Gives back all that it holds. */
  end(): void {
    if (this.#held > 0) this.shrink(this.#held)
  }
}

/** More comes than there is room for. */
export function overloaded(): FrazilError {
  return new FrazilError('unavailable', 'overloaded', 'more comes than can be taken now', { hint: 'Send it again later.' })
}
