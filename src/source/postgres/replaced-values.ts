import type { EventListener } from '../../observe/index.ts'
import type { Replaced } from './types/index.ts'

/** Counts the values of a source that became others because Iceberg cannot hold them, and tells of them. */
export class ReplacedValues implements Replaced {
  count = 0
  readonly #source: string
  readonly #observe: EventListener | undefined

  constructor(source: string, observe: EventListener | undefined) {
    this.#source = source
    this.#observe = observe
  }

  /** Tells of those since the last time. */
  tell(): void {
    if (this.count === 0) return
    this.#observe?.({ type: 'replaced', source: this.#source, values: this.count })
    this.count = 0
  }
}
