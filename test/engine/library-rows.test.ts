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
