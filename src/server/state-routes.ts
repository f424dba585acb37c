import type { FastifyInstance } from 'fastify'
import { isLoopback } from '../access/index.ts'
import type { Caller } from '../access/index.ts'
import type { Engine, EngineStatus } from '../engine/index.ts'
import { openApiDocument } from './api/index.ts'

/** What `GET /health` tells, so that a command line can find the daemon of its lake. */
export interface ServiceInfo {
  readonly version: string
  readonly warehouse: string
}

export interface StateRouteOptions {
  readonly info: ServiceInfo
  /** The engine, or null while it starts. */
  engine(): Engine | null
}

/** Routes that need no token; without one they tell less. */
export const openPaths: ReadonlySet<string> = new Set(['/health', '/ready', '/openapi.json'])

/** `GET /health`, `/ready`, `/metrics` and `/openapi.json`. */
export function stateRoutes(app: FastifyInstance, options: StateRouteOptions): void {
  app.get('/health', (request) => {
    const state = { status: 'ok', service: 'frazil' }
    // The command line looks for the daemon of its lake before it shows a token to anybody.
    const { remoteAddress = '', localAddress } = request.socket
    const isLocal = remoteAddress === localAddress || isLoopback(remoteAddress.replace(/^::ffff:/, ''))
    return request.caller.isKnown || isLocal ? { ...state, pid: process.pid, ...options.info } : state
  })

  app.get('/ready', async ({ caller }, reply) => {
    const status = await options.engine()?.status()
    if (!caller.isKnown) return reply.code(status?.ready ? 200 : 503).send({ ready: status?.ready ?? false })
    if (!status) return reply.code(503).send({ ready: false, reasons: ['the engine is starting'], sources: [], detached: [] })
    const { ready, reasons, sources, tables } = visibleTo(caller, status)
    const detached = tables
      .filter((table) => table.health === 'detached' || table.health === 'stopped')
      .map(({ database, table, health, reason }) => ({ database, table, health, reason }))
    return reply.code(ready ? 200 : 503).send({ ready, reasons, sources, detached })
  })

  const document = JSON.stringify(openApiDocument())
  app.get('/openapi.json', (_request, reply) => reply.type('application/json; charset=utf-8').send(document))

  app.get('/metrics', async ({ caller }, reply) => {
    const text = (await options.engine()?.metrics()) ?? ''
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(caller.seesAll ? text : withoutHidden(caller, text))
  })
}

/** What a caller may know of the engine: its tables and their sources. Sentences about sources may name other tables. */
export function visibleTo(caller: Caller, status: EngineStatus): EngineStatus {
  if (caller.seesAll) return status
  const tables = status.tables.filter(({ database, table }) => caller.sees(database, table))
  const own = new Set(tables.map(({ source }) => source))
  const sources = status.sources.filter(({ name }) => own.has(name)).map((source) => ({ ...source, reason: null }))
  return { ...status, tables, sources, reasons: [] }
}

const tableLabels = /[{,]database="((?:[^"\\]|\\.)*)",table="((?:[^"\\]|\\.)*)"/

/** Prometheus text without the series of tables that the caller may not see. */
function withoutHidden(caller: Caller, text: string): string {
  const label = (escaped: string): string => escaped.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))
  return text
    .split('\n')
    .filter((line) => {
      const named = tableLabels.exec(line)
      return named === null || caller.sees(label(named[1]), label(named[2]))
    })
    .join('\n')
}
