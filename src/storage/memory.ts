import { FrazilError, assert, systemClock } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { ObjectInfo, ObjectReader, ObjectStore, ObjectWriter, PutOptions } from './store.ts'

interface Stored {
  readonly bytes: Uint8Array
  readonly info: ObjectInfo
}

/** Objects in a map, for tests and simulation: the same contract as a real store, visible in this thread only. */
export class MemoryStore implements ObjectStore {
  readonly root: string
  readonly #objects = new Map<string, Stored>()
  readonly #clock: Clock
  #writes = 0

  constructor(root = 'memory://lake', clock: Clock = systemClock) {
    this.root = root
    this.#clock = clock
  }

  async get(uri: string, range?: { offset: number; length: number }): Promise<Uint8Array> {
    const bytes = this.#objects.get(this.#name(uri))?.bytes
    if (bytes === undefined) throw new FrazilError('corrupt', 'object-missing', `${uri} does not exist`)
    if (range === undefined) return bytes.slice()
    if (range.offset < 0) {
      const start = Math.max(0, bytes.length + range.offset)
      return bytes.slice(start, start + range.length)
    }
    const end = range.offset + range.length
    if (end > bytes.length)
      throw new FrazilError('corrupt', 'object-truncated', `${uri} has ${bytes.length} bytes; asked up to ${end}`)
    return bytes.slice(range.offset, end)
  }

  async reader(uri: string): Promise<ObjectReader> {
    await this.get(uri, { offset: 0, length: 0 })
    return { read: (offset, length) => this.get(uri, { offset, length }), close: () => Promise.resolve() }
  }

  async head(uri: string): Promise<ObjectInfo | null> {
    return this.#objects.get(this.#name(uri))?.info ?? null
  }

  async put(uri: string, bytes: Uint8Array, options: PutOptions = {}): Promise<ObjectInfo> {
    assert(!options.ifAbsent || options.ifMatch === undefined, 'a put has one condition')
    const current = this.#objects.get(this.#name(uri))
    if (options.ifAbsent && current !== undefined) throw new FrazilError('conflict', 'object-exists', `${uri} exists already`)
    if (options.ifMatch !== undefined && current?.info.etag !== options.ifMatch)
      throw new FrazilError('conflict', 'object-changed', `${uri} is not what it was read as`)
    const etag = String(++this.#writes)
    const info = { uri, size: bytes.length, modifiedMs: this.#clock.now(), etag }
    // A copy in unshared memory: the caller may reuse its buffer.
    this.#objects.set(uri, { bytes: new Uint8Array(bytes), info })
    return info
  }

  async writer(uri: string): Promise<ObjectWriter> {
    this.#name(uri)
    let pieces: Uint8Array[] = []
    return {
      uri,
      async write(bytes) {
        pieces.push(new Uint8Array(bytes))
      },
      close: async () => {
        const info = await this.put(uri, Buffer.concat(pieces))
        pieces = []
        return info.size
      },
      async abort() {
        pieces = []
      },
    }
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const start = prefix.endsWith('/') ? prefix : `${prefix}/`
    for (const stored of this.#objects.values()) {
      if (stored.info.uri.startsWith(start)) yield stored.info
    }
  }

  async delete(uris: readonly string[]): Promise<void> {
    for (const uri of uris) this.#objects.delete(this.#name(uri))
  }

  #name(uri: string): string {
    const inside = uri.startsWith(`${this.root}/`) ? uri.slice(this.root.length + 1).split('/') : ['']
    if (inside.some((segment) => segment === '' || segment === '.' || segment === '..'))
      throw new FrazilError('config', 'outside-warehouse', `${uri} is not the location of an object under ${this.root}`)
    return uri
  }
}
