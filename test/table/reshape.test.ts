import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { FrazilError, SlabPool } from '../../src/base/index.ts'
import type { SourceTable } from '../../src/data/index.ts'
import type { DataFile } from '../../src/iceberg/index.ts'
import { ChangeLog, ColdFile, KeyRun, SpillSpace, Table } from '../../src/table/index.ts'
import type { TableWork } from '../../src/table/index.ts'
import { KeyRunBuilder } from '../../src/table/key-run-builder.ts'
import { field } from './rows.ts'

function dataFile(path: string): DataFile {
  return { path, recordCount: 1, fileSize: 1, metrics: [], splitOffsets: [] }
}

test('a table whose key runs cannot all be built anew keeps none of them open', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'frazil-reshape-'))
  const pool = new SlabPool({ budget: 16 << 20 })
  const shared = {
    pool,
    space: new SpillSpace(join(folder, 'spill')),
    nextSegmentId: () => 1,
    room: () => assert.fail('there is memory enough'),
  }
  try {
    const fields = [field('id', { kind: 'int' }, true, 1), field('other', { kind: 'int' }, true, 2)]
    const source: SourceTable = {
      id: '1',
      sourceName: 'public.t',
      namespace: 's',
      name: 't',
      fields,
      key: { kind: 'columns', columns: [0] },
      columnIds: [1, 2],
    }
    const table = new Table({ source, fields, lastFieldId: 2 }, shared)
    for (const name of ['sound', 'broken', 'unread']) table.adopt(new ColdFile(dataFile(name), null, { since: 0 }))
    const path = join(folder, 'run')
    const builder = new KeyRunBuilder(path, 2)
    builder.reserve(1)
    builder.write()
    const broken = new FrazilError('corrupt', 'object-missing', 'broken does not exist')
    let opened: KeyRun | null = null
    const work: TableWork = {
      stage: () => Promise.resolve(),
      readCells: () => assert.fail('no value is read'),
      rebuildRun: async ({ path: name }) => {
        if (name === 'broken') throw broken
        // It is done when the other one has failed long ago.
        await new Promise((resolve) => setImmediate(resolve))
        const run = KeyRun.open(path, 2, 1)
        opened ??= run
        return run
      },
    }
    const log = new ChangeLog('1', shared)
    log.add({ type: 'table', table: { ...source, key: { kind: 'columns', columns: [1] } } })
    await assert.rejects(
      (async () => {
        for (const step of table.apply(1, log, work)) if (typeof step !== 'number') await step
      })(),
      broken,
    )
    table.close()
    assert.ok(opened)
    // A file that is closed cannot be read.
    assert.throws(() => (opened as KeyRun).find(new Int32Array(2), 0, () => true))
  } finally {
    shared.space.close()
    rmSync(folder, { recursive: true })
  }
})
