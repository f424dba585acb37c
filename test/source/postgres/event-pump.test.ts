import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlabPool, systemClock } from '../../../src/base/index.ts'
import type { SourceEvent, SourceTable } from '../../../src/data/index.ts'
import type { SourceParts } from '../../../src/source/index.ts'
import type { RawHandlers, RawStream } from '../../../src/source/postgres/connection.ts'
import { CopyDecoder } from '../../../src/source/postgres/copy-decoder.ts'
import { tupleDecoder } from '../../../src/source/postgres/decoder.ts'
import { EventPump } from '../../../src/source/postgres/event-pump.ts'
import type { FrameDecoder } from '../../../src/source/postgres/event-pump.ts'
import { RetiredSegments, SegmentWriter } from '../../../src/source/postgres/segment-writer.ts'
import { codecs } from '../../../src/source/postgres/types/scalars.ts'

const table: SourceTable = {
  id: '77',
  sourceName: 'public.t',
  namespace: 'shop',
  name: 't',
  fields: [{ id: 0, name: 'id', type: { kind: 'int' }, required: true }],
  key: { kind: 'columns', columns: [0] },
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value, 0)
  return bytes
}

test('rows that are not told of yet keep their segments when what came before them is taken', async () => {
  const pool = new SlabPool({ budget: 8 << 20 })
  const parts: SourceParts = {
    pool,
    clock: systemClock,
    nextSegmentId: () => 1,
    currentCommit: () => 0,
    deletable: () => true,
    onSchemaChange: () => null,
  }
  const retired = new RetiredSegments()
  const tuples = tupleDecoder('copy', [{ codec: codecs.int4, target: 0, key: false }])
  const writer = new SegmentWriter(table.fields, table, tuples, parts, retired)
  const copy = new CopyDecoder(table, writer)
  let hasRowsOnly = false
  const decoder: FrameDecoder = {
    frame: (_type, bytes, from, to) => copy.data(bytes, from, to),
    events: () => copy.events(),
    waitsFor: null,
    finished: false,
    get hasRowsOnly() {
      return hasRowsOnly
    },
  }
  let handlers: RawHandlers | null = null
  const stream: RawStream = { write() {}, pause() {}, resume() {}, end() {}, destroy() {} }
  const connection = { take: (given: RawHandlers): RawStream => ((handlers = given), stream) }
  const pump = new EventPump(connection, decoder, { pool, clock: systemClock, retired, maxFrameBytes: 1 << 20, pace: false })
  let sent = 0
  const read = (body: Buffer): void => {
    const frame = Buffer.concat([Buffer.from('d'), int32(body.length + 4), body])
    handlers?.data(frame, frame.length)
  }
  const row = (): void => read(Buffer.concat([Buffer.from([0, 1]), int32(4), int32(sent++)]))

  read(Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), int32(0), int32(0)]))
  row()
  // Nobody has taken the first row when a segment becomes full with rows that wait for more of them.
  hasRowsOnly = true
  row()
  const first = writer.segment
  while (writer.segment === first) row()
  const seen: number[] = []
  const use = (events: readonly SourceEvent[]): void => {
    for (const event of events) {
      assert.ok(event.type === 'copy')
      event.segment.pin()
      for (let i = event.from; i < event.to; i++) seen.push(event.segment.columns[0].words[i])
      event.segment.unpin()
    }
  }
  use((await pump.take()) ?? [])
  const rest = pump.take()
  hasRowsOnly = false
  row()
  use((await rest) ?? [])
  assert.deepEqual(
    seen,
    Array.from({ length: sent }, (_, i) => i),
  )
  assert.ok(first.rows > 1, 'a segment was filled')
})
