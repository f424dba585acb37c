import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { open } from '../support/engine.ts'

test('a look-up by a text that is no value of its key is refused, and finds no other row', { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-lookup-'))
  const engine = await open({ commit: { every: '1h' } }, { folder })
  try {
    const cases = [
      ['date', '2026-03-02', ['2026-03-02'], ['2026-02-30', '2026-3-2', '2026-13-01']],
      [
        'timestamp',
        '2026-03-02T00:00:00',
        ['2026-03-02T00:00:00', '2026-03-02 00:00:00.000Z', '2026-03-01T24:00:00'],
        ['2026-02-30T00:00:00', '2026-03-02T00:00:00+05:00', '2026-03-02T00:60:00'],
      ],
      [
        'timestamptz',
        '2026-03-02T00:00:00Z',
        ['2026-03-02T05:00:00+05:00', '2026-03-02 00:00:00'],
        ['2026-02-30T00:00:00Z', '2026-02-29T19:00:00-29:00'],
      ],
      ['binary', '++/+', ['++/+', '--_-'], ['+!+/+', '++/+A', ' ++/+']],
      ['int32', -2147483648, ['-2147483648'], ['2147483648', '-2147483649', '1.0', '']],
      ['decimal(4,2)', '1.5', ['1.5', '1.500'], ['1.501', '100', '1e1']],
    ] as const
    for (const [i, [type, stored, same, wrong]] of cases.entries()) {
      const table = engine.table(`app.t${i}`)
      await table.create({ schema: [{ name: 'k', data_type: type, nullable: false }], key: ['k'] })
      await table.insert({ k: stored }, { durability: 'visible' })
      for (const k of same) assert.ok(await table.get({ k }), `${type} ${k}`)
      for (const k of wrong) await assert.rejects(table.get({ k }), { kind: 'request' }, `${type} ${k}`)
    }
  } finally {
    await engine.close()
    await rm(folder, { recursive: true, force: true })
  }
})
