import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, seededRandom, systemClock } from '../../src/base/index.ts'
import type { SourceTable } from '../../src/data/index.ts'
import { StateKeeper } from '../../src/engine/state-keeper.ts'
import { changeRecord, emptyRecord, readRecord, readRemembered, sourceStateKey } from '../../src/engine/state-record.ts'
import type { RecordedTable, SourceRecord } from '../../src/engine/state-record.ts'
import { MemoryCatalog } from '../../src/iceberg/index.ts'
import type { CatalogCommit } from '../../src/iceberg/index.ts'

const parts = { clock: { ...systemClock, sleep: async () => undefined }, random: seededRandom(1) }

/** `version`: how often its shape has changed. */
function entry(id: number, version = 0): RecordedTable {
  const table: SourceTable = {
    id: String(id),
    namespace: 'shop',
    name: `t${id}`,
    sourceName: `public.t${id}`,
    fields: Array.from({ length: 10 + version }, (_, i) => ({
      id: i + 1,
      name: `c${i}`,
      type: { kind: 'string' },
      required: false,
    })),
    key: { kind: 'none' },
  }
  return { table, floor: '0/1' }
}

function recordOf(tables: readonly RecordedTable[], position = '0/1'): SourceRecord {
  return { ...emptyRecord('shop', 'postgres'), position, memo: 'slot', tables }
}

/** A catalog that counts what it is given. */
class CountingCatalog extends MemoryCatalog {
  written_ = 0
  bytes = 0
  /** What happens to the next commit: `done` and `undone` have no answer. */
  fault: 'done' | 'undone' | null = null

  override async commit(commit: CatalogCommit): Promise<void> {
    const { fault } = this
    this.fault = null
    this.written_ += commit.states.length
    this.bytes += commit.states.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
    if (fault !== 'undone') await super.commit(commit)
    if (fault) throw new FrazilError('uncertain', 'answer-lost', 'no answer')
  }

  /** What a piece of work writes. */
  async written(work: () => Promise<void>): Promise<{ states: number; bytes: number }> {
    this.written_ = this.bytes = 0
    await work()
    return { states: this.written_, bytes: this.bytes }
  }
}

function keeperOf(catalog: MemoryCatalog): StateKeeper {
  return new StateKeeper('shop', 'postgres', { ...parts, catalog })
}

function land(keeper: StateKeeper, catalog: MemoryCatalog, record: SourceRecord): Promise<void> {
  return keeper.land(record, { commit: (states) => catalog.commit({ tables: [], states }) })
}

async function stored(catalog: MemoryCatalog): Promise<SourceRecord | undefined> {
  return (await readRecord(catalog, 'shop'))?.record
}

function sorted(record: SourceRecord | undefined): SourceRecord | undefined {
  return record && { ...record, tables: record.tables.toSorted((a, b) => Number(a.table.id) - Number(b.table.id)) }
}

describe('the state records of a source', () => {
  it('a commit writes nothing for tables that are as they were, however many there are', async () => {
    const writes: number[] = []
    for (const count of [2, 500]) {
      const catalog = new CountingCatalog()
      const keeper = keeperOf(catalog)
      await keeper.recover()
      const tables = Array.from({ length: count }, (_, id) => entry(id))
      await land(keeper, catalog, recordOf(tables))
      // As the pipeline makes them: anew for each commit.
      const next = recordOf(
        tables.map((table) => structuredClone(table)),
        '0/2',
      )
      const { states, bytes } = await catalog.written(() => land(keeper, catalog, next))
      assert.equal(states, 1)
      writes.push(bytes)
      const [changed] = next.tables
      const wider = [entry(Number(changed.table.id), 1), ...next.tables.slice(1)]
      assert.equal((await catalog.written(() => land(keeper, catalog, recordOf(wider, '0/3')))).states, 2)
      assert.deepEqual(sorted(await stored(catalog)), recordOf(wider, '0/3'))
      const without = wider.slice(1)
      assert.equal((await catalog.written(() => land(keeper, catalog, recordOf(without, '0/4')))).states, 2)
      assert.deepEqual(sorted(await stored(catalog)), recordOf(without, '0/4'))
    }
    assert.equal(writes[0], writes[1])
  })

  it('what the first version has written is read, and written as it is now by the next commit', async () => {
    const catalog = new CountingCatalog()
    const old = recordOf([entry(1), entry(2)])
    const value = JSON.stringify({ format: 1, ...old })
    await catalog.commit({ tables: [], states: [{ key: sourceStateKey('shop'), expected: null, value }] })
    assert.deepEqual(await readRemembered(catalog, 'shop'), { memo: old.memo, position: old.position })
    const keeper = keeperOf(catalog)
    assert.equal(await keeper.recover(), true)
    assert.deepEqual(keeper.record.tables, old.tables)
    const next = recordOf(old.tables, '0/2')
    await land(keeper, catalog, next)
    assert.deepEqual(sorted(await stored(catalog)), next)
    const { format, ...own } = JSON.parse((await catalog.state(sourceStateKey('shop')))?.value ?? '') as Record<string, unknown>
    assert.equal(format, 2)
    assert.equal('tables' in own, false)
    // A table that goes with the same commit was never in a record of its own.
    const again = new CountingCatalog()
    await again.commit({ tables: [], states: [{ key: sourceStateKey('shop'), expected: null, value }] })
    const found = (await readRecord(again, 'shop')) ?? assert.fail('it is there')
    await again.commit({ tables: [], states: (await changeRecord(again, found, recordOf([]))).states })
    assert.deepEqual(await stored(again), recordOf([]))
  })

  it('refuses records of a newer version and what is no record', async () => {
    const refused = async (value: string, key = sourceStateKey('shop')): Promise<unknown> => {
      const catalog = new MemoryCatalog()
      const states = [{ key, expected: null, value }]
      if (key !== sourceStateKey('shop')) {
        states.push({ key: sourceStateKey('shop'), expected: null, value: JSON.stringify({ format: 2, ...recordOf([]) }) })
      }
      await catalog.commit({ tables: [], states })
      return readRecord(catalog, 'shop').then(
        () => null,
        (error: unknown) => (error instanceof FrazilError ? `${error.kind} ${error.code}` : error),
      )
    }
    assert.equal(await refused('{"format":3}'), 'config newer-format')
    assert.equal(await refused('{"format":2'), 'corrupt state-record')
    assert.equal(await refused('null'), 'corrupt state-record')
    assert.equal(await refused('{"format":3}', 'table/shop/1'), 'config newer-format')
    assert.equal(await refused('[]', 'table/shop/1'), 'corrupt state-record')
  })

  it('are what was written last, whatever tables come, change, go and come again, with answers that are lost', async () => {
    const step = fc.record({
      tables: fc.uniqueArray(fc.tuple(fc.nat(5), fc.nat(2)), { selector: ([id]) => id }),
      fault: fc.constantFrom(null, null, 'done' as const, 'undone' as const),
      isNew: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const catalog = new CountingCatalog()
        let keeper = keeperOf(catalog)
        await keeper.recover()
        let expected: SourceRecord | undefined
        for (const [i, { tables, fault, isNew }] of steps.entries()) {
          if (isNew) {
            keeper = keeperOf(catalog)
            await keeper.recover()
          }
          const next = recordOf(
            tables.map(([id, version]) => entry(id, version)),
            String(i),
          )
          catalog.fault = fault
          const landing = land(keeper, catalog, next)
          if (fault === 'undone') await assert.rejects(landing, { kind: 'unavailable', code: 'commit-unknown' })
          else await landing
          if (fault !== 'undone') expected = next
          assert.deepEqual(sorted(await stored(catalog)), sorted(expected))
          if (expected) assert.deepEqual(sorted(keeper.record), sorted(expected))
        }
      }),
      { numRuns: 200 },
    )
  })
})
