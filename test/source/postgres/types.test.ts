import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, seededRandom } from '../../../src/base/index.ts'
import { typeText } from '../../../src/data/index.ts'
import type { Type, Value } from '../../../src/data/index.ts'
import { readTypeContext } from '../../../src/source/postgres/type-catalogue.ts'
import { floatText } from '../../../src/source/postgres/types/float-text.ts'
import { float, float4 } from '../../../src/source/postgres/types/text-numbers.ts'
import { resolveType } from '../../../src/source/postgres/types/index.ts'
import type { Codec, Form } from '../../../src/source/postgres/types/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { MapLake } from './lake.ts'
import { since, textCases, typeCases, typeSchema } from './type-cases.ts'
import type { TypeCase } from './type-cases.ts'

const { server, client } = await postgresForFile()
await client.query("set timezone = 'UTC'; set extra_float_digits = 3")
await client.query(typeSchema)
const {
  rows: [{ version }],
} = await client.query<{ version: number }>("select current_setting('server_version_num')::int as version")

/** The cases that this version of Postgres has. */
function present(all: readonly TypeCase[]): TypeCase[] {
  const has = (what: string): boolean => version >= (since[what] ?? 0)
  return all
    .filter(([type]) => has(type))
    .map(([type, iceberg, sql, values]) => [type, iceberg, sql, values.filter((value) => has(`${type} ${value}`))])
}

function digits(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? '-' : ''
  const text = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  return scale === 0 ? sign + text : `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}`
}

/** Our value as JSON, by the conventions of the SQL expressions of the cases. */
function plain(type: Type, value: Value): unknown {
  if (value === null) return null
  if (type.kind === 'list' && Array.isArray(value)) return value.map((item: Value) => plain(type.element, item))
  if (type.kind === 'struct' && Array.isArray(value)) {
    return value.map((item: Value, i: number) => plain(type.fields[i].type, item))
  }
  if (type.kind === 'map' && Array.isArray(value)) {
    const entries = value.map((entry: Value) => (Array.isArray(entry) ? [String(entry[0]), entry[1]] : assert.fail('a pair')))
    return Object.fromEntries(entries)
  }
  if (type.kind === 'decimal' && typeof value === 'bigint') return digits(value, type.scale)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return typeof value === 'bigint' ? `${value}` : value
}

/** The same of what Postgres said; floats print differently here and there, the number is what counts. */
function comparable(type: Type, said: unknown): string {
  switch (type.kind) {
    case 'double':
    case 'float': {
      const value = type.kind === 'double' ? Number(said) : Math.fround(Number(said))
      return Object.is(value, -0) ? '-0' : `${value}`
    }
    case 'list':
    case 'struct':
    case 'map':
      return JSON.stringify(typeof said === 'string' ? JSON.parse(said) : said, (_, value: unknown) =>
        typeof value !== 'object' || value === null || Array.isArray(value)
          ? value
          : Object.fromEntries(Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1))),
      )
    case 'boolean':
    case 'int':
    case 'date':
      return String(said)
    default:
      return typeof said === 'string' ? said : JSON.stringify(said)
  }
}

/** Compares every row of the tables of these cases with what Postgres says. */
async function compareAll(lake: MapLake, prefix: string, cases: readonly TypeCase[]): Promise<void> {
  assert.deepEqual(
    lake.log.filter((line) => line.startsWith('failed')),
    [],
  )
  for (const [i, [type, iceberg, sql, values]] of cases.entries()) {
    const table = lake.table(`shop.${prefix}${i}`)
    const field = table.source.fields[1]
    assert.equal(typeText(field.type), iceberg, type)
    const { rows } = await client.query<{ id: number; said: string | null }>(
      `select id, case when num_nulls(v) = 1 then null else ${sql} end as said from public.${prefix}${i} order by id`,
    )
    assert.equal(table.rows.size, 2 * (values.length + 1), type)
    for (const { id, said } of rows) {
      const got = table.rows.get(String(id))?.values[1] ?? null
      const name = `${type} row ${id}: ${values[id % 1000] ?? 'null'}`
      if (said === null || got === null) assert.equal(got, said, name)
      else assert.equal(comparable(field.type, plain(field.type, got)), comparable(field.type, said), name)
    }
  }
}

async function createTables(prefix: string, cases: readonly TypeCase[]): Promise<void> {
  await client.query(cases.map(([type], i) => `create table ${prefix}${i} (id int primary key, v ${type})`).join(';'))
}

async function fill(prefix: string, cases: readonly TypeCase[], first: number): Promise<void> {
  for (const [i, [type, , , values]] of cases.entries()) {
    const rows = [...values, 'null'].map((value, j) => `(${first + j}, cast(${value} as ${type}))`)
    await client.query(`insert into ${prefix}${i} values ${rows.join(', ')}`)
  }
}

async function streamForm(slot: string): Promise<string> {
  const { rows } = await client.query<{ query: string }>('select query from pg_stat_activity where query like $1', [
    `START_REPLICATION SLOT "${slot}"%`,
  ])
  return /binary '(\w+)'/.exec(rows[0].query)?.[1] ?? ''
}

test('every type, edge values and null: copy and stream, in binary and in text form, give what Postgres prints', async () => {
  const cases = present(typeCases)
  const asText = present(textCases)
  await createTables('t', cases)
  await client.query('create table "odd Name" (id int)')
  await createTables('u', asText)
  await fill('t', cases, 0)
  await fill('u', asText, 0)
  await using lake = new MapLake({ url: server.url, tables: ['public.t*'] })
  await using textLake = new MapLake({ url: server.url, tables: ['t*', 'u*'], slot: 'text_form', publication: 'text_form' })
  for (const one of [lake, textLake]) await one.until(() => one.streaming)
  assert.equal(await streamForm('frazil_shop'), 'true')
  assert.equal(await streamForm('text_form'), 'false')
  await fill('t', cases, 1000)
  await fill('u', asText, 1000)
  for (const one of [lake, textLake]) await one.caughtUp()
  await compareAll(lake, 't', cases)
  await compareAll(textLake, 't', cases)
  // Names are qualified, as for nobody's search path.
  await client.query("set search_path = ''")
  await compareAll(textLake, 'u', asText)
  await client.query('reset search_path')
  for (const one of [lake, textLake]) await one.close()
  assert.equal(lake.pool.used + textLake.pool.used, 0)
})

function stored(form: Form, bytes: Buffer): Uint8Array | number {
  const most = form.bound(bytes, 0, bytes.length)
  const out = Buffer.alloc(most + 1, 0xee)
  const end = form.store(bytes, 0, bytes.length, out, 0)
  assert.ok(end <= most, 'no more than the bound')
  assert.equal(out[most], 0xee, 'nothing behind the bound')
  return end < 0 ? end : out.subarray(0, end)
}

test('both forms of a value are stored as the same bytes; damaged ones are refused or stored, and nothing else happens', async () => {
  const samples: [codec: Codec, binary: Buffer, text: Buffer][] = []
  for (const [i, [type, , , values]] of present(typeCases).entries()) {
    const { rows: types } = await client.query<{ oid: string; modifier: number; send: string }>(
      `select t.oid::int8::text as oid, a.atttypmod as modifier, t.typsend::regproc::text as send
       from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = $1::regclass and a.attname = 'v'`,
      [`t${i}`],
    )
    const [{ oid, modifier, send }] = types
    const wanted = [Number(oid)]
    const { context } = await readTypeContext(client, { wanted, outOfRange: 'error', replaced: { count: 0 } })
    const codec = resolveType(Number(oid), modifier, context)
    assert.ok(codec, type)
    const { rows } = await client.query<{ id: number; binary: Buffer; text: Buffer }>(
      `select id, ${send}(v${send === 'textsend' ? '::text' : ''}) as binary, convert_to(format('%s', v), 'UTF8') as text from t${i} where id < 1000 and num_nulls(v) = 0`,
    )
    for (const { id, binary, text } of rows) {
      const fromBinary = stored(codec.binary, binary)
      assert.ok(typeof fromBinary !== 'number', `${type} ${values[id]}: ${String(fromBinary)}`)
      assert.deepEqual(stored(codec.text, text), fromBinary, `${type} ${values[id]}`)
      if (binary.length < 5000) samples.push([codec, binary, text])
    }
  }
  const property = fc.property(
    fc.constantFrom(...samples),
    fc.boolean(),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    fc.option(fc.nat()),
    ([codec, binary, text], isBinary, changes, cut) => {
      const bytes = Buffer.from(isBinary ? binary : text)
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte
      stored(isBinary ? codec.binary : codec.text, cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1)))
    },
  )
  fc.assert(property, { numRuns: 20_000 })
})

test('floats are printed and read as Postgres prints and reads them', async () => {
  const random = seededRandom(1)
  const bits = new DataView(new ArrayBuffer(8))
  const doubles = [0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e23, 2 ** 53 + 2, 123456789012345680]
  for (let power = -1074; power < 1024; power++) doubles.push(2 ** power)
  for (let power = -320; power < 309; power++) doubles.push(Number(`1e${power}`), Number(`9.5e${power}`))
  for (let i = 0; i < 10_000; i++) {
    bits.setUint32(0, random.below(2 ** 32))
    bits.setUint32(4, random.below(2 ** 32))
    if (Number.isFinite(bits.getFloat64(0))) doubles.push(bits.getFloat64(0))
    doubles.push(random.below(1e9) / 10 ** random.below(9), (random.next() - 0.5) * 10 ** random.below(20))
  }
  const { rows } = await client.query<{ text: string }>(
    'select v::text as text from unnest($1::float8[]) with ordinality u(v, n) order by n',
    [doubles.map(String)],
  )
  for (const [i, { text }] of rows.entries()) {
    assert.equal(floatText(doubles[i]), text)
    assert.equal(float(Buffer.from(text), 0, text.length), doubles[i], text)
  }
  const singles: number[] = []
  for (let i = 0; i < 10_000; i++) {
    bits.setUint32(0, random.below(2 ** 32))
    if (Number.isFinite(bits.getFloat32(0))) singles.push(bits.getFloat32(0))
  }
  const answer = await client.query<{ text: string }>(
    'select v::float4::text as text from unnest($1::float8[]) with ordinality u(v, n) order by n',
    [singles.map(String)],
  )
  for (const [i, { text }] of answer.rows.entries()) {
    assert.equal(float4(Buffer.from(text), 0, text.length), singles[i], text)
  }
})

/** Type, value, what the error says, and what the rules `null` and `clamp` make of it. */
const outside: readonly [type: string, value: string, message: RegExp, asNull: string, clamped: string][] = [
  ['timestamp', "'infinity'", /infinity/, 'null', '253402300799999999'],
  ['timestamptz', "'-infinity'", /infinity/, 'null', '-62135596800000000'],
  ['timestamp', "'294276-12-31 23:59:59.999999'", /cannot represent/, 'null', '253402300799999999'],
  ['date', "'infinity'", /infinity/, 'null', '2932896'],
  ['date', "'-infinity'", /infinity/, 'null', '-719162'],
  ['time', "'24:00:00'", /24:00:00/, 'null', '86399999999'],
  ['numeric(5,2)', "'NaN'", /NaN/, 'null', 'null'],
  ['date[]', "'{infinity,2000-01-01}'", /infinity/, '[null,10957]', '[2932896,10957]'],
  ['daterange', "'[-infinity,2000-01-01)'", /infinity/, '[null,10957,true,false,false]', '[-719162,10957,true,false,false]'],
]
/** Representable, but not shown by many readers. */
const far: readonly [type: string, value: string, kept: string, clamped: string][] = [
  ['date', "'0044-03-15 BC'", '-735160', '-719162'],
  ['date', "'9999-12-31'", '2932896', '2932896'],
  ['timestamp', "'10000-01-01'", '253402300800000000', '253402300799999999'],
  ['timestamptz', "'0001-01-01 00:00+00'", '-62135596800000000', '-62135596800000000'],
]

test('values that Iceberg cannot represent stop their table with a sentence, and no other', async () => {
  const refused: [string, string, RegExp][] = [
    ...outside.map(([type, value, message]): [string, string, RegExp] => [type, value, message]),
    ['int[]', "'{{1,2},{3,4}}'", /more than one dimension/],
    ['int[]', "'[0:0][2:3]={{1,2}}'", /more than one dimension/],
  ]
  await client.query(
    refused
      .map(([type], i) => `create table c${i} (id int primary key, v ${type}); create table s${i} (like c${i} including all)`)
      .join(';'),
  )
  for (const [i, [type, value]] of refused.entries())
    await client.query(`insert into c${i} values (1, cast(${value} as ${type}))`)
  await client.query('create table good (id int primary key); insert into good values (1)')
  await client.query('create table reg (id int primary key, v regclass)')
  const lakes = [
    new MapLake({ name: 'refused', url: server.url, tables: ['c*', 's*', 'good'] }),
    new MapLake({ name: 'refused_text', url: server.url, tables: ['c*', 's*', 'good', 'reg'] }),
  ]
  for (const lake of lakes) await lake.until(() => lake.streaming)
  await client.query('begin; insert into good values (2)')
  for (const [i, [type, value]] of refused.entries())
    await client.query(`insert into s${i} values (1, cast(${value} as ${type}))`)
  await client.query('insert into good values (3); commit')
  for (const lake of lakes) {
    const name = lake.source.name
    await lake.caughtUp()
    for (const [i, [type, , message]] of refused.entries()) {
      for (const table of [`c${i}`, `s${i}`]) {
        const { failed } = lake.table(`${name}.${table}`)
        assert.match(failed?.message ?? '', message, `${name}.${table} ${type}`)
        assert.match(failed?.message ?? '', new RegExp(`public\\.${table}: column "v"`))
        assert.match(failed instanceof FrazilError ? (failed.hint ?? '') : '', /columns: \{'public\..*\.v': text\}/)
      }
    }
    assert.deepEqual(lake.rows(`${name}.good`), ['1', '2', '3'])
    await lake.close()
  }
})

test('by rule such values become null or the nearest that all readers show, and a column may be its text', async () => {
  const cases = [...outside.map(([type, value]) => [type, value] as const), ...far.map(([type, value]) => [type, value] as const)]
  await client.query(cases.map(([type], i) => `create table r${i} (id int primary key, v ${type})`).join(';'))
  await client.query('create table grids (id int primary key, v int[], w text, k date, p point3)')
  const insert = async (id: number): Promise<void> => {
    for (const [i, [type, value]] of cases.entries()) {
      await client.query(`insert into r${i} values (${id}, cast(${value} as ${type}))`)
    }
    await client.query(`insert into grids values (${id}, '[0:1][2:3]={{1,2},{3,NULL}}', null, 'infinity', row(null, null, null))`)
  }
  await insert(1)
  const columns = { 'public.grids.v': 'text', 'grids.w': 'text', 'grids.k': 'null', '"grids"."p"': 'text' } as const
  const lakes = (['null', 'clamp'] as const).flatMap((outOfRange) => [
    { outOfRange, lake: new MapLake({ name: `rule_${outOfRange}`, url: server.url, tables: ['r?', 'r1?'], outOfRange }) },
    {
      outOfRange,
      lake: new MapLake({ name: `rule_${outOfRange}_t`, url: server.url, tables: ['r?', 'r1?', 'grids'], outOfRange, columns }),
    },
  ])
  for (const { lake } of lakes) await lake.until(() => lake.streaming)
  await insert(2)
  for (const { lake, outOfRange } of lakes) {
    await lake.caughtUp()
    const { name } = lake.source
    const expected = [
      ...outside.map(([, , , asNull, clamped]) => (outOfRange === 'null' ? asNull : clamped)),
      ...far.map(([, , kept, clamped]) => (outOfRange === 'null' ? kept : clamped)),
    ]
    for (const [i, value] of expected.entries()) {
      assert.deepEqual(lake.rows(`${name}.r${i}`), [`1 ${value}`, `2 ${value}`], `${name} ${cases[i].join(' ')}`)
    }
    if (name.endsWith('_t')) {
      const text = '"[0:1][2:3]={{1,2},{3,NULL}}" null null "(,,)"'
      assert.deepEqual(lake.rows(`${name}.grids`), [`1 ${text}`, `2 ${text}`])
    }
    await lake.close()
  }
})

test('a composite whose type was altered stops its table', async () => {
  await client.query('create type shape as (a int, b int); create table shapes (id int primary key, v shape)')
  await client.query('insert into shapes values (1, row(1, 2))')
  await using lake = new MapLake({ name: 'shapes', url: server.url, tables: ['shapes'] })
  await using textLake = new MapLake({ name: 'shapes_text', url: server.url, tables: ['shapes', 'reg'] })
  for (const one of [lake, textLake]) await one.until(() => one.streaming)
  await client.query('alter type shape add attribute c int')
  await client.query('insert into shapes values (2, row(1, 2, 3))')
  for (const one of [lake, textLake]) {
    await one.caughtUp()
    const { failed } = one.table(`${one.source.name}.shapes`)
    assert.match(failed?.message ?? '', /column "v" has a composite value of another shape/)
    // Such a table is copied anew.
    assert.ok(failed instanceof FrazilError && failed.code === 'schema-changed')
  }
})

test('settings that name no column are told', async () => {
  await using lake = new MapLake({ name: 'told', url: server.url, tables: ['good'], columns: { 'good.nothing': 'text' } })
  await lake.until(() => lake.streaming)
  const told = lake.observed.flatMap((event) => (event.type === 'notice' ? [event.message] : []))
  assert.ok(
    told.some((message) => message.includes('good.nothing')),
    told.join('; '),
  )
})
