import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client } from 'pg'
import { readCatalogue } from '../../../src/source/postgres/catalogue.ts'
import { ReplacedValues } from '../../../src/source/postgres/replaced-values.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { connect } from '../../support/workload.ts'

const { server, client } = await postgresForFile()

test('tables that are made anew between any two questions are what they were: with columns and a key', async () => {
  const other = await connect(server.url)
  const make =
    'create table remade (id int primary key, v text); create table keyless (id int unique not null); alter table keyless replica identity full'
  await other.query(make)
  let questions = 0
  const remaking = new Proxy(client, {
    get: (target, name) => {
      const own: unknown = Reflect.get(target, name)
      if (name !== 'query') return own
      return async (...question: Parameters<Client['query']>) => {
        if (++questions > 1) await other.query(`begin; drop table remade, keyless; ${make}; commit`)
        return target.query(...question)
      }
    },
  })
  try {
    const request = {
      source: 'shop',
      tables: ['remade', 'keyless'],
      into: null,
      detached: new Set<string>(),
      known: new Map<string, string>(),
    }
    const settings = { knownTypes: [], publication: 'none', borrowed: null, replaced: new ReplacedValues('shop', () => {}) }
    const { plans, leftOut } = await readCatalogue(remaking, { ...request, ...settings })
    assert.deepEqual(leftOut, [])
    assert.deepEqual(
      plans.map(({ table, columns, source }) => [table, columns.map(({ name }) => name), source.key.kind]),
      [
        ['keyless', ['id'], 'row'],
        ['remade', ['id', 'v'], 'columns'],
      ],
    )
    assert.ok(questions > 4, `${questions} questions`)
  } finally {
    await other.end()
  }
})
