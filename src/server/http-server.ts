import { fastify } from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { STATUS_CODES } from 'node:http'
import type { Server } from 'node:http'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { Access, KeyPairFiles, checkListenHost, isLoopback } from '../access/index.ts'
import type { Caller, TlsConfig } from '../access/index.ts'
import { FrazilError } from '../base/index.ts'
import { tokenRules } from '../engine/index.ts'
import type { Engine, TokenConfig } from '../engine/index.ts'
import type { Log } from '../observe/index.ts'
import { errorAnswer } from './answer-errors.ts'
import { definitionRoutes } from './definition-routes.ts'
import { Bodies } from './ingest-body.ts'
import { ingestRoute } from './ingest-route.ts'
import { parseJson } from './json-body.ts'
import { httpLimits } from './limits.ts'
import type { HttpLimits } from './limits.ts'
import { makeListener } from './listener.ts'
import { queryRoute } from './query-route.ts'
import { requestGuard } from './request-guard.ts'
import type { Admit } from './request-guard.ts'
import { takePlainIngest } from './plain-ingest.ts'
import { openPaths, stateRoutes } from './state-routes.ts'
import type { ServiceInfo } from './state-routes.ts'
import { RouteMethods } from './route-methods.ts'
import { tableRoutes } from './table-routes.ts'
import { uploadRoute } from './upload-route.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sends it; set before any route has it, and not where the request was refused before. */
    caller: Caller
  }
}

export interface HttpServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly info: ServiceInfo
  readonly log: Log
  /** With none everybody who can connect may do everything. */
  readonly tokens?: readonly TokenConfig[]
  /** Null or absent: plain HTTP. */
  readonly tls?: TlsConfig | null
  readonly limits?: HttpLimits
}

export interface HttpServer {
  /** For example `http://127.0.0.1:3030`. */
  readonly url: string
  /** From now on requests reach this engine; before, `/ready` and the others answer 503. */
  attach(engine: Engine): void
  /** Reads the certificate again. Throws `config` `tls-files`; the server then goes on with the one it has. */
  reload(): Promise<void>
  /** Takes no new requests and waits for those under way, at most `closeWithinMs`. */
  close(): Promise<void>
}

/** Largest request body, in bytes: a statement and its parameters. */
const maxBodyBytes = 1 << 20
const closeWithinMs = 5000

/**
 * Answers HTTP, or HTTPS, on `listen`. Throws `config`: `listen-beyond-loopback`, `port-in-use`, `listen-failed`, `tls-files`.
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port } = options.listen
  const access = new Access(tokenRules(options.tokens ?? []))
  checkListenHost(host, access.isClosed, '"listen"')
  const pair = options.tls ? await KeyPairFiles.open(options.tls) : null
  let engine: Engine | null = null
  const attached = (): Engine => {
    if (engine) return engine
    throw new FrazilError('unavailable', 'starting', 'the engine is starting', { hint: 'GET /ready tells when it is up' })
  }
  const guard = requestGuard(isLoopback(host))
  const admit: Admit = (headers, isOpen = false) => {
    guard(headers)
    return isOpen && headers.authorization === undefined ? access.stranger : access.caller(headers.authorization)
  }
  const { app, servers } = createApp({ ...options, admit, pair })
  stateRoutes(app, { info: options.info, engine: () => engine })
  tableRoutes(app, attached)
  definitionRoutes(app, attached)
  const limits = options.limits ?? httpLimits
  const bodies = new Bodies(limits)
  ingestRoute(app, attached, bodies)
  takePlainIngest(app, { admit, engine: attached, bodies, log: options.log, limits })
  uploadRoute(app, attached)
  queryRoute(app, attached)
  try {
    const url = await app.listen({ host, port })
    const unwatch = pair?.watch(servers, (level, message, reason) =>
      options.log[level](message, reason === null ? {} : { reason }),
    )
    return {
      url: pair ? url.replace(/^http:/, 'https:') : url,
      attach: (running) => (engine = running),
      reload: async () => {
        if (await pair?.reload(servers)) options.log.info('the certificate is a new one now')
      },
      close: () => {
        unwatch?.()
        return closeApp(app, servers)
      },
    }
  } catch (error) {
    await app.close()
    throw listenError(error, host, port)
  }
}

interface AppParts extends HttpServerOptions {
  readonly admit: Admit
  readonly pair: KeyPairFiles | null
}

function createApp({ log, limits, admit, pair }: AppParts): { app: FastifyInstance; servers: Server[] } {
  const routes: string[] = []
  const methods = new RouteMethods()
  // One, or two where a name means an address of each kind.
  const servers: Server[] = []
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 8192 },
    exposeHeadRoutes: false,
    clientErrorHandler: answerBrokenRequest,
    // What the router cannot read; no hook and no handler of errors gets it.
    frameworkErrors: (error, _request, { raw }) => {
      const { status, body } = errorAnswer(error)
      raw.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
    },
    serverFactory: (handler) => {
      const server = makeListener(pair?.current ?? null, limits ?? httpLimits, handler)
      servers.push(server)
      return server
    },
  })
  app.addHook('onRoute', ({ method, url }) => {
    routes.push(`${String(method)} ${url.replaceAll(/:(\w+)/g, '{$1}')}`)
    methods.add(String(method), url)
  })
  app.decorateRequest('caller')
  app.addHook('onRequest', async (request) => {
    request.caller = admit(request.headers, openPaths.has(request.routeOptions.url ?? ''))
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, async (_request: FastifyRequest, body: string) =>
    parseJson(body),
  )
  app.setErrorHandler((error, request, reply) => {
    const { status, headers, body } = errorAnswer(error, request.caller)
    if (body.code === 'internal') {
      log.error('a request failed', { method: request.method, route: request.routeOptions.url, error: String(error) })
    }
    reply.headers(headers)
    // Its body is passed over.
    if (status === 429) reply.removeHeader('connection')
    return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body))
  })
  app.setNotFoundHandler(async (request, reply) => {
    const [path] = request.url.split('?')
    const allowed = methods.of(path)
    if (allowed.length > 0) {
      reply.header('allow', allowed.join(', '))
      const hint = `possible there: ${allowed.join(', ')}`
      throw new FrazilError('request', 'wrong-method', `${request.method} is not possible at ${path}`, { hint })
    }
    const { status, body } = errorAnswer(new FrazilError('request', 'no-such-route', `there is no ${request.method} ${path}`))
    return reply.code(status).send({ ...body, routes })
  })
  return { app, servers }
}

const brokenRequests: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'request-timeout', 'the request did not arrive in time'],
  HPE_HEADER_OVERFLOW: [431, 'headers-too-large', 'the headers of the request are too large'],
}

/** What is no HTTP, or comes too slowly, has no route: it is answered on its socket, which then ends. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const [status, code, message] = brokenRequests[error.code ?? ''] ?? [400, 'bad-request', 'this is no HTTP request']
  const body = JSON.stringify({ code, message })
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\n`
  if (socket.writable) socket.write(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`)
  socket.destroy(error)
}

async function closeApp(app: FastifyInstance, servers: readonly Server[]): Promise<void> {
  const force = setTimeout(() => {
    for (const server of servers) server.closeAllConnections()
  }, closeWithinMs)
  try {
    await app.close()
  } finally {
    clearTimeout(force)
  }
}

/** Whether `listen` can be listened on now: takes the port for a moment. Throws `config`: `port-in-use`, `listen-failed`. */
export async function checkPort({ host, port }: HttpServerOptions['listen']): Promise<void> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, resolve)
    })
  } catch (error) {
    throw listenError(error, host, port)
  }
  await new Promise((resolve) => server.close(resolve))
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
