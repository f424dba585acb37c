import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ColdFile } from '../../src/table/cold-file.ts'
import { LookupOrder } from '../../src/table/lookup-order.ts'

const many = 20_000

function coldFile(path: string): ColdFile {
  return new ColdFile({ path, recordCount: 1, fileSize: 1, metrics: [], splitOffsets: [] }, null, { since: 0 })
}

describe('the order in which files are asked for keys', () => {
  it('is that of what was found in them lately; those that nothing is known of come first, the newest before all', () => {
    const order = new LookupOrder()
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(coldFile)
    const files = [a, b, c]
    assert.deepEqual(order.of(files, many), [c, b, a])
    order.found(a, 10)
    order.found(c, 5)
    assert.deepEqual(order.of(files, 1), [c, b, a], 'not at every look-up')
    assert.deepEqual(order.of(files, many), [a, c, b])
    files.push(d)
    assert.deepEqual(order.of(files, 1), [d, a, c, b])
    order.found(d, 1000)
    order.found(c, 100)
    assert.deepEqual(order.of(files, many), [d, c, a, b], 'what was found counts from the second order on')
    order.found(b, 1)
    for (let i = 0; i < 20; i++) order.of(files, many)
    order.found(b, 1)
    assert.equal(order.of(files, many)[0], b, 'what was found long ago does not count')
    assert.deepEqual(
      order.of([b, a], 1).toSorted((x, y) => x.file.path.localeCompare(y.file.path)),
      [a, b],
    )
  })
})
