import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { deflateRaw, deflateRawSync, inflateRawSync } from 'node:zlib'
import { FrazilError, asError } from '../../base/index.ts'
import { encodeJson, parseJson } from '../json/index.ts'
import { ByteReader, malformed } from './decode.ts'
import type { AvroDecoder } from './decode.ts'
import { ByteWriter } from './encode.ts'
import type { AvroEncoder, AvroValue } from './encode.ts'
import { resolveSchema } from './schema.ts'
import type { AvroSchema, AvroType } from './schema.ts'

const magic = 'Obj\u0001'
const syncBytes = 16
const blockBytes = 256 << 10
/** Blocks up to here are compressed at once, larger ones in Node's thread pool. */
const inlineBytes = 64 << 10
const maxBlockBytes = 512 << 20
const compressionLevel = 4
/** Schemas that a reader keeps, of so many characters at most. */
const maxKnown = 64
const maxKnownLength = 64 << 10

export type AvroCodec = 'deflate' | 'null'

export interface AvroHeader {
  readonly schema: AvroSchema
  readonly type: AvroType
  /** Key-value metadata, `avro.*` included. */
  readonly metadata: ReadonlyMap<string, string>
}

/**
 * An object container file (Avro specification, "Object Container Files"). The sync marker is a hash of what it separates, so
 * the same records give the same file.
 */
export async function writeContainer(options: {
  schema: AvroSchema
  metadata: Readonly<Record<string, string>>
  encode: AvroEncoder
  values: Iterable<AvroValue>
  codec?: AvroCodec
}): Promise<Uint8Array> {
  const codec = options.codec ?? 'deflate'
  const blocks: { count: number; bytes: Uint8Array }[] = []
  const hash = createHash('md5')
  const body = new ByteWriter(8 << 10)
  let count = 0
  const flush = async () => {
    const bytes = body.take()
    hash.update(bytes)
    blocks.push({ count, bytes: codec === 'null' ? bytes : await deflate(bytes) })
    count = 0
  }
  for (const value of options.values) {
    options.encode(body, value)
    count++
    if (body.length >= blockBytes) await flush()
  }
  if (count > 0) await flush()

  const out = new ByteWriter(4 << 10)
  out.raw(Buffer.from(magic, 'latin1'))
  const metadata = { 'avro.schema': encodeJson(options.schema), 'avro.codec': codec, ...options.metadata }
  const entries = Object.entries(metadata)
  out.long(entries.length)
  for (const [key, value] of entries) {
    out.text(key)
    out.text(value)
  }
  out.byte(0)
  const sync = hash.update(metadata['avro.schema']).digest()
  out.raw(sync)
  for (const block of blocks) {
    out.long(block.count)
    out.bytes(block.bytes)
    out.raw(sync)
  }
  return out.take()
}

const deflateAsync = promisify(deflateRaw)

async function deflate(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length <= inlineBytes) return deflateRawSync(bytes, { level: compressionLevel })
  return deflateAsync(bytes, { level: compressionLevel })
}

interface KnownSchema {
  readonly schema: AvroSchema
  readonly type: AvroType
  readonly decode: AvroDecoder
}

/** Reads container files for one purpose. What was made of a schema is kept: most files of a lake have one of a few. */
export class ContainerReader {
  readonly #compile: (type: AvroType) => AvroDecoder
  readonly #known = new Map<string, KnownSchema>()

  /** `compile` makes the decoder for a writer's schema; it is asked once for each, and may be again. */
  constructor(compile: (type: AvroType) => AvroDecoder) {
    this.#compile = compile
  }

  /**
   * Reads a file whole. Codecs: null and deflate; others are `unsupported` (code `avro-codec`). Malformed input is `corrupt` (code
   * `bad-avro`).
   */
  read(bytes: Uint8Array): { header: AvroHeader; values: AvroValue[] } {
    const input = new ByteReader(bytes)
    const { schema: text, codec, sync, metadata } = readContainerHead(input)
    const { schema, type, decode } = this.#known.get(text) ?? this.#learn(text)
    if (codec !== 'null' && codec !== 'deflate') {
      throw new FrazilError('unsupported', 'avro-codec', `an Avro file uses a codec other than deflate and null`)
    }
    return { header: { schema, type, metadata }, values: readBlocks(input, { codec, sync, decode }) }
  }

  #learn(text: string): KnownSchema {
    const schema = parseJson(text)
    const type = resolveSchema(schema)
    const known = { schema, type, decode: this.#compile(type) }
    if (this.#known.size >= maxKnown) this.#known.clear()
    if (text.length <= maxKnownLength) this.#known.set(text, known)
    return known
  }
}

function readBlocks(
  input: ByteReader,
  { codec, sync, decode }: { codec: AvroCodec; sync: Uint8Array; decode: AvroDecoder },
): AvroValue[] {
  const values: AvroValue[] = []
  while (input.remaining > 0) {
    const count = input.count()
    const stored = input.raw(input.count())
    const block = new ByteReader(codec === 'null' ? stored : inflate(stored))
    for (let i = 0; i < count; i++) {
      if (block.remaining === 0) throw malformed('a block has fewer records than it says')
      values.push(decode(block))
    }
    if (block.remaining > 0) throw malformed('a block has more bytes than its records')
    if (Buffer.compare(input.raw(syncBytes), sync) !== 0) throw malformed('a sync marker is wrong')
  }
  return values
}

/** What a container file begins with; `input` is then at its first block. Throws `corrupt` (`bad-avro`). */
export function readContainerHead(input: ByteReader): {
  /** As JSON. */
  readonly schema: string
  readonly codec: string
  readonly sync: Uint8Array
  readonly metadata: ReadonlyMap<string, string>
} {
  if (Buffer.from(input.raw(4)).toString('latin1') !== magic) throw malformed('it does not start with the magic bytes')
  const metadata = readMetadata(input)
  const sync = input.raw(syncBytes)
  const schema = metadata.get('avro.schema')
  if (schema === undefined) throw malformed('it has no schema')
  return { schema, codec: metadata.get('avro.codec') ?? 'null', sync, metadata }
}

function readMetadata(input: ByteReader): Map<string, string> {
  const metadata = new Map<string, string>()
  for (;;) {
    const count = input.long()
    if (count === 0) return metadata
    if (typeof count !== 'number') throw malformed('its metadata is too long')
    if (count < 0) input.count()
    for (let i = 0; i < Math.abs(count); i++) {
      const key = input.text()
      metadata.set(key, Buffer.from(input.raw(input.count())).toString())
    }
  }
}

function inflate(bytes: Uint8Array): Uint8Array {
  try {
    return inflateRawSync(bytes, { maxOutputLength: maxBlockBytes })
  } catch (thrown) {
    throw new FrazilError('corrupt', 'bad-avro', 'malformed Avro: a block cannot be inflated', { cause: asError(thrown) })
  }
}
