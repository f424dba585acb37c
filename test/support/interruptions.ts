import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { walPosition } from './compare.ts'
import { Daemon } from './daemon.ts'
import { changeRows, completeParts, createPartedTable, partedRowsSql } from './part-copy.ts'
import { TcpProxy } from './tcp-proxy.ts'
import { connect } from './workload.ts'

/** Lets connections through until one has given so many bytes; then all of them hear nothing any more. */
export function silenceAfter(proxy: TcpProxy, bytes: number): void {
  proxy.tap = () => {
    let seen = 0
    return {
      fromClient: () => undefined,
      fromServer: (chunk) => {
        seen += chunk.length
        if (seen >= bytes) proxy.silence()
      },
    }
  }
}

export interface Interruptions {
  /** Of the server. */
  readonly url: string
  readonly name: string
  readonly partitioned: boolean
  readonly kills: number
  readonly seed: number
}

/**
 * SIGKILL in the copy of a table, again and again, while its rows change, and between. Parts that were complete are not copied again; at the
 * end the table is Postgres's.
 */
export async function runInterruptions({ url, name, partitioned, kills, seed }: Interruptions): Promise<void> {
  const client = await connect(url)
  const folder = await mkdtemp(join(tmpdir(), 'frazil-interrupted-'))
  const proxy = await TcpProxy.before(Number(new URL(url).port))
  const daemons: Daemon[] = []
  const random = seededRandom(seed)
  let number = 0
  const change = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) await changeRows(client, name, random, () => ++number)
  }
  const start = async (): Promise<Daemon> => {
    const daemon = await Daemon.spawn({
      folder,
      config: {
        warehouse: join(folder, 'lake'),
        local: join(folder, 'local'),
        memory: '64MB',
        query: { memory: '256MB', threads: 1 },
        sources: {
          shop: {
            type: 'postgres',
            url: proxy.through(url),
            tables: [`public.${name}`],
            slot: name,
            publication: name,
            copy: { connections: 2, part: '1MB' },
          },
        },
      },
    })
    daemons.push(daemon)
    return daemon
  }
  const copied = async (daemon: Daemon): Promise<number> => {
    const { tables } = JSON.parse((await daemon.get('/tables')).text) as { tables: { copy: { rows: number } | null }[] }
    return tables[0]?.copy?.rows ?? 0
  }
  try {
    // Each of two connections has copied at most three parts when it falls silent, so some are left for every kill.
    await createPartedTable(client, name, partitioned, kills * 15_000)
    let remembered = new Map<number, number>()
    for (let kill = 0; kill < kills; kill++) {
      silenceAfter(proxy, (2 + random.below(2)) * 1e6)
      const daemon = await start()
      const rows = [...remembered.values()].reduce((sum, one) => sum + one, 0)
      const parts = remembered.size
      await daemon.until('more parts are complete', async () => completeParts(join(folder, 'lake'), name).size > parts)
      if (kill > 0) {
        assert.match(daemon.log, new RegExp(`goes on: ${parts} of its parts are complete`))
        await daemon.until('progress begins above zero', async () => (await copied(daemon)) >= rows)
      }
      await change(6)
      await daemon.kill()
      remembered = completeParts(join(folder, 'lake'), name)
      assert.ok(remembered.size > parts)
      await change(12)
    }
    proxy.tap = null
    const daemon = await start()
    await daemon.until('it goes on', async () => daemon.log.includes(`goes on: ${remembered.size} of its parts are complete`))
    await change(10)
    await daemon.ready()
    await change(10)
    await same(client, daemon, name)
    assert.equal(completeParts(join(folder, 'lake'), name).size, 0, 'nothing is left of the parts')
    await daemon.kill()
    const again = await start()
    await again.ready()
    await same(client, again, name)
    assert.equal(await again.terminate(), 0, again.log)
  } catch (error) {
    for (const daemon of daemons) console.error(daemon.log.slice(-3000))
    throw error
  } finally {
    for (const daemon of daemons) await daemon.kill()
    await proxy.close()
    await client.end()
    await rm(folder, { recursive: true, force: true })
  }
}

async function same(client: pg.Client, daemon: Daemon, name: string): Promise<void> {
  await daemon.visible('shop', await walPosition(client))
  const { rows } = await client.query<Record<string, unknown>>(partedRowsSql(name))
  const answer = await daemon.query(partedRowsSql(`shop.${name}`))
  const text = (values: readonly unknown[]): string => values.map(String).join(' ')
  const ours = answer.rows.map((row) => text(row))
  const theirs = rows.map((row) => text(Object.values(row)))
  assert.equal(ours.length, theirs.length)
  for (const [i, row] of theirs.entries()) assert.equal(ours[i], row)
}
