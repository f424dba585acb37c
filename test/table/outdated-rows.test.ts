import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool } from '../../src/base/index.ts'
import type { SourceTable } from '../../src/data/index.ts'
import { ChangeLog, ColdFile, KeyRun, SpillSpace, Table } from '../../src/table/index.ts'
import type { TableWork } from '../../src/table/index.ts'
import { KeyRunBuilder } from '../../src/table/key-run-builder.ts'
import { field } from './rows.ts'

const work: TableWork = {
  stage: () => assert.fail('nothing is staged'),
  readCells: () => assert.fail('no value is read'),
  rebuildRun: () => assert.fail('no run is built'),
}

test('files of several moments of a copy: of the rows with one key only those of the last moment live', () => {
  const folder = mkdtempSync(join(tmpdir(), 'frazil-outdated-'))
  const shared = {
    pool: new SlabPool({ budget: 16 << 20 }),
    space: new SpillSpace(join(folder, 'spill')),
    nextSegmentId: () => 1,
    room: () => assert.fail('there is memory enough'),
  }
  const fields = [field('id', { kind: 'int' }, true, 1)]
  const source: SourceTable = {
    id: '1',
    sourceName: 'public.t',
    namespace: 's',
    name: 't',
    fields,
    key: { kind: 'columns', columns: [0] },
    columnIds: [1],
  }
  let names = 0
  const file = (keys: readonly number[], moment: number): ColdFile => {
    const path = join(folder, `${names++}.run`)
    const builder = new KeyRunBuilder(path, 2)
    const { words, at } = builder.reserve(keys.length)
    keys.forEach((key, i) => words.set([key, 0], at + 2 * i))
    builder.write()
    const run = KeyRun.open(path, 2, keys.length)
    const data = { path, recordCount: keys.length, fileSize: 1, metrics: [], splitOffsets: [] }
    return new ColdFile(data, run, { since: 0, moment })
  }
  const fileKeys = fc.uniqueArray(fc.integer({ min: -20, max: 200 }), { minLength: 1, maxLength: 120 })
  // Files of one moment have no key in common: they are of one snapshot.
  const moments = fc.array(fileKeys, { minLength: 1, maxLength: 4 })
  try {
    fc.assert(
      fc.property(moments, fc.integer({ min: 1, max: 60 }), (copied, most) => {
        const table = new Table({ source, fields, lastFieldId: 1 }, shared)
        const files: { keys: readonly number[]; cold: ColdFile; moment: number }[] = []
        for (const [moment, all] of copied.entries()) {
          for (let from = 0; from < all.length; from += most) {
            const keys = all.slice(from, from + most)
            const cold = file(keys, moment)
            table.adopt(cold, moment > 0)
            files.push({ keys, cold, moment })
          }
        }
        const log = new ChangeLog('1', shared)
        for (const step of table.apply(1, log, work)) assert.equal(typeof step, 'number')
        const last = new Map(copied.flatMap((keys, moment) => keys.map((key) => [key, moment] as const)))
        for (const { keys, cold, moment } of files) {
          for (const [position, key] of keys.entries()) {
            assert.equal(cold.isDeleted(position), last.get(key) !== moment, `key ${key} of moment ${moment}`)
          }
        }
        table.close()
      }),
    )
    assert.equal(shared.pool.used, 0)
  } finally {
    shared.space.close()
    rmSync(folder, { recursive: true })
  }
})
