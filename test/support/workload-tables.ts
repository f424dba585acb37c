import { seededRandom } from '../../src/base/index.ts'

type Random = ReturnType<typeof seededRandom>

/** How values of a column are compared; the same for its elements when it is an array. */
export type ComparedType =
  | 'boolean'
  | 'integer'
  | 'float4'
  | 'float8'
  | 'decimal'
  | 'text'
  | 'bytea'
  | 'uuid'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  /** Structs, maps and lists of them, with whole numbers, texts and booleans in them. */
  | 'nested'

export interface WorkloadColumn {
  readonly name: string
  /** As in CREATE TABLE, without NOT NULL. */
  readonly sqlType: string
  readonly compared: ComparedType
  readonly array: boolean
  readonly nullable: boolean
  /** How SQL says a value, when not by its text. */
  readonly said: string
  /** An SQL expression for a value, edge cases among them; for key columns never called. */
  readonly literal: (random: Random) => string
}

/** Columns that are unique together; `expression` makes the value of one from the SQL integer expression `g`, injectively together. */
export interface UniqueGroup {
  readonly columns: readonly { readonly name: string; readonly expression: (g: string) => string }[]
}

export interface WorkloadTable {
  readonly schema: string
  readonly name: string
  /** Quoted and qualified, for SQL and for the configuration. */
  readonly sqlName: string
  /** Name in the lake under source `shop`. */
  readonly lakeName: string
  readonly columns: readonly WorkloadColumn[]
  /** The first is what updates and deletes name rows by; empty for a table without a key. */
  readonly unique: readonly UniqueGroup[]
  /** Statements that create it. */
  readonly ddl: readonly string[]
  /** Rows of the largest transaction. */
  readonly mostRows: number
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}

const pick = <T>(random: Random, from: readonly T[]): T => from[random.below(from.length)]

const words = [
  '', ' ', 'a', 'NULL', 'null', 'naïve', 'Straße', '日本語テキスト', '🚀👩‍👩‍👧‍👦', '\u{10FFFF}', "O'Brien", '"quoted"', 'back\\slash', 'tab\there',
  'line\nbreak', '\r\n', 'e\u0301 vs \u00e9', '\u202eright to left', '{"a":1}', '{a,b}', '\ufeffbom', 'ß'.repeat(40), 'x'.repeat(200),
] // prettier-ignore

const randomText = (random: Random): string => {
  if (random.below(3) > 0) return pick(random, words)
  return Array.from({ length: random.below(24) }, () =>
    String.fromCodePoint(pick(random, [97, 0xe9, 0x4e2d, 0x1f680]) + random.below(20)),
  ).join('')
}

const digits = (random: Random, most: number): string => {
  const length = 1 + random.below(most)
  return Array.from({ length }, (_, i) => String(i === 0 && length > 1 ? 1 + random.below(9) : random.below(10))).join('')
}

const decimal = (whole: number, scale: number, ends: readonly string[]) => (random: Random) => {
  if (random.below(4) === 0) return pick(random, ends)
  return `${pick(random, ['', '-'])}${digits(random, whole)}${scale > 0 ? `.${digits(random, scale)}` : ''}`
}

const two = (n: number): string => String(n).padStart(2, '0')
const day = (random: Random): string =>
  pick(random, ['0001-01-01', '1582-10-04', '1582-10-15', '1969-12-31', '1970-01-01', '2000-02-29', '9999-12-31', null]) ??
  `${1900 + random.below(200)}-${two(1 + random.below(12))}-${two(1 + random.below(28))}`
const moment = (random: Random): string =>
  pick(random, ['00:00:00', '23:59:59.999999', '12:34:56.000001', null]) ??
  `${two(random.below(24))}:${two(random.below(60))}:${two(random.below(60))}.${String(random.below(1000000)).padStart(6, '0')}`
// Near the ends of the calendar a zone would lead out of it.
const stamp = (random: Random): string => `${day(random)} ${moment(random)}`
const zoned = (random: Random): string =>
  `${1900 + random.below(200)}-${two(1 + random.below(12))}-${two(1 + random.below(28))} ${moment(random)}${pick(random, ['Z', '+05:30', '-08', '+14'])}`

const json = (random: Random): string =>
  pick(random, [
    '{}',
    '[]',
    'null',
    '"x"',
    '1.50',
    '1e400',
    '{"b":1,"a":[1,2,{"c":null}],"a":2}',
    '{"k":"\\u00e9🚀","long":12345678901234567890}',
  ]) + ' '.repeat(random.below(2))

/** Mostly large, of pieces that make values differ. */
const largeText = (random: Random, size: number): string =>
  random.below(5) === 0
    ? text(randomText(random))
    : `repeat(md5('${random.below(1e9)}'), ${1 + random.below(Math.ceil(size / 16))})`

const moods = ['sad', 'ok', 'happy', 'q"uote', 'größer', '']

interface ScalarType {
  readonly compared: ComparedType
  /** `$` stands for the column. */
  readonly said?: string
  readonly literal: (random: Random) => string
}

const scalars: Readonly<Record<string, ScalarType>> = {
  boolean: { compared: 'boolean', literal: (r) => pick(r, ['true', 'false']) },
  smallint: { compared: 'integer', literal: (r) => pick(r, ['-32768', '32767', '0', String(r.below(2000) - 1000)]) },
  integer: { compared: 'integer', literal: (r) => pick(r, ['-2147483648', '2147483647', '0', String(r.below(2e9) - 1e9)]) },
  bigint: {
    compared: 'integer',
    literal: (r) =>
      pick(r, ['-9223372036854775808', '9223372036854775807', '9007199254740993', '0', `-${digits(r, 18)}`, digits(r, 18)]),
  },
  oid: { compared: 'integer', literal: (r) => pick(r, ['0', '4294967295', digits(r, 9)]) },
  real: {
    compared: 'float4',
    literal: (r) =>
      text(pick(r, ['NaN', '-0', 'Infinity', '-Infinity', '1e-45', '3.4028235e38', '0.1', String(Math.fround(r.next() * 1e6))])),
  },
  'double precision': {
    compared: 'float8',
    literal: (r) =>
      text(
        pick(r, ['NaN', '-0', 'Infinity', '-Infinity', '5e-324', '1.7976931348623157e308', '0.1', '0', String(r.next() * 1e9)]),
      ),
  },
  'numeric(9,2)': { compared: 'decimal', literal: decimal(7, 2, ['9999999.99', '-9999999.99', '0', '0.01']) },
  'numeric(18,4)': { compared: 'decimal', literal: decimal(14, 4, ['99999999999999.9999', '-99999999999999.9999', '0']) },
  'numeric(38,10)': {
    compared: 'decimal',
    literal: decimal(28, 10, [
      `${'9'.repeat(28)}.${'9'.repeat(10)}`,
      `-${'9'.repeat(28)}.${'9'.repeat(10)}`,
      '0.0000000001',
      '0',
    ]),
  },
  // Without bounds it becomes the text that Postgres prints.
  numeric: {
    compared: 'text',
    literal: decimal(60, 30, ['1.5', '1.50', '0', '0.000', '1e-20', '-1e50', '100000000000000000000000000000000000000000']),
  },
  text: { compared: 'text', literal: (r) => text(randomText(r)) },
  'varchar(300)': { compared: 'text', literal: (r) => text(randomText(r)) },
  'char(8)': { compared: 'text', literal: (r) => text(pick(r, ['', 'a', 'abcdefgh', 'é', ' x'])) },
  date: { compared: 'date', literal: (r) => text(day(r)) },
  time: { compared: 'time', literal: (r) => text(moment(r)) },
  timestamp: { compared: 'timestamp', literal: (r) => text(stamp(r)) },
  timestamptz: { compared: 'timestamptz', literal: (r) => text(zoned(r)) },
  uuid: {
    compared: 'uuid',
    literal: (r) => text(pick(r, [r.uuid(), '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'])),
  },
  bytea: {
    compared: 'bytea',
    literal: (r) =>
      text(
        pick(r, [
          '\\x',
          '\\x00',
          '\\xff00fe',
          `\\x${Array.from({ length: r.below(60) }, () => r.below(256).toString(16).padStart(2, '0')).join('')}`,
        ]),
      ),
  },
  json: { compared: 'text', literal: (r) => text(json(r)) },
  jsonb: { compared: 'text', literal: (r) => text(json(r).replace('1e400', '1e40')) },
  // Types that become the text that Postgres prints.
  interval: {
    compared: 'text',
    literal: (r) =>
      text(
        pick(r, [
          '0',
          '1 year 2 mons -3 days',
          '-00:00:00.000001',
          '178000000 years',
          '-1 mon +1 day -12:34:56.5',
          `${r.below(1e6)} seconds`,
        ]),
      ),
  },
  timetz: { compared: 'text', literal: (r) => text(`${moment(r)}${pick(r, ['Z', '+05:30', '-08', '+14', '-15:59:59'])}`) },
  inet: {
    compared: 'text',
    literal: (r) => text(pick(r, ['0.0.0.0', '10.1.2.3/8', '::1', '2001:db8::ff00:42:8329/64', '::ffff:1.2.3.4'])),
  },
  cidr: { compared: 'text', literal: (r) => text(pick(r, ['10.0.0.0/8', '1.2.3.4/32', '2001:db8::/32', '::/0'])) },
  macaddr: { compared: 'text', literal: (r) => text(pick(r, ['08:00:2b:01:02:03', 'ff:ff:ff:ff:ff:ff'])) },
  macaddr8: { compared: 'text', literal: (r) => text(pick(r, ['08:00:2b:01:02:03:04:05', '00:00:00:00:00:00:00:00'])) },
  name: { compared: 'text', literal: (r) => text(pick(r, ['', 'pg_class', 'größe'])) },
  '"char"': { compared: 'text', literal: (r) => text(pick(r, ['', 'a', '~', '\\377'])) },
  mood: { compared: 'text', literal: (r) => text(pick(r, moods)) },
  money: { compared: 'decimal', said: '$::numeric', literal: (r) => text(decimal(12, 2, ['0', '-0.01'])(r)) },
  xid8: { compared: 'decimal', literal: (r) => text(pick(r, ['0', '18446744073709551615', digits(r, 19)])) },
  'bit varying': { compared: 'text', literal: (r) => `B'${pick(r, ['', '1', '0'.repeat(9), r.below(1e6).toString(2)])}'` },
  point: {
    compared: 'text',
    literal: (r) => text(pick(r, ['(0,0)', '(-0,1e300)', '(NaN,Infinity)', `(${r.next()},${r.next()})`])),
  },
  tsvector: { compared: 'text', literal: (r) => text(pick(r, ['', `'a b':1A,2 c:3`, 'größe'])) },
  tsquery: { compared: 'text', literal: (r) => text(pick(r, ['', 'a & (b | !c)', 'a <2> b:*A'])) },
  pg_lsn: { compared: 'text', literal: (r) => text(pick(r, ['0/0', 'FFFFFFFF/FFFFFFFF', '16/B374D848'])) },
  posint: { compared: 'integer', literal: (r) => String(1 + r.below(1000)) },
}

const ends = "'lower_inclusive', lower_inc($), 'upper_inclusive', upper_inc($), 'empty', isempty($)"
const number = (r: Random): string => pick(r, ['0', '-2147483648', '2147483647', String(r.below(1000))])
const pair = (r: Random): string =>
  r.below(6) === 0
    ? 'NULL::pair'
    : `ROW(${r.below(5) === 0 ? 'NULL' : number(r)}, ${r.below(5) === 0 ? 'NULL' : text(randomText(r))}, ${pick(r, ['NULL', 'ARRAY[]::bigint[]', 'ARRAY[1, NULL, 9007199254740993]'])})::pair`

const listsOfStructs = ['nummultirange', 'pair[]']

/** Types that become structs, maps and lists of them. */
const nested: Readonly<Record<string, ScalarType>> = {
  int4range: {
    compared: 'nested',
    said: `CASE WHEN $ IS NOT NULL THEN json_build_object('lower', lower($), 'upper', upper($), ${ends}) END::text`,
    literal: (r) => pick(r, ["'empty'", "'(,)'", "'[1,5]'", "'[,3)'", `int4range(-${r.below(100)}, ${r.below(100)})`]),
  },
  nummultirange: {
    compared: 'nested',
    said: `CASE WHEN $ IS NOT NULL THEN coalesce((SELECT json_agg(json_build_object('lower', lower(r)::text, 'upper', upper(r)::text, ${ends.replaceAll('$', 'r')})) FROM unnest($) r), '[]') END::text`,
    literal: (r) => text(pick(r, ['{}', '{[1.50,2.0]}', '{(,-1),[0.10,7],(8,)}'])),
  },
  pair: { compared: 'nested', said: 'to_json($)::text', literal: pair },
  'pair[]': {
    compared: 'nested',
    said: 'to_json($)::text',
    literal: (r) => `ARRAY[${Array.from({ length: r.below(4) }, () => pair(r)).join(', ')}]::pair[]`,
  },
  hstore: {
    compared: 'nested',
    said: 'hstore_to_json($)::text',
    literal: (r) => text(pick(r, ['', 'a=>1', 'a=>NULL, "b c"=>"x,y", ü=>""', '"q\\""=>"NULL", z=>1, "=>"=>"\\\\"'])),
  },
}

export function column(name: string, sqlType: string, nullable = true): WorkloadColumn {
  const array = sqlType.endsWith('[]')
  const { compared, literal, said = '$' } = nested[sqlType] ?? scalars[array ? sqlType.slice(0, -2) : sqlType]
  const one = (random: Random): string => (nullable && random.below(6) === 0 ? 'NULL' : literal(random))
  const saying = said.replaceAll('$', () => quoted(name))
  if (!array || sqlType in nested) return { name, sqlType, compared, array: false, nullable, said: saying, literal: one }
  const element = (random: Random): string => (random.below(5) === 0 ? 'NULL' : literal(random))
  const list = (random: Random): string => {
    if (random.below(6) === 0) return 'NULL'
    return `ARRAY[${Array.from({ length: random.below(5) }, () => element(random)).join(', ')}]`
  }
  return { name, sqlType, compared, array, nullable, said: saying, literal: list }
}

interface Draft {
  readonly schema?: string
  readonly name: string
  readonly columns: readonly WorkloadColumn[]
  readonly unique: readonly UniqueGroup[]
  readonly after?: (sqlName: string) => readonly string[]
  readonly suffix?: string
  readonly primaryKey?: readonly string[]
  readonly mostRows?: number
}

function table(draft: Draft): WorkloadTable {
  const schema = draft.schema ?? 'public'
  const sqlName = `${quoted(schema)}.${quoted(draft.name)}`
  const columns = draft.columns.map((c) => `${quoted(c.name)} ${c.sqlType}${c.nullable ? '' : ' NOT NULL'}`)
  if (draft.primaryKey) columns.push(`PRIMARY KEY (${draft.primaryKey.map(quoted).join(', ')})`)
  return {
    schema,
    name: draft.name,
    sqlName,
    lakeName: schema === 'public' ? draft.name : `${schema}_${draft.name}`,
    columns: draft.columns,
    unique: draft.unique,
    ddl: [`CREATE TABLE ${sqlName} (${columns.join(', ')}) ${draft.suffix ?? ''}`, ...(draft.after?.(sqlName) ?? [])],
    mostRows: draft.mostRows ?? 20_000,
  }
}

const bigKey = (g: string): string =>
  `(CASE ${g} WHEN 5 THEN -9223372036854775808 WHEN 6 THEN 9223372036854775807 WHEN 7 THEN 0 ELSE CASE WHEN ${g} % 2 = 0 THEN ${g} * 1000003 ELSE -${g} END END)::bigint`

const textKey = (g: string): string =>
  `(CASE WHEN ${g} = 3 THEN '' WHEN ${g} % 7 = 0 THEN 'ключ-' || ${g} WHEN ${g} % 7 = 1 THEN '🚀' || ${g} || '👩‍👧' WHEN ${g} % 7 = 2 THEN repeat('k', 100) || ${g} WHEN ${g} % 7 = 3 THEN 'a"b''c ' || ${g} WHEN ${g} % 7 = 4 THEN ' ' || ${g} || ' ' ELSE 'k' || ${g} END)`

const uuidKey = (g: string): string => `md5((${g})::text)::uuid`

/** The tables of the differential and crash tests; one of each kind that has broken some system before. */
export const workloadTables: readonly WorkloadTable[] = [
  table({
    name: 'orders',
    columns: [
      column('id', 'bigint', false),
      column('customer', 'integer', false),
      column('note', 'text'),
      column('placed_at', 'timestamptz', false),
      column('amount', 'double precision'),
    ],
    primaryKey: ['id'],
    unique: [{ columns: [{ name: 'id', expression: bigKey }] }],
  }),
  table({
    name: 'items',
    columns: [
      column('sku', 'text', false),
      column('shop', 'integer', false),
      column('price', 'numeric(18,4)'),
      column('tags', 'text[]'),
    ],
    primaryKey: ['shop', 'sku'],
    unique: [
      {
        columns: [
          { name: 'shop', expression: (g) => `((${g}) % 50 - 25)::int` },
          { name: 'sku', expression: textKey },
        ],
      },
    ],
  }),
  table({
    name: 'people',
    columns: [column('handle', 'text', false), column('bio', 'varchar(300)'), column('born', 'date'), column('mood', 'mood')],
    primaryKey: ['handle'],
    unique: [{ columns: [{ name: 'handle', expression: textKey }] }],
  }),
  table({
    name: 'sessions',
    columns: [column('sid', 'uuid', false), column('payload', 'bytea'), column('seen', 'timestamp'), column('n', 'smallint')],
    primaryKey: ['sid'],
    unique: [{ columns: [{ name: 'sid', expression: uuidKey }] }],
  }),
  table({
    // Few distinct values, so that equal rows are many.
    name: 'log_lines',
    columns: [
      { ...column('level', 'integer'), literal: (r) => pick(r, ['NULL', '1', '2']) },
      { ...column('x', 'double precision'), literal: (r) => text(pick(r, ['NaN', '-0', '0', '1'])) },
      { ...column('line', 'text'), literal: (r) => pick(r, ['NULL', "''", "'a'", "'🚀'"]) },
      { ...column('n', 'numeric'), literal: (r) => pick(r, ['1.0', '1.00', 'NULL']) },
    ],
    unique: [],
    after: (name) => [`ALTER TABLE ${name} REPLICA IDENTITY FULL`],
  }),
  table({
    name: 'codes',
    columns: [
      column('id', 'bigint', false),
      column('code', 'text', false),
      column('region', 'integer', false),
      column('label', 'text'),
    ],
    primaryKey: ['id'],
    unique: [
      {
        columns: [
          { name: 'code', expression: textKey },
          { name: 'region', expression: (g) => `((${g}) % 3)::int` },
        ],
      },
      { columns: [{ name: 'id', expression: bigKey }] },
    ],
    after: (name) => [
      `CREATE UNIQUE INDEX codes_identity ON ${name} (code, region)`,
      `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX codes_identity`,
    ],
  }),
  table({
    schema: 'Größe π',
    name: 'Tab "le" 日本 🚀',
    columns: [
      column('select', 'integer', false),
      column('Ünï cödé', 'text'),
      column('a"b', 'jsonb'),
      column('UPPER', 'boolean'),
      column("it's", 'bigint[]'),
    ],
    primaryKey: ['select'],
    unique: [
      {
        columns: [{ name: 'select', expression: (g) => `(CASE WHEN ${g} = 4 THEN -2147483648 ELSE ${g} % 2000000000 END)::int` }],
      },
    ],
  }),
  table({
    name: 'everything',
    columns: [
      column('id', 'integer', false),
      ...Object.keys(scalars)
        .filter((type) => type !== 'time')
        .map((type) => column(`c_${type.replaceAll(/\W+/g, '_')}`, type)),
      ...['boolean', 'smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric(18,4)', 'numeric', 'text', 'date'].map(
        (type) => column(`a_${type.replaceAll(/\W+/g, '_')}`, `${type}[]`),
      ),
      ...['timestamp', 'timestamptz', 'uuid', 'bytea', 'jsonb', 'mood', 'interval', 'inet'].map((type) =>
        column(`a_${type}`, `${type}[]`),
      ),
    ],
    primaryKey: ['id'],
    unique: [{ columns: [{ name: 'id', expression: (g) => `(${g} % 2000000000)::int` }] }],
    // Values stay in the row: a wide one would be moved out of line, which is another test.
    after: (name) => [
      `ALTER TABLE ${name} ${[
        'c_text',
        'c_varchar_300_',
        'c_bytea',
        'c_json',
        'c_jsonb',
        'a_text',
        'a_bytea',
        'a_jsonb',
        'a_numeric',
        'a_mood',
        'a_uuid',
      ]
        .map((c) => `ALTER COLUMN ${c} SET STORAGE PLAIN`)
        .join(', ')}`,
    ],
    mostRows: 1500,
  }),
  table({
    name: 'shapes',
    columns: [
      column('id', 'integer', false),
      // PyIceberg reads a list of structs that is null as an empty one (apache/arrow#38809).
      ...Object.keys(nested).map((type) => column(`c_${type.replaceAll(/\W+/g, '_')}`, type, !listsOfStructs.includes(type))),
    ],
    primaryKey: ['id'],
    unique: [{ columns: [{ name: 'id', expression: (g) => `(${g} % 2000000000)::int` }] }],
    after: (name) => [
      `ALTER TABLE ${name} ALTER COLUMN c_pair SET STORAGE PLAIN, ALTER COLUMN c_pair_ SET STORAGE PLAIN, ALTER COLUMN c_hstore SET STORAGE PLAIN`,
    ],
    mostRows: 1500,
  }),
  table({
    // Apart, because Spark cannot read a table that has a column of this type.
    name: 'clocks',
    columns: [column('id', 'integer', false), column('at', 'time'), column('all_at', 'time[]')],
    primaryKey: ['id'],
    unique: [{ columns: [{ name: 'id', expression: (g) => `(${g} % 2000000000)::int` }] }],
  }),
  table({
    // Values that lie out of line: what an update leaves as it is, is not sent.
    name: 'documents',
    columns: [
      column('id', 'bigint', false),
      { ...column('body', 'text'), literal: (r) => largeText(r, 3000) },
      column('n', 'integer'),
      { ...column('data', 'jsonb'), literal: (r) => `jsonb_build_object('k', ${largeText(r, 9000)})` },
      { ...column('parts', 'text[]', false), literal: (r) => `ARRAY[${largeText(r, 2500)}, NULL, '', ${largeText(r, 2500)}]` },
    ],
    primaryKey: ['id'],
    unique: [{ columns: [{ name: 'id', expression: bigKey }] }],
    after: (name) => [
      `ALTER TABLE ${name} ALTER body SET STORAGE EXTERNAL, ALTER data SET STORAGE EXTERNAL, ALTER parts SET STORAGE EXTERNAL`,
    ],
    mostRows: 60,
  }),
  table({
    name: 'full_keyed',
    columns: [column('id', 'bigint', false), column('v', 'integer'), column('w', 'real')],
    primaryKey: ['id'],
    unique: [{ columns: [{ name: 'id', expression: bigKey }] }],
    after: (name) => [`ALTER TABLE ${name} REPLICA IDENTITY FULL`],
  }),
  table({
    name: 'parted',
    columns: [column('region', 'integer', false), column('id', 'bigint', false), column('v', 'text')],
    primaryKey: ['region', 'id'],
    unique: [
      {
        columns: [
          { name: 'region', expression: (g) => `((${g}) % 4)::int` },
          { name: 'id', expression: bigKey },
        ],
      },
    ],
    suffix: 'PARTITION BY LIST (region)',
    after: (name) => [
      `CREATE TABLE public.parted_a PARTITION OF ${name} FOR VALUES IN (0, 1)`,
      `CREATE TABLE public.parted_b PARTITION OF ${name} FOR VALUES IN (2)`,
      `CREATE TABLE public.parted_rest PARTITION OF ${name} DEFAULT`,
    ],
  }),
]

/** Statements to run once in an empty database. */
export function workloadSchema(tables: readonly WorkloadTable[] = workloadTables): string[] {
  return [
    'SET search_path = public',
    `CREATE TYPE mood AS ENUM (${moods.map(text).join(', ')})`,
    'CREATE DOMAIN posint AS integer CHECK (VALUE > 0)',
    'CREATE EXTENSION hstore',
    'CREATE TYPE pair AS (a integer, "B b" text, c bigint[])',
    `CREATE SCHEMA ${quoted('Größe π')}`,
    ...tables.flatMap((one) => one.ddl),
  ]
}
