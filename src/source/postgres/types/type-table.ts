import { refusal } from '../refusals.ts'
import { builtForm } from './cell-builder.ts'
import { sameBytes } from './codec.ts'
import type { Codec, Form } from './codec.ts'
import { boxText, circleText, lineText, pathText, pointText, polygonText, segmentText } from './geometric.ts'
import { bitText, charText, inetText, intervalText, lsnText, macText, snapshotText } from './printers.ts'
import { tidText, timetzText, vectorText } from './printers.ts'
import { codecs } from './scalars.ts'
import { tsqueryText, tsvectorText } from './text-search.ts'

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
  /** Absent where the codec depends on more than the name: see `resolve.ts`. */
  readonly codec?: Codec
}

const sameText = 'the text that Postgres prints'

/** A type that becomes the text Postgres prints, made from its binary form; null when that is malformed. */
function printed(
  signature: string,
  print: (bytes: Buffer, from: number, to: number) => string | null,
  text: Form = sameBytes,
): Codec {
  const binary = builtForm((bytes, from, to, cell) => {
    const written = print(bytes, from, to)
    return written === null ? refusal.malformed : cell.string(written)
  })
  return { kind: 'stored', type: { kind: 'string' }, signature, binary, text, textOnly: false }
}

/** Before 16 a byte beyond ASCII is printed as it is, which is no text. */
const charPrinted: Form = builtForm((bytes, from, to, cell) => {
  return to - from === 1 && bytes[from] >= 0x80 ? cell.string(charText(bytes, from, to) ?? '') : cell.raw(bytes, from, to)
})

/** Every type that is read, and what it becomes. `docs` generates its table from this; the resolver uses the same lines. */
export const postgresTypes: readonly PostgresTypeLine[] = [
  { name: 'bool', oid: 16, iceberg: 'boolean', note: '', codec: codecs.bool },
  { name: 'int2', oid: 21, iceberg: 'int', note: '', codec: codecs.int2 },
  { name: 'int4', oid: 23, iceberg: 'int', note: '', codec: codecs.int4 },
  { name: 'int8', oid: 20, iceberg: 'long', note: '', codec: codecs.int8 },
  { name: 'oid', oid: 26, iceberg: 'long', note: 'unsigned 32 bits', codec: codecs.oid },
  { name: 'xid', oid: 28, iceberg: 'long', note: 'unsigned 32 bits', codec: codecs.oid },
  { name: 'cid', oid: 29, iceberg: 'long', note: 'unsigned 32 bits', codec: codecs.oid },
  { name: 'xid8', oid: 5069, iceberg: 'decimal(20, 0)', note: 'unsigned 64 bits', codec: codecs.xid8 },
  { name: 'float4', oid: 700, iceberg: 'float', note: 'NaN and infinities stay', codec: codecs.float4 },
  { name: 'float8', oid: 701, iceberg: 'double', note: 'NaN and infinities stay', codec: codecs.float8 },
  {
    name: 'numeric',
    oid: 1700,
    iceberg: 'decimal(p, s)',
    note:
      'numeric(p, s) up to 38 digits is exact, NaN is out of range; a negative scale becomes decimal(p + |s|, 0), a scale above p ' +
      `decimal(s, s). Without precision, or beyond 38 digits: string, ${sameText}`,
  },
  {
    name: 'money',
    oid: 790,
    iceberg: 'decimal(19, d)',
    note: 'd digits after the point as `lc_monetary` of the database has them, mostly 2; the currency is not kept',
  },
  { name: 'text', oid: 25, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'varchar', oid: 1043, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'bpchar', oid: 1042, iceberg: 'string', note: 'with its padding', codec: codecs.text },
  { name: 'name', oid: 19, iceberg: 'string', note: '', codec: codecs.text },
  {
    name: 'char',
    oid: 18,
    iceberg: 'string',
    note: `the one-byte "char": ${sameText}; bytes beyond ASCII as \\ooo also before 16`,
    codec: printed('char', charText, charPrinted),
  },
  { name: 'xml', oid: 142, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'refcursor', oid: 1790, iceberg: 'string', note: '', codec: codecs.text },
  { name: 'citext', oid: null, iceberg: 'string', note: 'compared with case in the lake', codec: codecs.text },
  { name: 'json', oid: 114, iceberg: 'string', note: 'as it was written', codec: codecs.text },
  { name: 'jsonb', oid: 3802, iceberg: 'string', note: sameText, codec: codecs.versioned },
  { name: 'jsonpath', oid: 4072, iceberg: 'string', note: sameText, codec: codecs.versioned },
  { name: 'bytea', oid: 17, iceberg: 'binary', note: '', codec: codecs.bytea },
  { name: 'bit', oid: 1560, iceberg: 'string', note: 'zeros and ones', codec: printed('bit', bitText) },
  { name: 'varbit', oid: 1562, iceberg: 'string', note: 'zeros and ones', codec: printed('bit', bitText) },
  { name: 'date', oid: 1082, iceberg: 'date', note: 'infinity is out of range', codec: codecs.date },
  { name: 'time', oid: 1083, iceberg: 'time', note: '24:00:00 is out of range', codec: codecs.time },
  { name: 'timetz', oid: 1266, iceberg: 'string', note: sameText, codec: printed('timetz', timetzText) },
  {
    name: 'timestamp',
    oid: 1114,
    iceberg: 'timestamp',
    note: 'infinity and times after 294247-01-10T04:00:54 are out of range',
    codec: codecs.timestamp,
  },
  {
    name: 'timestamptz',
    oid: 1184,
    iceberg: 'timestamptz',
    note: 'the instant; infinity and times after 294247-01-10T04:00:54 are out of range',
    codec: codecs.timestamptz,
  },
  {
    name: 'interval',
    oid: 1186,
    iceberg: 'string',
    note: `${sameText} with IntervalStyle postgres`,
    codec: printed('interval', intervalText),
  },
  { name: 'uuid', oid: 2950, iceberg: 'uuid', note: '', codec: codecs.uuid },
  { name: 'inet', oid: 869, iceberg: 'string', note: sameText, codec: printed('inet', inetText) },
  { name: 'cidr', oid: 650, iceberg: 'string', note: sameText, codec: printed('cidr', inetText) },
  { name: 'macaddr', oid: 829, iceberg: 'string', note: sameText, codec: printed('macaddr', macText) },
  { name: 'macaddr8', oid: 774, iceberg: 'string', note: sameText, codec: printed('macaddr8', macText) },
  { name: 'point', oid: 600, iceberg: 'string', note: sameText, codec: printed('point', pointText) },
  { name: 'lseg', oid: 601, iceberg: 'string', note: sameText, codec: printed('lseg', segmentText) },
  { name: 'path', oid: 602, iceberg: 'string', note: sameText, codec: printed('path', pathText) },
  { name: 'box', oid: 603, iceberg: 'string', note: sameText, codec: printed('box', boxText) },
  { name: 'polygon', oid: 604, iceberg: 'string', note: sameText, codec: printed('polygon', polygonText) },
  { name: 'line', oid: 628, iceberg: 'string', note: sameText, codec: printed('line', lineText) },
  { name: 'circle', oid: 718, iceberg: 'string', note: sameText, codec: printed('circle', circleText) },
  { name: 'tsvector', oid: 3614, iceberg: 'string', note: sameText, codec: printed('tsvector', tsvectorText) },
  { name: 'tsquery', oid: 3615, iceberg: 'string', note: sameText, codec: printed('tsquery', tsqueryText) },
  { name: 'pg_lsn', oid: 3220, iceberg: 'string', note: sameText, codec: printed('pg_lsn', lsnText) },
  { name: 'tid', oid: 27, iceberg: 'string', note: sameText, codec: printed('tid', tidText) },
  { name: 'int2vector', oid: 22, iceberg: 'string', note: sameText, codec: printed('vector', vectorText) },
  { name: 'oidvector', oid: 30, iceberg: 'string', note: sameText, codec: printed('vector', vectorText) },
  { name: 'txid_snapshot', oid: 2970, iceberg: 'string', note: sameText, codec: printed('snapshot', snapshotText) },
  { name: 'pg_snapshot', oid: 5038, iceberg: 'string', note: sameText, codec: printed('snapshot', snapshotText) },
  { name: 'ltree', oid: null, iceberg: 'string', note: sameText, codec: codecs.versioned },
  { name: 'lquery', oid: null, iceberg: 'string', note: sameText, codec: codecs.versioned },
  { name: 'ltxtquery', oid: null, iceberg: 'string', note: sameText, codec: codecs.versioned },
  { name: 'hstore', oid: null, iceberg: 'map<string, string>', note: '' },
  { name: 'vector', oid: null, iceberg: 'list<float>', note: 'of pgvector' },
  { name: 'halfvec', oid: null, iceberg: 'list<float>', note: 'of pgvector' },
  {
    name: 'geometry',
    oid: null,
    iceberg: 'binary',
    note: 'of PostGIS: WKB. An SRID that the type of the column does not name stays with the value, as EWKB',
  },
  { name: 'geography', oid: null, iceberg: 'binary', note: 'the same' },
  { name: 'enum', oid: null, iceberg: 'string', note: 'the label' },
  { name: 'domain', oid: null, iceberg: 'that of its base type', note: '' },
  {
    name: 'array',
    oid: null,
    iceberg: 'list<…>',
    note: 'one dimension; more dimensions are refused, other lower bounds than 1 are dropped: a column set to `text` keeps both',
  },
  {
    name: 'composite',
    oid: null,
    iceberg: 'struct<…>',
    note: 'its attributes. After ALTER TYPE values of the new shape are refused: resync the table',
  },
  {
    name: 'range',
    oid: null,
    iceberg: 'struct<lower, upper, lower_inclusive, upper_inclusive, empty>',
    note: 'an infinite bound is null',
  },
  { name: 'multirange', oid: null, iceberg: 'list<struct<…>>', note: 'of such ranges' },
  {
    name: 'anything else',
    oid: null,
    iceberg: 'string',
    note: `${sameText}: reg* types, aclitem, types of other extensions, and what is made of them. They need a stream in text form`,
  },
]
