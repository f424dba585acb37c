import { FrazilError } from '../../base/index.ts'

/**
 * Decodes one LZ4 block, without a frame (specification: LZ4 "Block Format Description"; Parquet's LZ4_RAW), of exactly
 * `size` bytes. Throws `corrupt` for anything else.
 */
export function decodeLz4Block(input: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const output = new Uint8Array(size)
  if (appendBlock(input, output, 0) !== size) throw malformed()
  return output
}

/** Decodes a block to `output`, behind its first `end` bytes, to which it may refer. Returns where it ends. */
function appendBlock(input: Uint8Array, output: Uint8Array, end: number): number {
  const size = output.length
  let at = 0
  const extended = (length: number): number => {
    if (length < 15) return length
    for (;;) {
      if (at >= input.length) throw malformed()
      const byte = input[at++]
      length += byte
      if (byte < 255) return length
    }
  }
  while (at < input.length) {
    const token = input[at++]
    const literals = extended(token >> 4)
    if (at + literals > input.length || end + literals > size) throw malformed()
    if (literals > 32) output.set(input.subarray(at, at + literals), end)
    else for (let i = 0; i < literals; i++) output[end + i] = input[at + i]
    at += literals
    end += literals
    // The last sequence has literals only.
    if (at === input.length) break
    if (at + 2 > input.length) throw malformed()
    const distance = input[at] | (input[at + 1] << 8)
    at += 2
    const length = extended(token & 15) + 4
    if (distance === 0 || distance > end || end + length > size) throw malformed()
    for (let i = 0; i < length; i++) output[end + i] = output[end - distance + i]
    end += length
  }
  return end
}

const frameMagic = 0x184d2204
const plainBlock = 0x8000_0000

/**
 * Decodes one LZ4 frame (specification: LZ4 "Frame Format Description") of exactly `size` bytes; checksums are not looked at. Throws
 * `corrupt` for anything else.
 */
export function decodeLz4Frame(input: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(input.buffer, input.byteOffset, input.length)
  if (input.length < 7 || view.getUint32(0, true) !== frameMagic) throw malformed()
  const flags = input[4]
  const hasBlockChecksum = (flags & 0x10) !== 0
  // Version, then no dictionary.
  if (flags >> 6 !== 1 || (flags & 1) !== 0) throw malformed()
  let at = 7 + ((flags & 8) === 0 ? 0 : 8)
  const output = new Uint8Array(size)
  let end = 0
  for (;;) {
    if (at + 4 > input.length) throw malformed()
    const head = view.getUint32(at, true)
    at += 4
    if (head === 0) break
    const length = head & ~plainBlock
    if (at + length > input.length) throw malformed()
    const block = input.subarray(at, at + length)
    if ((head & plainBlock) === 0) end = appendBlock(block, output, end)
    else {
      if (end + length > size) throw malformed()
      output.set(block, end)
      end += length
    }
    at += length + (hasBlockChecksum ? 4 : 0)
  }
  if (end !== size) throw malformed()
  return output
}

function malformed(): FrazilError {
  return new FrazilError('corrupt', 'lz4', 'an LZ4 block is malformed')
}
