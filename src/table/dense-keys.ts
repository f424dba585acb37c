// Keys that ascend in small steps with their rows, as those of a table with a serial key that was copied or appended to: a bit for each
// number between the first key and the last one says whether it is there, and counting bits says in which row. So such keys take one to
// nine bits each, less than a filter, and are found without reading anything.
//
// A stretch is consecutive rows with ascending keys; stretches follow each other by row and by key. Layout, in words: for each stretch
// its first key (low, high), the distance to its last key, the number of its first block; for each block the row of its first key
// and 256 bits.

/** Numbers of a block. */
const blockBits = 256
/** Words of a block: a row, the bits. */
export const denseBlockWords = 1 + blockBits / 32
/** Words of a stretch. */
export const stretchWords = 4
/** Shorter stretches are not worth an entry. */
export const leastStretch = 512
/** Longer steps end a stretch: they would take blocks without any key. */
const longestStep = 4096
/** Numbers for each key of a stretch, at most: what keeps it smaller than the filter of those keys. */
const mostNumbersPerKey = 8

/** How far an exact key is above another; beyond 2⁵³ only about. */
function distance(from: Int32Array, atFrom: number, to: Int32Array, atTo: number): number {
  return (to[atTo + 1] - from[atFrom + 1]) * 2 ** 32 + ((to[atTo] >>> 0) - (from[atFrom] >>> 0))
}

/** Takes from keys that come in row order those that are dense. */
export class DenseKeysBuilder {
  #stretches: number[] = []
  #blocks = new Int32Array(0)
  #blockCount = 0
  #rows = 0
  /** The last key that was taken. */
  readonly #last = new Int32Array(2)

  /** Keys that were taken. */
  get rows(): number {
    return this.#rows
  }

  /**
   * Takes what it can of the keys of rows `firstRow` to `firstRow + count`, and moves the other keys together at the start of `words`.
   * Returns the rows of those; null when it took none.
   */
  take(words: Int32Array, count: number, firstRow: number): Int32Array | null {
    let left: Int32Array | null = null
    let kept = 0
    for (let start = 0; start < count;) {
      let end = start + 1
      for (; end < count; end++) {
        const step = distance(words, 2 * end - 2, words, 2 * end)
        if (step <= 0 || step > longestStep) break
      }
      const isTaken = this.#isDense(words, start, end)
      if (isTaken) {
        this.#add(words, start, end, firstRow)
        left ??= Int32Array.from({ length: count - (end - start) }, (_, i) => firstRow + i)
      } else {
        if (left) {
          words.copyWithin(2 * kept, 2 * start, 2 * end)
          for (let row = start; row < end; row++) left[kept + row - start] = firstRow + row
        }
        kept += end - start
      }
      start = end
    }
    return left?.subarray(0, kept) ?? null
  }

  #isDense(words: Int32Array, start: number, end: number): boolean {
    const rows = end - start
    if (rows < leastStretch || distance(words, 2 * start, words, 2 * end - 2) >= mostNumbersPerKey * rows) return false
    return this.#rows === 0 || distance(this.#last, 0, words, 2 * start) > 0
  }

  #add(words: Int32Array, start: number, end: number, firstRow: number): void {
    const length = distance(words, 2 * start, words, 2 * end - 2)
    const first = this.#blockCount
    this.#stretches.push(words[2 * start], words[2 * start + 1], length, first)
    this.#blockCount += Math.floor(length / blockBits) + 1
    const size = this.#blockCount * denseBlockWords
    if (size > this.#blocks.length)
      this.#blocks = new Int32Array(this.#blocks.buffer.transfer(Math.max(size, 2 * this.#blocks.length) * 4))
    const blocks = this.#blocks
    let next = first
    for (let row = start; row < end; row++) {
      const offset = distance(words, 2 * start, words, 2 * row)
      const block = first + (offset >>> 8)
      for (; next <= block; next++) blocks[next * denseBlockWords] = firstRow + row
      blocks[block * denseBlockWords + 1 + ((offset & 255) >>> 5)] |= 1 << (offset & 31)
    }
    this.#last[0] = words[2 * end - 2]
    this.#last[1] = words[2 * end - 1]
    this.#rows += end - start
  }

  /** What {@link DenseKeys} is made of. */
  finish(): { stretches: Int32Array<ArrayBuffer>; blocks: Int32Array<ArrayBuffer> } {
    return {
      stretches: Int32Array.from(this.#stretches),
      blocks: this.#blocks.subarray(0, this.#blockCount * denseBlockWords),
    }
  }
}

/** Says in which row a key is. */
export class DenseKeys {
  readonly #stretches: Int32Array
  #blocks: Int32Array | null
  readonly #read: (block: number) => Int32Array

  /** @param blocks null when there is no room for them: then `read` gives one, good until the next call */
  constructor(stretches: Int32Array, blocks: Int32Array | null, read: (block: number) => Int32Array) {
    this.#stretches = stretches
    this.#blocks = blocks
    this.#read = read
  }

  /** There is room now. */
  keep(blocks: Int32Array): void {
    this.#blocks = blocks
  }

  get memoryBytes(): number {
    return this.#stretches.byteLength + (this.#blocks?.byteLength ?? 0)
  }

  get isEmpty(): boolean {
    return this.#stretches.length === 0
  }

  /** Puts the first and the last key into `out`, at words 0 and 2. */
  bounds(out: Int32Array): void {
    const stretches = this.#stretches
    const last = stretches.length - stretchWords
    out[0] = stretches[0]
    out[1] = stretches[1]
    putKey(stretches, last, stretches[last + 2], out, 2)
  }

  /** The row with a key, −1 when there is none. */
  position(words: Int32Array, at: number): number {
    const stretches = this.#stretches
    // The last stretch that does not begin above the key.
    let low = 0
    let high = stretches.length / stretchWords - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (distance(stretches, middle * stretchWords, words, at) >= 0) low = middle
      else high = middle - 1
    }
    const stretch = low * stretchWords
    if (high < 0) return -1
    const offset = distance(stretches, stretch, words, at)
    if (offset < 0 || offset > stretches[stretch + 2]) return -1
    const block = stretches[stretch + 3] + (offset >>> 8)
    const blocks = this.#blocks ?? this.#read(block)
    const from = this.#blocks ? block * denseBlockWords : 0
    const word = from + 1 + ((offset & 255) >>> 5)
    const bit = 1 << (offset & 31)
    if ((blocks[word] & bit) === 0) return -1
    let row = blocks[from] + ones(blocks[word] & (bit - 1))
    for (let i = from + 1; i < word; i++) row += ones(blocks[i])
    return row
  }

  /** All keys in ascending order, each its words and its row; the array is good until the next one is asked for. */
  *entries(): Generator<{ readonly entries: Int32Array; readonly count: number }, void> {
    const entries = new Int32Array(blockBits * 3)
    const stretches = this.#stretches
    for (let stretch = 0; stretch < stretches.length; stretch += stretchWords) {
      for (let first = 0; first <= stretches[stretch + 2]; first += blockBits) {
        const block = stretches[stretch + 3] + first / blockBits
        const blocks = this.#blocks ?? this.#read(block)
        const from = this.#blocks ? block * denseBlockWords : 0
        let count = 0
        for (let number = 0; number < blockBits; number++) {
          if ((blocks[from + 1 + (number >>> 5)] & (1 << (number & 31))) === 0) continue
          putKey(stretches, stretch, first + number, entries, count * 3)
          entries[count * 3 + 2] = blocks[from] + count
          count++
        }
        if (count > 0) yield { entries, count }
      }
    }
  }
}

/** The key so far above that of a stretch. */
function putKey(stretches: Int32Array, stretch: number, offset: number, out: Int32Array, at: number): void {
  const low = (stretches[stretch] >>> 0) + offset
  out[at] = low
  out[at + 1] = stretches[stretch + 1] + (low >= 2 ** 32 ? 1 : 0)
}

function ones(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
