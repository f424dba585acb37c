import { Buffer } from 'node:buffer'
import { layoutOf, widthOf } from '../../data/index.ts'
import type { Column } from '../../data/index.ts'
import { refusal } from './refusals.ts'
import { dayHigh, dayLow, epochDays, epochHigh, epochLow, limbs, readDecimal } from './types/index.ts'
import type { Codec, Form } from './types/index.ts'

/**
 * Where the tuples come from: a row of `COPY … (FORMAT binary)`, or TupleData of pgoutput, whose every value says whether it is
 * binary or text.
 */
export type TupleForm = 'copy' | 'stream'

/** A column as it arrives. `target` is its place among the columns written, −1 to leave it out. */
export interface WireColumn {
  readonly codec: Codec
  readonly target: number
  /**
   * Whether it belongs to the key. What a tuple leaves out because it did not change is taken from the key tuple then, and must be
   * there; for other columns it is taken from a complete old row, or told in {@link Outcome.unchanged}.
   */
  readonly key: boolean
}

/** Writes tuples into the columns of a segment. It does not count rows: a row that was refused half-way was never there. */
export interface TupleDecoder {
  /** The columns that the next rows are written to. */
  bind(columns: readonly Column[]): void
  /**
   * Decodes the tuple in bytes [from, to) as row `row`; returns where it ends, or a {@link refusal} (details in `outcome`).
   * `oldRow` and `oldKey` say where tuples with values for unchanged columns begin, −1 for none.
   */
  decode(bytes: Buffer, from: number, to: number, row: number, oldRow: number, oldKey: number): number
  readonly outcome: Outcome
}

/** About the last tuple. After a refusal: */
interface Outcome {
  /** Column of the tuple, −1 for the tuple itself. */
  column: number
  /** The same as a column of the segment. */
  readonly target: number
  /** `full`: bytes that this column's heap needs beyond what it holds. */
  needed: number
  /**
   * Otherwise: columns of the segment, in the order of the tuple, whose values did not change and were not sent; the first
   * `unchangedCount` count. Their cells are null or empty.
   */
  readonly unchanged: Int32Array
  unchangedCount: number
}

/** Wider tuples are left to the plain decoder: the compiler gives up on functions of that size. */
const maxGeneratedColumns = 250
/** Values from so many bytes on are copied by a call; shorter ones by words of four bytes, which costs less. */
const longBytes = 512

/** The fast decoder for a tuple, generated; the plain one for very wide tuples. */
export function tupleDecoder(form: TupleForm, columns: readonly WireColumn[]): TupleDecoder {
  return columns.length > maxGeneratedColumns ? plainDecoder(form, columns) : generatedDecoder(form, columns)
}

function newOutcome(columns: readonly WireColumn[]): Outcome {
  return {
    column: -1,
    needed: 0,
    unchanged: new Int32Array(columns.length),
    unchangedCount: 0,
    get target() {
      return this.column < 0 ? -1 : columns[this.column].target
    },
  }
}

/** Start of column `index` of a stream tuple that begins at `from`; what lies there is checked when it is read. */
export function locate(bytes: Buffer, from: number, index: number): number {
  let at = from + 2
  for (let i = 0; i < index; i++) {
    const kind = bytes[at++]
    if (kind === 0x62 || kind === 0x74)
      at += 4 + ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3])
  }
  return at
}

/** Code written for one schema: no loops over columns, no look-ups, no objects. */
export function generatedDecoder(form: TupleForm, columns: readonly WireColumn[]): TupleDecoder {
  const outcome = newOutcome(columns)
  const declare: string[] = []
  const bind: string[] = []
  const body: string[] = []
  columns.forEach((column, i) => {
    if (column.target >= 0) {
      declare.push(`let v${i} = null, d${i} = null, w${i} = null, e${i} = null, h${i} = null, g${i} = null, z${i} = 0`)
      bind.push(
        `{ const c = columns[${column.target}]; v${i} = c.valid; d${i} = c.data; w${i} = c.words; e${i} = c.ends; ` +
          `h${i} = c.heap; z${i} = c.heap.length; g${i} = new DataView(h${i}.buffer, h${i}.byteOffset, z${i}); o${i} = c.valid !== null }`,
      )
      declare.push(`let o${i} = false`)
      if (column.codec.kind === 'stored') declare.push(`const s${i} = codecs[${i}].binary`, formFunction(column.codec, i, 's'))
      if (form === 'stream') declare.push(`const t${i} = codecs[${i}].text`, formFunction(column.codec, i, 't'))
    }
    body.push(form === 'copy' ? copyColumn(column, i) : streamColumn(column, i))
  })
  const source = `
'use strict'
${declare.join('\n')}
function refuse(column, code) { outcome.column = column; return code }
function full(column, needed) { outcome.column = column; outcome.needed = needed; return ${refusal.full} }
const unchanged = outcome.unchanged
// The bytes of one read, or of the message at hand, have many tuples.
let read = null, q = null
return {
  outcome,
  bind(columns) { ${bind.join('\n')} },
  decode(b, p, end, row, oldRow, oldKey) {
    if (end - p < 2 || ((b[p] << 8) | b[p + 1]) !== ${columns.length}) return refuse(-1, ${refusal.malformed})
    if (b !== read) { read = b; q = new DataView(b.buffer, b.byteOffset, b.length) }
    p += 2
    const bit = 1 << (row & 7), byte = row >> 3
    let n = 0, k = 0, back = 0, x = 0, y = 0, u = 0
    ${body.join('\n')}
    outcome.unchangedCount = u
    return p <= end ? p : refuse(-1, ${refusal.malformed})
  },
}`
  // Made of numbers and of the fixed text in this file only: nothing of a name or a value gets into it.
  // oxlint-disable-next-line typescript/no-implied-eval -- one function for each schema is what makes decoding fast
  const make = new Function('outcome', 'codecs', 'readDecimal', 'limbs', 'locate', source)
  const codecs = columns.map((column) => column.codec)
  return make(outcome, codecs, readDecimal, limbs, locate) as TupleDecoder
}

const readLength = (i: number): string => `if (end - p < 4) return refuse(${i}, ${refusal.malformed}); n = q.getInt32(p); p += 4`

function copyColumn(column: WireColumn, i: number): string {
  return `${readLength(i)}
if (n !== -1) {
  if (n < 0 || n > end - p) return refuse(${i}, ${refusal.malformed})
  ${column.target < 0 ? '' : writeValue(column.codec, i)}
  p += n
} else { ${column.target < 0 ? '' : writeNull(column.codec, i)} }`
}

function streamColumn(column: WireColumn, i: number): string {
  if (column.target < 0) {
    return `k = b[p++]
if (k === 98 || k === 116) { ${readLength(i)}; if (n < 0 || n > end - p) return refuse(${i}, ${refusal.malformed}); p += n }
else if (k !== 110 && k !== 117) return refuse(${i}, ${refusal.malformed})`
  }
  const old = column.key ? 'oldKey' : 'oldRow'
  return `k = b[p++]; back = 0
if (k === 117 && ${old} >= 0) {
  back = p; p = locate(b, ${old}, ${i}); k = b[p++]
  if (k === 117) return refuse(${i}, ${refusal.unchanged})
}
if (k === 98 || k === 116) {
  ${readLength(i)}
  if (n < 0 || n > end - p) return refuse(${i}, ${refusal.malformed})
  if (k === 116) { x = tf${i}(b, p, n, row); if (x !== 0) return x }
  else { ${column.codec.textOnly ? `return refuse(${i}, ${refusal.asBinary})` : writeValue(column.codec, i)} }
  p += n
} else if (k === 110) { ${writeNull(column.codec, i)} }
else if (k === 117) { ${column.key ? `return refuse(${i}, ${refusal.unchanged})` : writeUnchanged(column, i)} }
else return refuse(${i}, ${refusal.malformed})
if (back !== 0) p = back`
}

function writeNull(codec: Codec, i: number): string {
  return `if (!o${i}) return refuse(${i}, ${refusal.malformed}); v${i}[byte] &= ~bit; ${writeNothing(codec, i)}`
}

function writeUnchanged({ codec, target }: WireColumn, i: number): string {
  return `if (o${i}) v${i}[byte] &= ~bit; ${writeNothing(codec, i)}; unchanged[u++] = ${target}`
}

/** Code for the bytes of a cell without a value. */
function writeNothing(codec: Codec, i: number): string {
  const width = widthOf(codec.type)
  const words = wordsOf(codec)
  return layoutOf(codec.type) === 'var'
    ? `e${i}[row + 1] = e${i}[row]`
    : words > 0
      ? Array.from({ length: words }, (_, j) => `w${i}[row * ${words} + ${j}] = 0`).join('; ')
      : width === 1
        ? `d${i}[row] = 0`
        : `d${i}.fill(0, row * ${width}, row * ${width} + ${width})`
}

/**
 * A function that writes a value by a form of its codec: `sf` by the binary one, `tf` by the text. Each column has its own, so that
 * each knows one form only. Returns 0 or a refusal.
 */
function formFunction(codec: Codec, i: number, form: 's' | 't'): string {
  const width = widthOf(codec.type)
  const refused = `if (y < 0) { if (y !== ${refusal.asNull}) return refuse(${i}, y); if (!o${i}) return refuse(${i}, ${refusal.nullInKey}); ${writeNull(codec, i)}; return 0 }`
  const present = `if (o${i}) v${i}[byte] |= bit`
  const write =
    layoutOf(codec.type) === 'var'
      ? `const x = e${i}[row]; let y = ${form}${i}.bound(b, p, p + n)
if (x + 4 + y > z${i}) return full(${i}, 4 + y)
y = ${form}${i}.store(b, p, p + n, h${i}, x + 4)
${refused}
e${i}[row + 1] = y; y -= x + 4
h${i}[x] = y; h${i}[x + 1] = y >>> 8; h${i}[x + 2] = y >>> 16; h${i}[x + 3] = y >>> 24`
      : `const y = ${form}${i}.store(b, p, p + n, d${i}, row * ${width})
${refused}`
  return `function ${form}f${i}(b, p, n, row) { const bit = 1 << (row & 7), byte = row >> 3
${write}
${present}; return 0 }`
}

/** 32-bit words of a column that has them. */
function wordsOf(codec: Codec): number {
  switch (codec.kind) {
    case 'int2':
    case 'int4':
    case 'float4':
    case 'date':
      return 1
    case 'int8':
    case 'oid':
    case 'float8':
    case 'time':
    case 'timestamp':
      return 2
    case 'decimal':
      return codec.type.kind === 'decimal' && codec.type.precision > 18
        ? 4
        : codec.type.kind === 'decimal' && codec.type.precision > 9
          ? 2
          : 1
    default:
      return 0
  }
}

const first = 'q.getInt32(p)'
const second = 'q.getInt32(p + 4)'

/** Code that writes the value in bytes [p, p + n) of column `i` to `row`. */
function writeValue(codec: Codec, i: number): string {
  const size = (bytes: number): string => `if (n !== ${bytes}) return refuse(${i}, ${refusal.malformed})`
  const refuse = (code: number): string => `return refuse(${i}, ${code})`
  const present = `if (o${i}) v${i}[byte] |= bit`
  switch (codec.kind) {
    case 'bool':
      return `if (n !== 1 || b[p] > 1) ${refuse(refusal.malformed)}; d${i}[row] = b[p]; ${present}`
    case 'int2':
      return `${size(2)}; w${i}[row] = q.getInt16(p); ${present}`
    case 'int4':
    case 'float4':
      return `${size(4)}; w${i}[row] = ${first}; ${present}`
    case 'int8':
    case 'float8':
      return `${size(8)}; w${i}[2 * row] = ${second}; w${i}[2 * row + 1] = ${first}; ${present}`
    case 'oid':
      return `${size(4)}; w${i}[2 * row] = ${first}; w${i}[2 * row + 1] = 0; ${present}`
    case 'date':
      return `${size(4)}; x = ${first}
if (x === 2147483647 || x === -2147483648) ${refuse(refusal.infinite)}
if (x > ${2147483647 - epochDays}) ${refuse(refusal.outOfRange)}
w${i}[row] = x + ${epochDays}; ${present}`
    case 'time':
      return `${size(8)}; x = ${first}; y = ${second}
if (x === ${dayHigh} && y === ${dayLow}) ${refuse(refusal.endOfDay)}
if (x < 0 || x > ${dayHigh} || x === ${dayHigh} && (y >>> 0) > ${dayLow}) ${refuse(refusal.malformed)}
w${i}[2 * row] = y; w${i}[2 * row + 1] = x; ${present}`
    case 'timestamp':
      return `${size(8)}; x = ${first}; y = (${second}) >>> 0
if (x === 2147483647 && y === 4294967295 || x === -2147483648 && y === 0) ${refuse(refusal.infinite)}
y += ${epochLow}; x += ${epochHigh}; if (y >= 4294967296) x++
if (x > 2147483647) ${refuse(refusal.outOfRange)}
w${i}[2 * row] = y; w${i}[2 * row + 1] = x; ${present}`
    case 'decimal': {
      const words = wordsOf(codec)
      const store = Array.from({ length: words }, (_, j) => `w${i}[${words} * row + ${j}] = limbs[${j}]`).join('; ')
      return `x = readDecimal(b, p, p + n, ${codec.scale}, ${words * 32}); if (x !== 0) return refuse(${i}, x); ${store}; ${present}`
    }
    case 'uuid':
      return `${size(16)}; for (x = 0, y = row * 16; x < 16; x++) d${i}[y + x] = b[p + x]; ${present}`
    case 'bytes':
      return putBytes(i, 'p', 'n', present)
    case 'versioned':
      return putBytes(i, 'p + 1', '(n - 1)', present, `if (n < 1 || b[p] !== 1) ${refuse(refusal.malformed)}`)
    case 'stored':
      return `x = sf${i}(b, p, n, row); if (x !== 0) return x`
  }
}

function putBytes(i: number, from: string, size: string, present: string, check = ''): string {
  return `x = e${i}[row]
if (x + 4 + n > z${i}) return full(${i}, 4 + n)
${check}
g${i}.setInt32(x, ${size}, true)
x += 4
if (${size} >= ${longBytes}) { b.copy(h${i}, x, ${from}, p + n); x += ${size} }
else {
  for (y = ${from}; y + 4 <= p + n; y += 4, x += 4) g${i}.setInt32(x, q.getInt32(y))
  for (; y < p + n; y++) h${i}[x++] = b[y]
}
e${i}[row + 1] = x; ${present}`
}

/** The same in plain words: the reference that the generated code is tested against. */
export function plainDecoder(form: TupleForm, wire: readonly WireColumn[]): TupleDecoder {
  const outcome = newOutcome(wire)
  let targets: readonly Column[] = []
  const refuse = (column: number, code: number): number => {
    outcome.column = column
    return code
  }
  const scratch = Buffer.alloc(16)

  /** Writes bytes [from, to) as the value of a column; returns 0 or a refusal. */
  const write = (i: number, part: Form, bytes: Buffer, from: number, to: number, row: number): number => {
    const column = targets[wire[i].target]
    if (column.layout === 'var') {
      const start = column.ends[row]
      const most = part.bound(bytes, from, to)
      if (start + 4 + most > column.heap.length) {
        outcome.needed = 4 + most
        return refusal.full
      }
      const end = part.store(bytes, from, to, column.heap, start + 4)
      if (end < 0) return end === refusal.asNull ? writeEmpty(i, row, refusal.nullInKey) : end
      new DataView(column.heap.buffer, column.heap.byteOffset).setInt32(start, end - start - 4, true)
      column.ends[row + 1] = end
    } else {
      const end = part.store(bytes, from, to, scratch, 0)
      if (end < 0) return end === refusal.asNull ? writeEmpty(i, row, refusal.nullInKey) : end
      column.data.set(scratch.subarray(0, end), row * column.width)
    }
    if (column.valid) column.valid[row >> 3] |= 1 << (row & 7)
    return 0
  }

  const writeEmpty = (i: number, row: number, otherwise: number = refusal.malformed): number => {
    if (!targets[wire[i].target].valid) return otherwise
    writeNothing(i, row)
    return 0
  }

  const writeNothing = (i: number, row: number): void => {
    const column = targets[wire[i].target]
    if (column.valid) column.valid[row >> 3] &= ~(1 << (row & 7))
    if (column.layout === 'var') column.ends[row + 1] = column.ends[row]
    else column.data.fill(0, row * column.width, (row + 1) * column.width)
  }

  return {
    outcome,
    bind(columns) {
      targets = columns
    },
    decode(bytes, from, to, row, oldRow, oldKey) {
      if (to - from < 2 || bytes.readUInt16BE(from) !== wire.length) return refuse(-1, refusal.malformed)
      let at = from + 2
      outcome.unchangedCount = 0
      for (let i = 0; i < wire.length; i++) {
        const skip = wire[i].target < 0
        let back = -1
        let kind = 0x62
        if (form === 'stream') {
          if (at + 1 > to) return refuse(i, refusal.malformed)
          kind = bytes[at++]
          if (kind === 0x75 && !skip) {
            const old = wire[i].key ? oldKey : oldRow
            if (old < 0) {
              if (wire[i].key) return refuse(i, refusal.unchanged)
              writeNothing(i, row)
              outcome.unchanged[outcome.unchangedCount++] = wire[i].target
              continue
            }
            back = at
            at = locate(bytes, old, i)
            kind = bytes[at++]
            if (kind === 0x75) return refuse(i, refusal.unchanged)
          }
        }
        let size = -1
        if (kind === 0x62 || kind === 0x74) {
          if (at + 4 > to) return refuse(i, refusal.malformed)
          size = bytes.readInt32BE(at)
          at += 4
          if (size < (form === 'copy' ? -1 : 0) || size > to - at) return refuse(i, refusal.malformed)
        } else if (kind !== 0x6e && !(kind === 0x75 && skip)) {
          return refuse(i, refusal.malformed)
        }
        if (!skip) {
          const { codec } = wire[i]
          if (form === 'stream' && kind === 0x62 && codec.textOnly) return refuse(i, refusal.asBinary)
          const part = kind === 0x74 ? codec.text : codec.binary
          const code = size < 0 ? writeEmpty(i, row) : write(i, part, bytes, at, at + size, row)
          if (code !== 0) return refuse(i, code)
        }
        if (back >= 0) at = back
        else if (size > 0) at += size
      }
      return at <= to ? at : refuse(-1, refusal.malformed)
    },
  }
}
