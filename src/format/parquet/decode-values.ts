import { FrazilError } from '../../base/index.ts'
import { decodeDelta } from './decode-delta.ts'
import { decodeHybrid } from './decode-hybrid.ts'
import { encoding } from './leaf-writer.ts'
import { malformed } from './read-metadata.ts'
import type { Physical } from './schema.ts'
import { physical } from './schema.ts'

/**
 * Values without gaps: `width` bytes each in `bytes`, or, for width 0, each behind its uint32 length, value i from `ends[i]`
 * to `ends[i + 1]`.
 */
export interface Dense {
  readonly count: number
  readonly width: number
  readonly bytes: Uint8Array
  readonly ends: Int32Array
}

const noEnds = new Int32Array(1)

/** Bytes of a value in memory: booleans one, byte arrays 0 for "variable". */
export function widthOfPhysical(type: Physical, typeLength: number): number {
  switch (type) {
    case physical.boolean:
      return 1
    case physical.int32:
    case physical.float:
      return 4
    case physical.int64:
    case physical.double:
      return 8
    case physical.int96:
      return 12
    case physical.fixed:
      return typeLength
    case physical.byteArray:
      return 0
    default:
      throw malformed('a column has an unknown type')
  }
}

/** Decodes the `count` values of a page that lie in `bytes[at, end)`, in any encoding but the dictionary's. */
export function decodeValues(
  type: Physical,
  typeLength: number,
  encodedAs: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  count: number,
): Dense {
  const width = widthOfPhysical(type, typeLength)
  // A value of no width takes no bytes, so its count would be bounded by nothing.
  if (type === physical.fixed && width === 0) throw malformed('a fixed-length type has no length')
  switch (encodedAs) {
    case encoding.plain:
      if (type === physical.boolean) return booleans(bytes, at, end, count)
      if (type === physical.byteArray) return plainByteArrays(bytes, at, end, count)
      if (count * width > end - at) throw malformed('a page has fewer values than it says')
      return { count, width, bytes: bytes.subarray(at, at + count * width), ends: noEnds }
    case encoding.rle: {
      if (type !== physical.boolean) break
      if (at + 4 > end) throw malformed('a page ends early')
      const out = new Uint8Array(count)
      decodeHybrid(bytes, at + 4, end, 1, count, out)
      return { count, width, bytes: out, ends: noEnds }
    }
    case encoding.deltaBinaryPacked: {
      if (type !== physical.int32 && type !== physical.int64) break
      checkCount(count, end - at)
      const { words } = decodeDelta(bytes, at, end, count)
      if (type === physical.int64) return { count, width, bytes: new Uint8Array(words.buffer), ends: noEnds }
      const low = new Int32Array(count)
      for (let i = 0; i < count; i++) low[i] = words[i * 2]
      return { count, width, bytes: new Uint8Array(low.buffer), ends: noEnds }
    }
    case encoding.deltaLengthByteArray:
      if (type !== physical.byteArray) break
      checkCount(count, end - at)
      return deltaLengths(bytes, at, end, count)
    case encoding.deltaByteArray: {
      if (type !== physical.byteArray && type !== physical.fixed) break
      checkCount(count, end - at)
      const values = deltaPrefixes(bytes, at, end, count)
      return type === physical.fixed ? withoutLengths(values, width) : values
    }
    case encoding.byteStreamSplit: {
      if (width === 0 || type === physical.boolean) break
      if (count * width > end - at) throw malformed('a page has fewer values than it says')
      const out = new Uint8Array(count * width)
      for (let k = 0; k < width; k++) for (let i = 0; i < count; i++) out[i * width + k] = bytes[at + k * count + i]
      return { count, width, bytes: out, ends: noEnds }
    }
    default:
  }
  throw new FrazilError(
    'unsupported',
    'parquet-encoding',
    `the Parquet file uses encoding ${encodedAs} for a type that it is not known for`,
  )
}

/** Delta encodings can say much with few bytes (all the same), but not without bound: a block takes some bytes each. */
function checkCount(count: number, bytes: number): void {
  if (count > (bytes + 1) * 65536) throw malformed('a page has fewer values than it says')
}

/** The values that codes stand for. */
export function lookUp(dictionary: Dense, codes: Int32Array, count: number): Dense {
  const { width } = dictionary
  const size = dictionary.count
  for (let i = 0; i < count; i++) if (codes[i] >>> 0 >= size) throw malformed('a code is not in the dictionary')
  if (width === 0) {
    const ends = new Int32Array(count + 1)
    let length = 0
    for (let i = 0; i < count; i++) {
      length += dictionary.ends[codes[i] + 1] - dictionary.ends[codes[i]]
      if (length > maxHeap) throw tooLarge()
      ends[i + 1] = length
    }
    const out = new Uint8Array(length)
    const { bytes } = dictionary
    let to = 0
    for (let i = 0; i < count; i++) {
      let from = dictionary.ends[codes[i]]
      const stop = dictionary.ends[codes[i] + 1]
      if (stop - from > 96) {
        out.set(bytes.subarray(from, stop), to)
        to += stop - from
      } else while (from < stop) out[to++] = bytes[from++]
    }
    return { count, width, bytes: out, ends }
  }
  if (count * width > maxHeap) throw tooLarge()
  const out = new Uint8Array(count * width)
  if (width === 4 || width === 8) {
    const source = aligned(dictionary.bytes)
    const target = new Int32Array(out.buffer)
    if (width === 4) for (let i = 0; i < count; i++) target[i] = source[codes[i]]
    else
      for (let i = 0; i < count; i++) {
        target[i * 2] = source[codes[i] * 2]
        target[i * 2 + 1] = source[codes[i] * 2 + 1]
      }
  } else {
    for (let i = 0; i < count; i++) {
      const from = codes[i] * width
      for (let k = 0; k < width; k++) out[i * width + k] = dictionary.bytes[from + k]
    }
  }
  return { count, width, bytes: out, ends: noEnds }
}

/** Bytes as 32-bit words, copied where they do not lie on a word boundary. The length is a multiple of 4. */
export function aligned(bytes: Uint8Array): Int32Array {
  // Not `slice`: of a Buffer, as zlib returns them, that is no copy.
  const at = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes)
  return new Int32Array(at.buffer, at.byteOffset, at.length >> 2)
}

function booleans(bytes: Uint8Array, at: number, end: number, count: number): Dense {
  if (count > (end - at) * 8) throw malformed('a page has fewer values than it says')
  const out = new Uint8Array(count)
  for (let i = 0; i < count; i++) out[i] = (bytes[at + (i >> 3)] >> (i & 7)) & 1
  return { count, width: 1, bytes: out, ends: noEnds }
}

function plainByteArrays(bytes: Uint8Array, at: number, end: number, count: number): Dense {
  if (count * 4 > end - at) throw malformed('a page has fewer values than it says')
  const ends = new Int32Array(count + 1)
  const start = at
  for (let i = 0; i < count; i++) {
    if (at + 4 > end) throw malformed('a page has fewer values than it says')
    const length = (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
    at += 4 + length
    if (at > end) throw malformed('a value goes beyond its page')
    ends[i + 1] = at - start
  }
  return { count, width: 0, bytes: bytes.subarray(start, at), ends }
}

function deltaLengths(bytes: Uint8Array, at: number, end: number, count: number): Dense {
  const { words, end: lengthsEnd } = decodeDelta(bytes, at, end, count)
  const ends = new Int32Array(count + 1)
  let from = lengthsEnd
  for (let i = 0; i < count; i++) {
    const length = words[i * 2]
    from += length
    if (length < 0 || words[i * 2 + 1] !== 0 || from > end) throw malformed('a value goes beyond its page')
    ends[i + 1] = ends[i] + 4 + length
  }
  const out = new Uint8Array(ends[count])
  from = lengthsEnd
  for (let i = 0; i < count; i++) {
    const length = ends[i + 1] - ends[i] - 4
    putLength(out, ends[i], length)
    out.set(bytes.subarray(from, from + length), ends[i] + 4)
    from += length
  }
  return { count, width: 0, bytes: out, ends }
}

function deltaPrefixes(bytes: Uint8Array, at: number, end: number, count: number): Dense {
  const prefixes = decodeDelta(bytes, at, end, count)
  const suffixes = deltaLengths(bytes, prefixes.end, end, count)
  const ends = new Int32Array(count + 1)
  let before = 0
  let length = 0
  for (let i = 0; i < count; i++) {
    const prefix = prefixes.words[i * 2]
    if (prefix < 0 || prefixes.words[i * 2 + 1] !== 0 || prefix > before) throw malformed('a value repeats more than there was')
    before = prefix + suffixes.ends[i + 1] - suffixes.ends[i] - 4
    length += 4 + before
    if (length > maxHeap) throw tooLarge()
    ends[i + 1] = length
  }
  const out = new Uint8Array(length)
  for (let i = 0; i < count; i++) {
    const prefix = prefixes.words[i * 2]
    putLength(out, ends[i], ends[i + 1] - ends[i] - 4)
    if (prefix > 0) out.copyWithin(ends[i] + 4, ends[i - 1] + 4, ends[i - 1] + 4 + prefix)
    out.set(suffixes.bytes.subarray(suffixes.ends[i] + 4, suffixes.ends[i + 1]), ends[i] + 4 + prefix)
  }
  return { count, width: 0, bytes: out, ends }
}

function withoutLengths(values: Dense, width: number): Dense {
  const { count, ends } = values
  const out = new Uint8Array(count * width)
  for (let i = 0; i < count; i++) {
    if (ends[i + 1] - ends[i] !== width + 4) throw malformed('a value does not have the length of its type')
    out.set(values.bytes.subarray(ends[i] + 4, ends[i + 1]), i * width)
  }
  return { count, width, bytes: out, ends: noEnds }
}

/** The converse: values of fixed width, each behind its length. */
export function withLengths({ count, width, bytes }: Dense): Dense {
  const ends = new Int32Array(count + 1)
  const out = new Uint8Array(count * (width + 4))
  for (let i = 0; i < count; i++) {
    putLength(out, ends[i], width)
    out.set(bytes.subarray(i * width, (i + 1) * width), ends[i] + 4)
    ends[i + 1] = ends[i] + 4 + width
  }
  return { count, width: 0, bytes: out, ends }
}

/** Byte arrays of one page after decoding stay below this. */
const maxHeap = 1 << 30

export function tooLarge(): FrazilError {
  return new FrazilError('unsupported', 'parquet-too-large', 'values of a Parquet page take more than 1 GiB')
}

function putLength(bytes: Uint8Array, at: number, length: number): void {
  bytes[at] = length
  bytes[at + 1] = length >>> 8
  bytes[at + 2] = length >>> 16
  bytes[at + 3] = length >>> 24
}
