import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/base/index.ts'
import { catalogPath, checkConfig, resolveConfig } from '../../src/engine/index.ts'
import { lakeIdentity } from '../../src/engine/lake.ts'
import { acquireLease } from '../../src/engine/lease.ts'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'frazil-check-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

async function check(input: object, running = false): Promise<string[]> {
  const { lake } = await checkConfig(resolveConfig(input, { env: {}, folder }), running)
  return lake.map(({ level, code }) => `${level} ${code}`)
}

test('a lake that does not exist yet: nothing is made', async () => {
  assert.deepEqual(await check({ warehouse: 'deep/er/lake' }), ['ok lake'])
  assert.deepEqual(readdirSync(folder), [])
})

test('folders that cannot be used', async () => {
  writeFileSync(join(folder, 'file'), '')
  assert.deepEqual(await check({ warehouse: 'file/lake', local: 'file' }), ['ok lake', 'error folder', 'error folder'])
  mkdirSync(join(folder, 'others'))
  writeFileSync(join(folder, 'others/frazil.json'), JSON.stringify({ format: 1, lake: 'another' }))
  assert.deepEqual(await check({ local: 'others' }), ['ok lake', 'error foreign-local'])
  mkdirSync(join(folder, 'damaged'))
  writeFileSync(join(folder, 'damaged/catalog.db'), 'this is no database, and long enough to be one: '.repeat(100))
  const [first] = await check({ warehouse: 'damaged' })
  assert.match(first, /^error catalog-/)
})

test('a lake that another process holds is told, unless it is known to run', async () => {
  const warehouse = join(folder, 'held')
  mkdirSync(warehouse)
  const catalog = await SqliteCatalog.open(catalogPath(warehouse))
  await lakeIdentity(catalog, systemRandom)
  const lease = await acquireLease({ catalog, clock: systemClock })
  assert.deepEqual(await check({ warehouse }), ['ok lake', 'error lease-held'])
  assert.deepEqual(await check({ warehouse }, true), ['ok lake'])
  await lease.release()
  await catalog.close()
  assert.deepEqual(await check({ warehouse }), ['ok lake'])
  assert.ok(!existsSync(join(folder, '.frazil')))
})
