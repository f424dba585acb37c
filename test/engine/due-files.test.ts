import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool } from '../../src/base/index.ts'
import { DueFiles } from '../../src/engine/due-files.ts'
import type { MirroredTable } from '../../src/engine/mirrored-table.ts'
import { parseSort, withLayout } from '../../src/iceberg/index.ts'
import { ColdFile, Table } from '../../src/table/index.ts'
import { Lab } from '../iceberg/lab.ts'
import { tableOf } from '../table/history.ts'

const targetBytes = 128e6
const restMs = 600_000
const order = { sortBy: [parseSort('id')] }

/** A table as the compactor sees it, and what happens to one. */
class Subject {
  readonly #lab = new Lab()
  readonly table: Table
  readonly mirrored: MirroredTable & { table: Table }
  /** How often the rule was asked about a file. */
  looks = 0
  #commit = 1

  constructor() {
    const iceberg = this.#lab.table
    const source = { ...tableOf('none'), fields: iceberg.schema.fields }
    this.table = new Table(
      { source, fields: iceberg.schema.fields, lastFieldId: iceberg.lastColumnId },
      {
        pool: new SlabPool({ budget: 4 << 20 }),
        nextSegmentId: () => assert.fail('nothing is read back'),
        room: () => assert.fail('there is memory enough'),
      },
    )
    const { table } = this
    this.mirrored = {
      source,
      iceberg,
      table,
      health: 'streaming',
      reason: null,
      floor: null,
      joined: true,
      committed: '0',
    }
  }

  /** A file that no snapshot has yet. */
  file(rows: number): ColdFile {
    const count = (): void => void this.looks++
    const file = {
      ...this.#lab.file(rows),
      get fileSize() {
        count()
        return rows * 1000
      },
    }
    return new ColdFile(file, null, { since: this.#commit })
  }

  delete(file: ColdFile, rows: number): void {
    for (let row = 0; row < file.rows && rows > 0; row++) {
      if (file.isDeleted(row)) continue
      file.delete(row, this.#commit)
      rows--
    }
  }

  truncate(): void {
    for (const file of this.table.files) if (file.removedAt === 0) file.removedAt = this.#commit
  }

  /** A lake commit of all that has happened. */
  settle(): void {
    this.table.settled(this.table.plan(this.#commit++))
    this.mirrored.committed = String(this.#commit)
  }

  /** What another program has committed. */
  follow(file: ColdFile): void {
    const came = [{ file: new ColdFile(file.file, null, { vector: null }), rewritten: false }]
    const never = (): never => assert.fail('a table without a key has nothing to look up')
    const change = { gone: new Set<string>(), vectors: new Map(), came }
    for (const _ of this.table.follow(this.#commit, change, { stage: never, readCells: never, rebuildRun: never })) continue
  }

  /** What is found in the lake at a start. */
  found(file: ColdFile, deleted: number): void {
    const bits = new Uint8Array((file.rows + 7) >> 3)
    for (let row = 0; row < deleted; row++) bits[row >> 3] |= 1 << (row & 7)
    this.table.adopt(new ColdFile(file.file, null, { vector: { bits, cardinality: deleted } }))
  }

  sort(isSorted: boolean): void {
    this.mirrored.iceberg = withLayout(this.#lab.table, isSorted ? order : {})
  }
}

describe('which files are due', () => {
  it('a file that others have left without a row is not rewritten: the next commit takes it out', () => {
    for (const rows of [10_000, 0]) {
      const subject = new Subject()
      const { table, mirrored } = subject
      const due = new DueFiles({ targetBytes, restMs })
      subject.found(subject.file(10_000), 9000)
      const [half] = table.files
      assert.equal(table.dirty, false)
      subject.found(subject.file(rows), rows)
      assert.equal(table.dirty, true)
      assert.deepEqual(due.find(mirrored, 1000)?.files, [half])
      assert.deepEqual(table.plan(1).removed, [table.files[1].file.path])
      subject.settle()
      assert.deepEqual([table.dirty, table.files], [false, [half]])
    }
  })

  it('a table that is as it was is not looked at again', () => {
    const subject = new Subject()
    const { table, mirrored } = subject
    for (let i = 0; i < 5; i++) table.adopt(subject.file(10_000))
    const due = new DueFiles({ targetBytes, restMs })
    subject.settle()
    assert.equal(due.find(mirrored, 1000), null)
    assert.equal(subject.looks, 5)
    for (let now = 2000; now <= 100_000; now += 1000) assert.equal(due.find(mirrored, now), null)
    assert.equal(subject.looks, 5)
    // What no snapshot has is not rewritten.
    subject.delete(table.files[0], 9000)
    assert.equal(due.find(mirrored, 101_000), null)
    assert.equal(subject.looks, 5)
    subject.settle()
    assert.deepEqual(due.find(mirrored, 102_000)?.files, [table.files[0]])
    // And again, for as long as nothing has come of it.
    assert.deepEqual(due.find(mirrored, 103_000)?.files, [table.files[0]])
  })

  it('a table that comes to rest is looked at once more', () => {
    const subject = new Subject()
    const { table, mirrored } = subject
    for (let i = 0; i < 9; i++) table.adopt(subject.file(100))
    const due = new DueFiles({ targetBytes, restMs })
    subject.settle()
    assert.equal(due.find(mirrored, 1000), null)
    assert.equal(due.find(mirrored, restMs), null)
    assert.equal(due.find(mirrored, restMs + 1000)?.files.length, 9)
    const [old] = [[...table.files]]
    const merged = new ColdFile(subject.file(900).file, null, { vector: null })
    table.exchange(old, [merged])
    assert.equal(due.find(mirrored, restMs + 2000), null)
    // A rewrite has not woken it, a change does.
    subject.delete(merged, 200)
    subject.settle()
    assert.equal(due.find(mirrored, restMs + 3000), null)
    assert.deepEqual(due.find(mirrored, 2 * restMs + 3000)?.files, [merged])
  })

  it('finds what one finds who remembers nothing, whatever happens', () => {
    const small = fc.integer({ min: 0, max: 1000 })
    const step = fc.oneof(
      ...(['flush', 'foreign'] as const).map((what) => fc.record({ what: fc.constant(what), n: small })),
      ...(['delete', 'settle', 'sort', 'wait', 'merge', 'truncate'] as const).map((what) =>
        fc.record({ what: fc.constant(what), n: small }),
      ),
    )
    let found = 0
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 150 }), (steps) => {
        const subject = new Subject()
        const { table, mirrored } = subject
        const due = new DueFiles({ targetBytes, restMs })
        let now = 0
        let [since, committed] = [0, mirrored.committed]
        for (const { what, n } of steps) {
          now += 1000
          if (what === 'flush') for (let i = 0; i < n % 16; i++) table.adopt(subject.file(1 + ((n * 7 + i * 311) % 4000)))
          else if (what === 'foreign') subject.follow(subject.file(1 + n))
          else if (what === 'settle') subject.settle()
          else if (what === 'sort') subject.sort(n % 2 === 0)
          else if (what === 'wait') now += n * 1000
          else if (what === 'truncate' && n > 900) subject.truncate()
          else if (what === 'delete' && table.files.length > 0) {
            const file = table.files[n % table.files.length]
            if (file.removedAt === 0) subject.delete(file, (file.rows * n) / 1000)
          }
          if (mirrored.committed !== committed) [since, committed] = [now, mirrored.committed]
          const fresh = new DueFiles({ targetBytes, restMs: now - since >= restMs ? 0 : Infinity })
          const expected = fresh.find(mirrored, now)
          const chosen = due.find(mirrored, now)
          assert.deepEqual(
            chosen?.files.map(({ file }) => file.path),
            expected?.files.map(({ file }) => file.path),
          )
          assert.equal(chosen?.targetBytes, expected?.targetBytes)
          if (what === 'merge' && chosen) {
            found++
            const rows = chosen.files.reduce((sum, file) => sum + file.rows - file.deleted, 0)
            table.exchange(chosen.files, [new ColdFile(subject.file(Math.max(1, rows)).file, null, { vector: null })])
          }
        }
      }),
      { seed: 1, numRuns: 150 },
    )
    assert.ok(found > 20, `${found} rewrites`)
  })
})
