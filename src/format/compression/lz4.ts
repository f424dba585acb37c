import { FrazilError } from '../../base/index.ts'

/**
 * Decodes one LZ4 block, without a frame (specification: LZ4 "Block Format Description"; Parquet's LZ4_RAW), of exactly
 * `size` bytes. Throws `corrupt` for anything else.
 */
export function decodeLz4Block(input: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const output = new Uint8Array(size)
  let at = 0
  let end = 0
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
  if (end !== size) throw malformed()
  return output
}

function malformed(): FrazilError {
  return new FrazilError('corrupt', 'lz4', 'an LZ4 block is malformed')
}
