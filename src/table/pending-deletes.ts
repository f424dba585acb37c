/** Deletes of one source commit that came after many others of it: a bit a row is smaller than a number each. */
interface DenseRun {
  readonly commit: number
  readonly bits: Uint8Array
  count: number
}

/**
 * Deletes of a data file's rows that no committed vector has, with their source commits, which never decrease. A delete takes four
 * bytes, and those of one commit together no more than a bit for each row of the file and a bit more.
 */
export class PendingDeletes {
  readonly #rows: number
  #positions = new Uint32Array(0)
  #count = 0
  /** Runs of equal commits in `#positions`: the commit, and where it begins. */
  #commits: number[] = []
  #starts: number[] = []
  #dense: DenseRun[] = []

  /** @param rows rows of the file */
  constructor(rows: number) {
    this.#rows = rows
  }

  get count(): number {
    return this.#count + this.#dense.reduce((sum, { count }) => sum + count, 0)
  }

  add(position: number, commit: number): void {
    const last = this.#commits.length - 1
    if (last < 0 || this.#commits[last] !== commit) {
      this.#commits.push(commit)
      this.#starts.push(this.#count)
    } else if ((this.#count - this.#starts[last]) * 32 >= this.#rows) {
      this.#addDense(position, commit)
      return
    }
    if (this.#count === this.#positions.length) {
      const larger = new Uint32Array(Math.max(16, this.#count * 2))
      larger.set(this.#positions)
      this.#positions = larger
    }
    this.#positions[this.#count++] = position
  }

  #addDense(position: number, commit: number): void {
    let run = this.#dense.at(-1)
    if (run?.commit !== commit) {
      run = { commit, bits: new Uint8Array((this.#rows + 7) >> 3), count: 0 }
      this.#dense.push(run)
    }
    run.bits[position >> 3] |= 1 << (position & 7)
    run.count++
  }

  /** How many there are up to source commit `commit`. */
  countUntil(commit: number): number {
    return this.#end(commit) + this.#dense.reduce((sum, run) => sum + (run.commit <= commit ? run.count : 0), 0)
  }

  /** Takes those after source commit `commit` out of a bitmap that has them. */
  clearAfter(commit: number, bits: Uint8Array): void {
    for (let i = this.#end(commit); i < this.#count; i++) {
      const position = this.#positions[i]
      bits[position >> 3] &= ~(1 << (position & 7))
    }
    for (const run of this.#dense) {
      if (run.commit <= commit) continue
      for (let i = 0; i < bits.length; i++) bits[i] &= ~run.bits[i]
    }
  }

  /** Calls `visit` with each, in the order of their source commits. */
  each(visit: (commit: number, position: number) => void): void {
    for (const [run, commit] of this.#commits.entries()) {
      const end = this.#starts[run + 1] ?? this.#count
      for (let i = this.#starts[run]; i < end; i++) visit(commit, this.#positions[i])
      const dense = this.#dense.find((each) => each.commit === commit)
      if (!dense) continue
      for (let position = 0; position < this.#rows; position++) {
        if ((dense.bits[position >> 3] & (1 << (position & 7))) !== 0) visit(commit, position)
      }
    }
  }

  /** Forgets those up to source commit `commit`. */
  settle(commit: number): void {
    const end = this.#end(commit)
    this.#positions = this.#positions.slice(end, this.#count)
    this.#count -= end
    const runs = this.#runsUntil(commit)
    this.#commits = this.#commits.slice(runs)
    this.#starts = this.#starts.slice(runs).map((start) => start - end)
    this.#dense = this.#dense.filter((run) => run.commit > commit)
  }

  /** Where in `#positions` those after `commit` begin. */
  #end(commit: number): number {
    return this.#starts[this.#runsUntil(commit)] ?? this.#count
  }

  #runsUntil(commit: number): number {
    let low = 0
    let high = this.#commits.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#commits[middle] <= commit) low = middle + 1
      else high = middle
    }
    return low
  }
}
