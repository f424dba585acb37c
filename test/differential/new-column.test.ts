import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { checkLake } from '../support/check-lake.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { SchemaCase } from '../support/schema-case.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres
let client: pg.Client

before(async () => {
  server = await startPostgres()
  client = await connect(server.url)
})

after(async () => {
  await client.end()
  await server.stop()
})

/** A table whose columns leave their values behind. */
async function withTable(name: string, create: string, work: (one: SchemaCase, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-new-column-'))
  const one = new SchemaCase({ url: server.url, client }, name, folder, { onSchemaChange: 'new-column', every: '1h' })
  try {
    await one.run(create)
    await one.start()
    await work(one, folder)
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
}

/** The same in memory, in files, and after a restart; the lake has never copied the table anew. */
async function everywhere(one: SchemaCase, folder: string, columns: string[], rows: unknown[][]): Promise<void> {
  assert.deepEqual(await one.read(), { columns, rows })
  await one.engine.flush()
  assert.deepEqual(await one.read(), { columns, rows })
  const [{ dataFiles }] = (await one.engine.status()).tables
  assert.ok(dataFiles > 0)
  await one.stop()
  await one.start()
  assert.deepEqual(await one.read(), { columns, rows })
  await checkLake(join(folder, 'lake'))
}

const rowsOf = "INSERT INTO T VALUES (1, '10', 'a'), (2, '20', 'b'), (3, '30', 'c')"

test('a column that takes another type leaves its values behind, and begins anew', { timeout: 180_000 }, () =>
  withTable('leaving', `CREATE TABLE T (id int PRIMARY KEY, v text, w text); ${rowsOf}`, async (one, folder) => {
    await one.run("UPDATE T SET v = '21' WHERE id = 2")
    assert.deepEqual((await one.read()).rows[1], [2, '21', 'b'])
    // Rows of before and behind, in one transaction.
    await one.run(
      "BEGIN; INSERT INTO T VALUES (4, '40', 'd'); ALTER TABLE T ALTER v TYPE int USING v::int + 1; INSERT INTO T VALUES (5, 50, 'e'); UPDATE T SET w = 'changed' WHERE id = 1; COMMIT",
    )
    const columns = ['id', 'v', 'w', 'v__string']
    const rows: unknown[][] = [
      [1, 11, 'changed', null],
      [2, null, 'b', '21'],
      [3, null, 'c', '30'],
      [4, null, 'd', '40'],
      [5, 50, 'e', null],
    ]
    await everywhere(one, folder, columns, rows)
    // A wider type is taken in place, and another type leaves values behind once more.
    await one.run('ALTER TABLE T ALTER v TYPE bigint; INSERT INTO T VALUES (6, 4294967296)')
    rows.push([6, 4294967296, null, null])
    await everywhere(one, folder, columns, rows)
    await one.run(
      "ALTER TABLE T ALTER v TYPE date USING '2024-01-01'; UPDATE T SET w = 'x' WHERE id = 6; DELETE FROM T WHERE id = 2",
    )
    await everywhere(
      one,
      folder,
      ['id', 'v', 'w', 'v__string', 'v__long'],
      [
        [1, null, 'changed', null, 11],
        [3, null, 'c', '30', null],
        [4, null, 'd', '40', null],
        [5, null, 'e', null, 50],
        [6, '2024-01-01', 'x', null, null],
      ],
    )
  }),
)

test('a type of the same form by which values may be others is another type as well', { timeout: 180_000 }, () =>
  withTable('narrow', `CREATE TABLE T (id int PRIMARY KEY, v text, w text); ${rowsOf}`, async (one, folder) => {
    await one.run("ALTER TABLE T ALTER v TYPE varchar(1) USING right(v, 1); INSERT INTO T VALUES (4, '4', 'd')")
    await everywhere(
      one,
      folder,
      ['id', 'v', 'w', 'v__string'],
      [
        [1, null, 'a', '10'],
        [2, null, 'b', '20'],
        [3, null, 'c', '30'],
        [4, '4', 'd', null],
      ],
    )
  }),
)

test('names of kept columns give way, and they go with their column', { timeout: 180_000 }, () =>
  withTable('giving_way', `CREATE TABLE T (id int PRIMARY KEY, v text, w text); ${rowsOf}`, async (one, folder) => {
    await one.run('ALTER TABLE T ALTER v TYPE int USING 7; INSERT INTO T VALUES (4, 4)')
    // The same type once more, while the lake is away; then a column that has the name of a kept one.
    await one.stop()
    await one.run("ALTER TABLE T ALTER v TYPE text USING 'x'; INSERT INTO T VALUES (5, '5')")
    await one.run(
      'ALTER TABLE T ALTER v TYPE int USING 8; ALTER TABLE T ADD "V__String" int DEFAULT 9; INSERT INTO T VALUES (6, 6)',
    )
    await one.start()
    const { columns, rows } = await one.read('id, v, "V__String", v__int, v__string_2')
    assert.deepEqual(columns, ['id', 'v', 'V__String', 'v__int', 'v__string_2'])
    assert.deepEqual(rows.slice(3), [
      [4, null, 9, 4, null],
      [5, null, 9, null, null],
      [6, 6, 9, null, null],
    ])
    assert.deepEqual((await one.read('*')).columns.length, 7)
    await one.run('ALTER TABLE T RENAME v TO u; INSERT INTO T VALUES (7, 7)')
    assert.deepEqual((await one.read('u, v__int')).rows.at(-1), [7, null])
    await one.run('ALTER TABLE T DROP u; INSERT INTO T VALUES (8)')
    await everywhere(
      one,
      folder,
      ['id', 'w', 'V__String'],
      [1, 2, 3, 4, 5, 6, 7, 8].map((id) => [id, ['a', 'b', 'c'][id - 1] ?? null, 9]),
    )
  }),
)

test('rows that are told apart by the column, and values that nobody sends: the table is copied anew', { timeout: 180_000 }, () =>
  withTable('keyed', "CREATE TABLE T (id text PRIMARY KEY, v text); INSERT INTO T VALUES ('1', 'a')", async (one, folder) => {
    await one.run('ALTER TABLE T ALTER id TYPE int USING id::int + 1; INSERT INTO T VALUES (1)')
    await one.whole()
    await everywhere(
      one,
      folder,
      ['id', 'v'],
      [
        [1, null],
        [2, 'a'],
      ],
    )
    // Out of line, and not sent when it does not change: what it is under the new type the lake does not have.
    await one.run(
      "ALTER TABLE T ADD w int; UPDATE T SET v = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i) WHERE id = 1; ALTER TABLE T ALTER v TYPE bytea USING v::bytea; INSERT INTO T VALUES (3)",
    )
    assert.deepEqual((await one.read('id, v, length(v__string)')).rows, [
      [1, null, 9600],
      [2, null, 1],
      [3, null, null],
    ])
    await one.run('UPDATE T SET w = 5 WHERE id = 1')
    await one.whole()
    assert.deepEqual(await one.read('id, octet_length(v) AS v, w'), {
      columns: ['id', 'v', 'w'],
      rows: [
        [1, 9600, 5],
        [2, 1, null],
        [3, null, null],
      ],
    })
    assert.deepEqual((await one.read('*')).columns, ['id', 'v', 'w'])
  }),
)

/** Types that no value of another one can follow, what they are called in the lake, and how a number is written in them. */
const kinds = [
  { type: 'text', called: 'string', value: (n: number) => `t${n}` },
  { type: 'int', called: 'int', value: (n: number) => n },
  { type: 'boolean', called: 'boolean', value: (n: number) => n % 2 === 0 },
  { type: 'uuid', called: 'uuid', value: (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}` },
] as const

for (const seed of [1, 2, 3]) {
  test(
    `seed ${seed}: types change at random, and each row has its value under the type it was written in`,
    { timeout: 300_000 },
    () =>
      withTable(`random_${seed}`, 'CREATE TABLE T (id int PRIMARY KEY, v text, w int)', async (one, folder) => {
        const random = seededRandom(seed)
        let kind: (typeof kinds)[number] = kinds[0]
        let generation = 0
        const rows = new Map<number, { value: unknown; generation: number }>()
        const kept: { name: string; generation: number }[] = []
        const written = (): { sql: string; entry: { value: unknown; generation: number } } => {
          const n = random.below(1000)
          return { sql: `'${String(kind.value(n))}'`, entry: { value: kind.value(n), generation } }
        }
        const insert = (): string => {
          const { sql, entry } = written()
          const id = rows.size + 1
          rows.set(id, entry)
          return `INSERT INTO T VALUES (${id}, ${sql}, 0)`
        }
        const update = (): string => {
          const { sql, entry } = written()
          const modulus = 2 + random.below(9)
          for (const id of rows.keys()) if (id % modulus === 0) rows.set(id, entry)
          return `UPDATE T SET v = ${sql} WHERE id % ${modulus} = 0`
        }
        const retype = (): string => {
          const name = `v__${kind.called}`
          const before = kept.filter((other) => other.name === name || other.name.startsWith(`${name}_`)).length
          kept.push({ name: before === 0 ? name : `${name}_${before + 1}`, generation })
          kind = kinds[(kinds.indexOf(kind) + 1 + random.below(kinds.length - 1)) % kinds.length]
          generation++
          return `ALTER TABLE T ALTER v TYPE ${kind.type} USING NULL; ${insert()}`
        }
        for (let step = 0; step < 25; step++) {
          const statements = Array.from({ length: 1 + random.below(4) }, () => {
            const chance = random.below(10)
            return chance < 5 ? insert() : chance < 8 ? update() : retype()
          })
          await one.run(`BEGIN; ${statements.join('; ')}; COMMIT`)
          const chance = random.below(6)
          if (chance === 0) await one.engine.flush()
          if (chance > 1 && step < 24) continue
          if (chance === 1) {
            await one.stop()
            await one.start()
          }
          const expected = [...rows].map(([id, row]) => [
            id,
            row.generation === generation ? row.value : null,
            0,
            ...kept.map((column) => (row.generation === column.generation ? row.value : null)),
          ])
          assert.deepEqual(await one.read(), { columns: ['id', 'v', 'w', ...kept.map(({ name }) => name)], rows: expected })
        }
        await one.engine.flush()
        await checkLake(join(folder, 'lake'))
      }),
  )
}

test('a healthy one that is copied again has the columns of now alone, and goes on', { timeout: 180_000 }, () =>
  withTable('left_again', `CREATE TABLE T (id int PRIMARY KEY, v text, w text); ${rowsOf}`, async (one, folder) => {
    await one.run('ALTER TABLE T ALTER v TYPE int USING v::int + 1; INSERT INTO T VALUES (4, 41)')
    assert.deepEqual((await one.read()).columns, ['id', 'v', 'w', 'v__string'])
    await one.engine.table('shop.left_again').resync()
    await one.copied(2)
    await one.run("UPDATE T SET w = 'x' WHERE id = 2; DELETE FROM T WHERE id = 3; INSERT INTO T VALUES (5, 51, 'e')")
    const rows: unknown[][] = [
      [1, 11, 'a'],
      [2, 21, 'x'],
      [4, 41, null],
      [5, 51, 'e'],
    ]
    await everywhere(one, folder, ['id', 'v', 'w'], rows)
    // Asked for just before a stop, it is done at the next start.
    await one.run("ALTER TABLE T ALTER v TYPE text USING 'n'; INSERT INTO T VALUES (6, 'm')")
    assert.deepEqual((await one.read()).columns, ['id', 'v', 'w', 'v__int'])
    await one.engine.flush()
    await one.engine.table('shop.left_again').resync()
    await one.stop()
    await one.start()
    await one.copied(3)
    await one.run('ALTER TABLE T ADD y int; INSERT INTO T VALUES (7, NULL, NULL, 1)')
    const after = rows.map(([id, , w]) => [id, 'n', w, null])
    await everywhere(one, folder, ['id', 'v', 'w', 'y'], [...after, [6, 'm', null, null], [7, null, null, 1]])
  }),
)
