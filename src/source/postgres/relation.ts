import { Buffer } from 'node:buffer'
import { corrupt } from './messages.ts'

/** A Relation message: how the tuples of a table look from here on. */
export interface Relation {
  readonly oid: number
  readonly identity: string
  readonly columns: readonly { name: string; key: boolean; typeOid: number; modifier: number }[]
}

export function readRelation(bytes: Buffer, start: number, to: number): Relation {
  let at = start + 1
  const take = (size: number): number => {
    const from = at
    at += size
    if (at > to) throw corrupt('Relation', start, to)
    return from
  }
  const text = (): string => {
    const end = bytes.indexOf(0, at)
    if (end < 0 || end >= to) throw corrupt('Relation', start, to)
    const value = bytes.toString('utf8', at, end)
    at = end + 1
    return value
  }
  const oid = bytes.readUInt32BE(take(4))
  text() // schema
  text() // name
  const identity = String.fromCharCode(bytes[take(1)])
  const count = bytes.readUInt16BE(take(2))
  const columns: Relation['columns'][number][] = []
  for (let i = 0; i < count; i++) {
    const key = (bytes[take(1)] & 1) === 1
    const name = text()
    columns.push({ name, key, typeOid: bytes.readUInt32BE(take(4)), modifier: bytes.readInt32BE(take(4)) })
  }
  if (at !== to) throw corrupt('Relation', start, to)
  return { oid, identity, columns }
}
