import type { FastifyInstance } from 'fastify'
import type { Engine } from '../engine/index.ts'

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

/** `GET /health`, `/ready` and `/metrics`. */
export function stateRoutes(app: FastifyInstance, options: StateRouteOptions): void {
  app.get('/health', () => ({ status: 'ok', service: 'frazil', pid: process.pid, ...options.info }))

  app.get('/ready', async (_request, reply) => {
    const status = await options.engine()?.status()
    if (!status) return reply.code(503).send({ ready: false, reasons: ['the engine is starting'], sources: [], detached: [] })
    const { ready, reasons } = status
    const detached = status.tables
      .filter((table) => table.health === 'detached' || table.health === 'stopped')
      .map(({ database, table, health, reason }) => ({ database, table, health, reason }))
    return reply.code(ready ? 200 : 503).send({ ready, reasons, sources: status.sources, detached })
  })

  app.get('/metrics', async (_request, reply) => {
    const text = (await options.engine()?.metrics()) ?? ''
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text)
  })
}
