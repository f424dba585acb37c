/** Edge values of every type, and how Postgres itself says what they are. */

/** Type, what it becomes, how SQL says its value as text, and values as SQL. */
export type TypeCase = readonly [type: string, iceberg: string, sql: string, values: readonly string[]]

/** What has to be there before the types are. */
export const typeSchema = `
  create extension hstore; create extension ltree; create extension citext; create extension cube; create extension isn;
  create type mood as enum ('sad', 'très bien');
  create domain price as numeric(8, 2) check (value > -1000);
  create domain word_list as text[];
  create type point3 as (x int, "Y y" text, z numeric(6, 2));
  create type outer_type as (id bigint, inner_one point3, many point3[], words text[], at timestamptz);
  create type alone as (v int);
  create type with_unknown as (a int, c cube);
  create type text_range as range (subtype = text, collation = "C");
  create domain small as int check (value < 1000);`

const micros = '(extract(epoch from v) * 1000000)::numeric(40, 0)::text'
const asText = 'v::text'

const range = (bound: string): string =>
  `json_build_array(${bound.replaceAll('$', 'lower(v)')}, ${bound.replaceAll('$', 'upper(v)')}, lower_inc(v), upper_inc(v), isempty(v))::text`
const multirange = (bound: string): string =>
  `(select coalesce(json_agg(json_build_array(${bound.replaceAll('$', 'lower(r)')}, ${bound.replaceAll('$', 'upper(r)')}, lower_inc(r), upper_inc(r), isempty(r))), '[]')::text from unnest(v) r)`
const microsOf = '(extract(epoch from $) * 1000000)::numeric(40, 0)::text'
const point3 = (v: string): string => `json_build_array((${v}).x, (${v})."Y y", (${v}).z::text)`
const rangeFields = (bound: string): string =>
  `struct<lower: ${bound}, upper: ${bound}, lower_inclusive: boolean, upper_inclusive: boolean, empty: boolean>`

/** Values and types that came with a later version than the oldest that is supported, by type and value. */
export const since: Record<string, number> = {
  'numeric(5,-2)': 150_000,
  'numeric(3,5)': 150_000,
  '"char" \'\\377\'': 160_000,
  "interval 'infinity'": 170_000,
  "interval '-infinity'": 170_000,
}

export const typeCases: readonly TypeCase[] = [
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
  ['xml', 'string', "format('%s', v)", ["'<a>1</a>'"]],
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
  ['numeric', 'string', asText, ["('1' || repeat('0', 131071))::numeric", "('-0.' || repeat('0', 16382) || '1')::numeric"]],
  [
    'money',
    'decimal(19, 2)',
    'v::numeric::text',
    ['0', '-0.01', "'92233720368547758.07'", "'-92233720368547758.08'", '1234.5', '-1000000'],
  ],
  ['xid', 'long', asText, ["'0'", "'4294967295'", "'3'"]],
  ['cid', 'long', asText, ["'0'", "'4294967295'"]],
  ['xid8', 'decimal(20, 0)', asText, ["'0'", "'18446744073709551615'", "'9223372036854775808'", "'4294967296'"]],
  ['pg_lsn', 'string', asText, ["'0/0'", "'FFFFFFFF/FFFFFFFF'", "'16/B374D848'"]],
  ['bit(3)', 'string', asText, ["B'101'", "B'000'"]],
  ['bit(9)', 'string', asText, ["B'101010101'"]],
  ['varbit', 'string', asText, ["B''", "B'1'", "B'0000000011111111'", "repeat('10', 3000)::varbit"]],
  ['citext', 'string', asText, ["'MiXeD'", "''"]],
  ['refcursor', 'string', asText, ["'c1'"]],
  ['jsonpath', 'string', asText, ["'$.a[*] ? (@ > 1.50)'", '\'strict $."ü"\'']],
  ['json', 'string', asText, [`'"\\ud800"'`, `'{"a":1,"a":2}'`, `'"\\u0000"'`, "' [ 1 ] '", "'1e400'"]],
  ['jsonb', 'string', asText, ["'1.50'", "'123456789012345678901234567890.123'", `'"\\ud83d\\ude00"'`]],
  ['xml', 'string', "format('%s', v)", [`'<?xml version="1.0" encoding="UTF-8"?><a>ü</a>'`, "''", `'<?xml version="1.1"?><b/>'`]],
  [
    'point',
    'string',
    asText,
    ["'(1,2)'", "'(-0,1e300)'", "'(NaN,Infinity)'", "'(0.1,1e-7)'", "'(1e23,123456789012345)'", "'(1e15,-0.0001)'"],
  ],
  [
    'point',
    'string',
    asText,
    ["'(9007199254740993,5e-324)'", "'(2.2250738585072014e-308,1.7976931348623157e308)'", "'(1e22,9.5367431640625e-07)'"],
  ],
  ['lseg', 'string', asText, ["'[(1,2),(3,4.5)]'"]],
  ['box', 'string', asText, ["'(3,4),(1,2)'"]],
  ['line', 'string', asText, ["'{1,-1,0}'", "'{0.1,2,3e20}'"]],
  ['circle', 'string', asText, ["'<(1,2),3.25>'"]],
  ['path', 'string', asText, ["'[(1,2),(3,4)]'", "'((1,2),(3,4))'", "'((0,0))'"]],
  ['polygon', 'string', asText, ["'((0,0),(1,0),(1,1.5))'"]],
  [
    'tsvector',
    'string',
    asText,
    [
      "''",
      `'a:1A,2B,3C,4D b:16383 plain'`,
      `$$'it''s' 'back\\\\slash' 'with space':7 'ünï'$$`,
      "to_tsvector('english', 'The quick brown foxes jumped')",
    ],
  ],
  [
    'tsquery',
    'string',
    asText,
    [
      "''",
      "'a'",
      "'a & b | c'",
      "'a & (b | c)'",
      "'!(a | b) & !c'",
      "'!!a'",
      "'a <-> b <3> c'",
      "'a <-> (b <-> c)'",
      "'(a | b) <-> c & d'",
      "'a:AB & b:*'",
      "'fo:*D'",
      "'a <0> b'",
      `$$'it''s' & 'x\\\\y'$$`,
      "'!(a <-> b)'",
      "'(a & b) & (c & d)'",
      "'a | (b | c)'",
    ],
  ],
  ['tid', 'string', asText, ["'(0,1)'", "'(4294967295,65535)'"]],
  ['int2vector', 'string', asText, ["'1 -2 3'", "''"]],
  ['oidvector', 'string', asText, ["'1 4294967295'", "''"]],
  ['txid_snapshot', 'string', asText, ["'10:20:10,14,15'", "'10:10:'"]],
  ['pg_snapshot', 'string', asText, ["'10:20:10,14,15'", "'10:10:'"]],
  ['ltree', 'string', asText, ["'Top.Science.Astronomy'", "''"]],
  ['lquery', 'string', asText, ["'*.foo|bar.*{1,2}'"]],
  [
    'hstore',
    'map<string, string>',
    'hstore_to_json(v)::text',
    ["''", `'a=>1, "b c"=>NULL, "q\\""=>"\\\\", "ü"=>"NULL", ""=>"", "x=>y"=>"1, 2"'`],
  ],
  [
    'int4range',
    rangeFields('int'),
    range('$'),
    ["'empty'", "'[1,5]'", "'(1,5]'", "'(,)'", "'[,3)'", "'[-2147483648,2147483647)'"],
  ],
  ['int8range', rangeFields('long'), range('$::text'), ["'[1,9223372036854775807)'", "'empty'"]],
  ['numrange', rangeFields('string'), range('$::text'), ["'[1.50,2.0]'", "'(,NaN)'", "'[-Infinity,Infinity)'"]],
  ['daterange', rangeFields('date'), range("$ - date '1970-01-01'"), ["'[2000-01-01,2000-02-01]'", "'[4713-01-01 BC,)'"]],
  [
    'tsrange',
    rangeFields('timestamp'),
    range(microsOf),
    [`'["2000-01-01 10:00:00.5",)'`, `'("0044-03-15 12:00 BC","2000-01-01"]'`],
  ],
  ['tstzrange', rangeFields('timestamptz'), range(microsOf), [`'["2000-01-01 10:00+02","2000-01-02 00:00+00")'`]],
  ['text_range', rangeFields('string'), range('$'), [`'["",z]'`, `'["a,b","q\\"x"]'`, `'["(",")"]'`, `'("\\\\","ü ü")'`]],
  ['int4multirange', `list<${rangeFields('int')}>`, multirange('$'), ["'{}'", "'{[1,3),[5,)}'", "'{(,)}'"]],
  ['nummultirange', `list<${rangeFields('string')}>`, multirange('$::text'), ["'{[1.0,3.5],(5,6]}'"]],
  ['datemultirange', `list<${rangeFields('date')}>`, multirange("$ - date '1970-01-01'"), ["'{[2000-01-01,2000-02-01]}'"]],
  [
    'point3',
    'struct<x: int, Y y: string, z: decimal(6, 2)>',
    `${point3('v')}::text`,
    [`row(1, 'a "b", \\(c)', 1.5)`, 'row(null, null, null)', "row(-1, '', 0)", "row(1, 'ü', null)"],
  ],
  ['alone', 'struct<v: int>', 'json_build_array((v).v)::text', ['row(1)', 'row(null)']],
  [
    'outer_type',
    'struct<id: long, inner_one: struct<x: int, Y y: string, z: decimal(6, 2)>, many: list<struct<x: int, Y y: string, z: decimal(6, 2)>>, words: list<string>, at: timestamptz>',
    `json_build_array((v).id::text, ${point3('(v).inner_one')}, (select json_agg(${point3('m')} order by n) from unnest((v).many) with ordinality as u(x, "Y y", z, n), lateral (select row(x, "Y y", z)::point3 as m) q), array_to_json((v).words), (extract(epoch from (v).at) * 1000000)::numeric(40, 0)::text)::text`,
    [
      `row(9007199254740993, row(1, 'q"u,o(t)e', 2.5), array[row(1, 'a', 1), row(null, '"', -1.25)]::point3[], array['x"y', null, 'NULL', '{}', ''], '2024-02-29 12:00+05:30')`,
    ],
  ],
  [
    'point3[]',
    'list<struct<x: int, Y y: string, z: decimal(6, 2)>>',
    `(select json_agg(json_build_array(x, "Y y", z::text)) from unnest(v))::text`,
    [`array[row(1, 'a,"b"', 1.5), row(2, '\\', null)]::point3[]`],
  ],
  [
    'int4range[]',
    `list<${rangeFields('int')}>`,
    `(select json_agg(json_build_array(lower(r), upper(r), lower_inc(r), upper_inc(r), isempty(r))) from unnest(v) r)::text`,
    [`array['[1,2)', 'empty', '(,)']::int4range[]`],
  ],
  [
    'hstore[]',
    'list<map<string, string>>',
    `(select json_agg(hstore_to_json(h)) from unnest(v) h)::text`,
    [`array['a=>1', '"x,y"=>"q\\"", z=>NULL']::hstore[]`],
  ],
  ['box[]', 'list<string>', 'array_to_json(v::text[])::text', ["array['(3,4),(1,2)', '(5,6),(0,0)']::box[]"]],
  ['small[]', 'list<int>', 'array_to_json(v)::text', ["'{1,2}'"]],
  [
    'word_list[]',
    'list<list<string>>',
    '(select json_agg(array_to_json(e)) from unnest(v) e)::text',
    [`array[array['a','b']::word_list, array['{}','"']::word_list]`],
  ],
  ['interval[]', 'list<string>', 'array_to_json(v::text[])::text', ["array['1 day', '-00:00:01']::interval[]"]],
  [
    'date[]',
    'list<date>',
    "(select json_agg(d - date '1970-01-01') from unnest(v) d)::text",
    ["array['0044-03-15 BC', '2000-01-01']::date[]"],
  ],
  ['bytea[]', 'list<binary>', "(select json_agg(encode(b, 'hex')) from unnest(v) b)::text", ["array['\\x00ff', '']::bytea[]"]],
  [
    'uuid[]',
    'list<uuid>',
    "array_to_json(string_to_array(replace(array_to_string(v, ','), '-', ''), ','))::text",
    ["array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]"],
  ],
  ['"char"[]', 'list<string>', 'array_to_json(v::text[])::text', ["array['a', '', '\"']::\"char\"[]"]],
  [
    'timestamp[]',
    'list<timestamp>',
    '(select json_agg((extract(epoch from t) * 1000000)::numeric(40, 0)::text) from unnest(v) t)::text',
    ["array['2000-01-01 10:00:00.000001', '0001-01-01 BC']::timestamp[]"],
  ],
]

/** Types of which only the text is read: a stream that has them is in text form. */
export const textCases: readonly TypeCase[] = [
  ['regclass', 'string', asText, ["'pg_class'", '\'public."odd Name"\'', '0']],
  ['regtype', 'string', asText, ["'int4'", "'mood'"]],
  ['regproc', 'string', asText, ["'now'"]],
  ['regclass[]', 'string', asText, ["array['pg_class', 'pg_type']::regclass[]"]],
  ['aclitem', 'string', asText, ["'=r/postgres'"]],
  ['cube', 'string', asText, ["'(1,2),(3,4)'", "'(0)'"]],
  ['cube[]', 'string', asText, ["array['(1,2)', '(0)']::cube[]"]],
  ['isbn', 'string', asText, ["'978-0-393-04002-9'"]],
  ['with_unknown', 'string', asText, ["row(1, '(1,2)')", 'row(null, null)']],
]
