import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { typeText } from '../../../src/data/index.ts'
import type { Type, Value } from '../../../src/data/index.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { MapLake } from './lake.ts'

let server: EmbeddedPostgres
let client: Client

before(async () => {
  server = await startPostgres()
  client = new Client(server.url)
  await client.connect()
  await client.query("set timezone = 'UTC'; set extra_float_digits = 3")
})
after(async () => {
  await client.end()
  await server.stop()
})

const micros = '(extract(epoch from v) * 1000000)::numeric(40, 0)::text'
const asText = 'v::text'

/** Values and types that came with a later version than the oldest that is supported, by type and value. */
const since: Record<string, number> = {
  'numeric(5,-2)': 150_000,
  'numeric(3,5)': 150_000,
  '"char" \'\\377\'': 160_000,
  "interval 'infinity'": 170_000,
  "interval '-infinity'": 170_000,
}

/** Type, what it becomes, how SQL says its value as text, and values as SQL. */
const allCases: readonly [type: string, iceberg: string, sql: string, values: string[]][] = [
  ['bool', 'boolean', asText, ['true', 'false']],
  ['int2', 'int', asText, ['-32768', '32767', '0', '-1']],
  ['int4', 'int', asText, ['-2147483648', '2147483647', '0', '-1']],
  ['int8', 'long', asText, ['-9223372036854775808', '9223372036854775807', '0', '-1', '4294967296']],
  ['oid', 'long', asText, ['0', '4294967295', '2147483648']],
  ['float4', 'float', asText, ["'NaN'", "'Infinity'", "'-Infinity'", '0', "'-0'", '1.1', '3.4028235e38', '1e-45']],
  ['float8', 'double', asText, ["'NaN'", "'Infinity'", "'-Infinity'", '0', "'-0'", '1.1', '1.7976931348623157e308', '5e-324']],
  ['numeric(5,2)', 'decimal(5, 2)', asText, ['999.99', '-999.99', '0', '0.01', '-0.01', '100', '10']],
  ['numeric(9,0)', 'decimal(9, 0)', asText, ['999999999', '-999999999', '10000', '1']],
  ['numeric(9,9)', 'decimal(9, 9)', asText, ['0.999999999', '0.000000001', '-0.0001', '0.00001']],
  [
    'numeric(18,6)',
    'decimal(18, 6)',
    asText,
    ['999999999999.999999', '-999999999999.999999', '0.000001', '4294.967296', '10000'],
  ],
  ['numeric(18,0)', 'decimal(18, 0)', asText, ['999999999999999999', '-999999999999999999', '4294967296', '100000000']],
  [
    'numeric(38,10)',
    'decimal(38, 10)',
    asText,
    ['9999999999999999999999999999.9999999999', '-1', '-0.0000000001', '18446744073709551616'],
  ],
  ['numeric(38,38)', 'decimal(38, 38)', asText, [`0.${'9'.repeat(38)}`, `-0.${'0'.repeat(37)}1`]],
  ['numeric(38,0)', 'decimal(38, 0)', asText, ['9'.repeat(38), `-${'9'.repeat(38)}`, '1']],
  ['numeric(5,-2)', 'decimal(7, 0)', asText, ['1234500', '-9999900', '0']],
  ['numeric(3,5)', 'decimal(5, 5)', asText, ['0.00999', '-0.00001']],
  [
    'numeric',
    'string',
    asText,
    [
      '0',
      '0.00',
      '-1.50',
      '1e100',
      '1e-100',
      "'NaN'",
      "'Infinity'",
      "'-Infinity'",
      '10000',
      '100020003',
      '0.00012',
      '-0.000000000000000001',
      `1${'0'.repeat(40)}.5`,
    ],
  ],
  ['numeric(50,3)', 'string', asText, ['1', '-12345678901234567890123456789012345678901234567.891']],
  ['text', 'string', asText, ["''", "'plain'", "'Grüße, 世界 🎉'", "repeat('x', 100)", "repeat('long ', 5000)"]],
  ['varchar(10)', 'string', asText, ["'ten chars!'", "''"]],
  ['char(5)', 'string', 'rpad(v::text, 5)', ["'ab'", "''"]],
  ['name', 'string', asText, ["'a name'"]],
  ['"char"', 'string', asText, ["'a'", "''", "'\\377'"]],
  ['xml', 'string', asText, ["'<a>1</a>'"]],
  ['json', 'string', asText, [`'{"b": 1,  "a":[1.50, null]}'`, "'null'"]],
  ['jsonb', 'string', asText, [`'{"b": 1,  "a":[1.50, null, "ü"]}'`, "'null'", '\'""\'']],
  ['bytea', 'binary', "encode(v, 'hex')", ["''", "'\\x00ff10'", "decode(repeat('ab', 300), 'hex')"]],
  [
    'date',
    'date',
    "(v - date '1970-01-01')::text",
    ["'1970-01-01'", "'2000-01-01'", "'0001-01-01'", "'4713-01-01 BC'", "'5874897-12-31'", "'1969-12-31'"],
  ],
  ['time', 'time', micros, ["'00:00'", "'23:59:59.999999'", "'12:34:56.789'"]],
  ['timetz', 'string', asText, ["'00:00+00'", "'23:59:59.999999-15:59:59'", "'12:00:00.5+05:30'", "'24:00:00-08'"]],
  [
    'timestamp',
    'timestamp',
    micros,
    [
      "'1970-01-01'",
      "'2000-01-01'",
      "'1999-12-31 23:59:59.999999'",
      "'4713-01-01 00:00:00 BC'",
      "'294246-12-31 23:59:59.999999'",
      "'1969-12-31 23:59:59.5'",
    ],
  ],
  [
    'timestamptz',
    'timestamptz',
    micros,
    ["'2024-02-29 12:00:00+05:30'", "'4713-01-01 00:00:00+00 BC'", "'0044-03-15 12:00:00+00 BC'"],
  ],
  [
    'interval',
    'string',
    asText,
    [
      "'0'",
      "'1 year 2 months 3 days 04:05:06.789'",
      "'-1 year'",
      "'-1 month +1 day'",
      "'1 month -1 day'",
      "'-1 day +02:03:04'",
      "'-00:00:00.000001'",
      "'1 day -00:00:01'",
      "'25 months'",
      "'-25 months'",
      "'100000 hours'",
      "'infinity'",
      "'-infinity'",
      "'-1 day'",
      "'1 mon -5 days 1 microsecond'",
    ],
  ],
  [
    'uuid',
    'uuid',
    "replace(v::text, '-', '')",
    ["'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
  ],
  [
    'inet',
    'string',
    "format('%s', v)", // a cast to text would add /32
    [
      "'1.2.3.4'",
      "'1.2.3.4/24'",
      "'::'",
      "'::1'",
      "'2001:db8::ff00:42:8329'",
      "'1:0:0:2:0:0:0:3/64'",
      "'::ffff:1.2.3.4'",
      "'::1.2.3.4'",
      "'::2:0'",
      "'1:2:3:4:5:6:7:8'",
      "'0:2::'",
      "'fe80::1:0:0:1/10'",
      "'1:0:2:0:3:0:4:0'",
      "'::3'",
    ],
  ],
  ['cidr', 'string', asText, ["'10.0.0.0/8'", "'1.2.3.4/32'", "'2001:db8::/32'", "'::1/128'", "'::/0'"]],
  ['macaddr', 'string', asText, ["'08:00:2b:01:02:03'"]],
  ['macaddr8', 'string', asText, ["'08:00:2b:01:02:03:04:05'"]],
  ['mood', 'string', asText, ["'sad'", "'très bien'"]],
  ['price', 'decimal(8, 2)', asText, ['1.50', '-0.01']],
  ['word_list', 'list<string>', 'array_to_json(v)::text', ["'{a,b}'"]],
  ['int4[]', 'list<int>', 'array_to_json(v)::text', ["'{}'", "'{1,NULL,-3}'", "'[2:3]={7,8}'"]],
  ['int2[]', 'list<int>', 'array_to_json(v)::text', ["'{-32768,32767}'"]],
  ['text[]', 'list<string>', 'array_to_json(v)::text', [`array['', 'a,b', '"', null, 'NULL', repeat('y', 2000)]`]],
  ['numeric(6,2)[]', 'list<decimal(6, 2)>', 'array_to_json(v::text[])::text', ["'{1.50,-0.01,NULL}'"]],
  ['numeric[]', 'list<string>', 'array_to_json(v::text[])::text', ["'{1.50,NaN,1e20}'"]],
  ['bool[]', 'list<boolean>', 'array_to_json(v)::text', ["'{t,f,NULL}'"]],
  ['jsonb[]', 'list<string>', 'array_to_json(v::text[])::text', [`array['{"a": 1}'::jsonb, '2']`]],
  ['mood[]', 'list<string>', 'array_to_json(v::text[])::text', ["'{sad,NULL}'"]],
  ['price[]', 'list<decimal(8, 2)>', 'array_to_json(v::text[])::text', ["'{1.50,2.25}'"]],
]

function digits(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? '-' : ''
  const text = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  return scale === 0 ? sign + text : `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}`
}

/** Our value as the text that the SQL expression of its case gives. */
function said(type: Type, value: Value): string {
  if (value === null) return 'null'
  if (type.kind === 'list' && Array.isArray(value)) {
    const items = value.map((item: Value) => {
      if (item === null || typeof item === 'number' || typeof item === 'boolean') return item
      return said(type.element, item)
    })
    return JSON.stringify(items)
  }
  if (type.kind === 'decimal' && typeof value === 'bigint') return digits(value, type.scale)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (typeof value === 'number' && Object.is(value, -0)) return '-0'
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return `${value}`
  return typeof value === 'string' ? value : 'nested'
}

/** Floats print differently here and there; the number is what counts. */
function comparable(type: Type, text: string): string {
  if (type.kind === 'double') return Object.is(Number(text), -0) ? '-0' : `${Number(text)}`
  if (type.kind === 'float') return Object.is(Math.fround(Number(text)), -0) ? '-0' : `${Math.fround(Number(text))}`
  return type.kind === 'list' ? JSON.stringify(JSON.parse(text)) : text
}

test('every type, edge values and null: the copy and the stream give what Postgres prints', async () => {
  await client.query(`
    create type mood as enum ('sad', 'très bien');
    create domain price as numeric(8, 2) check (value > -1000);
    create domain word_list as text[];`)
  const { rows: versions } = await client.query<{ v: number }>("select current_setting('server_version_num')::int as v")
  const has = (what: string): boolean => versions[0].v >= (since[what] ?? 0)
  const cases = allCases
    .filter(([type]) => has(type))
    .map(([type, iceberg, sql, values]) => [type, iceberg, sql, values.filter((value) => has(`${type} ${value}`))] as const)
  const setup = cases.map(([type], i) => `create table t${i} (id int primary key, v ${type})`)
  await client.query(setup.join(';'))
  const fill = async (first: number): Promise<void> => {
    for (const [i, [type, , , values]] of cases.entries()) {
      const rows = [...values, 'null'].map((value, j) => `(${first + j}, cast(${value} as ${type}))`)
      await client.query(`insert into t${i} values ${rows.join(', ')}`)
    }
  }
  await fill(0)
  await using lake = new MapLake({ url: server.url, tables: ['public.t*'] })
  await lake.until(() => lake.streaming)
  await fill(1000)
  await lake.caughtUp()
  assert.deepEqual(
    lake.log.filter((line) => line.startsWith('failed')),
    [],
  )
  for (const [i, [type, iceberg, sql, values]] of cases.entries()) {
    const table = lake.table(`shop.t${i}`)
    const field = table.source.fields[1]
    assert.equal(typeText(field.type), iceberg, type)
    const { rows } = await client.query<{ id: number; said: string | null }>(
      `select id, case when v is null then null else ${sql} end as said from t${i} order by id`,
    )
    assert.equal(table.rows.size, 2 * (values.length + 1), type)
    for (const row of rows) {
      const got = table.rows.get(String(row.id))
      const expected = row.said === null ? 'null' : comparable(field.type, row.said)
      const actual = said(field.type, got?.values[1] ?? null)
      assert.equal(row.said === null ? actual : comparable(field.type, actual), expected, `${type} row ${row.id}`)
    }
  }
  await lake.close()
  assert.equal(lake.pool.used, 0)
})

test('values that Iceberg cannot represent stop their table with a sentence, and no other', async () => {
  const refused: [string, string, RegExp][] = [
    ['timestamp', "'infinity'", /infinity/],
    ['timestamptz', "'-infinity'", /infinity/],
    ['timestamp', "'294276-12-31 23:59:59.999999'", /cannot represent/],
    ['date', "'infinity'", /infinity/],
    ['time', "'24:00:00'", /24:00:00/],
    ['numeric(5,2)', "'NaN'", /NaN/],
    ['int[]', "'{{1,2},{3,4}}'", /more than one dimension/],
    ['date[]', "'{infinity}'", /infinity/],
  ]
  await client.query(
    refused
      .map(([type], i) => `create table c${i} (id int primary key, v ${type}); create table s${i} (like c${i} including all)`)
      .join(';'),
  )
  for (const [i, [type, value]] of refused.entries())
    await client.query(`insert into c${i} values (1, cast(${value} as ${type}))`)
  await client.query('create table good (id int primary key); insert into good values (1)')
  await using lake = new MapLake({ name: 'refused', url: server.url, tables: ['c*', 's*', 'good'] })
  await lake.until(() => lake.streaming)
  await client.query('begin; insert into good values (2)')
  for (const [i, [type, value]] of refused.entries())
    await client.query(`insert into s${i} values (1, cast(${value} as ${type}))`)
  await client.query('insert into good values (3); commit')
  await lake.caughtUp()
  for (const [i, [type, , message]] of refused.entries()) {
    for (const name of [`c${i}`, `s${i}`]) {
      const { failed } = lake.table(`refused.${name}`)
      assert.match(failed?.message ?? '', message, `${name} ${type}`)
      assert.match(failed?.message ?? '', new RegExp(`public\\.${name}: column "v"`))
    }
  }
  assert.deepEqual(lake.rows('refused.good'), ['1', '2', '3'])
})

test('a column of a type that is not read leaves its table out by name', async () => {
  await client.query(
    'create type pair as (a int, b int); create table shapes (id int primary key, where_it_is point); create table pairs (id int primary key, p pair)',
  )
  await using lake = new MapLake({ name: 'odd', url: server.url, tables: ['shapes', 'pairs', 'good'] })
  await lake.until(() => lake.streaming)
  assert.equal(lake.tables.size, 1)
  const failed = lake.log.filter((line) => line.startsWith('failed')).join('\n')
  assert.match(failed, /table public\.shapes has column "where_it_is" of type point/)
  assert.match(failed, /table public\.pairs has column "p" of type (?:public\.)?pair/)
})
