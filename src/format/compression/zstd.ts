import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

/**
 * What `zstdCompressSync` and `zstdDecompressSync` do, without making and freeing a context of half a megabyte for each call: 25 to 30 µs,
 * of 35 that a page of 8 KiB took. A context is kept for the thread and driven by the call that those two make inside of Node.js. That
 * is no documented interface, so it is only taken for right where it says that all went well; in any other case, and where it is not
 * there, the documented functions do the work, and say what is wrong with the input.
 */

/** What a stream of node:zlib has inside. */
interface Engine {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputFrom: number,
    inputBytes: number,
    output: Uint8Array,
    outputFrom: number,
    outputBytes: number,
  ): void
}

function isEngine(value: unknown): value is Engine {
  return typeof value === 'object' && value !== null && 'writeSync' in value && typeof value.writeSync === 'function'
}

/** Contexts made anew for a thread after inputs that they could not take; beyond them the documented functions are used. */
const mostContexts = 1000

/** A context that is used again and again. */
class Context {
  readonly #open: () => NodeJS.EventEmitter & { destroy(): unknown }
  #stream: { destroy(): unknown } | null = null
  #engine: Engine | null = null
  /** After a call: bytes that were left of the output and of the input. */
  #left: Uint32Array | null = null
  #opened = 0

  constructor(open: () => NodeJS.EventEmitter & { destroy(): unknown }) {
    this.#open = open
  }

  /** Whether a call used all but `spare` bytes of the input; `output` has `outputBytes − outputLeft` bytes then. */
  run(input: Uint8Array, inputBytes: number, spare: number, output: Uint8Array, outputBytes: number): boolean {
    if (this.#engine === null && !this.#start()) return false
    if (this.#engine === null || this.#left === null) return false
    try {
      this.#left.fill(0xffffffff)
      this.#engine.writeSync(constants.ZSTD_e_end, input, 0, inputBytes, output, 0, outputBytes)
    } catch {
      this.#drop()
      return false
    }
    // With room left in the output nothing waits in the context.
    const [outputLeft, inputLeft] = this.#left
    if (inputLeft === spare && outputLeft > 0 && outputLeft <= outputBytes) return true
    this.#drop()
    return false
  }

  /** Bytes of the output that the last call did not use. */
  get outputLeft(): number {
    return this.#left === null ? 0 : this.#left[0]
  }

  #start(): boolean {
    if (this.#opened >= mostContexts) return false
    this.#opened++
    const stream = this.#open()
    // What a context says of its input is found out by the documented functions.
    stream.on('error', () => undefined)
    const engine: unknown = Reflect.get(stream, '_handle')
    const left: unknown = Reflect.get(stream, '_writeState')
    if (!isEngine(engine) || !(left instanceof Uint32Array) || left.length < 2) {
      stream.destroy()
      this.#opened = mostContexts
      return false
    }
    this.#stream = stream
    this.#engine = engine
    this.#left = left
    return true
  }

  /** What has failed once may have anything left over. */
  #drop(): void {
    this.#stream?.destroy()
    this.#stream = null
    this.#engine = null
    this.#left = null
  }
}

/** Memory for one input or output, used again; larger ones have memory of their own. */
const mostKeptBytes = 2 << 20
let kept = new Uint8Array(0)

/** At least `bytes` bytes with any contents, until the next call. */
function workingMemory(bytes: number): Uint8Array {
  if (bytes > mostKeptBytes) return new Uint8Array(bytes)
  if (kept.length < bytes) kept = new Uint8Array(Math.min(mostKeptBytes, bytes * 2))
  return kept
}

/** This thread's, those that compress by level. */
const compressing = new Map<number, Context>()
const decompressing = new Context(() => createZstdDecompress())

/** Compresses at a level; the result is in memory of its own. */
export function zstdCompressor(level: number): (bytes: Uint8Array) => Uint8Array<ArrayBuffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: level }
  const context = compressing.get(level) ?? new Context(() => createZstdCompress({ params }))
  compressing.set(level, context)
  return (bytes) => {
    // More than zstd ever makes of that (ZSTD_compressBound).
    const most = bytes.length + (bytes.length >> 7) + 1024
    const output = workingMemory(most)
    if (context.run(bytes, bytes.length, 0, output, most)) return new Uint8Array(output.subarray(0, most - context.outputLeft))
    return new Uint8Array(zstdCompressSync(bytes, { params, chunkSize: most }))
  }
}

/**
 * Decompresses one frame of at most `size` bytes. Throws what node:zlib throws when it does not decompress, or is larger.
 * The result is in memory of its own.
 */
export function decompressZstd(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  // One byte behind the frame, which has to be left over: then the frame was complete, and the context can take another one.
  const input = workingMemory(bytes.length + 1)
  input.set(bytes)
  input[bytes.length] = 0
  // Not filled with zeros first: that would be a tenth of the work.
  const output = new Uint8Array(Buffer.allocUnsafeSlow(size + 1).buffer)
  if (decompressing.run(input, bytes.length + 1, 1, output, size + 1))
    return output.subarray(0, size + 1 - decompressing.outputLeft)
  // One output chunk, not quite filled: a full one makes zlib ask for another. No more is produced, whatever the input says.
  return new Uint8Array(zstdDecompressSync(bytes, { maxOutputLength: size, chunkSize: size + 64 }))
}
