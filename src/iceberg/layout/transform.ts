import { isNested } from '../../data/index.ts'
import type { PrimitiveType, Type } from '../../data/index.ts'

/** How partition and sort values are made of a column's (specification: "Partition Transforms"). */
export type Transform =
  | { readonly kind: 'identity' | 'void' | 'year' | 'month' | 'day' | 'hour' }
  | { readonly kind: 'bucket'; readonly buckets: number }
  | { readonly kind: 'truncate'; readonly width: number }

/** As in metadata: `bucket[16]`. */
export function transformText(transform: Transform): string {
  if (transform.kind === 'bucket') return `bucket[${transform.buckets}]`
  return transform.kind === 'truncate' ? `truncate[${transform.width}]` : transform.kind
}

/** A transform as metadata has it; null for one that we do not know (specification: readers ignore those). */
export function parseTransform(text: string): Transform | null {
  switch (text) {
    case 'identity':
    case 'void':
    case 'year':
    case 'month':
    case 'day':
    case 'hour':
      return { kind: text }
    default: {
      const [, name, digits] = /^(bucket|truncate)\[(\d+)\]$/.exec(text) ?? []
      const parameter = Number(digits)
      if (name === undefined || !isParameter(parameter)) return null
      return name === 'bucket' ? { kind: 'bucket', buckets: parameter } : { kind: 'truncate', width: parameter }
    }
  }
}

/** Buckets and widths are positive ints. */
export function isParameter(value: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= 0x7fff_ffff
}

const dates: readonly Type['kind'][] = ['date', 'timestamp', 'timestamptz']
const sources: Readonly<Record<Exclude<Transform['kind'], 'identity' | 'void'>, readonly Type['kind'][]>> = {
  bucket: ['int', 'long', 'decimal', 'date', 'time', 'timestamp', 'timestamptz', 'string', 'uuid', 'fixed', 'binary'],
  truncate: ['int', 'long', 'decimal', 'string', 'binary'],
  year: dates,
  month: dates,
  day: dates,
  hour: ['timestamp', 'timestamptz'],
}

/** The type of the values; null when the transform does not take columns of type `source`. */
export function resultType({ kind }: Transform, source: Type): PrimitiveType | null {
  if (isNested(source)) return null
  if (kind === 'identity' || kind === 'void') return source
  if (!sources[kind].includes(source.kind)) return null
  if (kind === 'truncate') return source
  return { kind: kind === 'day' ? 'date' : 'int' }
}

/** The types that a transform takes, for messages. */
export function sourceTypes({ kind }: Transform): string {
  return kind === 'identity' || kind === 'void' ? 'a type without parts' : sources[kind].join(', ')
}
