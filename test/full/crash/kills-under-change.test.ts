import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { seededRandom } from '../../../src/base/index.ts'
import { checkLake } from '../../support/check-lake.ts'
import { agree, answeredRows, walPosition } from '../../support/compare.ts'
import { Mirror } from '../../support/crash.ts'
import type { Daemon } from '../../support/daemon.ts'
import { OddChanges } from '../../support/odd-changes.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { randomLayouts } from '../../support/random-layout.ts'
import { RoamingTables } from '../../support/roaming-tables.ts'
import { SchemaDrift } from '../../support/schema-drift.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { workloadSettings } from '../../support/workload.ts'
import { workloadTables } from '../../support/workload-tables.ts'

// Minutes for each seed: FRAZIL_SEEDS says how many, FRAZIL_SEED_BASE the first. FRAZIL_POSTGRES=14 and 16 run it there.
const seeds = Number(process.env['FRAZIL_SEEDS'] ?? 0)
const firstSeed = Number(process.env['FRAZIL_SEED_BASE'] ?? 700_000)
const kills = 4

let server: EmbeddedPostgres

before(async () => {
  if (seeds > 0) server = await startPostgres({ settings: workloadSettings })
})

after(async () => {
  if (seeds > 0) await server.stop()
})

test(
  'killed or ended while tables change in every way, connections are cut, and copies and rewrites are asked for: all tables are whole',
  { timeout: 1_000_000 * seeds, skip: seeds === 0 && 'FRAZIL_SEEDS says how many' },
  async () => {
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) await run(seed)
  },
)

interface Changer {
  step(): Promise<void>
  close(): Promise<void>
}

async function run(seed: number): Promise<void> {
  const random = seededRandom(seed)
  const mirror = await Mirror.create({ url: server.url, seed, writers: 1 })
  for (const statement of RoamingTables.ddl) await mirror.client.query(statement)
  const proxy = await TcpProxy.before(Number(new URL(mirror.url).port))
  const roaming = await RoamingTables.open(mirror.url, seed + 1)
  const drift = await SchemaDrift.open(mirror.url, workloadTables, seed + 2)
  const changers: readonly Changer[] = [roaming, drift, await OddChanges.open(mirror.url, workloadTables, seed + 3)]
  const config = {
    memory: seed % 2 === 0 ? '24MB' : '64MB',
    pipelines: random.below(2) === 0 ? 'inline' : 'worker',
    commit: { every: ['100ms', '500ms', '2s'][random.below(3)], bytes: '4MB' },
    tables: random.below(2) === 0 ? randomLayouts(workloadTables, random) : {},
    sources: {
      shop: {
        type: 'postgres',
        url: proxy.through(mirror.url),
        tables: [...workloadTables.map((table) => table.sqlName), ...RoamingTables.sqlNames],
        slot: mirror.name,
        publication: mirror.name,
        copy: { part: '1MB', connections: 2 },
        // One such column has the whole stream in text form.
        columns: seed % 4 < 2 ? { 'public.orders.note': 'text' } : {},
      },
    },
  }
  let stop = new AbortController()
  let changing: Promise<void>[] = []
  const change = (): void => {
    stop = new AbortController()
    const { signal } = stop
    mirror.load()
    changing = changers.map(async (one) => {
      while (!signal.aborted) {
        await one.step()
        await pause(random.below(1200))
      }
    })
    for (const one of changing) one.catch(() => undefined)
  }
  const calm = async (): Promise<void> => {
    stop.abort()
    await Promise.all([...changing, mirror.calm()])
  }
  const isWhole = async (daemon: Daemon): Promise<boolean> => {
    const { tables } = JSON.parse((await daemon.get('/tables')).text) as {
      tables: { table: string; health: string; reason: string; copy: unknown }[]
    }
    const isReady = tables.every(({ health, copy }) => health === 'streaming' && copy === null)
    return isReady && tables.length === workloadTables.length + RoamingTables.sqlNames.length
  }
  const same = async (daemon: Daemon, when: string): Promise<void> => {
    await SchemaDrift.tell(mirror.client, workloadTables)
    await roaming.tell()
    await daemon.ready(250)
    await daemon.visible('shop', await walPosition(mirror.client), 300)
    await daemon.until('all tables are whole', () => isWhole(daemon), 120)
    await daemon.visible('shop', await walPosition(mirror.client), 300)
    const tables = await roaming.now()
    for (const table of workloadTables) tables.push(await SchemaDrift.now(mirror.client, table))
    await agree(mirror.client, tables, `our SQL ${when}`, (table) => answeredRows((sql) => daemon.query(sql), table))
    await checkLake(join(mirror.folder, 'lake'))
  }
  /** Until it is over, which the daemon's end is, too. */
  const disturb = async (daemon: Daemon, isOver: () => boolean): Promise<void> => {
    while (!isOver() && daemon.running) {
      const table = workloadTables[random.below(workloadTables.length)].lakeName
      const wish = ['resync', 'optimize', 'snapshot', 'cut', 'nothing'][random.below(5)]
      if (wish === 'cut') proxy.cut()
      else if (wish !== 'nothing')
        await daemon.post(`/tables/${encodeURIComponent(table)}/${wish}`, { database: 'shop', table }).catch(() => undefined)
      await pause(random.below(200))
    }
  }
  let doing = 'the first start'
  let daemon = await mirror.daemon({ config })
  try {
    change()
    for (let kill = 1; kill <= kills; kill++) {
      doing = `kill ${kill}`
      if (kill > 1) daemon = await mirror.daemon({ config })
      // At once, it may be hit in its start; SIGTERM is for one that has its handler.
      const isReady = random.below(3) > 0
      if (isReady) await daemon.ready(250)
      let isOver = false
      const disturbing = disturb(daemon, () => isOver)
      await pause(random.below(3000))
      assert.ok(daemon.running, daemon.log)
      isOver = true
      if (isReady && random.below(4) === 0) {
        await disturbing
        assert.equal(await daemon.terminate(), 0, daemon.log)
      } else {
        await daemon.kill()
        await disturbing
      }
      if (existsSync(join(mirror.folder, 'lake', 'catalog.db'))) await checkLake(join(mirror.folder, 'lake'))
      if (kill % 2 > 0) continue
      doing = `after kill ${kill}`
      await calm()
      daemon = await mirror.daemon({ config })
      await same(daemon, doing)
      roaming.mayRoam = true
      change()
      await pause(random.below(1000))
      await daemon.kill()
    }
    for (doing of ['at the end', 'after a clean stop']) {
      await calm()
      daemon = await mirror.daemon({ config })
      await same(daemon, doing)
      assert.equal(await daemon.terminate(), 0, daemon.log)
    }
  } catch (error) {
    throw new Error(`seed ${seed}, ${doing}; ${daemon.log.slice(-2000)}`, { cause: error })
  } finally {
    stop.abort()
    for (const one of changers) await one.close()
    await mirror.end()
    await proxy.close()
  }
}
