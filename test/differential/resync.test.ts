import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { FrazilError } from '../../src/base/index.ts'
import { checkConfig, requestResync, resolveConfig } from '../../src/engine/index.ts'
import { EventBus } from '../../src/index.ts'
import type { Frazil, TableStatus } from '../../src/index.ts'
import { SpillSpace } from '../../src/table/index.ts'
import { open } from '../support/engine.ts'
import { checkLake } from '../support/check-lake.ts'
import { walPosition } from '../support/compare.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'

let server: EmbeddedPostgres
let client: Client
let folder: string

before(async () => {
  server = await startPostgres()
  client = new Client(server.url)
  await client.connect()
  folder = await mkdtemp(join(tmpdir(), 'frazil-resync-'))
})

after(async () => {
  await client.end()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

function settings(name: string, tables: readonly string[]) {
  return {
    warehouse: join(folder, name, 'lake'),
    local: join(folder, name, 'local'),
    memory: '64MB',
    commit: { every: '100ms' },
    sources: { s: { type: 'postgres' as const, url: server.url, tables: [...tables], slot: name, publication: name } },
  }
}

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 150_000
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`waited too long until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function statusOf(engine: Frazil, name: string): Promise<TableStatus | undefined> {
  return (await engine.status()).tables.find(({ table }) => table === name)
}

/** Until a table is healthy and nothing of it is being copied. */
async function settled(engine: Frazil, name: string): Promise<void> {
  await until(`${name} is whole`, async () => {
    const status = await statusOf(engine, name)
    return status?.health === 'streaming' && status.copy === null
  })
}

/** The table in the lake is the table at the source. */
async function same(engine: Frazil, name: string): Promise<void> {
  const wait = { s: await walPosition(client) }
  const columns = 'id::int, v::int'
  const { rows } = await client.query({ text: `select ${columns} from ${name} order by 1`, rowMode: 'array' })
  assert.deepEqual((await engine.query(`select id::int, v::int from s.${name} order by 1`, { wait })).rows, rows, name)
}

/** Writes rows of a table until it is told to stop. */
function writer(name: string): () => Promise<void> {
  const stop = new AbortController()
  const work = (async () => {
    const own = new Client(server.url)
    await own.connect()
    for (let i = 0; !stop.signal.aborted; i++) {
      await own.query(
        `begin; update ${name} set v = v + 1 where id = ${1 + (i % 900)}; insert into ${name} values (${100_000 + i}, 1); ` +
          `delete from ${name} where id = ${100_000 + i - 20}; commit`,
      )
    }
    await own.end()
  })()
  return async () => {
    stop.abort()
    await work
  }
}

test(
  'tables that are copied again under load: healthy, detached, and made anew at the source',
  { timeout: 240_000 },
  async () => {
    for (const name of ['healthy', 'sick', 'anew', 'other']) {
      await client.query(
        `create table ${name} (id int primary key, v int); insert into ${name} select i, 0 from generate_series(1, 20000) i`,
      )
    }
    const events = new EventBus()
    let copies = 0
    events.on((event) => {
      if (event.type === 'copied' && event.table === 's.healthy') copies++
    })
    const engine = await open(settings('again', ['healthy', 'sick', 'anew', 'other']), { events })
    try {
      await until('all are copied', async () => (await engine.status()).ready)
      await engine.flush()
      const stops = [writer('healthy'), writer('other')]
      // Three times, so that a copy meets changes at every moment.
      for (let round = 0; round < 3; round++) {
        await engine.table('s.healthy').resync()
        await until('it was copied', async () => copies === round + 2)
        await settled(engine, 'healthy')
      }
      for (const stop of stops) await stop()
      await same(engine, 'healthy')
      await same(engine, 'other')
      // Rows in files cannot be read as this type.
      await client.query('alter table sick alter column v type double precision; insert into sick values (99999, 7)')
      await until('it is detached', async () => (await statusOf(engine, 'sick'))?.health === 'detached')
      await client.query('delete from sick where id > 100; alter table sick add column note text')
      await engine.table('s.sick').resync()
      await settled(engine, 'sick')
      await client.query('update sick set v = v + 1 where id < 50')
      await same(engine, 'sick')
      await client.query(
        'drop table anew; create table anew (id int primary key, v int); insert into anew select i, 9 from generate_series(1, 10) i',
      )
      await engine.table('s.anew').resync()
      await until(
        'the new rows are there',
        async () => (await engine.query('select count(*)::int from s.anew')).rows[0][0] === 10,
      )
      await client.query('update anew set v = 10 where id = 3')
      await same(engine, 'anew')
      await assert.rejects(engine.table('s.nothing').resync(), { kind: 'request', code: 'unknown-table' })
      await engine.flush()
      await same(engine, 'other')
    } finally {
      await engine.close()
    }
    const lake = await checkLake(join(folder, 'again', 'lake'))
    assert.equal(lake.get('s.anew'), 10)
    assert.equal(lake.get('s.sick'), 100)
  },
)

test(
  'a full disk holds back a copied table that enters, until there is room, and stops nothing',
  { timeout: 180_000 },
  async (t) => {
    await client.query(
      'create table roomy (id int primary key, v int); insert into roomy select i, 0 from generate_series(1, 20000) i',
    )
    const full = new FrazilError('unavailable', 'disk-full', 'the disk is full')
    const events = new EventBus()
    const { mock } = t.mock.method(SpillSpace.prototype, 'write', () => Promise.reject(full))
    let waits = 0
    const hasWaited = (): boolean => waits > 0
    let stops = 0
    let copies = 0
    events.on((event) => {
      if (event.type === 'copied') copies++
      if (event.type === 'retry' && event.code === 'disk-full') {
        waits++
        mock.restore()
      }
      if (event.type === 'source' && event.state !== 'streaming') stops++
    })
    const engine = await open({ ...settings('roomy', ['roomy']), pipelines: 'inline' }, { events })
    try {
      await until('it is ready', async () => (await engine.status()).ready)
      stops = 0
      const stop = writer('roomy')
      // What was changed meanwhile goes to disk when the table enters; now and then nothing was.
      for (let resyncs = 1; !hasWaited() && resyncs <= 20; resyncs++) {
        await engine.table('s.roomy').resync()
        await until('it was copied', async () => copies === resyncs + 1)
        await settled(engine, 'roomy')
      }
      await stop()
      assert.ok(hasWaited())
      assert.equal(stops, 0)
      await same(engine, 'roomy')
    } finally {
      await engine.close()
    }
  },
)

test('a table made while frazil runs is copied under load when a pattern matches it', { timeout: 180_000 }, async () => {
  await client.query('create table made_first (id int primary key, v int); insert into made_first values (1, 1)')
  const engine = await open(settings('made', ['public.made_*']))
  try {
    await until('it is ready', async () => (await engine.status()).ready)
    await client.query(
      'create table made_later (id int primary key, v int); insert into made_later select i, 0 from generate_series(1, 20000) i',
    )
    const stop = writer('made_later')
    await until('the new table is there', async () => (await statusOf(engine, 'made_later')) !== undefined)
    await settled(engine, 'made_later')
    await stop()
    await same(engine, 'made_later')
    await same(engine, 'made_first')
  } finally {
    await engine.close()
  }
})

test('a table that is gone at the source: that is said, and its rows stay', { timeout: 180_000 }, async () => {
  await client.query('create table gone (id int primary key); insert into gone values (7)')
  const input = settings('gone', ['gon*'])
  const nothing = /^there is nothing to copy s\.gone from: its table was dropped at source s, or is not among/
  const first = await open(input)
  await until('it is ready', async () => (await first.status()).ready)
  await first.flush()
  await client.query('drop table gone')
  await assert.rejects(first.table('s.gone').resync(), { code: 'unknown-table', message: nothing, hint: /make it again there/ })
  await first.close()
  assert.deepEqual(await requestResync(resolveConfig(input, { folder, env: {} }), 's.gone'), ['s.gone'])
  const events = new EventBus()
  const told: string[] = []
  events.on((event) => {
    if (event.type === 'error') told.push(event.message)
  })
  const second = await open(input, { events })
  try {
    await until('it is told', async () => told.some((message) => nothing.test(message)))
    const { health, reason } = (await statusOf(second, 'gone')) ?? assert.fail('the table stays')
    assert.equal(health, 'detached')
    assert.match(reason ?? '', /was dropped at the source.*its rows in the lake stay as they are.*frazil resync s\.gone/)
    assert.deepEqual((await second.query('select id from s.gone')).rows, [[7]])
    await client.query('create table gone (id int primary key); insert into gone values (8)')
    await second.table('s.gone').resync()
    await settled(second, 'gone')
    assert.deepEqual((await second.query('select id from s.gone')).rows, [[8]])
  } finally {
    await second.close()
  }
})

test('a lost slot: the whole source begins anew, its tables stay readable meanwhile', { timeout: 180_000 }, async () => {
  await client.query('create table lost (id int primary key, v int); insert into lost select i, 0 from generate_series(1, 100) i')
  const input = settings('lost', ['lost'])
  const first = await open(input)
  await until('it is ready', async () => (await first.status()).ready)
  await first.flush()
  await first.close()
  await client.query("select pg_drop_replication_slot('lost'); delete from lost where id <= 10; update lost set v = 1")
  await assert.rejects(open(input), { code: 'slot-missing', hint: /frazil resync s,/ })
  const config = resolveConfig(input, { folder, env: {} })
  const found = async (): Promise<(string | null)[][]> =>
    (await checkConfig(config, false)).sources[0].findings
      .filter(({ level, code }) => level === 'error' || code === 'plan')
      .map(({ code, message, hint }) => [code, message, hint])
  const [[code, message, hint], ...others] = await found()
  assert.deepEqual([code, message, others], ['slot-missing', 'replication slot lost is gone', []])
  assert.match(hint ?? '', /frazil resync s,/)
  assert.deepEqual(await requestResync(config, 's'), ['s.lost'])
  assert.deepEqual(
    (await found()).map(([of]) => of),
    ['plan'],
  )
  await assert.rejects(requestResync(config, 's.nothing'), { code: 'unknown-table' })
  const again = await open(input)
  try {
    await settled(again, 'lost')
    await client.query('insert into lost values (1000, 5)')
    await same(again, 'lost')
    await again.flush()
  } finally {
    await again.close()
  }
  assert.equal((await checkLake(join(folder, 'lost', 'lake'))).get('s.lost'), 91)
})

test('tables that have taken each other’s names are copied again, one by one or together', { timeout: 180_000 }, async () => {
  const names = ['left_one', 'right_one']
  await client.query(
    'create table left_one (id int primary key, v int); insert into left_one select g, 1 from generate_series(1, 30) g; ' +
      'create table right_one (id int primary key, v int); insert into right_one select g, 2 from generate_series(1, 50) g',
  )
  const input = settings('swapped', names)
  let engine = await open(input)
  const swap = async (): Promise<void> => {
    await engine.flush()
    await client.query(
      'begin; alter table left_one rename to aside; alter table right_one rename to left_one; alter table aside rename to right_one; commit; ' +
        'insert into left_one select max(id) + 1, 3 from left_one; insert into right_one select max(id) + 1, 4 from right_one',
    )
  }
  const restart = async (): Promise<void> => {
    await engine.close()
    engine = await open(input)
    await until('it is ready', async () => (await engine.status()).ready)
  }
  const detached = async (): Promise<void> => {
    for (const name of names) {
      assert.match(
        (await statusOf(engine, name))?.reason ?? '',
        /its name belongs to another one; frazil resync s\.(?:left|right)_one$/,
      )
    }
  }
  const agree = async (): Promise<void> => {
    for (const name of names) {
      await settled(engine, name)
      await same(engine, name)
    }
  }
  try {
    await until('it is ready', async () => (await engine.status()).ready)
    await swap()
    await restart()
    await detached()
    await engine.table('s.left_one').resync()
    await settled(engine, 'left_one')
    await same(engine, 'left_one')
    await restart()
    await engine.table('s.right_one').resync()
    await agree()
    await swap()
    await restart()
    await detached()
    for (const name of names) await engine.table(`s.${name}`).resync()
    await agree()
    await client.query('delete from left_one where id % 3 = 0; update right_one set v = 9 where id < 5')
    await agree()
    // Until the next start each is the table that it was.
    await swap()
    await engine.table('s.left_one').resync()
    await settled(engine, 'left_one')
    const wait = { s: await walPosition(client) }
    for (const [name, other] of [names, names.toReversed()]) {
      const { rows } = await client.query({ text: `select id, v from ${other} order by 1`, rowMode: 'array' })
      assert.deepEqual((await engine.query(`select id, v from s.${name} order by 1`, { wait })).rows, rows)
    }
    await restart()
    await detached()
    for (const name of names) await engine.table(`s.${name}`).resync()
    await agree()
    await restart()
    await agree()
  } finally {
    await engine.close()
  }
})
