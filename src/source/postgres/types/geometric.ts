/** Geometric types as Postgres prints them, from their binary forms. Null when malformed. */
import type { Buffer } from 'node:buffer'
import { floatText } from './float-text.ts'

const number = (bytes: Buffer, at: number): string => floatText(bytes.readDoubleBE(at))
const pair = (bytes: Buffer, at: number): string => `(${number(bytes, at)},${number(bytes, at + 8)})`

function pairs(bytes: Buffer, from: number, count: number): string {
  const texts: string[] = []
  for (let i = 0; i < count; i++) texts.push(pair(bytes, from + 16 * i))
  return texts.join(',')
}

export function pointText(bytes: Buffer, from: number, to: number): string | null {
  return to - from === 16 ? pair(bytes, from) : null
}

export function boxText(bytes: Buffer, from: number, to: number): string | null {
  return to - from === 32 ? pairs(bytes, from, 2) : null
}

export function segmentText(bytes: Buffer, from: number, to: number): string | null {
  return to - from === 32 ? `[${pairs(bytes, from, 2)}]` : null
}

export function lineText(bytes: Buffer, from: number, to: number): string | null {
  return to - from === 24 ? `{${[0, 8, 16].map((at) => number(bytes, from + at)).join(',')}}` : null
}

export function circleText(bytes: Buffer, from: number, to: number): string | null {
  return to - from === 24 ? `<${pair(bytes, from)},${number(bytes, from + 16)}>` : null
}

export function polygonText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 4) return null
  const count = bytes.readInt32BE(from)
  return to - from === 4 + 16 * count ? `(${pairs(bytes, from + 4, count)})` : null
}

export function pathText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 5) return null
  const count = bytes.readInt32BE(from + 1)
  if (to - from !== 5 + 16 * count) return null
  const points = pairs(bytes, from + 5, count)
  return bytes[from] === 0 ? `[${points}]` : `(${points})`
}
