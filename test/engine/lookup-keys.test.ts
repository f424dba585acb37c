import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

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

test('rows are looked up by floats of every kind, and by nothing that is none', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-lookup-'))
  const server = await startPostgres()
  const client = new Client(server.url)
  await client.connect()
  try {
    for (const type of ['real', 'float8']) {
      await client.query(`create table ${type}s (k ${type} primary key, v text);
        insert into ${type}s values ('nan', 'NaN'), ('infinity', 'Infinity'), ('-infinity', '-Infinity'), (0, '0'), (1.5, '1.5')`)
    }
    const source = { type: 'postgres' as const, url: server.url, tables: ['public.*'] }
    const engine = await open({ commit: { every: '1h' }, sources: { s: source } }, { folder })
    try {
      while (!(await engine.status()).ready) await delay(20)
      for (const rows of ['as copied', 'cold']) {
        if (rows === 'cold') await engine.flush()
        for (const name of ['reals', 'float8s']) {
          const table = engine.table(`s.${name}`)
          for (const v of ['NaN', 'Infinity', '-Infinity', '0', '1.5']) {
            for (const k of [v, Number(v)]) assert.equal((await table.get({ k }))?.['v'], v, `${rows} ${name} ${v}`)
          }
          for (const k of ['1e999', 'nan', '', 'x']) await assert.rejects(table.get({ k }), { code: 'bad-key' })
        }
      }
    } finally {
      await engine.close()
    }
  } finally {
    await client.end()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
})
