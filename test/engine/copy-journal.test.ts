import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CopyJournal } from '../../src/engine/copy-journal.ts'
import type { StagedPart } from '../../src/engine/copy-journal.ts'
import { MemoryStore } from '../../src/storage/index.ts'

const plan = {
  table: { id: '7', sourceName: 'public.t', namespace: 'shop', name: 't', fields: [], key: { kind: 'none' } },
  plan: '{"pages":4}',
  tableUuid: '00000000-0000-0000-0000-000000000001',
  layout: 'text',
} as const

const part = (number: number): StagedPart => ({ part: number, floor: '0/10', memo: '5', rows: 3, files: [] })

async function written(): Promise<{ store: MemoryStore; journal: CopyJournal; uri: (name: string) => string }> {
  const store = new MemoryStore()
  const folder = `${store.root}/shop/t-1`
  const journal = new CopyJournal(store, folder)
  await journal.begin(plan)
  for (const number of [0, 1, 2]) await journal.add(part(number))
  return { store, journal, uri: (name) => `${folder}/copy/${name}.json` }
}

async function parts(journal: CopyJournal): Promise<number[] | null> {
  const found = await journal.read()
  return found && found.parts.map((one) => one.part)
}

test('what was written is found again; a part that is missing or torn at any byte is copied again, the others are not', async () => {
  const { store, journal, uri } = await written()
  assert.deepEqual(await parts(journal), [0, 1, 2])
  const whole = await store.get(uri('part-1'))
  for (let length = 0; length < whole.length; length++) {
    await store.delete([uri('part-1')])
    await store.put(uri('part-1'), whole.slice(0, length))
    assert.deepEqual(await parts(journal), [0, 2], `${length} bytes`)
  }
  await store.delete([uri('part-1')])
  assert.deepEqual(await parts(journal), [0, 2])
})

test('without its plan, or with one that is torn or of another version, the copy begins again', async () => {
  const { store, journal, uri } = await written()
  const whole = await store.get(uri('plan'))
  const others = ['null', '[]', '7', '{}', '{"format":2}', '\u0000', JSON.stringify('plan')].map((text) =>
    new TextEncoder().encode(text),
  )
  for (const bytes of [...Array.from({ length: whole.length }, (_, length) => whole.slice(0, length)), ...others]) {
    await store.delete([uri('plan')])
    await store.put(uri('plan'), bytes)
    assert.equal(await journal.read(), null)
  }
  await store.delete([uri('plan')])
  assert.equal(await journal.read(), null)
  await journal.end()
  assert.equal(await journal.read(), null)
})
