import { Buffer, isUtf8 } from 'node:buffer'
import { FrazilError, assert } from '../../base/index.ts'
import type { Field } from '../../data/index.ts'
import { avroColumns, avroRowSchema, avroToJsonLines } from '../../format/avro/index.ts'
import { csvToJsonLines } from '../../format/csv/index.ts'
import type { CsvRows } from '../../format/csv/index.ts'
import { RowShape, skipSpace, skipValue } from '../../format/json/index.ts'
import type { RowProblem } from '../../format/json/index.ts'
import { letGo } from '../push/index.ts'
import type { Rows } from '../push/index.ts'
import type { PushRequest, RefusedRow } from '../source.ts'
import { arrowColumns, grownBy } from './given-columns.ts'
import { laneOutcomes } from './lane.ts'

/** Most rows of one request. */
const mostRows = 1_000_000
/** Largest row, as JSON text in bytes. */
const mostRowBytes = 16 << 20
/** Largest body of CSV, in bytes: it is taken apart as text, which takes several times as much. */
const mostCsvBytes = 16 << 20
/** Refused rows that are told one by one; the others are only counted. */
const mostRefusals = 100
/** A request may take this share of the memory for rows; what is larger would keep all others out. */
const memoryShare = 1 / 2

/** Rows of a request, decoded and checked. */
export interface Batch {
  readonly rows: readonly Rows[]
  readonly count: number
  readonly refused: number
  readonly refusals: readonly RefusedRow[]
  /** The rows as JSON objects with white space between them, without those that were refused; or the Arrow stream as it was sent. */
  readonly body: Uint8Array
}

/** Takes rows: see `Lane`. */
export interface RowSink {
  /** Memory taken since it was last set to 0. */
  taken: number
  /** Rows of the last `appendLines`. */
  readonly added: number
  readonly problem: RowProblem
  append(bytes: Uint8Array, at: number, end: number, rows: Rows[]): number
  appendLines(bytes: Uint8Array, at: number, most: number, longest: number, rows: Rows[]): number
  useArrow(body: Uint8Array | null): number
}

const newline = Buffer.from('\n')

/** Whether a body says what columns its rows have: what it needs is seen before its rows are. */
export function hasColumns(form: PushRequest['form']): boolean {
  return form === 'arrow' || form === 'avro'
}

/**
 * Decodes the rows of a request. Throws `request` for a body that cannot be taken apart into rows and for one that is too large, and
 * `unavailable` (`overloaded`) when there is no memory for it now; nothing of it is kept then.
 */
export function decodeBatch(
  { body: sent, form, ends, partial }: PushRequest,
  fields: readonly Field[],
  lane: RowSink,
  memoryBytes: number,
): Batch {
  const isArrow = form === 'arrow'
  const csv = form === 'csv' ? csvOf(sent, fields) : null
  const body = csv ? csv.lines : isArrow ? sent : jsonOf({ body: sent, form }, fields)
  const arrowRows = isArrow ? lane.useArrow(sent) : 0
  const rows: Rows[] = []
  const refusals: RefusedRow[] = []
  const kept: Uint8Array[] = []
  let count = 0
  let refused = 0
  let number = 0
  lane.taken = 0
  // Good rows that lie together, to be kept as they are.
  let runFrom = -1
  let runTo = -1
  const isArray = form === 'array'
  const keep = (from: number, to: number): void => {
    if (from !== runTo) {
      if (runFrom >= 0) kept.push(body.subarray(runFrom, runTo), newline)
      runFrom = from
    }
    runTo = to
  }
  const take = (from: number, to: number): void => {
    number++
    if (number > mostRows) throw new FrazilError('request', 'too-many-rows', `a request has at most ${mostRows} rows`)
    let problem: Omit<RefusedRow, 'row'> | null = null
    if (to - from > mostRowBytes) {
      problem = { code: 'row-too-large', column: null, message: `a row has at most ${mostRowBytes >> 20} MiB` }
    } else {
      const after = lane.append(body, from, to, rows)
      if (after === laneOutcomes.wait) throw noMemory(lane.taken > memoryBytes * memoryShare)
      if (after === laneOutcomes.tooLarge) {
        problem = { code: 'row-too-large', column: null, message: 'the row is too large for the memory that there is' }
      } else if (after === laneOutcomes.refused) problem = lane.problem
      else if (skipSpace(body, after, to) !== to) {
        dropLast(rows)
        problem = { code: 'bad-json', column: null, message: 'something follows the row' }
      }
    }
    if (problem) {
      const ragged = csv?.ragged.get(number)
      if (ragged !== undefined) problem = { code: 'wrong-field-count', column: null, message: ragged }
      refused++
      if (refusals.length < mostRefusals || form === 'rows') refusals.push({ row: number, ...problem })
      return
    }
    count++
    if (isArray) kept.push(body.subarray(from, to), newline)
    else if (!isArrow) keep(from, to)
  }
  try {
    const own = form === 'rows' ? ends : undefined
    if (form === 'lines' || form === 'csv' || form === 'avro' || own) {
      let at = own ? 0 : firstLine(body)
      while (at < body.length) {
        const after = lane.appendLines(body, at, mostRows - number, mostRowBytes, rows)
        if (after > at) keep(at, after)
        count += lane.added
        number += lane.added
        assert(!own || number === 0 || after === own[number - 1], 'a row is a line of its own, or was not taken')
        // The line that was not like the others, and may be wrong.
        at = after === body.length ? after : own ? own[number] : lineEnd(body, after)
        if (own ? after < at : skipSpace(body, after, at) < at) take(after, at)
      }
    } else for (const { from, to } of isArrow ? numbers(arrowRows) : placesOf(form, body, ends)) take(from, to)
    if (runFrom >= 0) kept.push(body.subarray(runFrom, runTo))
    const isRefused = refused > 0 && !partial
    if (isRefused) letGo(rows)
    return {
      rows: isRefused ? [] : rows,
      count: isRefused ? 0 : count,
      refused,
      refusals,
      body: isArrow ? sent : kept.length === 1 ? kept[0] : isRefused ? newline : Buffer.concat(kept),
    }
  } catch (error) {
    letGo(rows)
    throw error
  } finally {
    if (isArrow) lane.useArrow(null)
  }
}

/** The body as JSON. Throws `request`. */
function jsonOf({ body, form }: Pick<PushRequest, 'body' | 'form'>, fields: readonly Field[]): Uint8Array {
  if (form === 'avro') return avroToJsonLines(body)
  if (form === 'csv') return csvOf(body, fields).lines
  demandUtf8(body)
  return body
}

function csvOf(body: Uint8Array, fields: readonly Field[]): CsvRows {
  demandUtf8(body)
  if (body.length > mostCsvBytes) {
    throw new FrazilError('request', 'body-too-large', `a body of CSV has at most ${mostCsvBytes >> 20} MiB`)
  }
  return csvToJsonLines(body, fields)
}

function demandUtf8(body: Uint8Array): void {
  if (!isUtf8(body)) throw new FrazilError('request', 'bad-encoding', 'the body is not UTF-8')
}

/**
 * The columns that the rows of a request need, where those that there are do not do (see `RowShape`); null when they do. Throws `request`
 * for a body that cannot be taken apart into rows.
 */
export function grownFields(
  request: Pick<PushRequest, 'body' | 'form' | 'ends'>,
  fields: readonly Field[],
  fixed: readonly string[],
): Field[] | null {
  if (request.form === 'arrow') return grownBy(arrowColumns(request.body), fields, fixed)
  if (request.form === 'avro') return grownBy(avroColumns(avroRowSchema(request.body)), fields, fixed)
  const body = jsonOf(request, fields)
  const shape = new RowShape(fields, fixed)
  let rows = 0
  for (const { from, to } of placesOf(request.form, body, request.ends)) {
    if (++rows > mostRows) break
    if (to - from <= mostRowBytes) shape.add(body, from, to)
  }
  return shape.grown()
}

function noMemory(isTooLarge: boolean): FrazilError {
  return isTooLarge
    ? new FrazilError('request', 'batch-too-large', 'the rows of the request do not fit into memory', {
        hint: 'Send fewer rows at a time, or raise memory.',
      })
    : new FrazilError('unavailable', 'overloaded', 'there is no memory for more rows now', { hint: 'Send it again later.' })
}

function dropLast(rows: Rows[]): void {
  const last = rows.at(-1)
  if (!last) return
  last.to--
  if (last.to > last.from) return
  rows.pop()
  last.segment.unpin()
}

interface Place {
  readonly from: number
  readonly to: number
}

/** Rows that are known by their number. */
function* numbers(count: number): Generator<Place> {
  for (let i = 0; i < count; i++) yield { from: i, to: i + 1 }
}

function placesOf(form: PushRequest['form'], body: Uint8Array, ends: Uint32Array | undefined): Iterable<Place> {
  if (form === 'array') return items(body)
  if (form === 'rows' && ends) return Array.from(ends, (to, i) => ({ from: i === 0 ? 0 : ends[i - 1], to }))
  return form === 'row' ? [{ from: 0, to: body.length }] : lines(body)
}

/** Lines that are not empty, each with the end of its line. */
function* lines(body: Uint8Array): Generator<Place> {
  let from = firstLine(body)
  while (from < body.length) {
    const to = lineEnd(body, from)
    if (skipSpace(body, from, to) < to) yield { from, to }
    from = to
  }
}

/** A byte order mark says nothing that UTF-8 needs. */
function firstLine(body: Uint8Array): number {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? 3 : 0
}

function lineEnd(body: Uint8Array, from: number): number {
  const end = body.indexOf(0x0a, from)
  return end < 0 ? body.length : end + 1
}

/** The items of an array, whatever they are. */
function* items(body: Uint8Array): Generator<Place> {
  const end = body.length
  const wrong = (where: string): FrazilError => new FrazilError('request', 'bad-json', `the body is not a JSON array: ${where}`)
  const malformed = (row: number): FrazilError => wrong(`it goes wrong at or behind item ${row}`)
  let at = skipSpace(body, 0, end)
  if (body[at] !== 0x5b) throw wrong('it does not begin with [')
  at = skipSpace(body, at + 1, end)
  if (body[at] === 0x5d) at = skipSpace(body, at + 1, end)
  else {
    for (let row = 1; ; row++) {
      const to = skipValue(body, at, end)
      if (to === -2) throw new FrazilError('request', 'too-deep', `item ${row} is nested too deeply`)
      if (to < 0) throw malformed(row)
      yield { from: at, to }
      at = skipSpace(body, to, end)
      if (at < end && body[at] === 0x5d) {
        at = skipSpace(body, at + 1, end)
        break
      }
      if (at >= end || body[at] !== 0x2c) throw malformed(row)
      at = skipSpace(body, at + 1, end)
    }
  }
  if (at !== end) throw wrong('something follows its end')
}
