import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrazilError, SlabPool, systemClock } from '../../src/base/index.ts'
import { Committer } from '../../src/engine/committer.ts'
import type { CommitterParts } from '../../src/engine/committer.ts'
import type { MirroredTable } from '../../src/engine/mirrored-table.ts'
import { ChangeLog, SpillSpace, Table } from '../../src/table/index.ts'
import type { FileWriter } from '../../src/table/index.ts'
import { tableOf } from '../table/history.ts'
import { segmentWith } from '../table/rows.ts'

test('a stage that needs several attempts takes no rows of later source commits with it', async () => {
  const source = tableOf('none')
  const memory = {
    pool: new SlabPool({ budget: 4 << 20 }),
    space: new SpillSpace('/nonexistent'),
    nextSegmentId: () => assert.fail('nothing is read back'),
    room: () => assert.fail('there is memory enough'),
  }
  const table = new Table({ source, fields: source.fields, lastFieldId: source.fields.length }, memory)
  const log = new ChangeLog(source.id, memory)
  const insert = (commit: number): void => {
    const segment = segmentWith(memory.pool, source.fields, [['a', commit]], { deletable: false })
    log.add({ type: 'insert', table: source.id, segment, from: 0, to: 1 })
    segment.unpin()
    const none = (): never => assert.fail('inserts need nothing')
    const work = { stage: none, readCells: none, rebuildRun: none }
    for (const rows of table.apply(commit, log, work)) assert.equal(rows, 1)
  }
  let attempts = 0
  const writer: FileWriter = {
    append: async () => {
      if (++attempts === 1) throw new FrazilError('unavailable', 'disk-full', 'no room')
      return { rows: 0, bytes: 0 }
    },
    finish: async () => ({ files: [], placement: null }),
    abort: async () => undefined,
  }
  // Meanwhile source commit 1 ends, and another one is applied.
  const clock = { ...systemClock, sleep: async () => insert(2) }
  // All that staging asks for.
  const parts = { clock, mirror: { openFile: () => writer }, emit: () => undefined }
  const options = {
    source: 's',
    sourceType: 'postgres',
    mark: { lake: '00000000', epoch: 1 },
    everyMs: 1000,
    history: { snapshots: 1000, hourly: 0, daily: 0 },
  }
  const committer = new Committer(options, parts as unknown as CommitterParts)
  insert(1)
  await committer.stageOne({ source, table } as unknown as MirroredTable, 1)
  assert.equal(attempts, 2)
  assert.equal(table.activeRows, 1, 'the row of source commit 2 is in memory')
  table.close()
  assert.equal(memory.pool.used, 0)
})
