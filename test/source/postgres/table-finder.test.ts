import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readVersion } from '../../../src/source/postgres/catalogue-questions.ts'
import { namesOf } from '../../../src/source/postgres/postgres-config.ts'
import { ReplacedValues } from '../../../src/source/postgres/replaced-values.ts'
import { TableFinder, catalogueSettings } from '../../../src/source/postgres/table-finder.ts'
import type { TablePlan } from '../../../src/source/postgres/table-plan.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'

const { server, client } = await postgresForFile()
const version = await readVersion(client)
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

/** What a watch finds, look by look, and how many questions it asks for it. */
class Watched {
  readonly #clock = new ManualClock()
  readonly #closing = new AbortController()
  readonly #looks: AsyncGenerator
  readonly finder: TableFinder
  #taken: string[] = []
  #questions = 0
  #asked = 0

  constructor(pattern: string, publication?: string) {
    const config = { name: 'shop', url: server.url, lakeId: 'lake', tables: [pattern], added: [], publication }
    const names = namesOf(config)
    this.finder = new TableFinder({
      names,
      version,
      settings: catalogueSettings(config, names, new ReplacedValues('shop', undefined)),
      known: { known: [], catalogue: { plans: [], leftOut: [] }, detached: [] },
      clock: this.#clock,
      closing: this.#closing.signal,
      asking: async (ask) => {
        const query = client.query.bind(client)
        const counted = new Proxy(client, {
          get: (_, name) => (name === 'query' ? (this.#questions++, query) : Reflect.get(client, name)),
        })
        try {
          return await ask(counted)
        } finally {
          this.#asked++
        }
      },
      take: (plans) => this.#taken.push(...plans.map(({ source }) => source.sourceName)),
      notice: (message) => assert.fail(message),
    })
    this.#looks = this.finder.watch()
    void this.#looks.next()
  }

  /** One look at the server. */
  async look(): Promise<{ taken: string[]; questions: number }> {
    this.#questions = 0
    const asked = this.#asked
    await this.#clock.advance(10_000)
    // It sleeps again, after it has asked.
    while (this.#asked === asked || this.#clock.sleeping === 0) {
      await new Promise((resolve) => setImmediate(resolve))
      void this.#looks.next()
    }
    return { taken: this.#taken.splice(0), questions: this.#questions }
  }

  async end(): Promise<void> {
    this.#closing.abort()
    await this.#looks.return(undefined)
  }
}

test('tables that come to be meant in any way are found, and else hardly anything is asked', { timeout: 300_000 }, async () => {
  await client.query(
    'create schema later; create table later.found (id int primary key); create table astray (id int primary key)',
  )
  const watched = new Watched('later.*')
  try {
    assert.deepEqual((await watched.look()).taken, ['later.found'])
    const idle = async (): Promise<void> => assert.deepEqual(await watched.look(), { taken: [], questions: 2 })
    await idle()
    const finds = async (sql: string, ...names: string[]): Promise<void> => {
      await client.query(sql)
      assert.deepEqual((await watched.look()).taken, names, sql)
      await idle()
    }
    await finds('create table later.made (id int primary key)', 'later.made')
    await finds('create table elsewhere (id int primary key)')
    await finds('alter table elsewhere set schema later', 'later.elsewhere')
    await finds('alter table astray rename to "Astray"; alter table "Astray" set schema later', 'later."Astray"')
    await finds('drop table later.made; create table later.made (id int primary key)', 'later.made')
    await finds('alter schema later rename to before; create schema later; create table later.x (id int primary key)', 'later.x')
    await client.query('insert into later.x values (1); analyze later.x; create temporary table passing (id int primary key)')
    await idle()
    // Nobody wants it any more, and then somebody does again.
    watched.finder.exclude('later.x', [(await watched.finder.examine('later.x')).id])
    assert.deepEqual((await watched.look()).taken, ['later.x'])
    await idle()
  } finally {
    await watched.end()
  }
})

test('a table that somebody else’s publication begins to send is found', { timeout: 300_000 }, async () => {
  await client.query(
    `create schema lent; create table lent.a (id int primary key); create table lent.b (id int primary key);
     create publication lent for table lent.a`,
  )
  const watched = new Watched('lent.*', 'lent')
  try {
    assert.deepEqual((await watched.look()).taken, ['lent.a'])
    assert.deepEqual((await watched.look()).taken, [])
    await client.query('alter publication lent add table lent.b')
    assert.deepEqual((await watched.look()).taken, ['lent.b'])
    assert.deepEqual((await watched.look()).taken, [])
  } finally {
    await watched.end()
  }
})
