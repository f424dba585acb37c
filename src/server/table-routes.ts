import type { FastifyInstance } from 'fastify'
import { FrazilError } from '../base/index.ts'
import type { Engine } from '../engine/index.ts'
import { optimizeBody, resyncBody, snapshotBody } from './api/index.ts'
import { checkBody } from './json-body.ts'
import { wantsStrings } from './query-route.ts'
import { visibleTo } from './state-routes.ts'
import { rowText } from './values.ts'

/** `GET /tables`, what can be asked of a table, and the look-up of one row by its key. */
export function tableRoutes(app: FastifyInstance, engine: () => Engine): void {
  app.get('/tables', async ({ caller }) => {
    const { tables, sources, ready, reasons } = visibleTo(caller, await engine().status())
    return { tables, sources, ready, reasons }
  })

  app.post('/tables/:name/snapshot', async (request) => {
    const { database, table } = checkBody(snapshotBody, request.body)
    request.caller.demand('write', database, table)
    await engine().keyColumns(database, table) // throws for tables that do not exist
    return { database, table, positions: await engine().flush() }
  })

  // Rows are durable before they are answered: what is left of Moonlink's flush is to have them in Iceberg.
  app.post('/tables/:name/flush', async (request) => {
    const { database, table } = checkBody(snapshotBody, request.body)
    request.caller.demand('write', database, table)
    await engine().keyColumns(database, table)
    return { database, table, positions: await engine().flush() }
  })

  app.post('/tables/:name/resync', async (request) => {
    const { database, table } = checkBody(resyncBody, request.body)
    request.caller.demand('write', database, table)
    return { database, table, state: await engine().resync(database, table) }
  })

  app.post('/tables/:name/optimize', async (request) => {
    const { database, table, mode } = checkBody(optimizeBody, request.body)
    request.caller.demand('write', database, table)
    await engine().keyColumns(database, table) // throws for tables that do not exist
    if (mode !== 'index') await engine().optimize(database, table)
    return { database, table }
  })

  app.get<{ Params: { database: string; table: string; key: string } }>(
    '/tables/:database/:table/rows/:key',
    async (request, reply) => {
      const { database, table, key } = request.params
      request.caller.demand('read', database, table)
      const columns = await engine().keyColumns(database, table)
      if (columns.length !== 1) throw wrongKey(database, table, columns)
      return reply
        .type('application/json; charset=utf-8')
        .send(await row(database, table, { [columns[0]]: key }, wantsStrings(request)))
    },
  )

  app.get<{ Params: { database: string; table: string }; Querystring: Record<string, string | string[]> }>(
    '/tables/:database/:table/rows',
    async (request, reply) => {
      const { database, table } = request.params
      request.caller.demand('read', database, table)
      const columns = await engine().keyColumns(database, table)
      const strings = !columns.includes('numbers') && wantsStrings(request)
      const given = Object.entries(request.query).filter(([column]) => column !== 'numbers' || columns.includes(column))
      const complete =
        given.length === columns.length && given.every(([column, value]) => columns.includes(column) && !Array.isArray(value))
      if (!complete || columns.length === 0) throw wrongKey(database, table, columns)
      return reply.type('application/json; charset=utf-8').send(await row(database, table, Object.fromEntries(given), strings))
    },
  )

  async function row(database: string, table: string, key: Record<string, unknown>, numbersAsStrings: boolean): Promise<string> {
    const found = await engine().lookup(database, table, key)
    if (found.row === null) throw new FrazilError('request', 'no-such-row', `${database}.${table} has no row with this key`)
    return rowText(found.fields, found.row, { numbersAsStrings })
  }
}

function wrongKey(database: string, table: string, columns: readonly string[]): FrazilError {
  const path = `/tables/${database}/${table}/rows`
  if (columns.length === 0) return new FrazilError('request', 'no-key', `${database}.${table} has no key; use POST /query`)
  const form = columns.length === 1 ? `${path}/{${columns[0]}}` : `${path}?${columns.map((column) => `${column}=…`).join('&')}`
  return new FrazilError('request', 'wrong-key', `the key of ${database}.${table} is (${columns.join(', ')})`, {
    hint: `GET ${form}`,
  })
}
