import assert from 'node:assert/strict'
import { it } from 'node:test'
import { manyCommits } from '../../support/load/many-commits.ts'
import type { Look } from '../../support/load/many-commits.ts'

/** A longer run prints its figures: FRAZIL_COMMITS=100000. */
const commits = Number(process.env['FRAZIL_COMMITS'] ?? 5000)

it(`a table of 300,000 rows under random updates stays small in ${commits} commits, and does not grow`, async () => {
  const looks: Look[] = []
  await manyCommits({ rows: 300_000, updatesPerCommit: 100, commits, lookEvery: Math.max(100, commits / 50) }, (look) => {
    looks.push(look)
    console.log(JSON.stringify(look))
  })
  // As much as the snapshots that are kept take, and no more: after the first 600 it is level.
  const kept = looks.filter(({ commits }) => commits >= 1000).map(({ metadataBytes }) => metadataBytes)
  const half = kept.length >> 1
  const most = (sizes: readonly number[]): number => Math.max(...sizes)
  assert.ok(most(kept.slice(half)) <= 1.15 * most(kept.slice(0, half)), `bytes of metadata: ${kept.join(', ')}`)
})
