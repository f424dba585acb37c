import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import type { Random } from '../../src/base/index.ts'

// A table whose copy goes by parts, and everything that can happen to its rows while a copy of it is interrupted.

/** A table of so many rows, 2,000 to a part of the least size. A row's `doc` lies out of line, and does not come with other changes. */
export async function createPartedTable(client: pg.Client, name: string, partitioned = false, rows = 24_000): Promise<void> {
  const columns = '(id bigint primary key, v int not null, pad text, doc text)'
  if (partitioned) {
    await client.query(`CREATE TABLE ${name} ${columns} PARTITION BY HASH (id)`)
    for (const i of [0, 1]) {
      await client.query(`CREATE TABLE ${name}_${i} PARTITION OF ${name} FOR VALUES WITH (MODULUS 2, REMAINDER ${i})`)
    }
  } else {
    await client.query(`CREATE TABLE ${name} ${columns}; ALTER TABLE ${name} ALTER doc SET STORAGE EXTERNAL`)
  }
  await client.query(
    `INSERT INTO ${name} SELECT g, 0, repeat('x', 440), CASE WHEN g % 50 = 0 THEN repeat(g || ' ', 500) END
     FROM generate_series(1, ${rows}) AS g`,
  )
}

/** Some transactions over all of the table; `next` gives numbers for new keys. */
export async function changeRows(client: pg.Client, name: string, random: Random, next: () => number): Promise<void> {
  const from = random.below(24_000)
  const some = (rows: number): string => `id BETWEEN ${from} AND ${from + rows}`
  const fresh = (): number => 1_000_000 + next() * 1000
  switch (random.below(8)) {
    case 0:
      await client.query(
        `INSERT INTO ${name} SELECT ${fresh()} + g, 1, repeat('y', 300), repeat('d', 3000) FROM generate_series(1, 50) g`,
      )
      return
    case 1:
      await client.query(`UPDATE ${name} SET v = v + 1 WHERE ${some(400)}`)
      return
    case 2:
      await client.query(`UPDATE ${name} SET doc = repeat(id || 'u', 400) WHERE ${some(60)}`)
      return
    case 3:
      await client.query(`DELETE FROM ${name} WHERE ${some(200)}`)
      return
    case 4:
      // Keys move, with documents that do not come along.
      await client.query(`UPDATE ${name} SET id = ${fresh()} + id - ${from} WHERE ${some(100)}`)
      return
    case 5:
      // And rows come back to keys that were others'.
      await client.query(
        `BEGIN; DELETE FROM ${name} WHERE id = ${from}; INSERT INTO ${name} VALUES (${from}, -1, NULL, repeat('b', 2500));
         UPDATE ${name} SET v = v - 1 WHERE id = ${from}; COMMIT`,
      )
      return
    case 6:
      await client.query(`BEGIN; UPDATE ${name} SET v = -v; ROLLBACK`)
      return
    default:
      // Later versions of rows then lie in pages of parts that were complete.
      await client.query(`VACUUM ${name}`)
  }
}

export const partedRowsSql = (table: string): string =>
  `SELECT id, v, length(pad) AS pad, md5(doc) AS doc FROM ${table} ORDER BY id`

/** Rows of the parts that a copy in the lake has complete, by part. */
export function completeParts(lake: string, table: string): Map<number, number> {
  const parts = new Map<number, number>()
  let folders: string[]
  try {
    folders = readdirSync(join(lake, 'shop')).filter((folder) => folder.startsWith(`${table}-`))
  } catch {
    return parts
  }
  for (const folder of folders) {
    let names: string[]
    try {
      names = readdirSync(join(lake, 'shop', folder, 'copy')).filter((name) => /^part-\d+\.json$/.test(name))
    } catch {
      continue
    }
    for (const name of names) {
      const { part, rows } = JSON.parse(readFileSync(join(lake, 'shop', folder, 'copy', name), 'utf8')) as {
        part: number
        rows: number
      }
      assert.ok(!parts.has(part), 'one copy at a time')
      parts.set(part, rows)
    }
  }
  return parts
}
