import { FrazilError } from '../../base/index.ts'

/**
 * Decodes a raw Snappy block (specification: Snappy "Compressed format description") of exactly `size` bytes. Throws
 * `corrupt` for anything else.
 */
export function decodeSnappy(input: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  let at = 0
  let stated = 0
  for (let scale = 1; ; scale *= 128) {
    if (at >= input.length || at >= 5) throw malformed()
    const byte = input[at++]
    stated += (byte & 127) * scale
    if (byte < 128) break
  }
  if (stated !== size) throw malformed()
  const output = new Uint8Array(size)
  let end = 0
  while (at < input.length) {
    const tag = input[at++]
    let length: number
    let distance: number
    switch (tag & 3) {
      case 0: {
        length = tag >> 2
        if (length >= 60) {
          const bytes = length - 59
          if (at + bytes > input.length) throw malformed()
          length = 0
          for (let i = bytes - 1; i >= 0; i--) length = length * 256 + input[at + i]
          at += bytes
        }
        length++
        if (at + length > input.length || end + length > size) throw malformed()
        if (length > 32) output.set(input.subarray(at, at + length), end)
        else for (let i = 0; i < length; i++) output[end + i] = input[at + i]
        at += length
        end += length
        continue
      }
      case 1:
        if (at >= input.length) throw malformed()
        length = ((tag >> 2) & 7) + 4
        distance = ((tag >> 5) << 8) | input[at++]
        break
      case 2:
        if (at + 2 > input.length) throw malformed()
        length = (tag >> 2) + 1
        distance = input[at] | (input[at + 1] << 8)
        at += 2
        break
      default:
        if (at + 4 > input.length) throw malformed()
        length = (tag >> 2) + 1
        distance = (input[at] | (input[at + 1] << 8) | (input[at + 2] << 16) | (input[at + 3] << 24)) >>> 0
        at += 4
    }
    if (distance === 0 || distance > end || end + length > size) throw malformed()
    // Overlapping copies repeat what they have just written: byte by byte.
    for (let i = 0; i < length; i++) output[end + i] = output[end - distance + i]
    end += length
  }
  if (end !== size) throw malformed()
  return output
}

function malformed(): FrazilError {
  return new FrazilError('corrupt', 'snappy', 'a Snappy block is malformed')
}
