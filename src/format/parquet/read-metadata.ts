import { FrazilError } from '../../base/index.ts'
import type { Physical } from './schema.ts'
import { physical } from './schema.ts'
import { ThriftReader } from './thrift.ts'
import type { ThriftStruct, ThriftValue } from './thrift.ts'

/** One element of the footer's schema, depth first. */
export interface ElementInfo {
  readonly name: string
  readonly physical: Physical | null
  readonly typeLength: number
  readonly repetition: number
  readonly children: number
  readonly fieldId: number | null
  readonly annotation: Annotation | null
}

/** Logical or, in older files, converted type, as far as it changes how values are read. */
type Annotation =
  | { readonly kind: 'string' | 'list' | 'map' | 'date' | 'uuid' | 'other' }
  | { readonly kind: 'decimal'; readonly scale: number; readonly precision: number }
  | { readonly kind: 'time' | 'timestamp'; readonly unit: 'ms' | 'us' | 'ns'; readonly utc: boolean }
  | { readonly kind: 'integer'; readonly bits: number; readonly signed: boolean }

export interface ChunkInfo {
  readonly codec: number
  readonly entries: number
  /** First byte of the chunk: its dictionary page if it has one. */
  readonly offset: number
  readonly dataOffset: number
  readonly compressedBytes: number
  readonly uncompressedBytes: number
  readonly offsetIndex: { readonly offset: number; readonly length: number } | null
}

export interface RowGroupInfo {
  readonly firstRow: number
  readonly rows: number
  readonly chunks: readonly ChunkInfo[]
}

export interface FileInfo {
  readonly rows: number
  readonly elements: readonly ElementInfo[]
  readonly rowGroups: readonly RowGroupInfo[]
  readonly keyValues: ReadonlyMap<string, string>
  readonly createdBy: string
}

const text = new TextDecoder()

/** Parses the footer's FileMetaData (specification: parquet.thrift). `dataEnd` is where it begins in the file. */
export function readFileMetadata(bytes: Uint8Array, dataEnd: number): FileInfo {
  const file = new ThriftReader(bytes).struct()
  const elements = structs(file.get(2)).map(element)
  const leaves = elements.filter((_, i) => elements[i].children === 0).length
  let firstRow = 0
  const rowGroups = structs(file.get(4)).map((group) => {
    const rows = size(group.get(3), 'a row group')
    const chunks = structs(group.get(1)).map((chunk) => columnChunk(chunk, dataEnd))
    if (chunks.length !== leaves) throw malformed('a row group does not have all columns')
    const info = { firstRow, rows, chunks }
    firstRow += rows
    return info
  })
  if (size(file.get(3), 'the file') !== firstRow) throw malformed('its row groups do not add up to its rows')
  const keyValues = new Map<string, string>()
  for (const pair of structs(file.get(5))) keyValues.set(textOf(pair.get(1)), textOf(pair.get(2)))
  return { rows: firstRow, elements, rowGroups, keyValues, createdBy: textOf(file.get(6)) }
}

function columnChunk(chunk: ThriftStruct, dataEnd: number): ChunkInfo {
  if (chunk.has(1)) throw new FrazilError('unsupported', 'parquet-external', 'the Parquet file keeps its columns in other files')
  if (chunk.has(8) || chunk.has(9)) throw new FrazilError('unsupported', 'parquet-encrypted', 'the Parquet file is encrypted')
  const metadata = chunk.get(3)
  if (!(metadata instanceof Map)) throw malformed('a column has no metadata')
  const dataOffset = size(metadata.get(9), 'a column')
  const dictionaryOffset = metadata.has(11) ? size(metadata.get(11), 'a dictionary') : 0
  // Some writers leave 0 there when they have no dictionary.
  const offset = dictionaryOffset > 0 && dictionaryOffset < dataOffset ? dictionaryOffset : dataOffset
  const compressedBytes = size(metadata.get(7), 'a column')
  if (offset + compressedBytes > dataEnd) throw malformed('a column lies beyond the end of the file')
  let offsetIndex: ChunkInfo['offsetIndex'] = null
  if (chunk.has(4) && chunk.has(5)) {
    offsetIndex = { offset: size(chunk.get(4), 'an index'), length: size(chunk.get(5), 'an index') }
    if (offsetIndex.offset + offsetIndex.length > dataEnd) throw malformed('an index lies beyond the end of the file')
  }
  return {
    codec: size(metadata.get(4), 'a codec'),
    entries: size(metadata.get(5), 'a column'),
    offset,
    dataOffset,
    compressedBytes,
    uncompressedBytes: size(metadata.get(6), 'a column'),
    offsetIndex,
  }
}

const physicalTypes: readonly Physical[] = Object.values(physical)

function element(fields: ThriftStruct): ElementInfo {
  const children = fields.has(5) ? size(fields.get(5), 'a group') : 0
  let type: Physical | null = null
  if (children === 0) {
    type = physicalTypes.find((known) => known === fields.get(1)) ?? null
  }
  const typeLength = fields.has(2) ? size(fields.get(2), 'a type') : 0
  if (type === physical.fixed && typeLength > maxFixedLength) throw malformed('a fixed-length type is too long')
  const fieldId = fields.get(9)
  return {
    name: textOf(fields.get(4)),
    physical: type,
    typeLength,
    repetition: fields.has(3) ? size(fields.get(3), 'a repetition') : 0,
    children,
    fieldId: typeof fieldId === 'number' && Number.isSafeInteger(fieldId) ? fieldId : null,
    annotation: annotationOf(fields),
  }
}

const maxFixedLength = 1 << 24

function annotationOf(fields: ThriftStruct): Annotation | null {
  const logical = fields.get(10)
  if (logical instanceof Map) {
    for (const [id, value] of logical) if (value instanceof Map) return logicalType(id, value)
  }
  switch (fields.get(6)) {
    case 0:
    case 4:
    case 19:
      return { kind: 'string' }
    case 1:
    case 2:
      return { kind: 'map' }
    case 3:
      return { kind: 'list' }
    case 5:
      return {
        kind: 'decimal',
        scale: fields.has(7) ? size(fields.get(7), 'a decimal') : 0,
        precision: size(fields.get(8), 'a decimal'),
      }
    case 6:
      return { kind: 'date' }
    case 7:
      return { kind: 'time', unit: 'ms', utc: true }
    case 8:
      return { kind: 'time', unit: 'us', utc: true }
    case 9:
      return { kind: 'timestamp', unit: 'ms', utc: true }
    case 10:
      return { kind: 'timestamp', unit: 'us', utc: true }
    case 11:
    case 12:
    case 13:
    case 14:
      return { kind: 'integer', bits: 8 << (Number(fields.get(6)) - 11), signed: false }
    case 15:
    case 16:
    case 17:
    case 18:
      return { kind: 'integer', bits: 8 << (Number(fields.get(6)) - 15), signed: true }
    case undefined:
      return null
    default:
      return { kind: 'other' }
  }
}

function logicalType(id: number, value: ThriftStruct): Annotation {
  switch (id) {
    case 1:
    case 4:
    case 12:
      return { kind: 'string' }
    case 2:
      return { kind: 'map' }
    case 3:
      return { kind: 'list' }
    case 5:
      return { kind: 'decimal', scale: size(value.get(1), 'a decimal'), precision: size(value.get(2), 'a decimal') }
    case 6:
      return { kind: 'date' }
    case 7:
    case 8: {
      const unit = value.get(2)
      const units = ['ms', 'us', 'ns'] as const
      const known = unit instanceof Map ? units.find((_, i) => unit.has(i + 1)) : undefined
      if (known === undefined) throw malformed('a time has no unit')
      return { kind: id === 7 ? 'time' : 'timestamp', unit: known, utc: value.get(1) === true }
    }
    case 10:
      return { kind: 'integer', bits: size(value.get(1), 'an integer type'), signed: value.get(2) === true }
    case 14:
      return { kind: 'uuid' }
    default:
      return { kind: 'other' }
  }
}

/** A page's place in the file and in the row group. */
export interface PageLocation {
  readonly offset: number
  readonly length: number
  readonly firstRow: number
}

/** Parses an offset index; pages ascend in the file and in rows, or it is refused. */
export function readOffsetIndex(bytes: Uint8Array, chunk: ChunkInfo, rows: number): PageLocation[] {
  let before = { offset: chunk.offset - 1, firstRow: -1 }
  return structs(new ThriftReader(bytes).struct().get(1)).map((page) => {
    const location = {
      offset: size(page.get(1), 'a page'),
      length: size(page.get(2), 'a page'),
      firstRow: size(page.get(3), 'a page'),
    }
    const beyond = location.offset + location.length > chunk.offset + chunk.compressedBytes || location.firstRow >= rows
    if (location.offset <= before.offset || location.firstRow <= before.firstRow || beyond)
      throw malformed('its page index is out of order')
    before = location
    return location
  })
}

export interface PageHeader {
  readonly type: number
  readonly uncompressedBytes: number
  readonly compressedBytes: number
  readonly crc: number | null
  readonly entries: number
  readonly encoding: number
  /** Data pages of version 2. */
  readonly v2: {
    readonly rows: number
    readonly definitionBytes: number
    readonly repetitionBytes: number
    readonly compressed: boolean
  } | null
  /** Bytes of the header itself. */
  readonly length: number
}

/** Largest page that we read, uncompressed. */
const maxPageBytes = 512 << 20
/** Most level entries in one page. */
const maxPageEntries = 1 << 26

/** Parses the page header at `bytes[at]`. Throws `corrupt` also when the bytes end within it. */
export function readPageHeader(bytes: Uint8Array, at: number): PageHeader {
  const reader = new ThriftReader(bytes, at)
  const header = reader.struct()
  const type = size(header.get(1), 'a page')
  const uncompressedBytes = size(header.get(2), 'a page')
  const compressedBytes = size(header.get(3), 'a page')
  const crc = header.get(4)
  const body = header.get(type === 2 ? 7 : type === 3 ? 8 : 5)
  const details: ThriftStruct = body instanceof Map ? body : new Map()
  const known = type === 0 || type === 2 || type === 3
  const entries = known ? size(details.get(1), 'a page') : 0
  if (uncompressedBytes > maxPageBytes || compressedBytes > maxPageBytes || entries > maxPageEntries)
    throw malformed('a page is too large')
  return {
    type,
    uncompressedBytes,
    compressedBytes,
    crc: typeof crc === 'number' ? crc : null,
    entries,
    encoding: known ? size(details.get(type === 3 ? 4 : 2), 'a page') : 0,
    v2:
      type === 3
        ? {
            rows: size(details.get(3), 'a page'),
            definitionBytes: size(details.get(5), 'a page'),
            repetitionBytes: size(details.get(6), 'a page'),
            compressed: details.get(7) !== false,
          }
        : null,
    length: reader.position - at,
  }
}

function structs(value: ThriftValue | undefined): ThriftStruct[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw malformed('a list is missing')
  return value.map((item: ThriftValue) => {
    if (!(item instanceof Map)) throw malformed('a list has items of another type')
    return item
  })
}

function size(value: ThriftValue | undefined, of: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw malformed(`a number of ${of} is missing or impossible`)
  return value
}

function textOf(value: ThriftValue | undefined): string {
  return value instanceof Uint8Array ? text.decode(new Uint8Array(value)) : ''
}

export function malformed(what: string): FrazilError {
  return new FrazilError('corrupt', 'parquet-file', `the Parquet file is malformed: ${what}`)
}
