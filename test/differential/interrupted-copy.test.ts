import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { EventBus } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { walPosition } from '../support/compare.ts'
import { changeRows, createPartedTable, partedRowsSql } from '../support/part-copy.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: { max_replication_slots: '20' } })
})

after(() => server.stop())

for (const seed of [1, 2]) {
  test(`a copy in parts whose connections are lost again and again, seed ${seed}`, { timeout: 180_000 }, async () => {
    const name = `cut_${seed}`
    const random = seededRandom(seed)
    const client = await connect(server.url)
    const folder = await mkdtemp(join(tmpdir(), 'frazil-cut-'))
    const proxy = await TcpProxy.before(Number(new URL(server.url).port))
    const events = new EventBus()
    let goneOn = 0
    let complete = 0
    const said: string[] = []
    events.on((event) => {
      if (['notice', 'retry', 'table', 'error', 'copied'].includes(event.type)) said.push(JSON.stringify(event))
      if (event.type !== 'notice') return
      const parts = /goes on: (\d+) of its parts/.exec(event.message)
      if (!parts) return
      assert.ok(Number(parts[1]) >= complete, 'no part is lost')
      complete = Number(parts[1])
      goneOn++
    })
    let number = 0
    let changing: Promise<void> | null = null
    const load = { on: true }
    const change = async (): Promise<void> => {
      while (load.on) {
        for (let i = 0; i < 3; i++) await changeRows(client, name, random, () => ++number)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    // Connections end after some of the rows, until the copy has gone on a few times; those made later last.
    proxy.cutAfter = () => (goneOn < 3 ? 300_000 + random.below(3_000_000) : Number.POSITIVE_INFINITY)
    try {
      await createPartedTable(client, name, seed % 2 === 0)
      const url = proxy.through(server.url)
      const copy = { connections: 2, part: '1MB' }
      const sources = {
        shop: { type: 'postgres' as const, url, tables: [`public.${name}`], slot: name, publication: name, copy },
      }
      const opening = open({ warehouse: join(folder, 'lake'), local: join(folder, 'local'), sources }, { events })
      changing = change()
      await using engine = await opening
      const same = async (when: string): Promise<void> => {
        load.on = false
        await changing
        const answer = await engine.query(partedRowsSql(`shop.${name}`), { wait: { shop: await walPosition(client) } })
        const { rows } = await client.query<Record<string, unknown>>(partedRowsSql(name))
        const text = (values: readonly unknown[]): string => values.map(String).join(' ')
        assert.deepEqual(
          answer.rows.map(text),
          rows.map((row) => text(Object.values(row))),
          when,
        )
      }
      const streaming = async (): Promise<boolean> => {
        const { tables } = await engine.status()
        return tables.length === 1 && tables[0].health === 'streaming' && tables[0].copy === null
      }
      const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> => {
        const deadline = Date.now() + 150_000
        while (!(await condition())) {
          if (Date.now() > deadline) throw new Error(`waited too long until ${what}: ${said.join('; ')}`)
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
      await until('it streams', streaming)
      await same('after the first copy')
      assert.ok(goneOn > 0, 'the first copy went on')
      // Beside the stream, which is cut as well.
      goneOn = 0
      complete = 0
      proxy.cut()
      load.on = true
      changing = change()
      await engine.table(`shop.${name}`).resync()
      await until('the second copy has gone on', () => goneOn > 0)
      await until('it streams', streaming)
      await same('after the second copy')
    } finally {
      load.on = false
      await changing
      await proxy.close()
      await client.end()
      await rm(folder, { recursive: true, force: true })
    }
  })
}
