import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { frazil, start } from './frazil.ts'
import type { Running } from './frazil.ts'

interface LogLine {
  readonly level: string
  readonly msg: string
  readonly url?: string
  readonly remove?: string
}

suite('frazil run', () => {
  let postgres: EmbeddedPostgres
  let client: Client
  let folder: string
  let file: string
  before(async () => {
    postgres = await startPostgres()
    client = new Client({ connectionString: postgres.url })
    await client.connect()
    await client.query('create table items (id bigint primary key, name text); insert into items values (1, $$one$$)')
    folder = mkdtempSync(join(tmpdir(), 'frazil-run-'))
    file = join(folder, 'frazil.yaml')
    const source = `type: postgres, url: "${postgres.url}", tables: [public.items]`
    writeFileSync(file, `listen: 127.0.0.1:0\nsources: {shop: {${source}}}\n`)
  })
  after(async () => {
    await client.end()
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const logOf = (text: string): LogLine[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as LogLine)

  /** Starts a daemon and waits until it has the table. */
  async function startReady(): Promise<{ daemon: Running; url: string }> {
    const daemon = start(['run', file])
    const listening = JSON.parse(await daemon.line('"listening"')) as LogLine
    const url = listening.url ?? assert.fail('no address')
    for (;;) {
      const response = await fetch(`${url}/ready`)
      await response.text()
      if (response.ok) return { daemon, url }
      await Promise.race([delay(20), daemon.finished.then(({ err }) => assert.fail(`the daemon ended: ${err}`))])
    }
  }

  const isLinux = process.platform === 'linux'
  test('runs with an allocator and a nursery that keep its memory small', { skip: !isLinux }, async () => {
    const daemon = start(['run', file], { nodeFlags: ['--no-deprecation'], env: { MALLOC_ARENA_MAX: '3' } })
    try {
      await daemon.line('"listening"')
      const [, ...flags] = readFileSync(`/proc/${daemon.process.pid}/cmdline`, 'utf8').split('\0')
      assert.deepEqual(flags.slice(0, 2), ['--max-semi-space-size=4', '--no-deprecation'], 'flags are kept')
      const began = readFileSync(`/proc/${daemon.process.pid}/environ`, 'utf8').split('\0')
      assert(began.includes('MALLOC_TRIM_THRESHOLD_=131072'))
      assert(began.includes('MALLOC_ARENA_MAX=3'), 'what was set is kept')
    } finally {
      daemon.process.kill('SIGTERM')
    }
    assert.equal((await daemon.finished).code, 0)
  })

  test('mirrors, answers, and stops cleanly at SIGTERM', async () => {
    const { daemon, url } = await startReady()
    try {
      await client.query('insert into items values (2, $$two$$)')
      const { out } = await frazil(['query', '-c', file, '--wait', '-f', 'csv', 'select id, name from shop.items order by id'])
      assert.equal(out, 'id,name\r\n1,one\r\n2,two\r\n')
      const row = await fetch(`${url}/tables/shop/items/rows/2`)
      assert.deepEqual(await row.json(), { id: 2, name: 'two' })
      await client.query('update items set name = $$zwei$$ where id = 2')
      for (const tables of [[], ['shop.items']]) {
        const optimized = await frazil(['optimize', '-c', file, ...tables])
        assert.deepEqual([optimized.code, optimized.out], [0, 'shop.items is rewritten\n'], optimized.err)
      }
      assert.equal((await frazil(['optimize', '-c', file, 'shop.nothing'])).code, 1)
      const second = await frazil(['run', file])
      assert.equal(second.code, 5)
      assert.match(second.err, new RegExp(`\\b${daemon.process.pid}\\b`))
    } finally {
      daemon.process.kill('SIGTERM')
    }
    const { code, out, err } = await daemon.finished
    assert.equal(code, 0, err)
    const lines = logOf(out)
    assert(lines.some(({ msg, remove }) => msg.includes('replication slot frazil_shop stays') && remove === 'frazil drop shop'))
    assert.equal(lines.at(-1)?.msg, 'stopped')
    const slots = await client.query<{ active: boolean }>('select active from pg_replication_slots')
    assert.deepEqual(slots.rows, [{ active: false }])
  })

  test('without a daemon the lake is read, and drop removes what was left at the server', async () => {
    const { code, out, err } = await frazil(['query', '-c', file, '-f', 'csv', 'select id, name from shop.items order by id'])
    assert.equal(out, 'id,name\r\n1,one\r\n2,zwei\r\n', err)
    assert.equal(code, 0)
    for (const command of [['optimize'], ['tables'], ['query', '--wait', 'select 1']]) {
      const needy = await frazil([...command, '-c', file])
      assert.equal(needy.code, 4, command.join(' '))
      assert.match(needy.err, /no daemon runs/)
    }
    const dropped = await frazil(['drop', 'shop', '-c', file])
    assert.equal(dropped.code, 0, dropped.err)
    assert.match(dropped.out, /frazil_shop/)
    const slots = await client.query('select 1 from pg_replication_slots union all select 1 from pg_publication')
    assert.equal(slots.rowCount, 0)
  })

  test('a slot that somebody drops ends it, and nobody is told that it stays', async () => {
    const other = join(folder, 'dropped.yaml')
    const source = `type: postgres, url: "${postgres.url}", tables: [public.items], slot: dropped, publication: dropped`
    writeFileSync(other, `warehouse: ./dropped\nlocal: ./dropped-local\nlisten: 127.0.0.1:0\nsources: {shop: {${source}}}\n`)
    const daemon = start(['run', other])
    await daemon.line('"source streaming"')
    await client.query(`do $$ begin
      loop
        begin
          perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'dropped';
          perform pg_drop_replication_slot('dropped');
          return;
        exception when object_in_use then perform pg_sleep(0.01);
        end;
      end loop;
    end $$`)
    const { code, out, err } = await daemon.finished
    assert.equal(code, 6, err)
    assert.match(err, /^frazil: replication slot dropped is gone\n.*frazil resync shop/)
    assert(!out.includes('stays on the server'), out)
    const checked = await frazil(['check', other])
    assert.equal(checked.code, 1)
    assert.match(checked.out, /^error {3}shop: replication slot dropped is gone$/m)
    await client.query('drop publication dropped')
  })

  test('a server that does not answer: a sentence without the password, exit 1 of check and 4 of run', async () => {
    const other = join(folder, 'unreachable.yaml')
    const source = 'type: postgres, url: "postgres://postgres:hunter2@127.0.0.1:1/shop", tables: [public.items]'
    writeFileSync(other, `warehouse: ./other\nlocal: ./other-local\nlisten: 127.0.0.1:0\nsources: {shop: {${source}}}\n`)
    const checked = await frazil(['check', other])
    assert.equal(checked.code, 1)
    assert.match(checked.out, /^error   shop: Postgres at 127\.0\.0\.1:1 cannot be reached/m)
    const { code, out, err } = await frazil(['run', other])
    assert.equal(code, 4)
    assert.match(err, /^frazil: Postgres at 127\.0\.0\.1:1 cannot be reached/)
    assert(!(out + err + checked.out).includes('hunter2'))
  })
})
