import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { DuckDbHost } from '../../src/query/index.ts'
import type { ViewFile } from '../../src/query/index.ts'
import { Lake, bitmap, columns, rows } from './lake.ts'

const rowsOfFile = 20

const change = fc.record({
  kind: fc.constantFrom('delete', 'delete', 'delete', 'delete', 'delete', 'add', 'remove', 'replace', 'hot', 'column'),
  file: fc.nat(9),
  row: fc.nat(rowsOfFile - 1),
})

/** A data file as the test knows it: its first number, and which of its rows are dead. */
interface Known {
  readonly file: ViewFile
  readonly first: number
  readonly dead: ReadonlySet<number>
}

describe('views of a table that changes from query to query', () => {
  it('show the rows that are alive at each of them', { timeout: 300_000 }, async () => {
    const lake = new Lake()
    // One connection: each query finds what the one before has left.
    const engine = lake.open({}, new DuckDbHost({ queriesAtOnce: 1 }))
    let tables = 0
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 5, maxLength: 25 }), async (changes) => {
          lake.drop()
          const name = `t${tables++}`
          const stored = columns({ n: { kind: 'long' }, s: { kind: 'string' } })
          let fields = stored
          let next = 0
          const write = (): Known => {
            const first = next
            next += rowsOfFile
            const written = Array.from({ length: rowsOfFile }, (_, i) => [BigInt(first + i), `s${first + i}`])
            return { file: lake.file(stored, written), first, dead: new Set() }
          }
          let files = [write(), write()]
          const hot: number[] = []
          for (const { kind, file: chosen, row } of changes) {
            const index = chosen % files.length
            if (kind === 'add') files = [...files, write()]
            else if (kind === 'remove') files = files.length > 1 ? files.toSpliced(index, 1) : files
            else if (kind === 'replace') files = files.with(index, write())
            else if (kind === 'hot') hot.push(next++)
            else if (kind === 'column') fields = columns({ n: { kind: 'long' }, s: { kind: 'string' }, c: { kind: 'int' } })
            else {
              const { file, first, dead } = files[index]
              const all = new Set([...dead, row])
              files = files.with(index, { file: { ...file, deleted: bitmap(rowsOfFile, [...all]) }, first, dead: all })
            }
            const parts = hot.map((n) => lake.hot(stored, [[BigInt(n), `s${n}`]]))
            lake.put(name, fields, { files: files.map(({ file }) => file), hot: parts })

            const cold = files.flatMap(({ first, dead }) =>
              Array.from({ length: rowsOfFile }, (_, i) => first + i).filter((n) => !dead.has(n - first)),
            )
            const alive = new Set([...cold, ...hot])
            const sum = [...alive].reduce((all, n) => all + n, 0)
            assert.deepEqual(await rows(engine, `SELECT count(*), sum(n) FROM ${name}`), [
              [alive.size, alive.size === 0 ? null : sum],
            ])
            const wanted = files[chosen % files.length].first + row
            const found = alive.has(wanted) ? [[`s${wanted}`]] : []
            assert.deepEqual(await rows(engine, `SELECT s FROM ${name} WHERE n = $1`, [wanted]), found)
            assert.deepEqual(await rows(engine, `SELECT s FROM ${name} WHERE n = ${wanted}`), found)
            assert.deepEqual(await rows(engine, `SELECT s FROM ${name} WHERE s = $1`, [`s${wanted}`]), found)
            // Its definition holds no deletes.
            await rows(engine, `EXPLAIN SELECT s FROM ${name} WHERE n = ${wanted}`)
          }
        }),
        { numRuns: 12 },
      )
    } finally {
      await engine.close()
      lake.remove()
    }
  })
})
