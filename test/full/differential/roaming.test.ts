import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { FrazilError, seededRandom } from '../../../src/base/index.ts'
import type { Engine } from '../../../src/engine/index.ts'
import { EventBus } from '../../../src/observe/index.ts'
import { agree, answeredRows, walPosition } from '../../support/compare.ts'
import { open } from '../../support/engine.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres, PostgresMajor } from '../../support/postgres.ts'
import { RoamingTables } from '../../support/roaming-tables.ts'
import { connect, workloadSettings } from '../../support/workload.ts'

// As for the differential test.
const wanted = process.env['FRAZIL_SEEDS'] ?? '12'
const base = Number(process.env['FRAZIL_SEED_BASE'] ?? 1)
const seeds = wanted.includes(',') ? wanted.split(',').map(Number) : Array.from({ length: Number(wanted) }, (_, i) => base + i)

const majors: readonly PostgresMajor[] = [14, 16, 18]
const servers = new Map<PostgresMajor, EmbeddedPostgres>()

before(async () => {
  for (const major of majors) servers.set(major, await startPostgres({ major, settings: workloadSettings }))
})

after(async () => {
  for (const server of servers.values()) await server.stop()
})

const phases = 4
const stepsInPhase = 25

for (const seed of seeds) {
  const major = majors[seed % majors.length]
  test(
    `seed ${seed}: tables whose keys, names and types change while they are copied again and again, Postgres ${major}`,
    {
      timeout: 300_000,
    },
    () => roam(seed, servers.get(major)?.url ?? ''),
  )
}

/** Copies, restarts, and transactions that hold up slots, far more often than beside the whole workload. */
async function roam(seed: number, serverUrl: string): Promise<void> {
  const name = `roaming_${seed}`
  const random = seededRandom(seed)
  const admin = await connect(serverUrl)
  await admin.query(`CREATE DATABASE ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  const folder = await mkdtemp(join(tmpdir(), 'frazil-roaming-'))
  const client = await connect(url.href)
  const slow = await connect(url.href)
  for (const statement of RoamingTables.ddl) await client.query(statement)
  const roaming = await RoamingTables.open(url.href, seed)
  const start = async (): Promise<Engine> => {
    const { engine } = await open(
      {
        warehouse: join(folder, 'lake'),
        local: join(folder, 'local'),
        memory: '64MB',
        commit: { every: ['100ms', '500ms', '5s'][seed % 3], bytes: '4MB' },
        pipelines: seed % 2 === 0 ? 'inline' : 'worker',
        query: { memory: '256MB', threads: 1 },
        sources: {
          shop: { type: 'postgres', url: url.href, tables: [...RoamingTables.sqlNames], slot: name, publication: name },
        },
      },
      { events: new EventBus() },
    )
    return engine
  }
  const pause = (most: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, random.below(most)))
  let engine = await start()
  const restart = async (): Promise<void> => {
    await engine.close()
    engine = await start()
  }
  try {
    for (let phase = 0; phase < phases; phase++) {
      const load = { runs: true }
      const write = async (): Promise<void> => {
        for (let i = 0; i < stepsInPhase; i++) {
          await roaming.step()
          await pause(100)
        }
      }
      const hold = async (): Promise<void> => {
        while (load.runs) {
          await slow.query('BEGIN; SELECT txid_current()')
          await pause(60)
          await slow.query('COMMIT')
          await pause(30)
        }
      }
      const disturb = async (): Promise<void> => {
        while (load.runs) {
          const chance = random.below(10)
          if (chance < 3) await engine.flush()
          else if (chance < 5) await copyAll(engine)
          else if (chance < 7) await restart()
          else await pause(200)
        }
      }
      await Promise.all([write().finally(() => (load.runs = false)), hold(), disturb()])
      // A table that was made anew is noticed then.
      if (roaming.isRemade) await restart()
      roaming.isRemade = false
      await roaming.tell()
      await whole(engine, await walPosition(client))
      const sql = async (
        text: string,
      ): Promise<{ columns: Awaited<ReturnType<Engine['execute']>>['columns']; rows: unknown[][] }> => {
        const { columns, body } = await engine.execute(text, { numbersAsStrings: true })
        return { columns, rows: JSON.parse(Buffer.from(body).toString()) as unknown[][] }
      }
      await agree(client, await roaming.now(), `phase ${phase}`, (table) => answeredRows(sql, table))
      // A lake that has the tables knows them by other names as well.
      await engine.flush()
      roaming.mayRoam = true
    }
  } finally {
    await engine.close()
    for (const connection of [client, slow]) await connection.end()
    await roaming.close()
    await admin.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1', [name])
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
    await rm(folder, { recursive: true, force: true })
  }
}

async function copyAll(engine: Engine): Promise<void> {
  for (const { table, visible } of (await engine.status()).tables) {
    if (visible === null) continue
    try {
      await engine.resync('shop', table)
    } catch (error) {
      // It is gone just now, or goes by another name.
      if (!(error instanceof FrazilError)) throw error
    }
  }
}

async function whole(engine: Engine, position: string): Promise<void> {
  await engine.execute('SELECT 1', { wait: { shop: position }, waitTimeoutMs: 120_000 })
  const deadline = Date.now() + 120_000
  for (;;) {
    const { ready, reasons, tables } = await engine.status()
    const left = tables.filter(({ health, copy }) => health !== 'streaming' || copy !== null)
    if (ready && left.length === 0 && tables.length === RoamingTables.sqlNames.length) return
    const found = left.map(({ table, health, reason }) => `${table} is ${health}: ${reason}`)
    assert.ok(Date.now() < deadline, `not whole: ${[...reasons, ...found].join('; ')}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
