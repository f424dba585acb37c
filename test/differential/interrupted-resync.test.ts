import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { EventBus } from '../../src/index.ts'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'
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
  folder = await mkdtemp(join(tmpdir(), 'frazil-interrupted-'))
})

after(async () => {
  await client.end()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 150_000
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`waited too long until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** A lake of one table, and a transaction that keeps snapshots, and so copies, waiting. */
class Lake {
  copies = 0
  onDetached: () => void = () => {}
  /** Of the settings. */
  tables: readonly string[]
  readonly #name: string
  readonly #blocker = new Client(server.url)
  #engine: Frazil | null = null

  constructor(name: string) {
    this.#name = name
    this.tables = [name]
  }

  get engine(): Frazil {
    assert.ok(this.#engine)
    return this.#engine
  }

  async create(): Promise<void> {
    await client.query(`create table ${this.#name} (id int primary key, a text); insert into ${this.#name} values (1, '1')`)
    await this.#blocker.connect()
  }

  async block(): Promise<void> {
    await this.#blocker.query('begin; select pg_current_xact_id()')
  }

  async begin(): Promise<void> {
    await this.create()
    await this.open()
    await this.whole(['1|1'])
    assert.equal(this.copies, 1)
    await this.block()
  }

  async open(): Promise<void> {
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'copied') this.copies++
      if (event.type === 'table' && event.health === 'detached') this.onDetached()
    })
    const name = this.#name
    const config = {
      warehouse: join(folder, name, 'lake'),
      local: join(folder, name, 'local'),
      memory: '64MB',
      sources: { s: { type: 'postgres' as const, url: server.url, tables: [...this.tables], slot: name, publication: name } },
    }
    this.#engine = await open(config, { events })
  }

  async close(): Promise<void> {
    await this.#engine?.close()
    this.#engine = null
  }

  /** A copy waits for its snapshot. */
  async blocked(): Promise<void> {
    await until('a copy waits', async () => {
      const { rows } = await client.query(
        "select from pg_replication_slots where slot_name like $1 || '%' and confirmed_flush_lsn is null",
        [this.#name],
      )
      return rows.length > 0
    })
  }

  async unblock(): Promise<void> {
    await this.#blocker.query('rollback')
  }

  /** Healthy, not being copied, and with these rows. */
  async whole(rows: readonly string[]): Promise<void> {
    await until('the table is whole', async () => {
      const wait = { s: await walPosition(client) }
      await this.engine.query('select 1', { wait })
      const status = (await this.engine.status()).tables.find(({ table }) => table === this.#name)
      return status?.health === 'streaming' && status.copy === null
    })
    const answer = await this.engine.query(`select * from s.${this.#name} order by 1`)
    const found = answer.rows.map((row) => row.map(String).join('|'))
    assert.deepEqual(found, rows)
  }

  async end(): Promise<void> {
    await this.#blocker.end()
    await this.close()
  }
}

test(
  'a table that has changed is copied anew again when it has changed once more before its copy',
  { timeout: 240_000 },
  async () => {
    const lake = new Lake('twice')
    try {
      await lake.begin()
      await client.query('alter table twice alter a type int using 1; insert into twice values (2, 2)')
      await lake.blocked()
      await client.query('alter table twice rename a to b; alter table twice add c int; insert into twice values (3, 3, 3)')
      await lake.unblock()
      await lake.whole(['1|1|null', '2|2|null', '3|3|3'])
    } finally {
      await lake.end()
    }
  },
)

test(
  'a table that is to be copied anew because it has changed is, when everything stops before that',
  { timeout: 240_000 },
  async () => {
    const lake = new Lake('stopped')
    try {
      await lake.begin()
      await client.query('alter table stopped alter a type int using 1; insert into stopped values (2, 2)')
      await lake.blocked()
      const closed = lake.close()
      await lake.unblock()
      await closed
      await lake.open()
      await lake.whole(['1|1', '2|2'])
    } finally {
      await lake.end()
    }
  },
)

test(
  'a healthy table that was asked to be copied again is, when everything stops before that',
  { timeout: 240_000 },
  async () => {
    const lake = new Lake('asked')
    try {
      await lake.begin()
      await lake.engine.table('s.asked').resync()
      await lake.blocked()
      await client.query("insert into asked values (2, '2')")
      const closed = lake.close()
      await lake.unblock()
      await closed
      await lake.open()
      await until('it was copied', async () => lake.copies === 2)
      await lake.whole(['1|1', '2|2'])
      await lake.engine.table('s.asked').resync()
      await until('it was copied once more', async () => lake.copies === 3)
    } finally {
      await lake.end()
    }
  },
)

test('a table that was renamed is copied again as the table that it is', { timeout: 240_000 }, async () => {
  const lake = new Lake('called')
  try {
    await lake.begin()
    await lake.unblock()
    await client.query("alter table called rename to other_called; insert into other_called values (2, '2')")
    await client.query('alter table other_called alter a type int using 1; insert into other_called values (3, 3)')
    await until('it was copied', async () => lake.copies === 2)
    await lake.whole(['1|1', '2|1', '3|3'])
    await lake.close()
    await lake.open()
    await client.query('insert into other_called values (4, 4)')
    await lake.whole(['1|1', '2|1', '3|3', '4|4'])
  } finally {
    await lake.end()
  }
})

test(
  'a new table whose first copy has failed is copied anew, when everything stops before that',
  { timeout: 240_000 },
  async () => {
    const lake = new Lake('fresh')
    try {
      await client.query('create table old (id int primary key); insert into old values (1)')
      lake.tables = ['old']
      await lake.create()
      await lake.open()
      await lake.engine.query('select 1', { wait: 'now' })
      await lake.engine.flush()
      await lake.close()
      lake.tables = ['old', 'fresh']
      await lake.block()
      await lake.open()
      // The next copy waits as well.
      const failed = new Promise<void>((resolve) => (lake.onDetached = () => resolve(lake.block())))
      await lake.blocked()
      await client.query("alter table fresh add b int; insert into fresh values (2, '2', 2)")
      await lake.unblock()
      await failed
      const closed = lake.close()
      await lake.unblock()
      await closed
      for (let starts = 0; starts < 2; starts++) {
        await lake.open()
        await lake.whole(['1|1|null', '2|2|2'])
        await lake.close()
      }
    } finally {
      await lake.end()
    }
  },
)

test('a table that was dropped and made anew is copied in the place of the old one', { timeout: 240_000 }, async () => {
  const lake = new Lake('anew')
  const make = "drop table anew; create table anew (id int primary key, a text, b int); insert into anew values (5, 'new', 5)"
  try {
    await lake.begin()
    await lake.unblock()
    // What was changed before can be read by nobody any more.
    await client.query(`begin; alter table anew add b int; insert into anew values (2, '2', 2); ${make}; commit`)
    await until('it was copied', async () => lake.copies === 2)
    await lake.whole(['5|new|5'])
    await lake.close()
    await client.query(make.replace("5, 'new', 5", "6, 'newer', 6"))
    await lake.open()
    await until('it was copied', async () => lake.copies === 3)
    await lake.whole(['6|newer|6'])
  } finally {
    await lake.end()
  }
})
