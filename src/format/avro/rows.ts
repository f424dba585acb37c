import { Buffer } from 'node:buffer'
import { inflateRawSync, zstdDecompressSync } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import { decodeSnappy } from '../compression/index.ts'
import { isJsonArray, isJsonObject, parseJson } from '../json/index.ts'
import { ByteReader, malformed } from './decode.ts'
import { readContainerHead } from './container.ts'
import type { AvroSchema } from './schema.ts'
import { TextSink, writerOf } from './text.ts'

/** Most bytes of all blocks of a file, unpacked, and of the JSON that its rows become. */
const mostUnpackedBytes = 32 << 20
const mostTextBytes = 64 << 20

/**
 * Rows of an Avro object container file (Avro 1.11, "Object Container Files"), which has the schema of its rows, as lines of JSON objects
 * for a decoder that checks them against a table: names of fields stay as they are, logical types become the texts that the table's types
 * are read from. Codecs: null, deflate, snappy, zstandard. Throws `request`: `bad-avro` when it is no such file, `unsupported-avro` for
 * schemas and codecs that cannot be read, `body-too-large`.
 */
export function avroToJsonLines(bytes: Uint8Array): Buffer {
  return refusing(() => {
    const input = new ByteReader(bytes)
    const { schema, codec, sync } = readContainerHead(input)
    const write = writerOf(rowSchema(schema))
    const sink = new TextSink(mostTextBytes)
    let left = mostUnpackedBytes
    while (input.remaining > 0) {
      const count = input.count()
      const block = new ByteReader(unpacked(input.raw(input.count()), codec, left))
      left -= block.remaining
      if (left < 0) throw tooLarge()
      for (let i = 0; i < count; i++) {
        if (block.remaining === 0) throw malformed('a block has fewer records than it says')
        write(block, sink)
        sink.ascii('\n')
      }
      if (block.remaining > 0) throw malformed('a block has more bytes than its records')
      if (Buffer.compare(input.raw(sync.length), sync) !== 0) throw malformed('a sync marker is wrong')
    }
    return sink.finish()
  })
}

/** The schema of the rows of an object container file. Throws `request` (`bad-avro`). */
export function avroRowSchema(bytes: Uint8Array): AvroSchema {
  return refusing(() => rowSchema(readContainerHead(new ByteReader(bytes)).schema))
}

function rowSchema(text: string): AvroSchema {
  const schema = parseJson(text)
  if (isJsonArray(schema) || !isJsonObject(schema) || schema.type !== 'record') throw malformed('its schema is not a record')
  return schema
}

/** What is wrong with a body is the request's fault, not a damage of ours. */
function refusing<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FrazilError) || error.kind !== 'corrupt') throw error
    throw new FrazilError('request', 'bad-avro', `the body is not an Avro object container file: ${error.message}`, {
      cause: error,
      hint: 'Write it with a data file writer, for example fastavro.writer.',
    })
  }
}

function unpacked(bytes: Uint8Array, codec: string, most: number): Uint8Array {
  const options = { maxOutputLength: Math.max(most, 1) }
  try {
    switch (codec) {
      case 'null':
        return bytes
      case 'deflate':
        return inflateRawSync(bytes, options)
      case 'zstandard':
        return zstdDecompressSync(bytes, options)
      case 'snappy': {
        // Four bytes behind it are a checksum of what it unpacks to.
        const packed = bytes.subarray(0, -4)
        const size = new ByteReader(packed).size()
        if (size > most) throw tooLarge()
        return decodeSnappy(packed, size)
      }
      default:
        throw new FrazilError('request', 'unsupported-avro', 'the file is packed by a codec that cannot be read', {
          hint: 'Write it with null, deflate, snappy or zstandard.',
        })
    }
  } catch (error) {
    if (error instanceof FrazilError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge()
    throw malformed('a block cannot be unpacked')
  }
}

function tooLarge(): FrazilError {
  return new FrazilError('request', 'body-too-large', `the body has more than ${mostUnpackedBytes >> 20} MiB unpacked`)
}
