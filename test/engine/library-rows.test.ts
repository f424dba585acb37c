import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { FrazilError } from '../../src/base/index.ts'
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
