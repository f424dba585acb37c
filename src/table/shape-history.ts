import type { TableShape } from './table-shape.ts'

/** What a table looks like since which source commit: the shape that the lake has, and those that it does not have yet. */
export class ShapeHistory {
  /** Oldest first. */
  #shapes: { readonly since: number; readonly shape: TableShape }[]
  /** That of rows that are in memory and of those to come. */
  latest: TableShape

  constructor(shape: TableShape) {
    this.#shapes = [{ since: 0, shape }]
    this.latest = shape
  }

  /** At a source commit that is not older than the last one in the lake. */
  at(commit: number): TableShape {
    return (this.#shapes.findLast(({ since }) => since <= commit) ?? this.#shapes[0]).shape
  }

  /** From source commit `commit` on it looks like this. */
  add(commit: number, shape: TableShape): void {
    this.#shapes.push({ since: commit, shape })
    this.latest = shape
  }

  /** The lake has another one than the first here. */
  rebase(base: TableShape): void {
    if (JSON.stringify(base.fields) === JSON.stringify(this.latest.fields)) return
    this.#shapes = [
      { since: 0, shape: base },
      { since: 0, shape: this.latest },
    ]
  }

  /** What a lake commit has to say; null when the lake has it. */
  toCommit(commit: number): TableShape | null {
    const shape = this.at(commit)
    return shape === this.#shapes[0].shape ? null : shape
  }

  /** The lake has this one. */
  settle(committed: TableShape): void {
    this.#shapes = this.#shapes.slice(this.#shapes.findIndex(({ shape }) => shape === committed))
  }

  /** Whether the lake has the latest one. */
  get isSettled(): boolean {
    return this.#shapes.length === 1
  }
}
