import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import type { z } from 'zod'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import * as answers from '../../src/server/api/answers.ts'
import { documentedRoutes } from '../../src/server/api/routes.ts'
import { openApiDocument, startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const schemas: Readonly<Record<string, z.ZodType>> = answers

suite('the OpenAPI document', { timeout: 180_000 }, () => {
  let folder: string
  let engine: Engine
  let server: HttpServer
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-openapi-'))
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }))
    const info = { version: '0', warehouse: folder }
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info, log: silentLog })
    server.attach(engine)
  })
  after(async () => {
    await server?.close()
    await engine?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('has every route of the server, and no other', async () => {
    const { routes } = (await (await fetch(`${server.url}/nowhere`)).json()) as { routes: string[] }
    const documented = documentedRoutes.map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    assert.deepEqual(documented.toSorted(), routes.toSorted())
  })

  test('is served, and its references lead somewhere', async () => {
    const document = openApiDocument()
    assert.deepEqual(await (await fetch(`${server.url}/openapi.json`)).json(), document)
    const ids = new Set<string>()
    for (const [, path] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const found = path.split('/').reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document)
      assert(found, path)
      ids.add(path)
    }
    assert(ids.size > 20)
  })

  test('tells what is answered', async () => {
    const table = { database: 'app', table: 'users' }
    const schema = [
      { name: 'id', data_type: 'int64', nullable: false },
      { name: 'tags', data_type: 'list', item: { data_type: 'string' } },
    ]
    const requests: [string, string, unknown, number][] = [
      ['get', '/health', undefined, 200],
      ['get', '/ready', undefined, 200],
      ['get', '/metrics', undefined, 200],
      ['post', '/tables/users', { ...table, schema, table_config: { key: ['id'] } }, 200],
      ['post', '/tables/users', { ...table, schema }, 409],
      ['post', '/ingest/users', [{ id: 1 }, { id: 2, tags: ['a'] }], 200],
      ['post', '/ingest/users', { operation: 'insert', request_mode: 'sync', data: { id: 3 } }, 200],
      ['post', '/ingest/users', [{ id: 'x' }, { id: 4 }], 422],
      ['post', '/ingest/users?partial=true', [{ id: 'x' }, { id: 4 }], 200],
      ['post', '/ingest/users?partial=maybe', [{ id: 4 }], 400],
      ['post', '/ingest/nobody', [{ id: 4 }], 404],
      ['get', '/tables', undefined, 200],
      ['get', '/schema/app/users', undefined, 200],
      ['get', '/schema/app/nobody', undefined, 404],
      ['post', '/query', { sql: 'select * from app.users' }, 200],
      ['post', '/query', { sql: 'select', at: 3 }, 501],
      ['post', '/query', { sql: 'drop table app.users' }, 400],
      ['get', '/tables/app/users/rows/1', undefined, 200],
      ['get', '/tables/app/users/rows/77', undefined, 404],
      ['get', '/tables/app/users/rows?id=1', undefined, 200],
      ['post', '/tables/users/snapshot', table, 200],
      ['post', '/tables/users/flush', table, 200],
      ['post', '/tables/users/optimize', table, 200],
      ['post', '/tables/users/resync', table, 400],
      ['post', '/tables/users/from_postgres', { ...table, src_uri: 'postgres://db/shop', src_table_name: 'users' }, 403],
      ['post', '/tables/users/from_postgres', table, 400],
      ['delete', '/tables/users', table, 200],
      ['delete', '/tables/users', table, 404],
    ]
    for (const [method, path, body, status] of requests) {
      const where = `${method} ${path}`
      const response = await fetch(`${server.url}${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      })
      const text = await response.text()
      assert.equal(response.status, status, `${where}: ${text}`)
      const route = documentedRoutes.find(
        (one) => one.method === method && new RegExp(`^${one.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path.split('?')[0]),
      )
      assert(route, where)
      const told = route.answers[status] ?? (route.errors.includes(status) ? { 'application/json': 'errorAnswer' as const } : {})
      const [media] = (response.headers.get('content-type') ?? '').split(';')
      const name = told[media]
      assert(name, `${where}: ${status} ${media} is not in the document`)
      if (name !== 'text') schemas[name].parse(JSON.parse(text))
    }
  })
})
