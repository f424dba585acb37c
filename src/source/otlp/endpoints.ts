import type { AddressInfo, Server, Socket } from 'node:net'
import { Access, KeyPairFiles, checkListenHost, isLoopback } from '../../access/index.ts'
import type { KeyPair, TlsConfig, TokenRule } from '../../access/index.ts'
import { FrazilError } from '../../base/index.ts'
import type { EngineEvent } from '../../observe/index.ts'
import type { EndpointParts } from './endpoint-parts.ts'
import { Exporters } from './exporters.ts'
import { createGrpcEndpoint } from './grpc-endpoint.ts'
import { createHttpEndpoint } from './http-endpoint.ts'
import type { Receiver } from './receiver.ts'
import { bodyRoom } from './request-body.ts'
import { Traffic } from './traffic.ts'

/** Where a server listens. */
export interface Address {
  readonly host: string
  readonly port: number
  /** Null: without TLS. */
  readonly tls: TlsConfig | null
}

/** Requests under way have so long to be answered when a server ends. */
const closeWithinMs = 5000

/** Throws `config` (`listen-beyond-loopback`) for an address that other machines can reach when nobody asks them for a token. */
export function checkHost({ host }: Address, hasTokens: boolean): void {
  checkListenHost(host, hasTokens, 'the address of the source')
}

/** Whether other machines send tokens and records where everybody in between can read them. */
export function isInTheClear({ host, tls }: Address): boolean {
  return tls === null && !isLoopback(host)
}

interface Endpoint {
  readonly server: Server
  /** Lets connections go that have no request under way, and takes no more on the others. */
  readonly finish: () => void
}

interface OpenEndpoint extends Endpoint {
  readonly connections: ReadonlySet<Socket>
  /** Looks at the files of the certificate no more. */
  readonly unwatch: () => void
}

export interface EndpointOptions {
  readonly name: string
  readonly http: Address | null
  readonly grpc: Address | null
  readonly tokens: readonly TokenRule[]
}

/** The servers of one source. */
export class Endpoints {
  readonly #options: EndpointOptions
  readonly #parts: EndpointParts
  readonly #open: OpenEndpoint[] = []
  readonly #observe: (event: EngineEvent) => void

  constructor(options: EndpointOptions, receiver: Receiver, observe: (event: EngineEvent) => void) {
    this.#options = options
    this.#observe = observe
    this.#parts = {
      receiver,
      exporters: new Exporters(new Access(options.tokens), options.name),
      traffic: new Traffic(options.name, observe),
      room: bodyRoom(),
      failed: (error) => this.#failed(error),
    }
  }

  /** Throws `config`: `listen-beyond-loopback`, `tls-files`, `port-in-use`, `listen-failed`. */
  async listen(): Promise<void> {
    const { http, grpc } = this.#options
    if (http) {
      await this.#listen('OTLP over HTTP', http, (pair) => {
        const server = createHttpEndpoint(this.#parts, pair)
        return { server, finish: () => server.closeIdleConnections() }
      })
    }
    if (grpc) await this.#listen('OTLP over gRPC', grpc, (pair) => createGrpcEndpoint(this.#parts, pair))
  }

  async #listen(what: string, at: Address, create: (pair: KeyPair | null) => Endpoint): Promise<void> {
    checkHost(at, this.#options.tokens.length > 0)
    const files = at.tls ? await KeyPairFiles.open(at.tls) : null
    const { server, finish } = create(files?.current ?? null)
    const connections = new Set<Socket>()
    server.on('connection', (socket) => {
      connections.add(socket)
      socket.on('close', () => connections.delete(socket))
    })
    const address = await listen(server, at)
    const unwatch = files?.watch([server], (level, message, reason) =>
      this.#tell(level, `${what}: ${message}${reason === null ? '' : `: ${reason}`}`, null),
    )
    this.#open.push({ server, finish, connections, unwatch: unwatch ?? (() => undefined) })
    this.#tell('info', `${what} at ${address}`, null)
    if (isInTheClear(at)) this.#tell('warn', `${what}: tokens and records travel in the clear`, 'set "tls"')
  }

  /** Takes no new requests and waits for those under way, for some seconds. */
  async close(): Promise<void> {
    await Promise.all(this.#open.map(close))
    this.#parts.traffic.tell()
  }

  #tell(level: 'info' | 'warn', message: string, hint: string | null): void {
    this.#observe({ type: 'notice', level, message: `${this.#options.name}: ${message}`, hint })
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#observe({ type: 'error', kind: 'bug', code: 'bug', message, hint: null, source: this.#options.name, table: null })
  }
}

/** Returns `host:port` as it has become. Throws `config`: `port-in-use`, `listen-failed`. */
export function listen(server: Server, { host, port }: Pick<Address, 'host' | 'port'>): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(cause, host, port)))
    server.listen({ host, port }, () => {
      // A server of TCP has an address of this form.
      const { port: taken } = server.address() as AddressInfo
      resolve(`${host.includes(':') ? `[${host}]` : host}:${taken}`)
    })
  })
}

async function close({ server, finish, connections, unwatch }: OpenEndpoint): Promise<void> {
  unwatch()
  const force = setTimeout(() => {
    for (const socket of connections) socket.destroy()
  }, closeWithinMs)
  try {
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      finish()
    })
  } finally {
    clearTimeout(force)
  }
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): FrazilError {
  if (cause.code === 'EADDRINUSE') {
    return new FrazilError('config', 'port-in-use', `port ${port} on ${host} is taken by another program`, {
      cause,
      hint: 'stop that program, or give the source another port',
    })
  }
  return new FrazilError('config', 'listen-failed', `cannot listen on ${host}:${port}: ${cause.message}`, {
    cause,
    hint: 'give the source an address and port that this user may use',
  })
}
