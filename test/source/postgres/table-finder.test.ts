import assert from 'node:assert/strict'
import { test } from 'node:test'
import { namesOf } from '../../../src/source/postgres/postgres-config.ts'
import { ReplacedValues } from '../../../src/source/postgres/replaced-values.ts'
import { TableFinder, catalogueSettings } from '../../../src/source/postgres/table-finder.ts'
import type { TablePlan } from '../../../src/source/postgres/table-plan.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'

const { server, client } = await postgresForFile()
await client.query('create table found_a (id int primary key); create table asked_for (id int primary key)')

test('a table that is excluded while the server is looked at does not come back', { timeout: 300_000 }, async () => {
  const config = { name: 'shop', url: server.url, lakeId: 'lake', tables: ['found_*'], added: [] }
  const names = namesOf(config)
  const clock = new ManualClock()
  const closing = new AbortController()
  const taken: string[][] = []
  /** Keeps back what the server has answered. */
  let gate: Promise<void> | null = null
  let answered = (): void => undefined
  const finder = new TableFinder({
    names,
    version: 180_000,
    settings: catalogueSettings(config, names, new ReplacedValues('shop', undefined)),
    known: { known: [], catalogue: { plans: [], leftOut: [] }, detached: [] },
    clock,
    closing: closing.signal,
    asking: async (ask) => {
      const answer = await ask(client)
      answered()
      await gate
      return answer
    },
    take: (plans: readonly TablePlan[]) => taken.push(plans.map(({ source }) => source.sourceName)),
    notice: (message) => assert.fail(message),
  })
  await finder.include('public.asked_for')
  const { id } = await finder.examine('public.asked_for')
  assert.deepEqual(taken.splice(0), [['public.asked_for']])

  const watch = finder.watch()
  const opened = Promise.withResolvers<void>()
  gate = opened.promise
  const looked = new Promise<void>((resolve) => (answered = resolve))
  const first = watch.next()
  await clock.advance(10_000)
  await looked
  finder.exclude('public.asked_for', [id])
  opened.resolve()
  while (taken.length === 0) {
    await clock.advance(10_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await first
  assert.deepEqual(taken, [['public.found_a']])
  closing.abort()
  assert.equal((await watch.next()).done, true)
})
