import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SlabPool } from '../../../src/base/index.ts'
import type { SourceTable } from '../../../src/data/index.ts'
import { HttpSource } from '../../../src/source/http/index.ts'
import type { SourceParts, SourceState } from '../../../src/source/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const hour = 3_600_000
const day = 24 * hour

const table: SourceTable = {
  id: 't',
  sourceName: 't',
  namespace: 'app',
  name: 't',
  fields: [{ id: 1, name: 'id', type: { kind: 'long' }, required: false }],
  key: { kind: 'none' },
}
const state: SourceState = { position: '0', memo: null, tables: [{ table, floor: '0' }], detached: [] }

/** Sends the same two requests, one with a key and one with a producer's number, and returns which of them were known. */
async function send(source: HttpSource): Promise<boolean[]> {
  const request = {
    table: { ingest: 't' },
    operation: 'insert',
    form: 'lines',
    body: Buffer.from('{"id":1}\n'),
    partial: false,
  } as const
  const [byKey, byNumber] = [
    await source.push({ ...request, key: 'a' }),
    await source.push({ ...request, key: null, producer: { id: 'p', sequence: 1 } }),
  ]
  return [byKey.replayed, byNumber.replayed]
}

test('requests are known however the wall clock jumps, also over restarts, and forgotten when their time has passed', async () => {
  const spool = await mkdtemp(join(tmpdir(), 'frazil-jumps-'))
  const clock = new ManualClock()
  const pool = new SlabPool({ budget: 8 << 20, slabBytes: 1 << 20 })
  let segments = 1
  const parts: SourceParts = {
    pool,
    clock,
    nextSegmentId: () => segments++,
    currentCommit: () => 0,
    deletable: () => false,
    onSchemaChange: () => null,
  }
  const run = async (work: (source: HttpSource) => Promise<void>): Promise<void> => {
    const source = new HttpSource({ name: 'http', spool }, parts)
    const events = (async () => {
      for await (const _ of source.open(state));
    })()
    await work(source)
    await source.close()
    await events
  }
  try {
    await run(async (source) => {
      assert.deepEqual(await send(source), [false, false])
      for (const step of [30 * day, -60 * day, 90 * day]) {
        clock.step(step)
        assert.deepEqual(await send(source), [true, true], `the wall clock is set by ${step / day} days`)
      }
    })
    for (const step of [30 * day, -90 * day, 60 * day]) {
      clock.step(step)
      await run(async (source) => assert.deepEqual(await send(source), [true, true], `a restart ${step / day} days on`))
    }
    await run(async (source) => {
      // Answered when it is open.
      assert.deepEqual(await send(source), [true, true])
      await clock.advance(22 * hour)
      assert.deepEqual(await send(source), [true, true])
      await clock.advance(3 * hour)
      assert.deepEqual(await send(source), [false, true])
      await clock.advance(7 * day)
      assert.deepEqual(await send(source), [false, false])
    })
  } finally {
    await rm(spool, { recursive: true, force: true })
  }
})
