import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import { RowGroups } from '../../src/engine/row-groups.ts'
import type { PushReceipt, PushRequest } from '../../src/source/index.ts'

function row(text: string, ingest = 'a', operation: PushRequest['operation'] = 'insert'): PushRequest {
  return { table: { ingest }, operation, form: 'row', body: Buffer.from(text), partial: false, key: null }
}

/** Objects of a request of `rows`, or the only one. */
function bodies({ body, ends }: PushRequest): string[] {
  const text = Buffer.from(body)
  const to = ends ? [...ends] : [body.length]
  return to.map((end, i) => text.toString('utf8', i === 0 ? 0 : to[i - 1], end).trim())
}

/** Stores what is not "bad"; throws for "worst". */
function store(seen: string[][]): (request: PushRequest) => Promise<PushReceipt> {
  return async (request) => {
    const rows = bodies(request)
    seen.push(rows)
    if (rows.includes('worst')) throw new FrazilError('request', 'bad-encoding', 'not UTF-8')
    if (rows.includes('busy')) throw new FrazilError('unavailable', 'overloaded', 'later')
    const refusals = rows.flatMap((text, i) => (text === 'bad' ? [{ row: i + 1, code: 'bad', column: null, message: '' }] : []))
    const stored = rows.length - refusals.length
    return { position: stored > 0 ? '7' : null, rows: stored, refused: refusals.length, refusals, replayed: false }
  }
}

const stored: PushReceipt = { position: '7', rows: 1, refused: 0, refusals: [], replayed: false }
const refused: PushReceipt = {
  position: null,
  rows: 0,
  refused: 1,
  refusals: [{ row: 1, code: 'bad', column: null, message: '' }],
  replayed: false,
}

test('rows of one turn, table and operation go on together, each with its own answer', async () => {
  const seen: string[][] = []
  const groups = new RowGroups(store(seen))
  const receipts = await Promise.all(
    [row('1'), row('bad'), row('2', 'b'), row('3'), row('bad', 'b'), row('4', 'a', 'delete')].map((each) => groups.push(each)),
  )
  assert.deepEqual(receipts, [stored, refused, stored, stored, refused, stored])
  assert.deepEqual(seen, [['1', 'bad', '3'], ['2', 'bad'], ['4']])
})

test('what is wrong with one request is not the answer of the others', async () => {
  const seen: string[][] = []
  const groups = new RowGroups(store(seen))
  const settled = await Promise.allSettled([row('1'), row('worst'), row('bad')].map((each) => groups.push(each)))
  assert.deepEqual(
    settled.map((each) => (each.status === 'fulfilled' ? each.value : (each.reason as FrazilError).code)),
    [stored, 'bad-encoding', refused],
  )
  assert.deepEqual(seen, [['1', 'worst', 'bad'], ['1'], ['worst'], ['bad']])
  const busy = await Promise.allSettled([row('1'), row('busy')].map((each) => groups.push(each)))
  assert.deepEqual(
    busy.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  assert.equal(seen.length, 5)
})

test('what comes while rows are being stored goes on together when they are', async () => {
  const seen: string[][] = []
  const first = Promise.withResolvers<void>()
  const push = store(seen)
  const groups = new RowGroups(async (request) => {
    if (seen.length === 0) {
      const receipt = await push(request)
      await first.promise
      return receipt
    }
    return push(request)
  })
  const one = groups.push(row('1'))
  while (seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
  const others = [groups.push(row('2'))]
  await new Promise((resolve) => setImmediate(resolve))
  others.push(groups.push(row('3')))
  first.resolve()
  await Promise.all([one, ...others])
  assert.deepEqual(seen, [['1'], ['2', '3']])
  await groups.push(row('4'))
  assert.equal(seen.length, 3)
})

test('groups are bounded, and only plain single rows go into them', async () => {
  const seen: string[][] = []
  const groups = new RowGroups(store(seen))
  const large = 'x'.repeat(600_000)
  await Promise.all([row(large), row(large), row('2')].map((each) => groups.push(each)))
  assert.deepEqual(
    seen.map((rows) => rows.map(({ length }) => length)),
    [[600_000], [600_000, 1]],
  )
  await Promise.all(Array.from({ length: 1500 }, (_, i) => groups.push(row(String(i)))))
  assert.deepEqual(
    seen.slice(2).map(({ length }) => length),
    [1024, 476],
  )
  assert(RowGroups.takes(row('1')))
  assert(!RowGroups.takes({ ...row('1'), key: 'k' }))
  assert(!RowGroups.takes({ ...row('1'), form: 'lines' }))
  assert(!RowGroups.takes(row('x'.repeat(2_000_000))))
})
