import type { Client } from 'pg'
import type { Engine } from '../../engine/index.ts'
import { comparisons, shopTables } from './shop.ts'

export interface Comparison {
  readonly table: string
  readonly rows: number
  readonly equal: boolean
}

/** Counts and sums of each table, in Postgres and in the lake at the same position. Nothing may write meanwhile. */
export async function compareShop(client: Client, engine: Engine): Promise<Comparison[]> {
  const results: Comparison[] = []
  for (const table of shopTables) {
    const statement = comparisons[table]
    const { rows } = await client.query<string[]>({ text: statement.replace('{schema}', 'public'), rowMode: 'array' })
    const answer = await engine.execute(statement.replace('{schema}', 'shop'), { wait: 'now', numbersAsStrings: true })
    const [ours] = JSON.parse(Buffer.from(answer.body).toString()) as unknown[][]
    const equal = rows[0].every((value, i) => value === String(ours[i]))
    results.push({ table, rows: Number(rows[0][0]), equal })
  }
  return results
}
