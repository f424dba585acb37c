import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import type { Catalog, CatalogCommit } from '../../src/iceberg/catalog/index.ts'
import { rejectsWith } from './store.ts'

/** What every catalog must do. `open` gives an empty catalog, and another handle on it where there is one. */
export function catalogConformance(name: string, open: () => Promise<{ catalog: Catalog; again: Catalog }>): void {
  const orders = { namespace: 'shop', name: 'orders' }
  const items = { namespace: 'shop', name: 'items' }

  /** Runs a test on a catalog with the namespace `shop`, and closes it. */
  function check(title: string, body: (catalog: Catalog, again: Catalog) => Promise<void>): void {
    it(title, async () => {
      const { catalog, again } = await open()
      await catalog.createNamespace('shop')
      try {
        await body(catalog, again)
      } finally {
        await again.close()
        await catalog.close()
      }
    })
  }

  describe(`catalog: ${name}`, () => {
    check('creates, moves and drops a table by compare-and-set', async (catalog, again) => {
      assert.equal(await catalog.load(orders), null)
      await catalog.commit(tables({ ...orders, base: null, next: 'm1' }))
      assert.deepEqual(await again.load(orders), { ...orders, metadataLocation: 'm1' })
      await catalog.commit(tables({ ...orders, base: 'm1', next: 'm2' }))
      assert.deepEqual(await again.load(orders), { ...orders, metadataLocation: 'm2' })
      await rejectsWith(catalog.commit(tables({ ...orders, base: 'm1', next: 'm3' })), 'conflict', 'table-changed')
      await rejectsWith(catalog.commit(tables({ ...orders, base: null, next: 'm3' })), 'conflict', 'table-exists')
      await rejectsWith(catalog.commit(tables({ ...orders, base: 'm1', next: null })), 'conflict', 'table-changed')
      assert.deepEqual(await again.load(orders), { ...orders, metadataLocation: 'm2' })
      await catalog.commit(tables({ ...orders, base: 'm2', next: null }))
      assert.equal(await again.load(orders), null)
      await rejectsWith(catalog.commit(tables({ ...orders, base: 'm2', next: 'm3' })), 'conflict', 'table-changed')
      await catalog.commit(tables({ ...orders, base: null, next: 'm4' }))
      assert.deepEqual(await again.load(orders), { ...orders, metadataLocation: 'm4' })
    })

    check('names the table that is in conflict', async (catalog) => {
      await catalog.commit(tables({ ...orders, base: null, next: 'm1' }))
      const failed = catalog.commit(tables({ ...items, base: null, next: 'i1' }, { ...orders, base: 'm0', next: 'm2' }))
      await assert.rejects(failed, (error) => error instanceof FrazilError && error.table === 'shop.orders')
    })

    check('commits tables and states together or not at all', async (catalog, again) => {
      await catalog.commit({
        tables: [
          { ...orders, base: null, next: 'o1' },
          { ...items, base: null, next: 'i1' },
        ],
        states: [{ key: 'source/shop', expected: null, value: 'one' }],
      })
      const good = {
        tables: [{ ...orders, base: 'o1', next: 'o2' }],
        states: [{ key: 'source/shop', expected: 1, value: 'two' }],
      }
      const bad: [string, CatalogCommit][] = [
        ['table-changed', { tables: [...good.tables, { ...items, base: 'i0', next: 'i2' }], states: good.states }],
        ['table-exists', { tables: [...good.tables, { ...items, base: null, next: 'i2' }], states: good.states }],
        ['state-changed', { tables: good.tables, states: [...good.states, { key: 'lease', expected: 1 }] }],
        ['state-changed', { tables: good.tables, states: [{ key: 'source/shop', expected: 2, value: 'two' }] }],
        ['state-changed', { tables: good.tables, states: [{ key: 'source/shop', expected: null, value: 'two' }] }],
      ]
      for (const [code, commit] of bad) {
        await rejectsWith(catalog.commit(commit), 'conflict', code)
        assert.equal((await again.load(orders))?.metadataLocation, 'o1')
        assert.equal((await again.load(items))?.metadataLocation, 'i1')
        assert.deepEqual(await again.state('source/shop'), { key: 'source/shop', value: 'one', version: 1 })
      }
      await catalog.commit(good)
      assert.equal((await again.load(orders))?.metadataLocation, 'o2')
      assert.deepEqual(await again.state('source/shop'), { key: 'source/shop', value: 'two', version: 2 })
    })

    check('keeps states: grows versions by one, checks without writing, deletes', async (catalog, again) => {
      assert.equal(await catalog.state('a'), null)
      await catalog.commit(states({ key: 'a', expected: null }))
      assert.equal(await catalog.state('a'), null)
      await catalog.commit(states({ key: 'a', expected: null, value: '' }))
      assert.deepEqual(await again.state('a'), { key: 'a', value: '', version: 1 })
      await catalog.commit(states({ key: 'a', expected: 1 }))
      assert.deepEqual(await again.state('a'), { key: 'a', value: '', version: 1 })
      await catalog.commit(states({ key: 'a', expected: 1, value: 'x"\n\u0000日' }))
      assert.deepEqual(await again.state('a'), { key: 'a', value: 'x"\n\u0000日', version: 2 })
      await rejectsWith(catalog.commit(states({ key: 'a', expected: 1, value: null })), 'conflict', 'state-changed')
      await catalog.commit(states({ key: 'a', expected: 2, value: null }))
      assert.equal(await again.state('a'), null)
      await rejectsWith(catalog.commit(states({ key: 'a', expected: 2 })), 'conflict', 'state-changed')
    })

    check('never gives a version of a record twice, so that who held the deleted one is refused', async (catalog) => {
      await catalog.commit(states({ key: 'a', expected: null, value: 'first' }))
      const held = await catalog.state('a')
      await catalog.commit(states({ key: 'a', expected: 1, value: null }))
      await catalog.commit(states({ key: 'a', expected: null, value: 'second' }))
      const now = await catalog.state('a')
      assert.ok(now !== null && held !== null && now.version > held.version)
      await rejectsWith(catalog.commit(states({ key: 'a', expected: held.version, value: 'x' })), 'conflict', 'state-changed')
      await catalog.commit(states({ key: 'a', expected: now.version, value: 'third' }))
      assert.equal((await catalog.state('a'))?.version, now.version + 1)
    })

    check('finds states by prefix, literally and in order', async (catalog) => {
      for (const key of ['s/b', 's/a', 's', 't/x', 's%', 's_', 'S/a', 's/c'])
        await catalog.commit(states({ key, expected: null, value: key }))
      await catalog.commit(states({ key: 's/c', expected: 1, value: null }))
      assert.deepEqual(
        (await catalog.states('s/')).map((state) => state.key),
        ['s/a', 's/b'],
      )
      assert.deepEqual(
        (await catalog.states('s%')).map((state) => state.key),
        ['s%'],
      )
      assert.equal((await catalog.states('')).length, 7)
    })

    check('lists tables and namespaces in order, an empty namespace too', async (catalog, again) => {
      await catalog.createNamespace('shop')
      await catalog.createNamespace('empty')
      await catalog.createNamespace('a.b')
      await catalog.commit(tables({ ...orders, base: null, next: 'm1' }, { ...items, base: null, next: 'm2' }))
      await catalog.commit(tables({ namespace: 'a.b', name: 't', base: null, next: 'm3' }))
      assert.deepEqual(await again.namespaces(), ['a.b', 'empty', 'shop'])
      assert.deepEqual(
        (await again.list()).map((table) => table.metadataLocation),
        ['m3', 'm2', 'm1'],
      )
      assert.deepEqual(await again.list('shop'), [
        { ...items, metadataLocation: 'm2' },
        { ...orders, metadataLocation: 'm1' },
      ])
      assert.deepEqual(await again.list('sho_'), [])
    })

    check('takes names as they are', async (catalog, again) => {
      const names = ['Orders', 'orders', 'odd "Name"', "quo'te", '日本', 'with space', '%', '_', 'a.b']
      for (const name of names) {
        await catalog.createNamespace(name)
        await catalog.commit(tables({ namespace: name, name, base: null, next: `of ${name}` }))
      }
      for (const name of names) assert.equal((await again.load({ namespace: name, name }))?.metadataLocation, `of ${name}`)
      assert.equal((await again.list()).length, names.length)
    })

    check('lets exactly one of many win', async (catalog, again) => {
      await catalog.commit({ tables: [{ ...orders, base: null, next: '0' }], states: [] })
      for (let round = 0; round < 10; round++) {
        const attempts = Array.from({ length: 8 }, (_, i) =>
          (i % 2 === 0 ? catalog : again).commit({
            tables: [{ ...orders, base: String(round), next: String(round + 1) }],
            states: [{ key: 's', expected: round === 0 ? null : round, value: String(i) }],
          }),
        )
        const results = await Promise.allSettled(attempts)
        assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1)
        for (const result of results) {
          if (result.status === 'rejected') assert.equal(result.reason.kind, 'conflict', String(result.reason))
        }
        assert.equal((await catalog.state('s'))?.value, String(results.findIndex((result) => result.status === 'fulfilled')))
      }
    })
  })
}

function tables(...changes: CatalogCommit['tables']): CatalogCommit {
  return { tables: changes, states: [] }
}

function states(...changes: CatalogCommit['states']): CatalogCommit {
  return { tables: [], states: changes }
}
