import { SlabPool, seededRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import { Segment, appendRow, assignFieldIds, readRow } from '../../src/data/index.ts'
import type { Field, PrimitiveType, SharedSegment, Type, Value } from '../../src/data/index.ts'
import { ParquetEncoder, ParquetReader } from '../../src/format/parquet/index.ts'
import type { ParquetEncoderOptions, ParquetReaderOptions, ParquetSummary, RandomAccess } from '../../src/format/parquet/index.ts'

export const primitives: readonly PrimitiveType[] = [
  { kind: 'boolean' },
  { kind: 'int' },
  { kind: 'long' },
  { kind: 'float' },
  { kind: 'double' },
  { kind: 'decimal', precision: 9, scale: 2 },
  { kind: 'decimal', precision: 10, scale: 0 },
  { kind: 'decimal', precision: 18, scale: 18 },
  { kind: 'decimal', precision: 19, scale: 4 },
  { kind: 'decimal', precision: 38, scale: 10 },
  { kind: 'date' },
  { kind: 'time' },
  { kind: 'timestamp' },
  { kind: 'timestamptz' },
  { kind: 'string' },
  { kind: 'uuid' },
  { kind: 'binary' },
  { kind: 'fixed', length: 1 },
  { kind: 'fixed', length: 12 },
]

const optional = (name: string, type: Type): Field => ({ id: 0, name, type, required: false })
const list = (element: Type, elementRequired = false): Type => ({ kind: 'list', elementId: 0, element, elementRequired })
const map = (key: Type, value: Type, valueRequired = false): Type => ({
  kind: 'map',
  keyId: 0,
  key,
  valueId: 0,
  value,
  valueRequired,
})

/** A column of every primitive type, then lists, maps and structs of them, and deeper ones. */
export function everyType(required: boolean): Field[] {
  const fields = primitives.map((type, i): Field => ({ id: 0, name: `c${i}_${type.kind}`, type, required }))
  const everything: Type = {
    kind: 'struct',
    fields: primitives.map((type, i) => ({ ...optional(`s${i}`, type), required: i % 3 === 0 })),
  }
  fields.push(
    ...primitives.map((type, i): Field => ({ id: 0, name: `l${i}_${type.kind}`, type: list(type, i % 2 === 0), required })),
    { id: 0, name: 'struct', type: everything, required },
    { id: 0, name: 'structs', type: list(everything), required },
    { id: 0, name: 'map', type: map({ kind: 'string' }, { kind: 'decimal', precision: 38, scale: 0 }), required },
    {
      id: 0,
      name: 'deep',
      type: map({ kind: 'int' }, list(map({ kind: 'uuid' }, list(list({ kind: 'string' }, true)))), true),
      required,
    },
    {
      id: 0,
      name: 'layers',
      type: {
        kind: 'struct',
        fields: [
          optional('a', {
            kind: 'struct',
            fields: [optional('b', { kind: 'struct', fields: [optional('c', { kind: 'long' })] })],
          }),
          { ...optional('items', list({ kind: 'int' })), required: true },
        ],
      },
      required,
    },
  )
  return assignFieldIds(fields).fields
}

const strings = [
  '',
  'a',
  'zzz',
  'Grüße, Jürgen',
  '日本語テキスト',
  '\u{1F980}\u{10FFFF}\u{10000}',
  '\uFFFD\uD7FF\uE000',
  'nul\u0000inside',
  'common prefix 1',
  'common prefix 2',
  'x'.repeat(300),
]

const dayMicros = 86_400_000_000n

/** A value of a type: often an extreme one, otherwise any. */
export function anyValue(type: Type, random: Random): Exclude<Value, null> {
  const special = random.next() < 0.3
  const pick = <T>(from: readonly T[]): T => from[random.below(from.length)]
  const bits = (): bigint => (BigInt(Math.floor(random.next() * 2 ** 32)) << 32n) | BigInt(Math.floor(random.next() * 2 ** 32))
  switch (type.kind) {
    case 'boolean':
      return random.next() < 0.5
    case 'int':
    case 'date':
      // DuckDB's dates end before those of Iceberg.
      return type.kind === 'date'
        ? pick([0, 1, -1, 20_000 + random.below(1000), -700_000])
        : special
          ? pick([-(2 ** 31), 2 ** 31 - 1, 0, -1])
          : Math.floor(random.next() * 2 ** 32) | 0
    case 'long':
      return special ? pick([-(2n ** 63n), 2n ** 63n - 1n, 0n, -1n, 2n ** 32n]) : BigInt.asIntN(64, bits())
    case 'time':
      return special ? pick([0n, dayMicros - 1n]) : bits() % dayMicros
    case 'timestamp':
    case 'timestamptz':
      return special
        ? pick([0n, -1n, -62_135_596_800_000_000n, 253_402_300_799_999_999n])
        : 1_700_000_000_000_000n + (bits() % 10n ** 12n)
    case 'float':
      return special ? pick([0, -0, NaN, Infinity, -Infinity]) : Math.fround(random.next() * 1e6 - 5e5)
    case 'double':
      return special ? pick([0, -0, NaN, Infinity, -Infinity, Number.MIN_VALUE, -Number.MAX_VALUE]) : random.next() * 1e12 - 5e11
    case 'decimal': {
      const largest = 10n ** BigInt(type.precision) - 1n
      return special
        ? pick([largest, -largest, 0n, -1n, 127n, 128n, -128n, -129n])
        : ((bits() * bits()) % largest) * pick([1n, -1n])
    }
    case 'string':
      return special ? pick(strings) : `text ${random.below(1000)}`
    case 'uuid':
      return Uint8Array.from({ length: 16 }, () => random.below(256))
    case 'binary':
      return special
        ? pick([new Uint8Array(0), new Uint8Array(17).fill(255)])
        : Uint8Array.from({ length: random.below(40) }, () => random.below(256))
    case 'fixed':
      return Uint8Array.from({ length: type.length }, () => random.below(256))
    case 'list':
      return Array.from({ length: random.below(4) }, () => maybe(type.element, type.elementRequired, random))
    case 'map': {
      // Keys once: some readers keep only one entry of a key.
      const entries = new Map<string, Value>()
      for (let i = random.below(4); i > 0; i--) {
        const key = anyValue(type.key, random)
        entries.set(String(key), [key, maybe(type.value, type.valueRequired, random)])
      }
      return [...entries.values()]
    }
    case 'struct':
      return type.fields.map((field) => maybe(field.type, field.required, random))
  }
}

function maybe(type: Type, required: boolean, random: Random): Value {
  return !required && random.next() < 0.25 ? null : anyValue(type, random)
}

export function anyRows(fields: readonly Field[], count: number, seed: number): Value[][] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () => fields.map((field) => maybe(field.type, field.required, random)))
}

/** Rows as segments of at most `capacity` rows. */
export function segmentsOf(fields: readonly Field[], rows: readonly Value[][], capacity = 4095): SharedSegment[] {
  const pool = new SlabPool({ budget: 1 << 30 })
  const segments: Segment[] = []
  for (const row of rows) {
    let last = segments.at(-1)
    if (last === undefined || !appendRow(last, row)) {
      const heapBytes = Math.max(64 << 10, capacity * 256)
      last =
        Segment.create(pool, { id: segments.length, fields, capacity, heapBytes, deletable: false, baseCommit: 0 }) ?? undefined
      if (last === undefined || !appendRow(last, row)) throw new Error('a test row does not fit an empty segment')
      segments.push(last)
    }
  }
  return segments.map((segment) => ({ ...segment.share(), capacity: segment.rows }))
}

export interface Written {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly summary: ParquetSummary
}

/** Encodes segments, `capacity` rows each, or the rows of each that `select` names. */
export function write(
  fields: readonly Field[],
  segments: readonly SharedSegment[],
  options: Partial<ParquetEncoderOptions> = {},
  select: (segment: SharedSegment) => Int32Array | null = () => null,
): Written {
  const pieces: Uint8Array[] = []
  const encoder = new ParquetEncoder({ fields, emit: (piece) => pieces.push(piece), createdBy: 'frazil test', ...options })
  for (const segment of segments) encoder.append(segment, 0, segment.capacity, select(segment))
  const summary = encoder.finish()
  const bytes = new Uint8Array(Buffer.concat(pieces))
  return { bytes, summary }
}

export function writeRows(
  fields: readonly Field[],
  rows: readonly Value[][],
  options: Partial<ParquetEncoderOptions> = {},
): Written {
  return write(fields, segmentsOf(fields, rows), options)
}

/** A file in memory; `reads` counts the bytes asked for. */
export function inMemory(bytes: Uint8Array): RandomAccess & { reads: number } {
  return {
    size: bytes.length,
    reads: 0,
    async read(offset, length) {
      this.reads += length
      return bytes.subarray(offset, offset + length)
    },
  }
}

/** All rows that our reader gives. */
export async function rowsOf(reader: ParquetReader, fields: readonly Field[], from?: number, to?: number): Promise<Value[][]> {
  const rows: Value[][] = []
  for await (const segment of reader.read(fields, from, to)) rows.push(...allRows(segment))
  return rows
}

export function allRows(segment: SharedSegment): Value[][] {
  return Array.from({ length: segment.capacity }, (_, row) => readRow(segment, row))
}

/** A name mapping that gives the columns of a file without ids the ids of `fields`. */
function mapped(fields: readonly Field[]): ParquetReaderOptions {
  const ids = new Map<string, number>()
  const walk = (type: Type, path: string): void => {
    if (type.kind === 'list') {
      ids.set(`${path}.element`, type.elementId)
      walk(type.element, `${path}.element`)
    } else if (type.kind === 'map') {
      ids.set(`${path}.key`, type.keyId)
      ids.set(`${path}.value`, type.valueId)
      walk(type.key, `${path}.key`)
      walk(type.value, `${path}.value`)
    } else if (type.kind === 'struct') {
      for (const field of type.fields) {
        ids.set(`${path}.${field.name}`, field.id)
        walk(field.type, `${path}.${field.name}`)
      }
    }
  }
  walk({ kind: 'struct', fields }, '')
  return { nameMapping: (path) => ids.get(`.${path.join('.')}`) }
}

/** Opens a file without field ids by the names that it has itself. */
export async function openMapped(bytes: Uint8Array): Promise<{ reader: ParquetReader; fields: Field[] }> {
  const { fields } = assignFieldIds((await ParquetReader.open(inMemory(bytes))).fields)
  return { reader: await ParquetReader.open(inMemory(bytes), mapped(fields)), fields }
}
