import { Buffer } from 'node:buffer'
import { skipSpace, skipValue } from '../../format/json/index.ts'
import type { KeptRequest, SpoolRecord } from '../push/index.ts'
import { decodeHead } from './record-head.ts'

const newline = Buffer.from('\n')

/** The rows of a request as it can be sent again: as lines of JSON, or as the Arrow stream that came. */
export function keptRows({ operation, head, body }: SpoolRecord): KeptRequest {
  if (decodeHead(head).form === 'arrow') return { body, ending: `${operation}.arrows`, joins: false }
  return { body: linesOf(body), ending: `${operation}.ndjson`, joins: true }
}

/** Rows as they are in the spool, each on a line of its own: those of one request may lie on several lines each. */
function linesOf(body: Uint8Array): Buffer {
  const lines: Buffer[] = []
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  let at = skipSpace(bytes, 0, bytes.length)
  while (at < bytes.length) {
    const to = skipValue(bytes, at, bytes.length)
    if (to < 0) return Buffer.concat([bytes, newline])
    const row = Buffer.from(bytes.subarray(at, to))
    // White space between tokens: texts have none of these characters.
    for (let i = 0; i < row.length; i++) if (row[i] === 0x0a || row[i] === 0x0d) row[i] = 0x20
    lines.push(row, newline)
    at = skipSpace(bytes, to, bytes.length)
  }
  return Buffer.concat(lines)
}
