import type { Column } from '../../data/index.ts'
import type { Staging } from './staging.ts'

/**
 * Which rows of a column go where: `rows[from..to)` are row numbers, or, when `rows` is null, the rows [from, to) themselves.
 */
export interface Selection {
  readonly rows: Int32Array | null
  readonly from: number
  readonly to: number
}

/** Writes 1 or 0 for each selected row into `into` from `at`: has it a value? Returns how many have. */
export function gatherPresence(valid: Uint8Array, { rows, from, to }: Selection, into: Uint8Array, at: number): number {
  let present = 0
  if (rows === null && areAllSet(valid, from, to)) {
    present = to - from
    into.fill(1, at, at + present)
  } else if (rows === null) {
    for (let row = from; row < to; row++) {
      const bit = (valid[row >> 3] >> (row & 7)) & 1
      into[at++] = bit
      present += bit
    }
  } else {
    for (let i = from; i < to; i++) {
      const row = rows[i]
      const bit = (valid[row >> 3] >> (row & 7)) & 1
      into[at++] = bit
      present += bit
    }
  }
  return present
}

/** Whether the bits [from, to) are all set. */
function areAllSet(bits: Uint8Array, from: number, to: number): boolean {
  while (from < to && (from & 7) !== 0) {
    if ((bits[from >> 3] & (1 << (from & 7))) === 0) return false
    from++
  }
  for (; from + 8 <= to; from += 8) if (bits[from >> 3] !== 0xff) return false
  for (; from < to; from++) if ((bits[from >> 3] & (1 << (from & 7))) === 0) return false
  return true
}

/**
 * Copies the values of the selected rows, those without one left out, densely into `staging`, in the form that Parquet's
 * PLAIN encoding has (booleans one byte each). `presence[at..]` comes from {@link gatherPresence}; null when every row has a
 * value. `width` is that of the Parquet column: smaller than the segment's for wide decimals.
 */
export function gatherValues(
  column: Column,
  width: number,
  selection: Selection,
  presence: Uint8Array | null,
  at: number,
  staging: Staging,
): void {
  switch (column.layout) {
    case 'var':
      return gatherVariable(column, selection, staging)
    case 'i32':
    case 'f32':
      return gatherWords(column.words, selection, presence, at, staging)
    case 'i64':
    case 'f64':
      return gatherPairs(column.words, selection, presence, at, staging)
    case 'i128':
      return gatherDecimals(column.data, width, selection, presence, at, staging)
    case 'bool':
    case 'fixed':
      return gatherBytes(column.data, width, selection, presence, at, staging)
  }
}

/** Bytes that the selected rows take in PLAIN form. */
export function variableBytes(ends: Int32Array, { rows, from, to }: Selection): number {
  if (rows === null) return ends[to] - ends[from]
  let bytes = 0
  for (let i = from; i < to; i++) bytes += ends[rows[i] + 1] - ends[rows[i]]
  return bytes
}

/** How many rows of the selection reach `budget` bytes (at least one row, at most all). */
export function variableFit(ends: Int32Array, { rows, from, to }: Selection, budget: number): number {
  if (rows === null) {
    const limit = ends[from] + budget
    if (ends[to] < limit) return to - from
    let low = from + 1
    let high = to
    while (low < high) {
      const middle = (low + high) >> 1
      if (ends[middle] >= limit) high = middle
      else low = middle + 1
    }
    return low - from
  }
  let bytes = 0
  for (let i = from; i < to; i++) {
    bytes += ends[rows[i] + 1] - ends[rows[i]]
    if (bytes >= budget) return i + 1 - from
  }
  return to - from
}

function gatherVariable({ ends, heap }: Column, selection: Selection, staging: Staging): void {
  const { rows, from, to } = selection
  const bytes = variableBytes(ends, selection)
  staging.reserve(bytes)
  const target = staging.bytes
  let end = staging.end
  if (rows === null) {
    target.set(heap.subarray(ends[from], ends[to]), end)
  } else {
    for (let i = from; i < to; i++) {
      let start = ends[rows[i]]
      // Few rows are dead as a rule: runs of neighbours are one copy.
      while (i + 1 < to && rows[i + 1] === rows[i] + 1) i++
      const stop = ends[rows[i] + 1]
      if (stop - start > 96) {
        target.set(heap.subarray(start, stop), end)
        end += stop - start
      } else {
        while (start < stop) target[end++] = heap[start++]
      }
    }
  }
  staging.end += bytes
}

function gatherWords(words: Int32Array, selection: Selection, presence: Uint8Array | null, at: number, staging: Staging): void {
  const { rows, from, to } = selection
  staging.reserve((to - from) * 4)
  const target = staging.words
  const start = staging.end >> 2
  let end = start
  if (presence === null) {
    if (rows === null) target.set(words.subarray(from, to), start)
    else for (let i = from; i < to; i++) target[end++] = words[rows[i]]
    end = start + to - from
  } else if (rows === null) {
    for (let i = from; i < to; i++) {
      target[end] = words[i]
      end += presence[at++]
    }
  } else {
    for (let i = from; i < to; i++) {
      target[end] = words[rows[i]]
      end += presence[at++]
    }
  }
  staging.end = end << 2
}

function gatherPairs(words: Int32Array, selection: Selection, presence: Uint8Array | null, at: number, staging: Staging): void {
  const { rows, from, to } = selection
  staging.reserve((to - from) * 8)
  const target = staging.words
  const start = staging.end >> 2
  let end = start
  if (presence === null && rows === null) {
    target.set(words.subarray(from * 2, to * 2), start)
    end = start + (to - from) * 2
  } else if (presence === null && rows !== null) {
    for (let i = from; i < to; i++) {
      const row = rows[i] * 2
      target[end] = words[row]
      target[end + 1] = words[row + 1]
      end += 2
    }
  } else if (presence !== null) {
    for (let i = from; i < to; i++) {
      const row = (rows === null ? i : rows[i]) * 2
      target[end] = words[row]
      target[end + 1] = words[row + 1]
      end += presence[at++] << 1
    }
  }
  staging.end = end << 2
}

function gatherBytes(
  data: Uint8Array,
  width: number,
  selection: Selection,
  presence: Uint8Array | null,
  at: number,
  staging: Staging,
): void {
  const { rows, from, to } = selection
  staging.reserve((to - from) * width)
  const target = staging.bytes
  let end = staging.end
  if (presence === null && rows === null) {
    target.set(data.subarray(from * width, to * width), end)
    end += (to - from) * width
  } else {
    for (let i = from; i < to; i++) {
      if (presence !== null && presence[at++] === 0) continue
      const start = (rows === null ? i : rows[i]) * width
      for (let k = 0; k < width; k++) target[end + k] = data[start + k]
      end += width
    }
  }
  staging.end = end
}

/** 16 bytes little-endian become the last `width` bytes, big-endian. */
function gatherDecimals(
  data: Uint8Array,
  width: number,
  selection: Selection,
  presence: Uint8Array | null,
  at: number,
  staging: Staging,
): void {
  const { rows, from, to } = selection
  staging.reserve((to - from) * width)
  const target = staging.bytes
  let end = staging.end
  for (let i = from; i < to; i++) {
    if (presence !== null && presence[at++] === 0) continue
    let source = (rows === null ? i : rows[i]) * 16 + width
    for (let k = 0; k < width; k++) target[end++] = data[--source]
  }
  staging.end = end
}
