import { codecs, arrayCodec, decimalCodec, printed } from './codecs.ts'
import type { Codec } from './codecs.ts'
import { charText, inetText, intervalText, macText, timetzText } from './text-forms.ts'

/** One line of the published type table. */
export interface PostgresTypeLine {
  /** Name in `pg_type`. */
  readonly name: string
  /** Oid of built-in types; null for types that an extension or a user makes. */
  readonly oid: number | null
  /** Iceberg type as text. */
  readonly iceberg: string
  /** What a person should know: how it is written, what is refused. */
  readonly note: string
  /** Absent where {@link resolveType} builds it: numeric, enums, domains, arrays. */
  readonly codec?: Codec
}

const sameText = 'the text that Postgres prints'

/** Every type that is read, and what it becomes. `docs` generates its table from this; the resolver uses the same lines. */
export const postgresTypes: readonly PostgresTypeLine[] = [
  { name: 'bool', oid: 16, iceberg: 'boolean', note: '', codec: codecs.bool },
  { name: 'int2', oid: 21, iceberg: 'int', note: '', codec: codecs.int2 },
  { name: 'int4', oid: 23, iceberg: 'int', note: '', codec: codecs.int4 },
  { name: 'int8', oid: 20, iceberg: 'long', note: '', codec: codecs.int8 },
  { name: 'oid', oid: 26, iceberg: 'long', note: 'unsigned 32 bits', codec: codecs.oid },
  { name: 'float4', oid: 700, iceberg: 'float', note: 'NaN and infinities stay', codec: codecs.float4 },
  { name: 'float8', oid: 701, iceberg: 'double', note: 'NaN and infinities stay', codec: codecs.float8 },
  {
    name: 'numeric',
    oid: 1700,
    iceberg: 'decimal(p, s)',
    note:
      'numeric(p, s) up to 38 digits is exact, NaN is refused; a negative scale becomes decimal(p + |s|, 0), a scale above p ' +
      `decimal(s, s). Without precision, or beyond 38 digits: string, ${sameText}`,
  },
  { name: 'text', oid: 25, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'varchar', oid: 1043, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'bpchar', oid: 1042, iceberg: 'string', note: 'with its padding', codec: codecs.text },
  { name: 'name', oid: 19, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'char', oid: 18, iceberg: 'string', note: `the one-byte "char": ${sameText}`, codec: printed('char', 4, charText) },
  { name: 'xml', oid: 142, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'citext', oid: null, iceberg: 'string', note: 'compared with case in the lake', codec: codecs.text },
  { name: 'json', oid: 114, iceberg: 'string', note: 'as it was written', codec: codecs.text },
  { name: 'jsonb', oid: 3802, iceberg: 'string', note: sameText, codec: codecs.jsonb },
  { name: 'bytea', oid: 17, iceberg: 'binary', note: '', codec: codecs.bytea },
  { name: 'date', oid: 1082, iceberg: 'date', note: 'infinity is refused', codec: codecs.date },
  { name: 'time', oid: 1083, iceberg: 'time', note: '24:00:00 is refused', codec: codecs.time },
  { name: 'timetz', oid: 1266, iceberg: 'string', note: sameText, codec: printed('timetz', 32, timetzText) },
  {
    name: 'timestamp',
    oid: 1114,
    iceberg: 'timestamp',
    note: 'infinity and times after 294247-01-10T04:00:54 are refused',
    codec: codecs.timestamp,
  },
  {
    name: 'timestamptz',
    oid: 1184,
    iceberg: 'timestamptz',
    note: 'the instant; infinity and times after 294247-01-10T04:00:54 are refused',
    codec: codecs.timestamptz,
  },
  {
    name: 'interval',
    oid: 1186,
    iceberg: 'string',
    note: `${sameText} with IntervalStyle postgres`,
    codec: printed('interval', 96, intervalText),
  },
  { name: 'uuid', oid: 2950, iceberg: 'uuid', note: '', codec: codecs.uuid },
  { name: 'inet', oid: 869, iceberg: 'string', note: sameText, codec: printed('inet', 64, inetText) },
  { name: 'cidr', oid: 650, iceberg: 'string', note: sameText, codec: printed('cidr', 64, inetText) },
  { name: 'macaddr', oid: 829, iceberg: 'string', note: sameText, codec: printed('macaddr', 24, macText) },
  { name: 'macaddr8', oid: 774, iceberg: 'string', note: sameText, codec: printed('macaddr8', 24, macText) },
  { name: 'enum', oid: null, iceberg: 'string', note: 'the label' },
  { name: 'domain', oid: null, iceberg: 'that of its base type', note: '' },
  {
    name: 'array',
    oid: null,
    iceberg: 'list<…>',
    note: 'one dimension, of any type above; more dimensions are refused, other lower bounds than 1 are dropped',
  },
]

/** What `pg_type` says of a type. */
export interface TypeRow {
  readonly oid: number
  readonly name: string
  /** `b` base, `e` enum, `d` domain, `c` composite, `r` range, … */
  readonly kind: string
  readonly category: string
  /** Domains: base type and its modifier. */
  readonly baseOid: number
  readonly baseModifier: number
  /** Arrays: element type. */
  readonly elementOid: number
}

const byOid = new Map(postgresTypes.flatMap((line) => (line.oid !== null && line.codec ? [[line.oid, line.codec]] : [])))
const byName = new Map(postgresTypes.flatMap((line) => (line.oid === null && line.codec ? [[line.name, line.codec]] : [])))
const numericOid = 1700
const maxNesting = 32

/**
 * The codec of a type, or null when it is not one of {@link postgresTypes}. `types` holds the rows of all types that are not
 * built in; `checkText` is for databases whose text is not known to be UTF-8.
 */
export function resolveType(
  oid: number,
  modifier: number,
  types: ReadonlyMap<number, TypeRow>,
  checkText: boolean,
  depth = 0,
): Codec | null {
  const checked = (codec: Codec): Codec => (checkText && codec.signature === 'text' ? codecs.checkedText : codec)
  if (oid === numericOid) return numericCodec(modifier)
  const known = byOid.get(oid)
  if (known) return checked(known)
  const row = types.get(oid)
  if (!row || depth > maxNesting) return null
  if (row.kind === 'e') return checked(codecs.text)
  if (row.kind === 'd') return resolveType(row.baseOid, row.baseModifier, types, checkText, depth + 1)
  if (row.category === 'A' && row.elementOid !== 0) {
    const element = resolveType(row.elementOid, modifier, types, checkText, depth + 1)
    return element && element.type.kind !== 'list' ? arrayCodec(element, row.elementOid) : null
  }
  const named = row.kind === 'b' ? byName.get(row.name) : undefined
  return named ? checked(named) : null
}

function numericCodec(modifier: number): Codec {
  if (modifier < 4) return codecs.numericText
  const packed = modifier - 4
  const precision = (packed >> 16) & 0xffff
  const scale = ((packed & 0x7ff) ^ 1024) - 1024
  if (scale < 0 && precision - scale <= 38) return decimalCodec(precision - scale, 0)
  if (scale > precision && scale <= 38) return decimalCodec(scale, scale)
  return scale >= 0 && precision <= 38 && scale <= precision ? decimalCodec(precision, scale) : codecs.numericText
}
