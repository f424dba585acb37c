import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { Field, Type } from '../../data/index.ts'
import { numberEnd, skipValue } from '../json/index.ts'

/** A field as it is in the file. */
interface Cell {
  readonly text: string
  /** Without quotes nothing is null, with them the empty text. */
  readonly isQuoted: boolean
}

/** The rows of a CSV file. */
export interface CsvRows {
  /** A line for each: a JSON object, or, for one that is ragged, what is no JSON. */
  readonly lines: Buffer
  /** What is wrong with rows that have more or fewer fields than there are names, by their numbers, from 1 on. */
  readonly ragged: ReadonlyMap<number, string>
}

/**
 * Rows of a CSV file (RFC 4180; the first line names the columns, lines end with LF or CRLF) as lines of JSON objects, for a decoder that
 * checks them: numbers, true and false as they stand where the column wants them, lists and structs as JSON, everything else as text;
 * an empty field is null. Throws `request` (`bad-csv`), naming the row, when it is no CSV: where its quotes do not tell where rows end.
 */
export function csvToJsonLines(bytes: Uint8Array, fields: readonly Field[]): CsvRows {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  const records = recordsOf(text.startsWith('\ufeff') ? text.slice(1) : text)
  const head = records.next()
  if (head.done) throw bad(0, 'has no line with the names of the columns')
  const names = head.value.map((cell) => JSON.stringify(cell.text))
  const types = head.value.map((cell) => fields.find(({ name }) => name === cell.text)?.type ?? null)
  const lines: string[] = []
  const ragged = new Map<number, string>()
  for (const record of records) {
    if (record.length === names.length) {
      lines.push(`{${record.map((cell, i) => `${names[i]}:${jsonText(cell, types[i])}`).join(',')}}\n`)
      continue
    }
    lines.push('ragged\n')
    ragged.set(lines.length, `has ${record.length} ${record.length === 1 ? 'field' : 'fields'} and not ${names.length}`)
  }
  return { lines: Buffer.from(lines.join('')), ragged }
}

function jsonText({ text, isQuoted }: Cell, type: Type | null): string {
  if (text === '' && !isQuoted) return 'null'
  switch (type?.kind) {
    case 'boolean': {
      const word = text.toLowerCase()
      return word === 'true' || word === 'false' ? word : JSON.stringify(text)
    }
    case 'int':
    case 'long':
    case 'float':
    case 'double':
      return isWhole(text, numberEnd) ? text : JSON.stringify(text)
    case 'list':
    case 'map':
    case 'struct':
      return isWhole(text, skipValue) ? text.replaceAll(/[\r\n]/g, ' ') : JSON.stringify(text)
    default:
      return JSON.stringify(text)
  }
}

/** Whether a text is one value and nothing else. */
function isWhole(text: string, endOf: (bytes: Uint8Array, at: number, end: number) => number): boolean {
  const bytes = Buffer.from(text)
  return endOf(bytes, 0, bytes.length) === bytes.length
}

function* recordsOf(text: string): Generator<Cell[]> {
  let at = 0
  let row = 0
  while (at < text.length) {
    const record: Cell[] = []
    for (let isOpen = true; isOpen;) {
      let cell: Cell
      if (text[at] === '"') [cell, at] = quoted(text, at + 1, row)
      else {
        const from = at
        while (at < text.length && text[at] !== ',' && text[at] !== '\n' && text[at] !== '\r') {
          if (text[at] === '"') throw bad(row, 'has a quote inside a field without quotes')
          at++
        }
        cell = { text: text.slice(from, at), isQuoted: false }
      }
      record.push(cell)
      isOpen = text[at] === ','
      if (isOpen) at++
    }
    const isReturn = text[at] === '\r'
    if (isReturn) at++
    if (at < text.length && text[at] !== '\n') {
      throw bad(row, isReturn ? 'has a carriage return without a line feed' : 'goes on behind a quoted field')
    }
    at++
    const isEmpty = record.length === 1 && record[0].text === '' && !record[0].isQuoted
    if (isEmpty) continue
    yield record
    row++
  }
}

function quoted(text: string, at: number, row: number): [Cell, number] {
  let content = ''
  for (;;) {
    const quote = text.indexOf('"', at)
    if (quote < 0) throw bad(row, 'has a quoted field that does not end')
    content += text.slice(at, quote)
    if (text[quote + 1] !== '"') return [{ text: content, isQuoted: true }, quote + 1]
    content += '"'
    at = quote + 2
  }
}

function bad(row: number, what: string): FrazilError {
  return new FrazilError('request', 'bad-csv', `${row === 0 ? 'the file' : `row ${row}`} ${what}`)
}
