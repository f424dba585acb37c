/**
 * Parquet's RLE / bit-packing hybrid (specification: Parquet "Encodings", RLE = 3), writing side. Values are 16 bits at most.
 */

/** Most bytes that {@link writeHybrid} writes for `count` values of `width` bits. */
export function hybridBound(count: number, width: number): number {
  // Worst are short runs: each costs a header of at most 5 bytes and its value, for at least 8 entries, beside a packed group.
  return (Math.ceil(count / 8) + 1) * (width + 10) + 8
}

/** Bits needed for values up to `max`. */
export function bitWidth(max: number): number {
  return 32 - Math.clz32(max)
}

/**
 * Writes `values[0..count)` at `out[at]` and returns the position behind them. Runs of eight or more equal values at a group's start
 * become RLE runs, the rest bit-packed groups of eight.
 */
export function writeHybrid(values: Uint8Array | Uint16Array, count: number, width: number, out: Uint8Array, at: number): number {
  let i = 0
  let packedFrom = 0
  while (i < count) {
    const value = values[i]
    let run = i + 1
    while (run < count && values[run] === value) run++
    if (run - i >= 8 || run === count) {
      // A last short run is cheaper as RLE too: a packed group would be padded.
      if (i > packedFrom) at = writePacked(values, packedFrom, i, width, out, at)
      at = writeVarint((run - i) << 1, out, at)
      out[at++] = value
      if (width > 8) out[at++] = value >> 8
      i = run
      packedFrom = i
    } else {
      // A packed run holds whole groups, so the next RLE run can start only at a group's end.
      i += 8
    }
  }
  if (packedFrom < count) at = writePacked(values, packedFrom, count, width, out, at)
  return at
}

function writePacked(
  values: Uint8Array | Uint16Array,
  from: number,
  to: number,
  width: number,
  out: Uint8Array,
  at: number,
): number {
  const groups = (to - from + 7) >> 3
  at = writeVarint((groups << 1) | 1, out, at)
  if (width === 1) {
    let i = from
    for (; i + 8 <= to; i += 8) {
      out[at++] =
        values[i] |
        (values[i + 1] << 1) |
        (values[i + 2] << 2) |
        (values[i + 3] << 3) |
        (values[i + 4] << 4) |
        (values[i + 5] << 5) |
        (values[i + 6] << 6) |
        (values[i + 7] << 7)
    }
    if (i < to) {
      let byte = 0
      for (let bit = 0; i < to; i++, bit++) byte |= values[i] << bit
      out[at++] = byte
    }
    return at
  }
  let bits = 0
  let held = 0
  for (let i = from; i < to; i++) {
    held |= values[i] << bits
    bits += width
    if (bits >= 16) {
      out[at] = held
      out[at + 1] = held >> 8
      at += 2
      held >>>= 16
      bits -= 16
    }
  }
  // The last group is padded with zeros.
  for (let i = to - from; i < groups * 8; i++) {
    bits += width
    while (bits >= 8) {
      out[at++] = held
      held >>>= 8
      bits -= 8
    }
  }
  while (bits > 0) {
    out[at++] = held
    held >>>= 8
    bits -= 8
  }
  return at
}

function writeVarint(value: number, out: Uint8Array, at: number): number {
  while (value >= 128) {
    out[at++] = (value & 127) | 128
    value >>>= 7
  }
  out[at++] = value
  return at
}
