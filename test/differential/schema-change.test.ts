import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { open } from '../support/engine.ts'
import { walPosition } from '../support/compare.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { SchemaCase, dropSlot } from '../support/schema-case.ts'
import { connect } from '../support/workload.ts'

type Lake = Awaited<ReturnType<typeof open>>

let server: EmbeddedPostgres
let client: pg.Client

before(async () => {
  server = await startPostgres()
  client = await connect(server.url)
  await client.query("SET TimeZone = 'UTC'; SET bytea_output = 'hex'")
})

after(async () => {
  await client.end()
  await server.stop()
})

/** What is done to the table, each after the one before: statements of one step are one transaction. */
interface Script {
  readonly what: string
  readonly create?: string
  readonly steps: readonly string[]
}

const scripts: readonly Script[] = [
  {
    what: 'columns come, with and without a value for the rows that are there',
    steps: [
      'ALTER TABLE T ADD b int; INSERT INTO T VALUES (10, NULL, 1)',
      "ALTER TABLE T ADD c text DEFAULT 'hé ''q'''; ALTER TABLE T ADD d numeric(12,3) DEFAULT -0.5, ADD e timestamptz DEFAULT '2024-02-29 12:34:56.789+02'; UPDATE T SET b = id WHERE id < 104",
      "ALTER TABLE T ADD f bytea DEFAULT '\\x00ff', ADD g uuid DEFAULT '00000000-0000-0000-0000-0000000000ff', ADD h bool DEFAULT true, ADD i date DEFAULT '0001-01-01', ADD j float8 DEFAULT 0.1, ADD k bigint DEFAULT 9223372036854775807; DELETE FROM T WHERE id = 102",
      "ALTER TABLE T ALTER c SET DEFAULT 'other', ALTER b SET DEFAULT 9; INSERT INTO T (id) VALUES (11)",
      'ALTER TABLE T ADD l int; ALTER TABLE T ALTER l SET DEFAULT 5; INSERT INTO T (id) VALUES (12)',
    ],
  },
  {
    what: 'columns go, also those that came a moment ago',
    steps: [
      'ALTER TABLE T ADD b int DEFAULT 7; INSERT INTO T VALUES (10)',
      'ALTER TABLE T DROP a; UPDATE T SET b = 8 WHERE id = 130',
      'ALTER TABLE T ADD c bigint DEFAULT 5, ADD d int; INSERT INTO T VALUES (11, 1, 6)',
      'ALTER TABLE T DROP d; INSERT INTO T VALUES (14); ALTER TABLE T ADD e uuid, DROP b; INSERT INTO T VALUES (15)',
    ],
  },
  {
    what: 'a column goes and another one of its name and another type comes',
    steps: ['ALTER TABLE T DROP a; ALTER TABLE T ADD a int DEFAULT 3; INSERT INTO T VALUES (10, 1)'],
  },
  {
    what: 'columns are renamed, swapped, and moved on while rows change between',
    steps: [
      "ALTER TABLE T RENAME a TO b; INSERT INTO T VALUES (10, 'b')",
      "ALTER TABLE T ADD a text DEFAULT 'z'; INSERT INTO T VALUES (11, 'x', 'y')",
      "ALTER TABLE T RENAME a TO c; ALTER TABLE T RENAME b TO a; ALTER TABLE T RENAME c TO b; INSERT INTO T VALUES (12, 'x', 'y')",
      "ALTER TABLE T RENAME id TO key; UPDATE T SET b = 'q' WHERE key < 103",
    ],
  },
  {
    what: 'types grow',
    create: 'CREATE TABLE T (id int PRIMARY KEY, a smallint, b real, c numeric(9,2), d varchar(5), e int)',
    steps: [
      "INSERT INTO T VALUES (-1, -32768, 0.1, -9999999.99, 'abcde', 2147483647), (1, 32767, 'NaN', 1, NULL, -1)",
      'ALTER TABLE T ALTER a TYPE int, ALTER d TYPE varchar(20); INSERT INTO T VALUES (2, 100000)',
      "ALTER TABLE T ALTER a TYPE bigint, ALTER b TYPE float8, ALTER c TYPE numeric(18,2), ALTER d TYPE text, ALTER e TYPE bigint; INSERT INTO T VALUES (3, 4294967296, 0.1, 1e15, 'long enough', 5)",
      'ALTER TABLE T ALTER c TYPE numeric(38,2); INSERT INTO T VALUES (4, 1, 1, 1e35)',
      'ALTER TABLE T ALTER id TYPE bigint; INSERT INTO T VALUES (4294967296); UPDATE T SET a = 0 WHERE id = -1; DELETE FROM T WHERE id = 2',
    ],
  },
  {
    what: 'the key is another one',
    create: 'CREATE TABLE T (id int, a text NOT NULL, b int, CONSTRAINT "T pk" PRIMARY KEY (id))',
    steps: [
      "INSERT INTO T SELECT i, 'k' || i, i FROM generate_series(1, 100) i",
      'ALTER TABLE T DROP CONSTRAINT "T pk", ADD CONSTRAINT "T pk" PRIMARY KEY (a); UPDATE T SET b = 0 WHERE id < 10; DELETE FROM T WHERE id BETWEEN 20 AND 30',
      "UPDATE T SET a = 'x' || a WHERE id BETWEEN 40 AND 45; INSERT INTO T VALUES (20, 'k20', 1)",
      'ALTER TABLE T DROP CONSTRAINT "T pk", ADD CONSTRAINT "T pk" PRIMARY KEY (id, a); UPDATE T SET b = 1 WHERE id > 90',
      'ALTER TABLE T REPLICA IDENTITY FULL; UPDATE T SET b = 2 WHERE id > 95; ALTER TABLE T DROP CONSTRAINT "T pk"; INSERT INTO T VALUES (1, \'dup\', 1)',
      'ALTER TABLE T ADD c int DEFAULT 4; DELETE FROM T WHERE id = 60; UPDATE T SET c = 5 WHERE id = 61',
    ],
  },
  {
    what: 'columns come to a table in partitions',
    create: `CREATE TABLE T (id int PRIMARY KEY, a text) PARTITION BY RANGE (id); CREATE TABLE T_low PARTITION OF T FOR VALUES FROM (0) TO (200);
      CREATE TABLE T_high (a text, gone int, id int PRIMARY KEY); ALTER TABLE T_high DROP gone; ALTER TABLE T ATTACH PARTITION T_high FOR VALUES FROM (200) TO (1000);
      INSERT INTO T SELECT i, 'a' || i FROM generate_series(100, 300) i`,
    steps: [
      'ALTER TABLE T ADD b int DEFAULT 7, ADD c text; INSERT INTO T VALUES (10)',
      "ALTER TABLE T ADD d bytea DEFAULT '\\x00'; UPDATE T SET b = 8 WHERE id BETWEEN 190 AND 210",
    ],
  },
]

/** A table of 200 rows: some in files, some in memory. */
const usual = 'CREATE TABLE T (id int PRIMARY KEY, a text)'
const rows = "INSERT INTO T SELECT i, 'a' || i FROM generate_series(100, 300) i"

for (const [number, script] of scripts.entries()) {
  for (const mode of ['one by one', 'in one transaction', 'while away'] as const) {
    test(`${script.what}, ${mode}`, { timeout: 180_000 }, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
      const name = `case_${number}_${mode.replaceAll(' ', '_')}`
      const one = new SchemaCase({ url: server.url, client }, name, folder)
      try {
        await one.run(script.create ?? usual)
        if (!script.create) await one.run(rows)
        await one.start()
        await one.agree()
        if (!script.create) await one.run("UPDATE T SET a = 'changed' WHERE id < 120")
        if (mode === 'one by one') {
          for (const step of script.steps) {
            await one.run(`BEGIN; ${step}; COMMIT`)
            await one.agree()
          }
        } else if (mode === 'in one transaction') {
          await one.run(`BEGIN; ${script.steps.join('; ')}; COMMIT`)
        } else {
          await one.stop()
          for (const step of script.steps) await one.run(`BEGIN; ${step}; COMMIT`)
          await one.start()
        }
        await one.everywhere()
      } finally {
        await one.stop()
        await one.run('DROP TABLE T')
        await dropSlot(client, name)
        await client.query(`DROP PUBLICATION IF EXISTS ${name}`)
        await rm(folder, { recursive: true, force: true })
      }
    })
  }
}

test(
  'a column that came and went before the lake knew of it gives its values to no later one',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
    const one = new SchemaCase({ url: server.url, client }, 'passing', folder, { every: '1h' })
    try {
      await one.run(usual)
      await one.start()
      await one.agree()
      await one.run('ALTER TABLE T ADD b int; INSERT INTO T VALUES (1, NULL, 7)')
      await one.agree()
      await one.run('ALTER TABLE T DROP b; INSERT INTO T VALUES (2)')
      await one.everywhere()
      await one.run('ALTER TABLE T ADD c int; INSERT INTO T VALUES (3, NULL, 8)')
      await one.everywhere()
    } finally {
      await one.stop()
      await one.run('DROP TABLE T')
      await dropSlot(client, 'passing')
      await client.query('DROP PUBLICATION IF EXISTS passing')
      await rm(folder, { recursive: true, force: true })
    }
  },
)

test(
  'columns that come with rows that are gone at once: the lake is found again as it was left',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
    const one = new SchemaCase({ url: server.url, client }, 'no_rows', folder, { every: '1h' })
    try {
      await one.run(`${usual}; ${rows}`)
      await one.start()
      await one.agree()
      await one.run('BEGIN; ALTER TABLE T ADD b int DEFAULT 5; INSERT INTO T VALUES (1); DELETE FROM T WHERE id = 1; COMMIT')
      await one.everywhere()
      await one.run("INSERT INTO T VALUES (2, '2', 2)")
      await one.everywhere()
    } finally {
      await one.stop()
      await one.run('DROP TABLE T')
      await dropSlot(client, 'no_rows')
      await client.query('DROP PUBLICATION IF EXISTS no_rows')
      await rm(folder, { recursive: true, force: true })
    }
  },
)

test('rows of another key, of a table that is gone when they are read, are found by that key', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
  const one = new SchemaCase({ url: server.url, client }, 'going', folder)
  try {
    await one.run('CREATE TABLE T (id int CONSTRAINT going_key PRIMARY KEY, other bigint NOT NULL UNIQUE)')
    await one.run('INSERT INTO T SELECT g, g * 7 FROM generate_series(1, 100) g')
    await one.start()
    await one.agree()
    // Old rows come with `other` only. The catalogue cannot say so any more, but the stream does.
    await one.run(`BEGIN; ALTER TABLE T DROP CONSTRAINT going_key, ADD CONSTRAINT going_key PRIMARY KEY (other);
      DELETE FROM T WHERE id % 3 = 0; UPDATE T SET other = -other WHERE id % 5 = 1; DROP TABLE T; COMMIT`)
    const { rows: left } = await one.read('id, other')
    assert.equal((await one.engine.status()).tables[0].reason, null)
    const all = Array.from({ length: 100 }, (_, i) => i + 1)
    const expected = all.filter((id) => id % 3 !== 0).map((id) => [id, id % 5 === 1 ? -7 * id : 7 * id])
    assert.deepEqual(left, expected)
    await one.engine.flush()
    assert.deepEqual((await one.read('id, other')).rows, expected)
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
})

test('a key that goes and comes again between two lake commits finds its rows', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
  const one = new SchemaCase({ url: server.url, client }, 'fickle', folder, { every: '1h' })
  const key = (columns: string): string =>
    `ALTER TABLE T DROP CONSTRAINT fickle_key, ADD CONSTRAINT fickle_key PRIMARY KEY (${columns})`
  try {
    await one.run('CREATE TABLE T (id text CONSTRAINT fickle_key PRIMARY KEY, other bigint NOT NULL UNIQUE)')
    await one.run('INSERT INTO T SELECT g, g * 7 FROM generate_series(1, 100) g')
    await one.start()
    await one.engine.flush()
    await one.run(`${key('other')}; INSERT INTO T VALUES ('101', 1)`)
    await one.read()
    await one.run(`${key('id')}; INSERT INTO T VALUES ('102', 2)`)
    await one.read()
    await one.engine.flush()
    const [{ dataFiles }] = (await one.engine.status()).tables
    const runs = readdirSync(join(folder, 'local', 'runs'), { recursive: true }).filter((name) => String(name).endsWith('.run'))
    assert.equal(runs.length, dataFiles, 'each data file has its key run')
    await one.run('UPDATE T SET other = -other WHERE other % 2 = 0')
    await one.everywhere()
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
})

/** What cannot be followed from the stream alone: the table says so, and keeps what it has. */
const unclear = [
  {
    what: 'a value of its own for each row',
    ddl: 'ALTER TABLE T ADD b uuid DEFAULT gen_random_uuid()',
    reason: /new column "b" with a value of its own in each row/,
  },
  { what: 'numbers in order', ddl: 'ALTER TABLE T ADD b serial', reason: /new column "b" with a value of its own in each row/ },
  {
    what: 'a default that is not a number',
    ddl: "ALTER TABLE T ADD b float8 DEFAULT 'NaN'",
    reason: /new column "b" with a value/,
  },
  { what: 'another type', ddl: 'ALTER TABLE T ALTER a TYPE int USING 1', reason: /was changed at the source/ },
  { what: 'another type of the same form', ddl: 'ALTER TABLE T ALTER a TYPE char(8)', reason: /another type for column "a"/ },
  {
    what: 'a column dropped and made again',
    ddl: 'ALTER TABLE T DROP a; ALTER TABLE T ADD a text',
    reason: /can be understood as two things/,
  },
  { what: 'no key any more', ddl: 'ALTER TABLE T DROP CONSTRAINT "T_pkey"', reason: /has no replica identity any more/ },
  {
    what: 'a key that is not sent',
    ddl: 'ALTER TABLE T ADD g int GENERATED ALWAYS AS (id / 2) STORED; ALTER TABLE T DROP CONSTRAINT "T_pkey", ADD PRIMARY KEY (id, g)',
    reason: /has a generated column in its key/,
  },
] as const

test(
  'what the stream does not tell stops a table that is to be detached then, and the others go on',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
    const names = unclear.map((_, i) => `unclear_${i}`)
    for (const name of names) {
      await client.query(`CREATE TABLE ${name} (id int PRIMARY KEY, a text); INSERT INTO ${name} VALUES (1, '1')`)
    }
    await client.query('CREATE TABLE clear (id int PRIMARY KEY)')
    const engine = await open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      memory: '64MB',
      tables: Object.fromEntries(names.map((name) => [`shop.${name}`, { 'on-schema-change': 'detach' }])),
      sources: {
        shop: {
          type: 'postgres',
          url: server.url,
          tables: [...names, 'clear'].map((name) => `public.${name}`),
          slot: 'unclear',
          publication: 'unclear',
        },
      },
    })
    try {
      await engine.query('SELECT 1', { wait: 'now' })
      for (const [i, { ddl }] of unclear.entries()) {
        const sql = ddl.replaceAll('"T_pkey"', `unclear_${i}_pkey`).replaceAll(/\bT\b/g, names[i])
        await client.query(`${sql}; INSERT INTO ${names[i]} (id) VALUES (2)`)
      }
      await client.query('INSERT INTO clear VALUES (1)')
      const wait = { shop: await walPosition(client) }
      assert.deepEqual((await engine.query('SELECT * FROM shop.clear', { wait })).rows, [[1]])
      const { tables } = await engine.status()
      for (const [i, { what, reason }] of unclear.entries()) {
        const status = tables.find(({ table }) => table === names[i])
        assert.equal(status?.health, 'detached', what)
        assert.match(status.reason ?? '', reason, what)
      }
      assert.equal(tables.find(({ table }) => table === 'clear')?.health, 'streaming')
    } finally {
      await engine.close()
      await dropSlot(client, 'unclear')
      await rm(folder, { recursive: true, force: true })
    }
  },
)

test('what the stream does not tell is copied anew, beside the table', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
  const others = ['no key any more', 'a key that is not sent', 'a default that is not a number']
  const clearly = unclear.filter(({ what }) => !others.includes(what))
  const names = clearly.map((_, i) => `anew_${i}`)
  for (const name of names) {
    await client.query(`CREATE TABLE ${name} (id int PRIMARY KEY, a text); INSERT INTO ${name} VALUES (1, '1')`)
  }
  const engine = await open({
    warehouse: join(folder, 'lake'),
    local: join(folder, 'local'),
    memory: '64MB',
    sources: {
      shop: {
        type: 'postgres',
        url: server.url,
        tables: names.map((name) => `public.${name}`),
        slot: 'anew',
        publication: 'anew',
      },
    },
  })
  try {
    await engine.query('SELECT 1', { wait: 'now' })
    for (const [i, { ddl }] of clearly.entries()) {
      await client.query(`${ddl.replaceAll(/\bT\b/g, names[i])}; INSERT INTO ${names[i]} (id) VALUES (2)`)
    }
    for (const name of names) {
      const { rows } = await client.query<{ n: string }>(
        `SELECT string_agg(t::text, ';' ORDER BY id) AS n FROM (SELECT * FROM ${name}) t`,
      )
      const { rows: columns } = await client.query<{ n: string }>(
        'SELECT attname AS n FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum',
        [name],
      )
      for (;;) {
        await engine.query('SELECT 1', { wait: { shop: await walPosition(client) } })
        const status = (await engine.status()).tables.find(({ table }) => table === name)
        const answer = await engine.query(`SELECT * FROM shop.${name} ORDER BY id`)
        const lake = answer.rows
          .map(
            (row) =>
              `(${row.map((value) => (typeof value === 'string' || typeof value === 'number' ? String(value) : '')).join(',')})`,
          )
          .join(';')
        const isSame = JSON.stringify(answer.columns.map((column) => column.name)) === JSON.stringify(columns.map(({ n }) => n))
        if (status?.health === 'streaming' && isSame && lake === rows[0].n.replaceAll(/"/g, '')) break
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  } finally {
    await engine.close()
    await dropSlot(client, 'anew')
    await rm(folder, { recursive: true, force: true })
  }
})

test(
  'a composite type that gets another attribute has its table copied anew, and later changes are understood',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
    const one = new SchemaCase({ url: server.url, client }, 'pairs', folder)
    const rows = async (columns: string): Promise<unknown> =>
      (await one.engine.query(`SELECT ${columns} FROM shop.pairs ORDER BY 1`, { wait: { shop: await walPosition(client) } })).rows
    const whole = async (): Promise<void> => {
      for (;;) {
        await one.engine.query('SELECT 1', { wait: { shop: await walPosition(client) } })
        const [{ health, copy }] = (await one.engine.status()).tables
        if (health === 'streaming' && copy === null) return
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    try {
      await client.query('CREATE TYPE pair_type AS (a int, b text)')
      await one.run(
        "CREATE TABLE T (id int PRIMARY KEY, v pair_type, w pair_type[]); INSERT INTO T VALUES (1, (1, 'x'), ARRAY[(2, 'y')::pair_type])",
      )
      await one.start()
      await client.query('ALTER TYPE pair_type ADD ATTRIBUTE c int')
      await one.run("INSERT INTO T VALUES (2, (3, 'z', 4), ARRAY[(5, 'q', 6)::pair_type])")
      await whole()
      const expected = [
        [1, 'x', null, null],
        [2, 'z', 4, 6],
      ]
      assert.deepEqual(await rows('id, v.b, v.c, w[1].c'), expected)
      await one.run("ALTER TABLE T ADD n int DEFAULT 5; INSERT INTO T VALUES (3, (7, 'n', 8), NULL, 6)")
      const later = [...expected.map((row) => [...row, 5]), [3, 'n', 8, null, 6]]
      assert.deepEqual(await rows('id, v.b, v.c, w[1].c, n'), later)
      assert.equal((await one.engine.status()).tables[0].health, 'streaming')
      await one.engine.flush()
      await one.stop()
      // While away: another one, and it is noticed at the start.
      await client.query('ALTER TYPE pair_type DROP ATTRIBUTE a')
      await one.start()
      await whole()
      assert.deepEqual(await rows('id, v.b, v.c, w[1].c, n'), later)
    } finally {
      await one.stop()
      await one.run('DROP TABLE T')
      await dropSlot(client, 'pairs')
      await client.query('DROP TYPE pair_type; DROP PUBLICATION IF EXISTS pairs')
      await rm(folder, { recursive: true, force: true })
    }
  },
)

test('a column of which only the text is read comes to a stream in binary form', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
  const one = new SchemaCase({ url: server.url, client }, 'texts', folder)
  const rows = async (): Promise<unknown> =>
    (await one.engine.query('SELECT * FROM shop.texts ORDER BY id', { wait: { shop: await walPosition(client) } })).rows
  try {
    await one.run('CREATE TABLE T (id int PRIMARY KEY, f float8); INSERT INTO T VALUES (1, 0.1)')
    await one.start()
    await one.run("ALTER TABLE T ADD r regtype; INSERT INTO T VALUES (2, 0.2, 'int8')")
    assert.deepEqual(await rows(), [
      [1, 0.1, null],
      [2, 0.2, 'bigint'],
    ])
    await one.run("BEGIN; ALTER TABLE T ADD s regtype; UPDATE T SET s = 'text' WHERE id = 1; DELETE FROM T WHERE id = 2; COMMIT")
    assert.deepEqual(await rows(), [[1, 0.1, null, 'text']])
    await one.stop()
    await one.start()
    await one.run('UPDATE T SET f = 0.3')
    assert.deepEqual(await rows(), [[1, 0.3, null, 'text']])
    assert.equal((await one.engine.status()).tables[0].health, 'streaming')
  } finally {
    await one.stop()
    await one.run('DROP TABLE T')
    await dropSlot(client, 'texts')
    await client.query('DROP PUBLICATION IF EXISTS texts')
    await rm(folder, { recursive: true, force: true })
  }
})

test('a table that gets another name or schema is the same one in the lake', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-schema-'))
  await client.query("CREATE SCHEMA other; CREATE TABLE moving (id int PRIMARY KEY, a text); INSERT INTO moving VALUES (1, '1')")
  const start = async (): Promise<Lake> =>
    open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      memory: '64MB',
      sources: { shop: { type: 'postgres', url: server.url, tables: ['public.moving'], slot: 'moving', publication: 'moving' } },
    })
  let engine = await start()
  await engine.query('SELECT 1', { wait: 'now' })
  const rows = async (): Promise<unknown> =>
    (await engine.query('SELECT * FROM shop.moving ORDER BY 1', { wait: { shop: await walPosition(client) } })).rows
  try {
    await client.query("ALTER TABLE moving RENAME TO moved; INSERT INTO moved VALUES (2, '2')")
    assert.deepEqual(await rows(), [
      [1, '1'],
      [2, '2'],
    ])
    await engine.close()
    await client.query(
      "ALTER TABLE moved SET SCHEMA other; ALTER TABLE other.moved ADD b int; INSERT INTO other.moved VALUES (3, '3', 3)",
    )
    engine = await start()
    assert.deepEqual(await rows(), [
      [1, '1', null],
      [2, '2', null],
      [3, '3', 3],
    ])
    // Its old name belongs to another table now: which one is meant is not ours to say.
    await engine.close()
    await client.query('CREATE TABLE moving (id int PRIMARY KEY)')
    engine = await start()
    await engine.query('SELECT 1', { wait: 'now' })
    const [{ reason }] = (await engine.status()).tables
    assert.match(reason ?? '', /its name belongs to another one/)
  } finally {
    await engine.close()
    await dropSlot(client, 'moving')
    await rm(folder, { recursive: true, force: true })
  }
})
