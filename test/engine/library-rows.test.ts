import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { FrazilError } from '../../src/base/index.ts'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'

test('a program in the same process makes tables, sends rows, and reads them, in both kinds of pipelines', async () => {
  for (const pipelines of ['inline', 'worker'] as const) {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-library-'))
    try {
      await using engine = await open({ pipelines }, { folder })
      const users = engine.table('app.users')
      await users.create({
        schema: [
          { name: 'id', data_type: 'int64', nullable: false },
          { name: 'at', data_type: 'timestamptz' },
          { name: 'bytes', data_type: 'binary' },
          { name: 'ratio', data_type: 'float64' },
        ],
        key: ['id'],
      })
      const at = new Date('2024-05-06T07:08:09.123Z')
      const sent = await users.insert([{ id: 2n ** 62n + 1n, at, bytes: Buffer.from([0, 255]), ratio: Number.NaN }, { id: 1 }])
      assert.deepEqual([sent.rows, sent.durability], [2, 'stored'])
      const { rows, positions } = await engine.query(
        'select id, epoch_ms("at"), hex(bytes), isnan(ratio) from app.users order by id',
        {
          wait: { http: sent.position },
        },
      )
      assert.deepEqual(rows, [
        [1n, null, null, null],
        [2n ** 62n + 1n, BigInt(at.getTime()), '00FF', true],
      ])
      assert(Number(positions['http']) >= Number(sent.position))
      await assert.rejects(
        users.insert([{ id: 3 }, { id: '4' }]),
        ({ kind, code, message }: FrazilError) =>
          kind === 'request' && code === 'rows-refused' && message.startsWith('row 2: "id" needs'),
      )
      await users.upsert({ id: 1, ratio: 0.5 }, { durability: 'visible', idempotencyKey: 'once' })
      await users.upsert({ id: 1, ratio: 0.5 }, { durability: 'committed', idempotencyKey: 'once' })
      assert.equal((await users.get({ id: 1 }))?.['ratio'], 0.5)
      await users.delete({ id: 1 }, { durability: 'visible' })
      assert.equal(await users.get({ id: 1 }), null)
      const named = (code: string) => (error: FrazilError) => error.code === code
      const noValues = [new Date(Number.NaN), new Map([['a', 1]]), new Set([1]), Float64Array.of(1), new ArrayBuffer(1), () => 1]
      for (const bytes of noValues) await assert.rejects(users.insert({ id: 5, bytes }), named('bad-value'))
      const generated = (function* () {
        yield { id: 5 }
      })() as unknown as Record<string, unknown>
      await assert.rejects(users.insert(generated), named('bad-value'))
      await assert.rejects(users.insert({ id: 5 }, { durability: 'soon' as 'stored' }), named('bad-parameter'))
      for (const name of ['app.', 'app.a.b', 'app."q"', 'app. a', 'app.a\0']) {
        await assert.rejects(engine.table(name).insert({ id: 5 }, { create: true }), named('table-name'))
        await assert.rejects(engine.table(name).create({ schema: [{ name: 'id', data_type: 'int64' }] }), named('table-name'))
      }
      assert.equal(await users.get({ id: 5 }), null)
      await assert.rejects(engine.table('app.none').insert({ id: 1 }), ({ code }: FrazilError) => code === 'unknown-table')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
})

test('rows by which nobody could know a repeated request again are refused, and −0 keeps its sign', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-library-'))
  try {
    await using engine = await open({}, { folder })
    const table = engine.table('app.sent')
    await table.insert(
      [
        { id: -0, ratio: -0 },
        { id: 9, ratio: 0.5 },
      ],
      { create: true, durability: 'visible' },
    )
    assert.deepEqual((await engine.query('select id, ratio, 1 / ratio from app.sent order by id')).rows, [
      [0n, -0, '-Infinity'],
      [9n, 0.5, 2],
    ])
    const code = (wanted: string) => (error: FrazilError) => error.kind === 'request' && error.code === wanted
    for (const idempotencyKey of ['', 'x'.repeat(256), 5 as unknown as string]) {
      await assert.rejects(table.insert({ id: 1 }, { idempotencyKey }), code('bad-idempotency-key'))
    }
    const odd: unknown[] = [Number.NaN, -1, 1.5, 1e15, 3n, '3', undefined].map((sequence) => ({ id: 'p', sequence }))
    odd.push({ id: '', sequence: 1 }, { id: 'p'.repeat(65), sequence: 1 }, { sequence: 1 }, 'p')
    for (const producer of odd) {
      await assert.rejects(
        table.insert({ id: 2 }, { producer: producer as { id: string; sequence: number } }),
        code('bad-producer'),
      )
    }
    const both = { producer: { id: 'p', sequence: 1 }, idempotencyKey: 'k' }
    await assert.rejects(table.insert({ id: 3 }, both), code('bad-producer'))
    await table.insert({ id: 4 }, { producer: { id: 'p', sequence: 1 }, durability: 'visible' })
    assert.deepEqual((await engine.query('select id from app.sent order by id')).rows, [[0n], [4n], [9n]])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('an engine that is closed says so, and not that its tables are not there', async () => {
  for (const pipelines of ['inline', 'worker'] as const) {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-library-'))
    try {
      const engine = await open({ pipelines }, { folder })
      const table = engine.table('app.closed')
      await table.insert({ id: 1 }, { create: { key: ['id'] }, durability: 'visible' })
      assert.deepEqual(await table.get({ id: 1 }), { id: 1n })
      const closing = engine.close()
      const closed = { kind: 'unavailable', code: 'closed' }
      for (let isClosed = false; ; isClosed = true) {
        await assert.rejects(table.get({ id: 1 }), closed)
        await assert.rejects(table.optimize(), closed)
        await assert.rejects(engine.query('select 1'), closed)
        if (isClosed) break
        await closing
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
})

test('arguments that are none are refused with what is wrong with them, in both kinds of pipelines', async () => {
  for (const pipelines of ['inline', 'worker'] as const) {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-library-'))
    try {
      await using engine = await open({ pipelines }, { folder })
      // Programs in JavaScript know no types.
      const { query, table } = engine as unknown as Record<keyof Frazil, (...given: unknown[]) => unknown>
      const made = engine.table('app.made')
      await made.create({ schema: [{ name: 'id', data_type: 'int64', nullable: false }], key: ['id'] })
      const untyped = (name: string): Record<string, (...given: unknown[]) => Promise<unknown>> =>
        engine.table(name) as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>
      const refused = async (work: () => unknown, code: string, says: RegExp): Promise<void> => {
        await assert.rejects(
          async () => work(),
          (error: FrazilError) => {
            assert.deepEqual([error.kind, error.code], ['request', code], error.stack)
            assert.match(error.message, says)
            return true
          },
        )
      }
      for (const sql of [undefined, null, 5, {}, ['select 1']]) await refused(() => query(sql), 'bad-parameter', /^sql must be/)
      for (const options of [5, 'now', []]) await refused(() => query('select 1', options), 'bad-parameter', /must be an object/)
      const options: [name: string, values: unknown[]][] = [
        ['timeoutMs', [Number.NaN, -1, 0, '5s', 5n]],
        ['waitTimeoutMs', [Number.NaN, -1, '5s', {}]],
        ['params', ['a', 5, { 1: 'a' }]],
        ['wait', ['later', 5, ['1'], { http: 1 }, new Map([['http', '1']])]],
        ['signal', [true, {}]],
        ['mayRead', ['app.*']],
      ]
      for (const [name, values] of options) {
        for (const value of values) {
          await refused(() => query('select 1', { [name]: value }), 'bad-parameter', new RegExp(`^${name} must be`))
        }
      }
      await refused(() => query('select ?', { params: [new Date()] }), 'parameters', /parameter 1/)
      const nothing = { params: null, wait: null, timeoutMs: null, waitTimeoutMs: undefined, signal: null }
      assert.deepEqual(await query('select 1::int as one', nothing), {
        columns: [{ name: 'one', type: 'INTEGER' }],
        rows: [[1]],
        positions: {},
      })

      for (const name of [undefined, 5, '', 'made', '.made']) await refused(() => table(name), 'table-name', /namespace\.table/)
      const other = untyped('app.other')
      const id = { name: 'id', data_type: 'int64' }
      for (const shape of [undefined, 'id', [id]]) await refused(() => other.create(shape), 'bad-parameter', /shape of a table/)
      const round: Record<string, unknown> = { name: 'r', data_type: 'list' }
      round['item'] = round
      const schemas: [schema: unknown, says: RegExp][] = [
        [undefined, /^the schema must be a list of columns/],
        ['id', /^the schema must be a list of columns/],
        [[], /needs at least one field/],
        [[id, undefined], /^column 2: /],
        [Object.assign([id], { length: 2 }), /^column 2: /],
        [['id'], /^column 1: /],
        [[{ ...id, data_type: 64 }], /^column 1: data_type must be the name of a type/],
        [[{ ...id, name: '' }], /^column 1: name must not be empty/],
        [[{ ...id, name: 5 }], /^column 1: name must be text/],
        [[{ ...id, nullable: 'no' }], /^column 1: nullable must be true or false/],
        [[{ ...id, unique: true }], /unique/],
        [[{ name: 's', data_type: 'struct', fields: 'id' }], /^s\.fields must be a list of columns/],
        [[{ name: 's', data_type: 'struct', fields: [id, 5] }], /^s\.column 2: /],
        [[{ name: 'm', data_type: 'map', fields: {} }], /^m\.fields must be a list of columns/],
        [[{ name: 'l', data_type: 'list', item: 5 }], /^l\[\]: /],
        [[round], /is nested more than 16 levels deep/],
      ]
      for (const [schema, says] of schemas) await refused(() => other.create({ schema }), 'bad-schema', says)
      const schema = [{ ...id, nullable: false }]
      for (const key of ['id', { 0: 'id' }, [0], 5]) {
        await refused(() => other.create({ schema, key }), 'bad-parameter', /^key must be a list/)
        for (const create of [{ key }, {}, 'yes', ['id']]) {
          await refused(() => other.insert({ id: 1 }, { create }), 'bad-parameter', /^create must be true, or {key/)
        }
      }
      await refused(() => other.create({ schema, onSchemaChange: 'detach' }), 'bad-parameter', /^onSchemaChange must be/)

      const known = untyped('app.made')
      for (const given of [undefined, () => 1]) await refused(() => known.insert(given), 'bad-value', /cannot be a row/)
      for (const given of [null, 5, 'id']) await refused(() => known.insert(given), 'rows-refused', /^row 1: /)
      await refused(() => known.insert({ id: 1 }, 'visible'), 'bad-parameter', /must be an object/)
      for (const key of [undefined, null, 1, '1', [1]]) await refused(() => known.get(key), 'bad-key', /a key must be an object/)
      for (const value of [{}, new Date(), () => 1, Symbol('1')]) {
        await refused(() => known.get({ id: value }), 'bad-key', /the key column id needs/)
      }
      assert.equal(await made.get({ id: 1 }), null)
      assert.deepEqual(
        (await engine.status()).tables.map((one) => one.table),
        ['made'],
      )
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
  for (const options of [5, { folder: 5 }, { takeOver: 'no' }, { events: {} }]) {
    await assert.rejects(open({}, options as object), { kind: 'request', code: 'bad-parameter' })
  }
})

test('more rows than one call may have are refused as soon as there are, and texts that cannot be so long', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-library-'))
  try {
    await using engine = await open({}, { folder })
    const table = engine.table('app.large')
    await table.create({ schema: [{ name: 'v', data_type: 'string' }] })
    const tooLarge = { kind: 'request', code: 'body-too-large', message: 'the rows of one call have at most 256 MiB as JSON' }
    let looked = false
    const last = {
      get v() {
        looked = true
        return ''
      },
    }
    const large = { v: 'x'.repeat(16 << 20) }
    await assert.rejects(table.insert([...Array.from({ length: 16 }, () => large), last]), tooLarge)
    assert.equal(looked, false)
    const endless = {
      get v() {
        return 'x'.repeat(2 ** 30)
      },
    }
    await assert.rejects(table.insert(endless), tooLarge)
    await table.insert([{ v: 'small' }], { durability: 'visible' })
    assert.deepEqual((await engine.query('select v from app.large')).rows, [['small']])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
