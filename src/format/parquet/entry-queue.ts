import { freePage } from './chunk-reader.ts'
import type { ChunkReader, DecodedPage } from './chunk-reader.ts'
import { malformed } from './read-metadata.ts'

/**
 * The entries of one leaf column of a row group as a queue: rows are taken from its front, pages are added at its back. Rows
 * are numbered within the row group.
 */
export class EntryQueue {
  readonly reader: ChunkReader
  readonly #rows: number
  #pages: DecodedPage[] = []
  /** Next entry of the first page, and the value that belongs to it or to the next entry with one. */
  entry = 0
  value = 0
  /** Number of the row that the next entry begins or goes on with. */
  #row = 0
  /** Rows that have begun in the pages decoded so far, counted from the row group's first. */
  #begun = 0
  #ended = false

  constructor(reader: ChunkReader, rows: number) {
    this.reader = reader
    this.#rows = rows
  }

  /** The page in front. Only valid when an entry is there. */
  get page(): DecodedPage {
    return this.#pages[0]
  }

  /**
   * Decodes until rows [row, to) are complete in the queue, and moves to `row`: forwards only. Some of those up to `ahead` are going
   * to be asked for next.
   */
  async prepare(row: number, to: number, ahead = to): Promise<void> {
    const { reader } = this
    reader.wantUpTo(ahead)
    if (row >= this.#begun && reader.seekable) {
      this.free()
      this.entry = 0
      this.value = 0
      this.#row = reader.seek(row)
      this.#begun = this.#row
    }
    // A row of repeated values is complete when the next one begins or the column ends. Files with an offset index do not
    // spread rows over pages.
    const needed = reader.leaf.maxRepetition > 0 && !reader.seekable ? to + 1 : to
    while (this.#begun < needed && !this.#ended) {
      const page = await reader.next()
      if (page === null) {
        this.#ended = true
        break
      }
      this.#begun += rowsBegun(page)
      if (this.#begun > this.#rows) throw malformed('a column has more rows than its row group')
      if (page.entries > 0) this.#pages.push(page)
      this.#skip(row)
    }
    if (this.#begun < to) throw malformed('a column has fewer rows than its row group')
    this.#skip(row)
    if (this.#row !== row) throw malformed('a column has fewer rows than its row group')
  }

  /** Moves to `row`, as far as pages are there. */
  #skip(row: number): void {
    for (;;) {
      // What goes on with a row that was passed already, in a page that came later.
      while (this.#pages.length > 0 && this.repetition > 0) this.advance(1)
      if (this.#row >= row || this.#pages.length === 0) return
      const page = this.#pages[0]
      const take = page.repetitions === null ? Math.min(row - this.#row, page.entries - this.entry) : 1
      this.advance(take)
      this.#row += take
    }
  }

  /** Counts rows as taken, after their entries were passed by {@link advance}. */
  took(rows: number): void {
    this.#row += rows
  }

  /** Gives back the memory of the pages that are left. */
  free(): void {
    for (const page of this.#pages) freePage(page)
    this.#pages = []
  }

  /** Whether any entry is left. */
  get empty(): boolean {
    return this.#pages.length === 0
  }

  /** Repetition level of the next entry. */
  get repetition(): number {
    const { repetitions } = this.#pages[0]
    return repetitions === null ? 0 : repetitions[this.entry]
  }

  /** Definition level of the next entry. */
  get definition(): number {
    const { definitions } = this.#pages[0]
    return definitions === null ? this.reader.leaf.maxDefinition : definitions[this.entry]
  }

  /** Passes `count` entries, all of the first page. */
  advance(count: number): void {
    const page = this.#pages[0]
    const { definitions } = page
    if (definitions === null) this.value += count
    else {
      const max = this.reader.leaf.maxDefinition
      for (let i = this.entry; i < this.entry + count; i++) if (definitions[i] === max) this.value++
    }
    this.entry += count
    if (this.entry === page.entries) {
      freePage(page)
      this.#pages.shift()
      this.entry = 0
      this.value = 0
    }
  }
}

function rowsBegun({ entries, repetitions }: DecodedPage): number {
  if (repetitions === null) return entries
  let rows = 0
  for (let i = 0; i < entries; i++) if (repetitions[i] === 0) rows++
  return rows
}
