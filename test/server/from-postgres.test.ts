import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, suite, test } from 'node:test'
import { Client } from 'pg'
import { FrazilClient } from '../../src/client/index.ts'
import { checkConfig, resolveConfig } from '../../src/engine/index.ts'
import type { ConfigInput, Engine } from '../../src/engine/index.ts'
import { EventBus, createLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'
import { checkLake } from '../support/check-lake.ts'
import { startPostgres } from '../support/postgres.ts'

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

const password = 'correct-horse-battery-staple'

suite('tables added from Postgres', { timeout: 240_000 }, () => {
  let postgres: Awaited<ReturnType<typeof startPostgres>>
  let client: Client
  let folder: string
  let uri: string
  let log = ''
  let notices: string[] = []
  let engine: Engine | null = null
  let server: HttpServer | null = null

  before(async () => {
    postgres = await startPostgres()
    const { host, pathname } = new URL(postgres.url)
    uri = `postgres://somebody:${password}@${host}${pathname}`
    client = new Client({ connectionString: postgres.url })
    await client.connect()
  })
  after(async () => {
    await client.end()
    await postgres.stop()
  })
  afterEach(async () => {
    await stop()
    await checkLake(join(folder, 'lake'))
    await rm(folder, { recursive: true })
    await client.query('DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS sales CASCADE; CREATE SCHEMA public')
    await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'frazil%'")
    await client.query('DROP PUBLICATION IF EXISTS frazil_shop; DROP PUBLICATION IF EXISTS theirs')
  })

  async function begin(statements: string, given: Partial<ConfigInput> = {}, tables = ['public.base']): Promise<void> {
    folder = await mkdtemp(join(tmpdir(), 'frazil-from-postgres-'))
    log = ''
    await client.query(`CREATE TABLE base (id int PRIMARY KEY, n int NOT NULL); ${statements}`)
    await start(given, tables)
  }

  function configOf(given: Partial<ConfigInput>, tables: string[]): ConfigInput {
    return {
      commit: { every: '300ms' },
      http: { 'from-postgres': ['shop'] },
      sources: { shop: { type: 'postgres', url: postgres.url, tables } },
      ...given,
    }
  }

  async function start(given: Partial<ConfigInput> = {}, tables = ['public.base']): Promise<void> {
    const events = new EventBus()
    notices = []
    const lines = createLog({ level: 'debug', format: 'json', write: (line) => (log += line) })
    events.on((event) => {
      lines.info(JSON.stringify(event))
      if (event.type === 'notice') notices.push(event.message)
    })
    engine = await openEngine(resolveConfig(configOf(given, tables), { folder, env: {} }), { events })
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: folder },
      log: lines,
    })
    server.attach(engine)
  }

  async function stop(): Promise<void> {
    await server?.close()
    await engine?.close()
    server = engine = null
  }

  async function restart(given: Partial<ConfigInput> = {}, tables = ['public.base']): Promise<void> {
    await stop()
    await start(given, tables)
  }

  async function add(name: string, over: Record<string, unknown> = {}): Promise<Answer> {
    const body = { database: 'shop', table: name, src_uri: uri, src_table_name: `public.${name}`, table_config: {}, ...over }
    for (;;) {
      const response = await fetch(`${server?.url}/tables/${name}/from_postgres`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const answer = { status: response.status, body: (await response.json()) as Record<string, unknown> }
      // Copied for longer than a request waits: whoever wants it readable asks again.
      if (answer.status !== 202) return answer
    }
  }

  /** The rows of a table with `id` and `n`, as the lake and as Postgres have them. */
  async function compare(name: string, source = `public.${name}`): Promise<number> {
    const { rows } = await client.query<{ id: number; n: number }>(`SELECT id, n FROM ${source} ORDER BY id`)
    const answer = await engine?.execute(`SELECT id, n FROM shop.${name} ORDER BY id`, { wait: 'now' })
    assert.deepEqual(
      JSON.parse(Buffer.from(answer?.body ?? []).toString()),
      rows.map(({ id, n }) => [id, n]),
    )
    return rows.length
  }

  async function drop(table: string): Promise<Answer> {
    const response = await fetch(`${server?.url}/tables/${table}`, {
      method: 'DELETE',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ database: 'shop', table }),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  async function rowsOf(sql: string): Promise<unknown[]> {
    const answer = await engine?.execute(sql)
    return (JSON.parse(Buffer.from(answer?.body ?? []).toString()) as unknown[][])[0]
  }

  async function healthOf(name: string): Promise<string | undefined> {
    return (await engine?.status())?.tables.find(({ table }) => table === name)?.health
  }

  /** Writes rows of the same transactions into tables until it is stopped; returns how many. */
  async function writing(names: readonly string[]): Promise<() => Promise<number>> {
    const writer = new Client({ connectionString: postgres.url })
    await writer.connect()
    const over = new AbortController()
    let id = 1_000_000
    const run = (async () => {
      for (; !over.signal.aborted; id++) {
        const inserts = names.map((name) => `INSERT INTO ${name} VALUES (${id}, 0); UPDATE ${name} SET n = n + 1 WHERE id = 1`)
        await writer.query(`BEGIN; ${inserts.join('; ')}; COMMIT`)
      }
    })()
    return async () => {
      over.abort()
      await run
      await writer.end()
      return id - 1_000_000
    }
  }

  test('two at a time, one of them twice, while rows stream: none is missing or doubled, and they stay', async () => {
    await begin(`CREATE TABLE one (id int PRIMARY KEY, n int NOT NULL); CREATE TABLE two (id int PRIMARY KEY, n int NOT NULL);
      INSERT INTO base VALUES (1, 0); INSERT INTO one SELECT i, i FROM generate_series(1, 5000) i; INSERT INTO two VALUES (1, 0)`)
    const end = await writing(['base', 'one', 'two'])
    const answers = await Promise.all([add('one'), add('two'), add('one')])
    for (const [i, { status, body }] of answers.entries()) {
      assert.deepEqual([status, body], [200, { database: 'shop', table: ['one', 'two', 'one'][i], lsn: 1, state: 'streaming' }])
    }
    // Those who were answered can read it.
    const answer = await engine?.execute('SELECT count(*) FROM shop.one')
    assert(answer)
    assert((await end()) > 0)
    for (const name of ['base', 'one', 'two']) assert((await compare(name)) > 1)

    await stop()
    await client.query('INSERT INTO one VALUES (-1, 7); DELETE FROM two')
    await start({ pipelines: 'worker' })
    for (const name of ['base', 'one']) assert((await compare(name)) > 1)
    assert.equal(await compare('two'), 0)
    assert.equal((await add('two')).status, 200)
    await client.query('CREATE TABLE "Odd Name" (id int PRIMARY KEY, n int NOT NULL); INSERT INTO "Odd Name" VALUES (3, 4)')
    const { status } = await add('Odd Name', { src_table_name: 'public."Odd Name"' })
    assert.equal(status, 200)

    // Named by the configuration as well: once.
    await restart({}, ['public.base', 'public.one', 'public."Odd Name"'])
    assert(await compare('one'))
    const tables = (await engine?.status())?.tables.map(({ table, health }) => `${table} ${health}`)
    assert.deepEqual(tables?.toSorted(), ['Odd Name streaming', 'base streaming', 'one streaming', 'two streaming'])
    assert.deepEqual(notices, [])
  })

  test('what cannot be added is refused with a sentence, and nothing is remembered', async () => {
    await begin(`CREATE TABLE keyless (id int, n int); CREATE VIEW seen AS SELECT * FROM base; CREATE SCHEMA sales;
      CREATE TABLE sales.orders (id int PRIMARY KEY, n int); CREATE TABLE sales_orders (id int PRIMARY KEY, n int);
      CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
      CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10)`)
    const refusals: [string, Record<string, unknown>, number, string, RegExp][] = [
      ['nope', {}, 404, 'unknown-table', /has no table public\.nope/],
      ['keyless', {}, 422, 'table-refused', /public\.keyless has no usable key.*would fail/],
      ['seen', {}, 422, 'table-refused', /public\.seen is a view/],
      ['base', { src_table_name: 'public.*' }, 422, 'table-refused', /not the name of one table/],
      ['base', { src_table_name: 'a.b.c' }, 422, 'table-refused', /not the name of one table/],
      ['base', { src_table_name: '' }, 400, 'bad-body', /src_table_name/],
      ['other', { src_table_name: 'public.base' }, 422, 'table-refused', /public\.base of source shop is shop\.base in the lake/],
      ['base', { database: 'elsewhere' }, 422, 'table-refused', /is shop\.base in the lake, not elsewhere\.base/],
      ['base', { table_config: { key: ['id'] } }, 400, 'bad-body', /table_config/],
    ]
    for (const [name, over, status, code, message] of refusals) {
      const { status: answered, body } = await add(name, over)
      assert.deepEqual([answered, body['code']], [status, code], JSON.stringify(body))
      assert.match(String(body['message']), message)
    }
    assert.match(String((await add('keyless')).body['hint']), /ALTER TABLE "public"\."keyless" ADD PRIMARY KEY/)

    // Two tables of one name in the lake; a partition, and then the table that it is a part of.
    assert.equal((await add('sales_orders')).status, 200)
    const twin = await add('sales_orders', { src_table_name: 'sales.orders' })
    assert.deepEqual([twin.status, twin.body['code']], [422, 'table-refused'])
    assert.match(String(twin.body['message']), /would both become shop\.sales_orders/)
    assert.equal((await add('low')).status, 200)
    assert.match(String((await add('parts')).body['message']), /public\.low is a partition of public\.parts/)

    // A name that belongs to a table that is gone.
    await client.query('DROP TABLE sales_orders; CREATE TABLE sales_orders (id int PRIMARY KEY, n int)')
    const taken = await add('sales_orders')
    assert.deepEqual([taken.status, taken.body['code']], [409, 'table-exists'], JSON.stringify(taken.body))

    await restart()
    const tables = (await engine?.status())?.tables.map(({ table }) => table)
    assert.deepEqual(tables?.toSorted(), ['base', 'low', 'sales_orders'])
    assert.deepEqual(await drop('sales_orders'), { status: 200, body: {} })
    assert.deepEqual((await add('sales_orders')).status, 200)
    await client.query('INSERT INTO sales_orders VALUES (1, 2)')
    assert.equal(await compare('sales_orders'), 1)
  })

  test('only databases of sources that are open to it; what the address says of users is nowhere afterwards', async () => {
    await begin('CREATE TABLE one (id int PRIMARY KEY, n int); INSERT INTO one VALUES (1, 2)')
    const { host, hostname, pathname } = new URL(postgres.url)
    const wrong = [
      `postgres://u:${password}@${hostname}:1${pathname}`,
      `postgres://u:${password}@${host}/template1`,
      `postgres://u:${password}@elsewhere.invalid${pathname}`,
      `mysql://u:${password}@${host}${pathname}`,
      `postgres://u:${password}@${host}/%zz`,
      `host=${hostname} password=${password}`,
      `postgres://${host}${pathname}?host=elsewhere.invalid&password=${password}&sslrootcert=/etc/passwd`,
    ]
    for (const src of wrong) {
      const { status, body } = await add('one', { src_uri: src })
      assert.deepEqual([status, body['code']], [403, 'from-postgres-not-allowed'], src)
      assert.match(String(body['message']), /tables may be added: shop$/)
      assert(!JSON.stringify(body).includes(password))
    }
    assert.equal((await add('one', { src_uri: uri.replace('postgres:', 'postgresql:') })).status, 200)
    await compare('one')
    await engine?.flush()
    const written = await Promise.all(
      (await readdir(folder, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        // One that was written may have another name by now.
        .map((entry) => readFile(join(entry.parentPath, entry.name), 'latin1').catch(() => '')),
    )
    assert(written.filter((text) => text !== '').length > 3)
    assert(log.length > 0)
    for (const text of [...written, log]) assert(!text.includes(password) && !text.includes('somebody'))

    await restart({ http: {} })
    const { status, body } = await add('one')
    assert.deepEqual([status, body['code']], [403, 'from-postgres-not-allowed'])
    assert.match(String(body['hint']), /from-postgres/)
  })

  test('dropped while it streams, it is gone, and can be added again; what the configuration names cannot be dropped', async () => {
    await begin(`CREATE TABLE one (id int PRIMARY KEY, n int NOT NULL); INSERT INTO one VALUES (1, 0); INSERT INTO base VALUES (1, 0);
      CREATE TABLE two (id int PRIMARY KEY, n int NOT NULL)`)
    assert.equal((await add('one')).status, 200)
    assert.equal((await add('two')).status, 200)
    const end = await writing(['base', 'one'])
    await until(async () => Number((await rowsOf('SELECT count(*) FROM shop.one'))[0]) > 20)
    assert.deepEqual(await drop('one'), { status: 200, body: {} })
    assert.equal((await drop('one')).status, 404)
    await assert.rejects(rowsOf('SELECT count(*) FROM shop.one'), { code: 'unknown-table' })
    const { rows } = await client.query("SELECT tablename FROM pg_publication_tables WHERE pubname = 'frazil_shop' ORDER BY 1")
    assert.deepEqual(rows, [{ tablename: 'base' }, { tablename: 'two' }])
    assert.equal((await add('one')).status, 200)
    await end()
    await compare('base')
    await compare('one')

    const named = await drop('base')
    assert.deepEqual([named.status, named.body['code']], [409, 'table-configured'])
    assert.equal(named.body['message'], 'the table public.base is among tables of the source shop in the configuration')
    assert.match(String(named.body['hint']), /^Take it out of them, and start frazil again/)
    await restart({}, ['public.base', 'public.two'])
    const both = await drop('two')
    assert.deepEqual([both.status, both.body['code']], [409, 'table-configured'])
    await client.query('DROP TABLE two')
    await restart()
    assert.equal(await healthOf('two'), 'detached')
    for (const name of ['two', 'one']) assert.deepEqual(await drop(name), { status: 200, body: {} })
    await restart()
    assert.deepEqual(
      (await engine?.status())?.tables.map(({ table }) => table),
      ['base'],
    )
    assert.deepEqual(notices, [])
    await compare('base')
  })

  test('a source that begins with no table, under a publication of somebody else: they stay over restarts', async () => {
    await begin(
      'CREATE TABLE one (id int PRIMARY KEY, n int); INSERT INTO one VALUES (1, 2); CREATE TABLE two (id int PRIMARY KEY, n int)',
      {},
      [],
    )
    await until(async () => (await engine?.status())?.ready === true)
    await restart({}, [])
    assert.equal((await add('one')).status, 200)
    await restart({}, [])
    await compare('one')
    await stop()
    await client.query('CREATE PUBLICATION theirs FOR TABLE base, one')
    const sources = {
      shop: { type: 'postgres' as const, url: postgres.url, tables: [], publication: 'theirs', slot: 'frazil_theirs' },
    }
    await rm(join(folder, 'lake'), { recursive: true })
    await rm(join(folder, '.frazil'), { recursive: true })
    await start({ sources })
    await until(async () => (await engine?.status())?.ready === true)
    assert.equal((await add('one')).status, 200)
    const other = await add('two')
    assert.deepEqual([other.status, other.body['code']], [422, 'table-refused'])
    assert.match(String(other.body['message']), /publication theirs does not send table public\.two/)
    await compare('one')
    await engine?.flush()
    for (const round of [1, 2]) {
      await restart({ sources })
      await client.query('INSERT INTO one VALUES ($1, 0)', [round + 1])
      assert.equal(await compare('one'), round + 1)
      assert.deepEqual(notices, [])
    }
    assert.deepEqual(await drop('one'), { status: 200, body: {} })
    const { rows } = await client.query("SELECT count(*)::int AS n FROM pg_publication_tables WHERE pubname = 'theirs'")
    assert.deepEqual(rows, [{ n: 2 }])
    await client.query('CREATE TABLE other (id int PRIMARY KEY); ALTER PUBLICATION theirs ADD TABLE two')
    assert.equal((await add('two')).status, 200)
    await compare('two')
  })

  test('a table that is gone at the next start keeps nobody from starting, one that came to nothing is copied then', async () => {
    await begin('CREATE TABLE one (id int PRIMARY KEY, n int); CREATE TABLE two (id int PRIMARY KEY, n int)')
    assert.equal((await add('one')).status, 200)
    // The copy waits for this transaction, and the process ends before.
    const blocker = new Client({ connectionString: postgres.url })
    await blocker.connect()
    await blocker.query('BEGIN; SELECT pg_current_xact_id()')
    await client.query('INSERT INTO two VALUES (5, 6)')
    const lost = add('two')
    await until(async () => {
      const { rows } = await client.query(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE_REPL%'",
      )
      return rows.length > 0
    })
    await until(async () => (await healthOf('two')) === 'copying')
    const early = await drop('two')
    assert.deepEqual([early.status, early.body['code']], [503, 'table-not-ready'])
    const closing = engine?.close()
    const { status, body } = await lost
    assert.deepEqual([status, body['code']], [503, 'closed'])
    await blocker.query('COMMIT')
    await blocker.end()
    await closing
    await client.query('DROP TABLE one')

    const settings = resolveConfig(configOf({}, ['public.base']), { folder, env: {} })
    const [{ tables, findings }] = (await checkConfig(settings, false)).sources
    assert.deepEqual(
      tables.map(({ sourceName }) => sourceName),
      ['public.base', 'public.two'],
    )
    assert(findings.some(({ level, message }) => level === 'warning' && message.includes('has no table public.one')))

    await restart()
    await until(async () => (await healthOf('two')) === 'streaming')
    await compare('two')
    await compare('base')
    assert.equal(await healthOf('one'), 'detached')
    const detached = await add('one')
    assert.equal(detached.status, 404, JSON.stringify(detached.body))
    // And once nothing of it is known but its name.
    await restart()
    assert(
      notices.some((notice) => notice.includes('has no table public.one')),
      notices.join('\n'),
    )
    await compare('two')
  })

  test('what a pattern of the configuration means cannot be dropped; partitions, and what is gone, it does not mean', async () => {
    await begin(`CREATE TABLE one (id int PRIMARY KEY, n int); CREATE TABLE gone (id int PRIMARY KEY);
      CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
      CREATE TABLE only_low PARTITION OF parts FOR VALUES FROM (0) TO (10)`)
    for (const name of ['one', 'only_low']) assert.equal((await add(name)).status, 200)
    const tables = ['public.base', 'public.gone', 'public.on*']
    await restart({ sources: { shop: { type: 'postgres', url: postgres.url, tables, 'find-tables': '1s' } } })
    // What is missing of the configuration is in the way of nothing below.
    await client.query('DROP TABLE gone')
    const one = await drop('one')
    assert.deepEqual([one.status, one.body['code']], [409, 'table-configured'])
    const message = 'the table public.one is among tables of the source shop in the configuration: public.on*, which matches it'
    assert.equal(one.body['message'], message)
    assert.match(String(one.body['hint']), /^Write the names of the tables that are meant in the place of public\.on\*/)
    assert.deepEqual(await drop('only_low'), { status: 200, body: {} })
    assert.equal((await add('only_low')).status, 200)
    await client.query('CREATE TABLE only_this (id int PRIMARY KEY, n int)')
    await until(async () => (await healthOf('only_this')) === 'streaming')
    await client.query('DROP TABLE one')
    assert.deepEqual(await drop('one'), { status: 200, body: {} })
    await restart()
    assert.equal(await healthOf('only_low'), 'streaming')
    // Not added, and not named any more.
    const left = await drop('only_this')
    assert.deepEqual([left.status, left.body['code']], [400, 'not-pushed'])
  })

  test('what was gone, or refused, before it came into the lake can be dropped', async () => {
    await begin('CREATE TABLE gone (id int PRIMARY KEY, n int); CREATE TABLE refused (id int PRIMARY KEY, n int)')
    await until(async () => (await healthOf('base')) === 'streaming')
    for (const [name, end] of [
      ['gone', 'DROP TABLE gone'],
      ['refused', 'ALTER TABLE refused DROP CONSTRAINT refused_pkey'],
    ]) {
      // The copy waits for this transaction, and the process ends before.
      const blocker = new Client({ connectionString: postgres.url })
      await blocker.connect()
      await blocker.query('BEGIN; SELECT pg_current_xact_id()')
      const lost = add(name)
      await until(async () => (await healthOf(name)) === 'copying')
      const closing = engine?.close()
      assert.deepEqual((await lost).body['code'], 'closed')
      await blocker.query('COMMIT')
      await blocker.end()
      await closing
      await client.query(end)
      await restart()
    }
    for (const sentence of ['has no table public.gone', 'public.refused has no usable key']) {
      assert(
        notices.some((notice) => notice.includes(sentence)),
        notices.join('\n'),
      )
    }
    for (const name of ['gone', 'refused']) {
      assert.equal(await healthOf(name), undefined)
      assert.deepEqual(await drop(name), { status: 200, body: {} })
      const again = await drop(name)
      assert.deepEqual([again.status, again.body['code']], [404, 'unknown-table'])
    }
    await restart()
    // An interrupted copy that begins again is told of, without a name.
    assert(!notices.some((notice) => /gone|refused/.test(notice)), notices.join('\n'))
    await client.query('ALTER TABLE refused ADD PRIMARY KEY (id); INSERT INTO refused VALUES (1, 2)')
    assert.equal((await add('refused')).status, 200)
    assert.equal(await compare('refused'), 1)
  })

  test('a source that is not open to it any more, or gone, is told of: its tables are not read', async () => {
    await begin('CREATE TABLE one (id int PRIMARY KEY, n int)')
    assert.equal((await add('one')).status, 200)
    await restart({ http: {} })
    assert(
      notices.some((notice) => /tables that were added to it \(1\) are not read/.test(notice)),
      notices.join('\n'),
    )
    assert.equal(await healthOf('one'), 'detached')
    await compare('base')
    await restart({ http: {}, sources: {} })
    assert(
      notices.some((notice) => /added to the source shop, which is not in the configuration/.test(notice)),
      notices.join('\n'),
    )
    await restart()
    const { status, body } = await add('one')
    assert.deepEqual([status, body['code']], [409, 'table-detached'])
    assert.match(String(body['hint']), /resync/)
    await engine?.resync('shop', 'one')
    await client.query('INSERT INTO one VALUES (1, 1)')
    await until(async () => (await healthOf('one')) === 'streaming')
    await compare('one')
    assert.equal(
      (
        await new FrazilClient({ url: server?.url ?? '' }).addFromPostgres({
          database: 'shop',
          table: 'one',
          src_uri: uri,
          src_table_name: 'one',
        })
      ).state,
      'streaming',
    )
  })
})

async function until(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 20))
}
