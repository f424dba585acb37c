import type pg from 'pg'
import type { Daemon } from '../../test/support/daemon.ts'

/** Milliseconds, sorted. */
export type Latencies = readonly number[]

export function percentile(latencies: Latencies, percent: number): number {
  return latencies[Math.min(latencies.length - 1, Math.floor((latencies.length * percent) / 100))]
}

export type Probe = (id: number) => Promise<boolean>

/** Asks by SQL whether the row is there. */
export function byQuery(frazil: Daemon, table: string): Probe {
  return async (id) => (await frazil.query(`SELECT id FROM bench.${table} WHERE id = $1`, undefined, [id])).rows.length === 1
}

/** Asks by the look-up route. */
export function byLookup(frazil: Daemon, table: string): Probe {
  return async (id) => (await frazil.get(`/tables/bench/${table}/rows/${id}`)).status === 200
}

const givenUpMs = 10_000

/**
 * Inserts one row in `everyMs` on `client` and asks `probe` again and again, from the commit's return until it is seen. The next
 * one is not written before: a slow answer lowers the rate, it does not hide behind others.
 */
export async function commitToVisible(
  client: pg.Client,
  table: string,
  probe: Probe,
  parts: { readonly firstId: number; readonly count: number; readonly everyMs: number },
): Promise<Latencies> {
  const latencies: number[] = []
  const start = performance.now()
  for (let i = 0; i < parts.count; i++) {
    const due = start + i * parts.everyMs
    const early = due - performance.now()
    if (early > 1) await new Promise((resolve) => setTimeout(resolve, early))
    const id = parts.firstId + i
    await client.query(`INSERT INTO ${table} VALUES (${id}, 1, repeat('x', 55), now(), 0.5)`)
    const committed = performance.now()
    while (!(await probe(id))) {
      if (performance.now() - committed > givenUpMs) throw new Error(`row ${id} of ${table} was not seen within ${givenUpMs} ms`)
    }
    latencies.push(performance.now() - committed)
  }
  return latencies.sort((a, b) => a - b)
}
