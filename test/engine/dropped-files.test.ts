import assert from 'node:assert/strict'
import { it } from 'node:test'
import { filesOfDropped } from '../../src/engine/dropped-files.ts'
import { Lab } from '../iceberg/lab.ts'

/** A table that was dropped, with its files; `another`: where another table of the catalog has its metadata, below its folder. */
async function dropped(properties: Record<string, string>, another: string | null): Promise<readonly [Lab, string[]]> {
  const lab = new Lab({ properties })
  const file = lab.file(10)
  await lab.store.put(file.path, new Uint8Array(1))
  await lab.commit({ added: [file] })
  const next = `${lab.store.root}/db/${another ?? 'u/metadata/1.metadata.json'}`
  const { namespace, name, metadataLocation: base } = lab.pointer
  const tables = [
    { namespace, name, base, next: null },
    { namespace: 'db', name: 'u', base: null, next },
  ]
  await lab.catalog.commit({ tables, states: [] })
  return [lab, await filesOfDropped(lab, lab.table)]
}

it('all files go with a dropped table', async () => {
  const [lab, files] = await dropped({}, null)
  const stored = await Array.fromAsync(lab.store.list(`${lab.table.location}/`))
  assert.deepEqual(files.sort(), stored.map(({ uri }) => uri).sort())
  assert.ok(files.length >= 4)
})

it('none go where another table is among them, or the table says that they stay', async () => {
  assert.deepEqual((await dropped({}, 't/metadata/00001.metadata.json'))[1], [])
  assert.deepEqual((await dropped({}, 't/inner/metadata/00001.metadata.json'))[1], [])
  assert.deepEqual((await dropped({ 'gc.enabled': 'False' }, null))[1], [])
  assert.notDeepEqual((await dropped({}, 't2/metadata/00001.metadata.json'))[1], [])
})
