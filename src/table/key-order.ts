/** Compares keys: exact ones as signed 64-bit numbers, hashed ones word by word as signed numbers. Equal keys compare as 0. */
export function compareKeys(a: Int32Array, atA: number, b: Int32Array, atB: number, width: 2 | 4): number {
  if (width === 2) {
    const high = a[atA + 1]
    const other = b[atB + 1]
    if (high !== other) return high < other ? -1 : 1
    const low = a[atA] >>> 0
    const otherLow = b[atB] >>> 0
    return low < otherLow ? -1 : low > otherLow ? 1 : 0
  }
  for (let k = 0; k < 4; k++) {
    const x = a[atA + k]
    const y = b[atB + k]
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** Fewer keys are sorted by comparing them. */
const radixFrom = 128

/** Puts numbers of keys in the order of the keys, equal ones as they are; nothing to do for the common case of ascending ones. */
export function sortKeys(words: Int32Array, width: 2 | 4, keys: Int32Array): void {
  for (let i = 1; i < keys.length; i++) {
    if (compareKeys(words, keys[i - 1] * width, words, keys[i] * width, width) <= 0) continue
    if (keys.length < radixFrom) keys.sort((a, b) => compareKeys(words, a * width, words, b * width, width))
    else keys.set(radixSorted(words, width, keys.slice()))
    return
  }
}

/**
 * Row numbers by ascending key, equal keys by ascending row; null when the rows are in that order already (the common case of
 * a growing key).
 */
export function sortedOrder(words: Int32Array, width: 2 | 4, rows: number): Int32Array | null {
  let sorted = true
  for (let i = 1; i < rows && sorted; i++) sorted = compareKeys(words, (i - 1) * width, words, i * width, width) <= 0
  if (sorted) return null
  const order = new Int32Array(rows)
  for (let i = 0; i < rows; i++) order[i] = i
  return radixSorted(words, width, order)
}

/** Stable. Radix sort over the bytes in which the keys differ, 4–8 passes of about 8 ns a key. `order` may be overwritten. */
function radixSorted(words: Int32Array, width: 2 | 4, order: Int32Array): Int32Array {
  const rows = order.length
  let from = order
  let next: Int32Array = new Int32Array(rows)
  // Least significant first. Hashed keys: the first word decides nearly always; ties are put right below.
  const lanes = width === 2 ? [0, 1] : [0]
  const counts = new Int32Array(257)
  for (const lane of lanes) {
    let all = -1
    let any = 0
    for (let i = 0; i < rows; i++) {
      const value = words[from[i] * width + lane]
      all &= value
      any |= value
    }
    const differing = all ^ any
    const signed = width === 4 || lane === 1
    for (let shift = 0; shift < 32; shift += 8) {
      if (((differing >>> shift) & 255) === 0) continue
      const flip = signed && shift === 24 ? 128 : 0
      counts.fill(0)
      for (let i = 0; i < rows; i++) counts[(((words[from[i] * width + lane] >>> shift) & 255) ^ flip) + 1]++
      for (let i = 0; i < 256; i++) counts[i + 1] += counts[i]
      for (let i = 0; i < rows; i++) {
        const row = from[i]
        next[counts[((words[row * width + lane] >>> shift) & 255) ^ flip]++] = row
      }
      ;[from, next] = [next, from]
    }
  }
  if (width === 4) {
    for (let start = 0; start < rows;) {
      let end = start + 1
      while (end < rows && words[from[end] * 4] === words[from[start] * 4]) end++
      if (end - start > 1) from.subarray(start, end).sort((a, b) => compareKeys(words, a * 4, words, b * 4, 4))
      start = end
    }
  }
  return from
}
