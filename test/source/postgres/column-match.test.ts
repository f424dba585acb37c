import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { matchColumns } from '../../../src/source/postgres/column-match.ts'
import type { Attribute, KnownColumn } from '../../../src/source/postgres/column-match.ts'

/** A table under random DDL: what it was after each step. */
interface Sight {
  readonly columns: readonly KnownColumn[]
  readonly highest: number
}

const lengths = new Map([
  [23, 4],
  [20, 8],
  [25, -1],
])

type Step = readonly ['add' | 'drop' | 'rename' | 'retype', place: number, name: number, type: number]

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.tuple(fc.constantFrom('add', 'drop', 'rename', 'retype'), fc.nat(7), fc.nat(4), fc.nat(2)),
  { maxLength: 12 },
)

function history(all: readonly Step[]): { sights: Sight[]; gone: Map<number, KnownColumn> } {
  const types = [...lengths.keys()]
  const gone = new Map<number, KnownColumn>()
  let columns: KnownColumn[] = [1, 2].map((id) => ({ id, name: `c${id}`, typeOid: 23, modifier: -1 }))
  let highest = 2
  const sights: Sight[] = [{ columns, highest }]
  for (const [what, place, name, type] of all) {
    const at = place % Math.max(columns.length, 1)
    const free = !columns.some((column) => column.name === `c${name}`)
    const typeOid = types[type]
    if (what === 'add' && free) columns = [...columns, { id: ++highest, name: `c${name}`, typeOid, modifier: -1 }]
    else if (what === 'drop' && columns.length > 1) {
      gone.set(columns[at].id, columns[at])
      columns = columns.filter((_, i) => i !== at)
    } else if (what === 'rename' && free)
      columns = columns.map((column, i) => (i === at ? { ...column, name: `c${name}` } : column))
    else if (what === 'retype') columns = columns.map((column, i) => (i === at ? { ...column, typeOid } : column))
    sights.push({ columns, highest })
  }
  return { sights, gone }
}

function attributes({ columns, highest }: Sight, gone: ReadonlyMap<number, KnownColumn>): Attribute[] {
  return Array.from({ length: highest }, (_, i): Attribute => {
    const id = i + 1
    const live = columns.find((column) => column.id === id)
    if (live) return { ...live, dropped: false, generated: false }
    return { id, dropped: true, modifier: -1, length: lengths.get(gone.get(id)?.typeOid ?? 0) ?? 0 }
  })
}

const seenOf = ({ columns }: Sight) =>
  columns.map(({ name, typeOid, modifier }) => ({ name, typeOid, modifier, length: lengths.get(typeOid) ?? null }))

test('a message as old as the catalogue is understood, unless a column was dropped and made again', () => {
  const property = fc.property(steps, (all) => {
    const { sights, gone } = history(all)
    const [first] = sights
    const last = sights[sights.length - 1]
    const ids = matchColumns({ ...first, ignored: [] }, seenOf(last), attributes(last, gone))
    if (ids !== null)
      assert.deepEqual(
        ids,
        last.columns.map(({ id }) => id),
      )
    const noneDropped = first.columns.every(({ id }) => last.columns.some((column) => column.id === id))
    if (noneDropped && gone.size === 0) assert.ok(ids, 'where nothing was dropped there is one meaning')
  })
  fc.assert(property, { numRuns: 3000 })
})

test('without drops every message between is understood, however far the catalogue is ahead', () => {
  const property = fc.property(steps, fc.nat(), fc.nat(), (all, a, b) => {
    const { sights, gone } = history(all.filter(([what]) => what !== 'drop'))
    const from = a % sights.length
    const between = from + (b % (sights.length - from))
    const ids = matchColumns(
      { ...sights[from], ignored: [] },
      seenOf(sights[between]),
      attributes(sights[sights.length - 1], gone),
    )
    assert.deepEqual(
      ids,
      sights[between].columns.map(({ id }) => id),
    )
  })
  fc.assert(property, { numRuns: 3000 })
})

test('two columns that look the same are never mistaken for one another', () => {
  const id: KnownColumn = { id: 1, name: 'id', typeOid: 23, modifier: -1 }
  const a: KnownColumn = { id: 2, name: 'a', typeOid: 25, modifier: -1 }
  const known = { columns: [id, a], highest: 2, ignored: [] }
  const dropped: Attribute = { id: 2, dropped: true, modifier: -1, length: -1 }
  const again: Attribute = { ...a, id: 3, dropped: false, generated: false }
  const live: Attribute = { ...id, dropped: false, generated: false }
  assert.equal(matchColumns(known, seenOf(known), [live, dropped, again]), null)
  // With another type it is clear which one is meant.
  const number: Attribute = { ...a, id: 3, typeOid: 23, dropped: false, generated: false }
  assert.deepEqual(matchColumns(known, seenOf(known), [live, dropped, number]), [1, 2])
  const after = { columns: [id, { ...a, typeOid: 23 }], highest: 3 }
  assert.deepEqual(matchColumns(known, seenOf(after), [live, dropped, number]), [1, 3])
  // A message that fits nothing is not understood.
  assert.equal(
    matchColumns(known, seenOf({ columns: [id], highest: 2 }), [live, { ...a, dropped: false, generated: false }]),
    null,
  )
})
