/** From here on a view of its own and a call are faster than words. */
const longBytes = 512

/** Copies `length` bytes to another memory. Texts are short as a rule: nothing is made for them. */
export function copyBytes(from: DataView, start: number, to: DataView, at: number, length: number): void {
  if (length >= longBytes) {
    new Uint8Array(to.buffer, to.byteOffset + at, length).set(new Uint8Array(from.buffer, from.byteOffset + start, length))
    return
  }
  const words = length & ~3
  let i = 0
  for (; i < words; i += 4) to.setInt32(at + i, from.getInt32(start + i, true), true)
  for (; i < length; i++) to.setUint8(at + i, from.getUint8(start + i))
}
