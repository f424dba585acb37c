import { fastify } from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { FrazilError } from '../base/index.ts'
import type { Engine } from '../engine/index.ts'
import type { Log } from '../observe/index.ts'
import { errorAnswer } from './answer-errors.ts'
import { definitionRoutes } from './definition-routes.ts'
import { BodiesUnderWay, ingestRoute } from './ingest-route.ts'
import { parseJson } from './json-body.ts'
import { queryRoute } from './query-route.ts'
import { checkListenHost, guardRequest } from './request-guard.ts'
import { takeSingleRows } from './single-rows.ts'
import { stateRoutes } from './state-routes.ts'
import type { ServiceInfo } from './state-routes.ts'
import { tableRoutes } from './table-routes.ts'

export interface HttpServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly info: ServiceInfo
  readonly log: Log
}

export interface HttpServer {
  /** For example `http://127.0.0.1:3030`. */
  readonly url: string
  /** From now on requests reach this engine; before, `/ready` and the others answer 503. */
  attach(engine: Engine): void
  /** Takes no new requests and waits for those under way, at most `closeWithinMs`. */
  close(): Promise<void>
}

/** Largest request body, in bytes: a statement and its parameters. */
const maxBodyBytes = 1 << 20
/** A request must have arrived completely within this time. */
const requestTimeoutMs = 30_000
const closeWithinMs = 5000

/**
 * Answers HTTP on `listen`. Throws `config`: `listen-beyond-loopback`, `port-in-use`, `listen-failed`.
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port } = options.listen
  checkListenHost(host)
  let engine: Engine | null = null
  const attached = (): Engine => {
    if (engine) return engine
    throw new FrazilError('unavailable', 'starting', 'the engine is starting', { hint: 'GET /ready tells when it is up' })
  }
  const app = createApp(options.log)
  stateRoutes(app, { info: options.info, engine: () => engine })
  tableRoutes(app, attached)
  definitionRoutes(app, attached)
  const underWay = new BodiesUnderWay()
  ingestRoute(app, attached, underWay)
  takeSingleRows(app, { engine: attached, underWay, log: options.log })
  queryRoute(app, attached)
  try {
    const url = await app.listen({ host, port })
    return {
      url,
      attach: (running) => (engine = running),
      close: () => closeApp(app),
    }
  } catch (error) {
    await app.close()
    throw listenError(error, host, port)
  }
}

function createApp(log: Log): FastifyInstance {
  const routes: string[] = []
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 8192 },
    exposeHeadRoutes: false,
  })
  app.addHook('onRoute', ({ method, url }) => {
    routes.push(`${String(method)} ${url.replaceAll(/:(\w+)/g, '{$1}')}`)
  })
  app.addHook('onRequest', async (request) => guardRequest(request))
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, async (_request: FastifyRequest, body: string) =>
    parseJson(body),
  )
  app.setErrorHandler((error, request, reply) => {
    const { status, body, retryAfter } = errorAnswer(error)
    if (body.code === 'internal') {
      log.error('a request failed', { method: request.method, route: request.routeOptions.url, error: String(error) })
    }
    if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
    return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body))
  })
  app.setNotFoundHandler(async (request, reply) => {
    const { status, body } = errorAnswer(
      new FrazilError('request', 'no-such-route', `there is no ${request.method} ${request.url.split('?')[0]}`),
    )
    return reply.code(status).send({ ...body, routes })
  })
  return app
}

async function closeApp(app: FastifyInstance): Promise<void> {
  const force = setTimeout(() => app.server.closeAllConnections(), closeWithinMs)
  try {
    await app.close()
  } finally {
    clearTimeout(force)
  }
}

function listenError(error: unknown, host: string, port: number): FrazilError {
  const { code, message } = error as { code?: string; message?: string }
  if (code === 'EADDRINUSE') {
    return new FrazilError('config', 'port-in-use', `port ${port} on ${host} is taken by another program`, {
      cause: error,
      hint: 'stop that program, or set "listen" to another port',
    })
  }
  return new FrazilError('config', 'listen-failed', `cannot listen on ${host}:${port}: ${message ?? ''}`, {
    cause: error,
    hint: 'set "listen" to an address and port that this user may use',
  })
}
