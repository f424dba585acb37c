/** Smaller arrays may lie in memory that others share, and are not worth a call. */
const leastBytes = 4096

/**
 * Gives the memory of an array back at once, if the array has it for itself; it has no bytes then. Memory outside of its own heap makes
 * the collector go through all of that again and again, to find out that nobody needs it any more.
 */
export function freeBytes({ buffer, byteLength }: Uint8Array): void {
  if (byteLength >= leastBytes && byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
