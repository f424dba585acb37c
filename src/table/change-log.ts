import { assert } from '../base/index.ts'
import type { Block, SlabPool } from '../base/index.ts'
import type { Change, Segment, SourceEvent } from '../data/index.ts'
import type { SpillSpace, SpilledBytes } from './spill-space.ts'
import { restoreRows, segmentFor, spillRows } from './spilled-rows.ts'
import type { SpilledRows } from './spilled-rows.ts'

/** A change of rows, or the shape that the table has from here on. */
export type LoggedChange = Change | Extract<SourceEvent, { type: 'table' }>

/**
 * A change that is not applied, because what it made of the rows was copied after it: rows with keys that it names are outdated in what
 * was copied before it, that is in files of a moment below `before`.
 */
export interface OutdatingChange {
  readonly type: 'outdates'
  readonly change: LoggedChange
  readonly before: number
}

/** What change logs of one owner share. */
export interface ChangeLogParts {
  readonly pool: SlabPool
  readonly space: SpillSpace
  /** A new number for a segment, unique in the process. */
  nextSegmentId(): number
  /** Resolves when refused memory may be asked for again; with true when there will be none and the budget is to be exceeded. */
  room(): Promise<boolean>
}

/** Rows of one segment that entries of a log refer to: in memory and pinned, on disk, or (neither) not wanted any more. */
interface Piece {
  segment: Segment | null
  spilled: SpilledRows | null
  from: number
  to: number
  /** What the segment in memory begins with, in the numbering of entries. */
  base: number
  /** Number of the last entry that refers to it. */
  last: number
  /** Being read: stays in memory. */
  inUse: boolean
  /** Is being written to disk, or was: it takes no further rows, also when another log has it by now. */
  closed: boolean
}

/** Entries that lie together. */
interface Chunk {
  words: Int32Array | null
  block: Block | null
  spilled: SpilledBytes | null
}

// An entry's words.
const opWord = 0
const partWord = 1
/** Number of the piece with the rows, or of the note. */
const rowsWord = 2
const fromWord = 3
const toWord = 4
const keysWord = 5
const keysFromWord = 6
/** Number of the set of unchanged columns, 0 for none. */
const unchangedWord = 7
const entryWords = 8

const op = { insert: 0, upsert: 1, upsertExisting: 2, update: 3, delete: 4, deleteExisting: 5, note: 6 } as const

/** Entries of a small log lie outside the pool, and the memory is kept for the next transaction. */
const headEntries = 64
/** Entries of a chunk: 64 KiB. */
const chunkEntries = 2048

/**
 * The changes of a transaction in one table, in order, until it is known whether and when they happened. Bounded memory: rows
 * that do not fit are written to disk ({@link spill}) and read back one segment at a time when the log is drained. An entry takes
 * 32 bytes beside its rows, so that changes of many kinds in turn do not cost an object each.
 *
 * A log is added to, or drained, or cleared; {@link spill} may go on beside all of it.
 */
export class ChangeLog {
  /** The source's id of the table. */
  readonly table: string
  readonly #parts: ChangeLogParts
  #head: Int32Array | null = null
  #chunks: Chunk[] = []
  #count = 0
  #pieces: Piece[] = []
  /** The pieces that further changes may refer to, by segment. */
  readonly #open = new Map<Segment, number>()
  /** Changes without rows, as they came. */
  #notes: LoggedChange[] = []
  /** Sets of unchanged columns, each once. */
  #unchanged: (readonly number[])[] = [[]]
  /** The entry that was given out last. */
  #drained = -1
  readonly #dropped = new Set<number>()
  /** By part: what its changes outdate. */
  readonly #outdating = new Map<number, number>()
  /** The same for many parts that follow one another; `before` is 0 where they are dropped. */
  #settled: { readonly from: number; readonly to: number; readonly before: number }[] = []
  /** The chunk that is being drained. */
  #draining: Chunk | null = null
  #rows = 0

  constructor(table: string, parts: ChangeLogParts) {
    this.table = table
    this.#parts = parts
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  /** Rows and keys in all changes, those of dropped parts included. */
  get rows(): number {
    return this.#rows
  }

  /** Whether the table gets another shape. */
  get hasShape(): boolean {
    return this.#notes.some(({ type }) => type === 'table')
  }

  /** Bytes of the pool that {@link spill} could let go of. */
  get memory(): number {
    return this.#pieces.reduce((sum, { segment }) => sum + (segment ? segment.bytes : 0), 0)
  }

  /** Keeps a change; `part` is what {@link drop} may take out again. */
  add(change: LoggedChange, part = 0): void {
    if (!('from' in change)) {
      this.#notes.push(change)
      this.#put(op.note, part, this.#notes.length - 1, 0, 0, -1, 0)
      return
    }
    const { from, to } = change
    this.#rows += to - from
    switch (change.type) {
      case 'insert':
        return this.#put(op.insert, part, this.#piece(change.segment, from, to), from, to, -1, 0)
      case 'upsert': {
        const how = change.mustExist ? op.upsertExisting : op.upsert
        return this.#put(how, part, this.#piece(change.segment, from, to), from, to, -1, 0, change.unchanged)
      }
      case 'update': {
        const { keysFrom } = change
        const keys = this.#piece(change.keys, keysFrom, keysFrom + to - from)
        return this.#put(op.update, part, this.#piece(change.segment, from, to), from, to, keys, keysFrom, change.unchanged)
      }
      case 'delete': {
        const how = change.mustExist ? op.deleteExisting : op.delete
        return this.#put(how, part, -1, from, to, this.#piece(change.keys, from, to), from)
      }
    }
  }

  /** Takes out what was added with this part; nothing is added with it afterwards. */
  drop(part: number): void {
    if (this.#count > 0) this.#dropped.add(partWordOf(part))
  }

  /** What was added with this part, and is from here on, only outdates what was copied before moment `before`. */
  outdate(part: number, before: number): void {
    this.#outdating.set(partWordOf(part), before)
  }

  /** Parts [from, to], all positive: {@link drop} where `before` is 0, or else {@link outdate}, without remembering each. */
  settle(from: number, to: number, before: number): void {
    assert(from > 0 && to < 2 ** 31, 'a part of a row of parts is a positive word')
    if (this.#count > 0) this.#settled.push({ from, to, before })
  }

  /** Moves all changes of another log to the end of this one. Yields what has to be waited for. */
  *take(other: ChangeLog, part = 0): Generator<Promise<void>, void> {
    const firstNote = this.#notes.length
    const pieces = other.#pieces
    other.#pieces = []
    const numbers = pieces.map((piece) => this.#adopt(piece))
    other.#open.clear()
    for (const note of other.#notes) this.#notes.push(note)
    for (let entry = 0; entry < other.#count; entry++) {
      const chunk = other.#chunkOf(entry)
      if (chunk && !chunk.words) yield* other.#loadChunk(chunk)
      const words = chunk?.words ?? other.#headWords()
      const at = placeOf(entry)
      if (other.#beforeOf(words[at + partWord]) === 0) continue
      const isNote = words[at + opWord] === op.note
      const rows = isNote ? firstNote + words[at + rowsWord] : (numbers[words[at + rowsWord]] ?? -1)
      const keys = numbers[words[at + keysWord]] ?? -1
      const unchanged = other.#unchanged[words[at + unchangedWord]]
      this.#put(
        words[at + opWord],
        part,
        rows,
        words[at + fromWord],
        words[at + toWord],
        keys,
        words[at + keysFromWord],
        unchanged,
      )
    }
    for (const piece of pieces) if (piece.last < 0) this.#release(piece)
    this.#rows += other.#rows
    other.clear()
  }

  /**
   * Gives out the changes in order and forgets them; each is good until the next is asked for. `baseCommit` is that of segments
   * that are read back. Yields a promise when there is something to wait for first.
   */
  *drain(baseCommit: number): Generator<LoggedChange | OutdatingChange | Promise<void>, void> {
    try {
      for (let entry = 0; entry < this.#count; entry++) {
        const chunk = this.#chunkOf(entry)
        if (chunk !== this.#draining) {
          if (this.#draining) this.#releaseChunk(this.#draining)
          this.#draining = chunk
          if (chunk && !chunk.words) yield* this.#loadChunk(chunk)
        }
        const words = chunk?.words ?? this.#headWords()
        const at = placeOf(entry)
        const how = words[at + opWord]
        const rows = how === op.note ? null : this.#pieceAt(words[at + rowsWord])
        const keys = this.#pieceAt(words[at + keysWord])
        const before = this.#beforeOf(words[at + partWord])
        if (before !== 0) {
          if (rows) yield* this.#load(rows, baseCommit)
          if (keys) yield* this.#load(keys, baseCommit)
          this.#drained = entry
          const change = how === op.note ? this.#notes[words[at + rowsWord]] : this.#change(words, at, rows, keys)
          yield before === null ? change : { type: 'outdates', change, before }
        }
        if (rows) this.#passed(rows, entry)
        if (keys) this.#passed(keys, entry)
      }
    } finally {
      this.clear()
    }
  }

  /** The changes after the one that {@link drain} gave out last, as far as they are in memory and the table keeps its shape. */
  *ahead(): Generator<Change, void> {
    for (let entry = this.#drained + 1; entry < this.#count; entry++) {
      const chunk = this.#chunkOf(entry)
      if (chunk && !chunk.words) return
      const words = chunk?.words ?? this.#headWords()
      const at = placeOf(entry)
      if (this.#beforeOf(words[at + partWord]) !== null) continue
      if (words[at + opWord] === op.note) {
        const note = this.#notes[words[at + rowsWord]]
        if (note.type === 'table') return
        yield note
        continue
      }
      const rows = this.#pieceAt(words[at + rowsWord])
      const keys = this.#pieceAt(words[at + keysWord])
      if ((rows && !rows.segment) || (keys && !keys.segment)) return
      yield this.#change(words, at, rows, keys)
    }
  }

  /** Forgets everything. */
  clear(): void {
    for (const piece of this.#pieces) this.#release(piece)
    for (const chunk of this.#chunks) this.#releaseChunk(chunk)
    this.#pieces = []
    this.#chunks = []
    this.#notes = []
    this.#unchanged = [[]]
    this.#drained = -1
    this.#open.clear()
    this.#dropped.clear()
    this.#outdating.clear()
    this.#settled = []
    this.#draining = null
    this.#count = 0
    this.#rows = 0
  }

  /** Writes what it holds in memory to disk. Resolves with the bytes of the pool that it let go of. */
  async spill(): Promise<number> {
    const { space } = this.#parts
    let freed = 0
    for (const piece of this.#pieces.slice()) {
      const { segment } = piece
      if (!segment || piece.inUse) continue
      // Further changes are written elsewhere.
      piece.closed = true
      this.#open.delete(segment)
      segment.seal()
      segment.pin()
      try {
        const spilled = await spillRows(space, segment, piece.from, piece.to)
        // Drained or cleared meanwhile.
        if (piece.segment !== segment || piece.inUse) {
          space.release(spilled.bytes)
          continue
        }
        piece.segment = null
        piece.spilled = spilled
        freed += segment.bytes
        segment.unpin()
      } finally {
        segment.unpin()
      }
    }
    // The last chunk is still added to.
    for (const chunk of this.#chunks.slice(0, -1)) {
      const { words, block } = chunk
      if (!words || !block || chunk === this.#draining) continue
      const spilled = await space.write([block.bytes])
      if (chunk.words !== words || chunk === this.#draining) {
        space.release(spilled)
        continue
      }
      this.#releaseChunk(chunk)
      chunk.spilled = spilled
      freed += block.bytes.length
    }
    return freed
  }

  #put(
    how: number,
    part: number,
    rows: number,
    from: number,
    to: number,
    keys: number,
    keysFrom: number,
    unchanged?: readonly number[],
  ): void {
    const entry = this.#count++
    const at = placeOf(entry)
    if (entry >= headEntries && at === 0) {
      const block = this.#newBlock()
      this.#chunks.push({ words: wordsOf(block), block, spilled: null })
    }
    const words = this.#chunkOf(entry)?.words ?? this.#headWords()
    words[at + opWord] = how
    words[at + partWord] = partWordOf(part)
    words[at + rowsWord] = rows
    words[at + fromWord] = from
    words[at + toWord] = to
    words[at + keysWord] = keys
    words[at + keysFromWord] = keysFrom
    words[at + unchangedWord] = unchanged ? this.#setOf(unchanged) : 0
    if (how !== op.note && rows >= 0) this.#pieces[rows].last = entry
    if (keys >= 0) this.#pieces[keys].last = entry
  }

  /** Number of a set of unchanged columns. Few differ, and those that follow one another seldom do. */
  #setOf(columns: readonly number[]): number {
    const known = this.#unchanged.findLastIndex(
      (set) => set.length === columns.length && set.every((one, i) => one === columns[i]),
    )
    return known >= 0 ? known : this.#unchanged.push(columns) - 1
  }

  /** Number of the piece that has rows [from, to) of a segment. */
  #piece(segment: Segment, from: number, to: number): number {
    const known = this.#open.get(segment)
    if (known !== undefined && !this.#pieces[known].closed) {
      this.#pieces[known].to = to
      return known
    }
    segment.pin()
    this.#open.set(segment, this.#pieces.length)
    return this.#pieces.push({ segment, spilled: null, from, to, base: 0, last: -1, inUse: false, closed: false }) - 1
  }

  /**
   * The number that a piece of another log has here. Rows of a segment that this log has rows of become one piece, or each of many small
   * transactions would have its own.
   */
  #adopt(piece: Piece): number {
    const segment = piece.closed ? null : piece.segment
    const known = segment ? this.#open.get(segment) : undefined
    const same = known === undefined ? null : this.#pieces[known]
    if (!segment || known === undefined || !same || same.closed) {
      piece.last = -1
      if (segment) this.#open.set(segment, this.#pieces.length)
      return this.#pieces.push(piece) - 1
    }
    same.from = Math.min(same.from, piece.from)
    same.to = Math.max(same.to, piece.to)
    piece.segment = null
    segment.unpin()
    return known
  }

  /** The moment before which copied rows are outdated by what was added with a part; 0 where it is dropped, null where it is applied. */
  #beforeOf(word: number): number | null {
    if (this.#dropped.has(word)) return 0
    for (const { from, to, before } of this.#settled) if (word >= from && word <= to) return before
    return this.#outdating.get(word) ?? null
  }

  #pieceAt(number: number): Piece | null {
    return number < 0 ? null : this.#pieces[number]
  }

  /** The change that an entry stands for, with the numbers that its rows have now. */
  #change(words: Int32Array, at: number, rows: Piece | null, keys: Piece | null): Change {
    const { table } = this
    const how = words[at + opWord]
    const count = words[at + toWord] - words[at + fromWord]
    if (rows?.segment) {
      const from = words[at + fromWord] - rows.base
      const run = { table, segment: rows.segment, from, to: from + count }
      if (how === op.insert) return { type: 'insert', ...run }
      const set = words[at + unchangedWord]
      const partial = set > 0 ? { unchanged: this.#unchanged[set] } : null
      if (how !== op.update) return { type: 'upsert', ...run, mustExist: how === op.upsertExisting, ...partial }
      assert(keys?.segment, 'an update has keys')
      return { type: 'update', ...run, keys: keys.segment, keysFrom: words[at + keysFromWord] - keys.base, ...partial }
    }
    assert(keys?.segment, 'a delete has keys')
    const from = words[at + keysFromWord] - keys.base
    return { type: 'delete', table, keys: keys.segment, from, to: from + count, mustExist: how === op.deleteExisting }
  }

  /** Has a piece in memory, for as long as entries refer to it. */
  *#load(piece: Piece, baseCommit: number): Generator<Promise<void>, void> {
    piece.inUse = true
    const { spilled } = piece
    if (!spilled) return
    const parts = this.#parts
    let overBudget = false
    let segment: Segment | null
    for (;;) {
      segment = segmentFor(spilled, parts.pool, { id: parts.nextSegmentId(), baseCommit, overBudget })
      if (segment) break
      yield parts.room().then((exceed) => void (overBudget = exceed))
    }
    const memory = segment
    yield* waitFor(restoreRows(parts.space, spilled, memory), () => memory.unpin())
    parts.space.release(spilled.bytes)
    piece.spilled = null
    piece.segment = memory
    piece.base = spilled.first
  }

  #passed(piece: Piece, entry: number): void {
    if (piece.last <= entry) this.#release(piece)
  }

  #release(piece: Piece): void {
    const { segment, spilled } = piece
    piece.segment = null
    piece.spilled = null
    if (segment) {
      this.#open.delete(segment)
      segment.unpin()
    }
    if (spilled) this.#parts.space.release(spilled.bytes)
  }

  #headWords(): Int32Array {
    this.#head ??= new Int32Array(headEntries * entryWords)
    return this.#head
  }

  /** The chunk of an entry; null for the head. */
  #chunkOf(entry: number): Chunk | null {
    return entry < headEntries ? null : this.#chunks[Math.floor((entry - headEntries) / chunkEntries)]
  }

  #newBlock(): Block {
    // Counted, but never waited for: it is bounded by the rows that the budget lets in.
    const block = this.#parts.pool.allocate(chunkEntries * entryWords * 4, { overBudget: true })
    assert(block, 'memory over the budget is never refused')
    return block
  }

  *#loadChunk(chunk: Chunk): Generator<Promise<void>, void> {
    const { spilled } = chunk
    assert(spilled, 'a chunk is in memory or on disk')
    const { pool, space } = this.#parts
    const block = this.#newBlock()
    yield* waitFor(space.read(spilled, [block.bytes]), () => pool.free(block))
    space.release(spilled)
    chunk.spilled = null
    chunk.block = block
    chunk.words = wordsOf(block)
  }

  #releaseChunk(chunk: Chunk): void {
    const { block, spilled } = chunk
    chunk.words = null
    chunk.block = null
    chunk.spilled = null
    if (block) this.#parts.pool.free(block)
    if (spilled) this.#parts.space.release(spilled)
  }
}

/** Where in its chunk, or in the head, an entry's words are. */
function placeOf(entry: number): number {
  return (entry < headEntries ? entry : (entry - headEntries) % chunkEntries) * entryWords
}

/** A part as an entry has it: numbers of transactions have 32 bits, which make a negative word from 2^31 on. */
function partWordOf(part: number): number {
  return part | 0
}

function wordsOf({ bytes }: Block): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
}

/** Yields work that writes into memory. When nobody asks to go on, `giveUp` is called, but not before it has ended. */
function* waitFor(work: Promise<void>, giveUp: () => void): Generator<Promise<void>, void> {
  let isDone = false
  try {
    yield work
    isDone = true
  } finally {
    if (!isDone) work.then(giveUp, giveUp)
  }
}
