import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import { loadTable } from '../../src/iceberg/index.ts'
import type { IcebergTable } from '../../src/iceberg/index.ts'
import { Lab, nothing } from './lab.ts'

const commits = Number(process.env['FRAZIL_COMMITS'] ?? 96)
const appenders = 16

/** The table as the catalog has it now, whoever wrote it last. */
async function current(lab: Lab): Promise<IcebergTable> {
  const pointer = await lab.catalog.load({ namespace: 'db', name: 't' })
  assert.ok(pointer)
  return loadTable(lab.parts, pointer)
}

test(`iceberg check 67: ${appenders} appenders at a time lose nothing, number on, and share no row id`, async () => {
  const lab = new Lab()
  await lab.commit({ added: [lab.file(1)] })
  const added: string[] = []
  let left = commits
  const append = async (): Promise<void> => {
    while (left-- > 0) {
      const file = lab.file(7)
      for (;;) {
        const table = await current(lab)
        const { commit } = await table.prepare({ ...nothing, added: [file] })
        try {
          await lab.swap(commit)
          break
        } catch (error) {
          assert.ok(error instanceof FrazilError && error.kind === 'conflict', String(error))
          await lab.store.delete(commit.written)
        }
      }
      added.push(file.path)
    }
  }
  await Promise.all(Array.from({ length: appenders }, append))
  const table = await current(lab)
  const live = await table.files()
  assert.equal(live.length, commits + 1)
  assert.deepEqual(new Set(live.slice(1).map(({ path }) => path)), new Set(added))
  assert.equal(new Set(live.map(({ dataSequenceNumber }) => dataSequenceNumber)).size, live.length, 'a sequence number each')
  const ranges = live.map(({ firstRowId, recordCount }) => [firstRowId ?? -1n, BigInt(recordCount)] as const)
  ranges.sort((a, b) => Number(a[0] - b[0]))
  for (let i = 1; i < ranges.length; i++) assert.ok(ranges[i][0] >= ranges[i - 1][0] + ranges[i - 1][1], 'row ids are disjoint')
})

test('iceberg check 87: positions survive the expiry of the snapshots that they came with, and commits of others', async () => {
  const lab = new Lab()
  const retention = { maxSnapshots: 2, maxAgeMs: 3_600_000 }
  const property = 'frazil.position.shop'
  await lab.commit({
    added: [lab.file(1)],
    properties: { [property]: 'first' },
    summary: { 'frazil.positions': 'first' },
    retention,
  })
  for (let i = 0; i < 5; i++) await lab.commit({ added: [lab.file(1)], retention })
  const table = await current(lab)
  assert.equal(table.properties[property], 'first')
  assert.equal(table.summary?.['frazil.positions'], undefined, 'the snapshot that had it is gone')
})
