import type { ColdFile } from './cold-file.ts'

/** Keys after which files are put in order anew. What was found before counts half then. */
const keysInOrder = 16_384

/**
 * In which order look-ups of keys ask the files of a table. A key's live row is in one of them, so the order makes no difference but in time:
 * those in which most keys were found lately come first. Where any row is updated that is the large ones, so that most keys are not
 * looked for in the many small ones; where it is the newest rows, that is the newest files. Files that nothing is known of, the newest
 * first, come before all others.
 */
export class LookupOrder {
  /** By list of files, how many it had and their order. Weak, as below: files that are gone are not held. */
  readonly #orders = new WeakMap<readonly ColdFile[], { readonly count: number; readonly files: readonly ColdFile[] }>()
  /** Keys found, by file; of files that were there when the order was made. */
  readonly #found = new WeakMap<ColdFile, number>()
  #keys = 0

  /** Files, in the order of their coming, that are asked for so many keys. */
  of(files: readonly ColdFile[], keys: number): readonly ColdFile[] {
    this.#keys += keys
    const isDue = this.#keys > keysInOrder
    const known = this.#orders.get(files)
    if (known?.count === files.length && !isDue) return known.files
    const rank = (file: ColdFile): number => this.#found.get(file) ?? Infinity
    const order = files.toReversed().sort((a, b) => (rank(a) === rank(b) ? 0 : rank(b) - rank(a)))
    this.#orders.set(files, { count: files.length, files: order })
    if (isDue) {
      this.#keys = 0
      for (const file of files) this.#found.set(file, (this.#found.get(file) ?? 0) / 2)
    }
    return order
  }

  /** So many keys were found in the file. */
  found(file: ColdFile, keys: number): void {
    const before = this.#found.get(file)
    if (before !== undefined) this.#found.set(file, before + keys)
  }
}
