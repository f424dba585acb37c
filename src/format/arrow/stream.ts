import { Buffer } from 'node:buffer'
import { zstdDecompressSync } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import { decodeLz4Frame } from '../compression/index.ts'
import { readArray } from './array.ts'
import type { ArrowArray } from './array.ts'
import { FlatTable } from './flatbuffer.ts'
import { badArrow } from './malformed.ts'
import { readSchema } from './schema.ts'
import type { ArrowField } from './schema.ts'

/** Most bytes of all buffers of a stream, unpacked. */
const mostUnpackedBytes = 128 << 20
/** Most values of one column, nested ones too, in one record batch. */
const mostValues = 1 << 24
const continuation = 0xffff_ffff

export interface ArrowBatch {
  readonly rows: number
  readonly columns: readonly ArrowArray[]
}

/** A stream as a whole: its columns and their values. */
export interface ArrowStream {
  readonly fields: readonly ArrowField[]
  readonly batches: readonly ArrowBatch[]
}

/**
 * Reads a stream of Arrow IPC messages (Arrow "IPC Streaming Format", metadata version 5): schema, dictionaries (also replaced
 * ones), record batches, their bodies plain or packed by zstd or LZ4. Values are not copied. Throws `request`: `bad-arrow`
 * for bytes that are none, `unsupported-arrow` for types that cannot be read.
 */
export function readArrowStream(body: Uint8Array): ArrowStream {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  if (bytes.toString('latin1', 0, 6) === 'ARROW1') {
    throw new FrazilError('request', 'bad-arrow', 'the body is an Arrow file, not a stream', {
      hint: 'Write it with a stream writer, for example pyarrow.ipc.new_stream.',
    })
  }
  let fields: readonly ArrowField[] | null = null
  const batches: ArrowBatch[] = []
  const dictionaries = new Dictionaries()
  const budget = { left: mostUnpackedBytes }
  for (const { type, head, content } of messages(bytes)) {
    if (type === 1) {
      if (fields) throw badArrow('two schemas')
      fields = readSchema(head)
      dictionaries.expect(fields)
    } else if (fields === null) throw badArrow('no schema at its start')
    else if (type === 2) {
      const data = head.table(1)
      if (!data) throw badArrow('a dictionary without values')
      dictionaries.add(head.long(0), new Body(data, content, dictionaries, budget), head.byte(2) !== 0)
    } else if (type === 3) {
      const batch = new Body(head, content, dictionaries, budget)
      const columns = fields.map((field) => readArray(field, batch))
      if (columns.some(({ length }) => length !== batch.rows)) throw badArrow('columns of several lengths')
      batches.push({ rows: batch.rows, columns })
    } else throw badArrow('a message that is no record batch')
  }
  if (fields === null) throw badArrow('no schema at its start')
  return { fields, batches }
}

/** The columns of a stream. Throws like {@link readArrowStream}. */
export function readArrowFields(body: Uint8Array): ArrowField[] {
  for (const { type, head } of messages(Buffer.from(body.buffer, body.byteOffset, body.length))) {
    if (type === 1) return readSchema(head)
  }
  throw badArrow('no schema at its start')
}

interface Message {
  readonly type: number
  readonly head: FlatTable
  readonly content: Buffer
}

function* messages(bytes: Buffer): Generator<Message> {
  let at = 0
  while (at < bytes.length) {
    if (at + 8 > bytes.length || bytes.readUInt32LE(at) !== continuation) throw badArrow('no message where one has to begin')
    const length = bytes.readUInt32LE(at + 4)
    at += 8
    if (length === 0) {
      if (at !== bytes.length) throw badArrow('something behind its end')
      return
    }
    if (at + length > bytes.length) throw badArrow('a message that does not end')
    const message = FlatTable.root(bytes.subarray(at, at + length))
    // V4 has unions of another form, V5 (4) is what is written since Arrow 1.0.
    if (message.short(0) < 3) throw badArrow('metadata of an old version')
    const head = message.table(2)
    if (!head) throw badArrow('a message without a head')
    at += length
    const size = message.long(3)
    if (size > bytes.length - at) throw badArrow('a body that does not end')
    yield { type: message.byte(1), head, content: bytes.subarray(at, at + size) }
    at += size
  }
}

/** The columns of a record batch, one after another. */
class Body {
  readonly rows: number
  readonly #nodes: readonly { readonly first: number; readonly second: number }[]
  readonly #buffers: readonly { readonly first: number; readonly second: number }[]
  readonly #codec: number | null
  readonly #content: Buffer
  readonly #dictionaries: Dictionaries
  readonly #budget: { left: number }
  #node = 0
  #buffer = 0

  constructor(head: FlatTable, content: Buffer, dictionaries: Dictionaries, budget: { left: number }) {
    this.rows = head.long(0)
    this.#nodes = head.pairs(1)
    this.#buffers = head.pairs(2)
    const compression = head.table(3)
    this.#codec = compression ? compression.byte(0) : null
    this.#content = content
    this.#dictionaries = dictionaries
    this.#budget = budget
  }

  nextNode(): { readonly length: number; readonly nulls: number } {
    const node = this.#nodes.at(this.#node++)
    if (!node) throw badArrow('fewer columns than its schema')
    // Values that take no bytes could be any number.
    if (node.first > mostValues) throw badArrow('a column that is too long')
    return { length: node.first, nulls: node.second }
  }

  nextBuffer(): Buffer {
    const place = this.#buffers.at(this.#buffer++)
    if (!place) throw badArrow('fewer buffers than its columns need')
    const { first: from, second: length } = place
    if (from + length > this.#content.length) throw badArrow('a buffer beyond its message')
    const bytes = this.#content.subarray(from, from + length)
    return this.#codec === null || length === 0 ? bytes : this.#unpack(bytes, this.#codec)
  }

  #unpack(bytes: Buffer, codec: number): Buffer {
    if (bytes.length < 8) throw badArrow('a packed buffer without its length')
    const size = bytes.readInt32LE(4) * 0x1_0000_0000 + bytes.readUInt32LE(0)
    const packed = bytes.subarray(8)
    if (size === -1) return packed
    this.#budget.left -= size
    if (size < 0 || this.#budget.left < 0) {
      throw new FrazilError('request', 'body-too-large', `the body has more than ${mostUnpackedBytes >> 20} MiB unpacked`)
    }
    let out: Uint8Array
    try {
      out = codec === 0 ? decodeLz4Frame(packed, size) : zstdDecompressSync(packed, { maxOutputLength: Math.max(size, 1) })
    } catch {
      throw badArrow('a packed buffer that cannot be unpacked')
    }
    if (out.length !== size) throw badArrow('a packed buffer of another length')
    return Buffer.from(out.buffer, out.byteOffset, out.length)
  }

  dictionary(id: number): ArrowArray {
    return this.#dictionaries.get(id)
  }
}

/** Dictionaries of a stream, as of the message that is read. */
class Dictionaries {
  readonly #fields = new Map<number, ArrowField>()
  readonly #values = new Map<number, ArrowArray>()

  expect(fields: readonly ArrowField[]): void {
    for (const field of fields) {
      this.expect(field.children)
      if (field.dictionary) this.#fields.set(field.dictionary.id, { ...field, dictionary: null })
    }
  }

  add(id: number, body: Body, isDelta: boolean): void {
    const field = this.#fields.get(id)
    if (!field) throw badArrow('a dictionary that no column has')
    const values = readArray(field, body)
    if (isDelta) {
      throw new FrazilError('request', 'unsupported-arrow', 'the stream appends to a dictionary, which cannot be read', {
        hint: 'Write whole dictionaries.',
      })
    }
    this.#values.set(id, values)
  }

  get(id: number): ArrowArray {
    const values = this.#values.get(id)
    if (!values) throw badArrow('a column without its dictionary')
    return values
  }
}
