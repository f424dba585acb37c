import { BlockList, isIP } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { FrazilError } from '../../base/index.ts'
import type { EngineEvent } from '../../observe/index.ts'
import { createGrpcEndpoint } from './grpc-endpoint.ts'
import { createHttpEndpoint } from './http-endpoint.ts'
import type { Receiver } from './receiver.ts'
import { BodyRoom } from './request-body.ts'

/** Where a server listens. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** Requests under way have so long to be answered when a server ends. */
const closeWithinMs = 5000

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Throws `config` (`listen-beyond-loopback`) for an address that other machines can reach: there are no tokens here yet. */
export function checkHost({ host }: Address): void {
  const version = isIP(host)
  const isOwn = version === 0 ? host.toLowerCase() === 'localhost' : loopback.check(host, version === 4 ? 'ipv4' : 'ipv6')
  if (isOwn) return
  throw new FrazilError(
    'config',
    'listen-beyond-loopback',
    `listening on ${host} would let other machines in without a password`,
    {
      hint: 'Take OTLP at 127.0.0.1; for others, put a collector on this machine that forwards to it.',
    },
  )
}

interface Endpoint {
  readonly what: string
  readonly at: Address
  readonly server: Server
  /** Lets connections go that have no request under way, and takes no more on the others. */
  readonly finish: () => void
  /** Lets all connections go. */
  readonly cut: () => void
}

/** The servers of one source. */
export class Endpoints {
  readonly #name: string
  readonly #open: Endpoint[] = []
  readonly #observe: (event: EngineEvent) => void

  constructor(
    { name, http, grpc }: { readonly name: string; readonly http: Address | null; readonly grpc: Address | null },
    receiver: Receiver,
    observe: (event: EngineEvent) => void,
  ) {
    this.#name = name
    this.#observe = observe
    const room = new BodyRoom()
    const failed = (error: unknown): void => this.#failed(error)
    if (http) {
      const server = createHttpEndpoint(receiver, room, failed)
      const finish = (): void => server.closeIdleConnections()
      this.#open.push({ what: 'OTLP over HTTP', at: http, server, finish, cut: () => server.closeAllConnections() })
    }
    if (grpc) this.#open.push({ what: 'OTLP over gRPC', at: grpc, ...createGrpcEndpoint(receiver, room, failed) })
  }

  /** Throws `config`: `port-in-use`, `listen-failed`. */
  async listen(): Promise<void> {
    for (const { what, server, at } of this.#open) {
      checkHost(at)
      const address = await listen(server, at)
      this.#observe({ type: 'notice', level: 'info', message: `${this.#name}: ${what} at ${address}`, hint: null })
    }
  }

  /** Takes no new requests and waits for those under way, for some seconds. */
  async close(): Promise<void> {
    await Promise.all(this.#open.map(close))
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#observe({ type: 'error', kind: 'bug', code: 'bug', message, hint: null, source: this.#name, table: null })
  }
}

/** Returns `host:port` as it has become. Throws `config`: `port-in-use`, `listen-failed`. */
export function listen(server: Server, { host, port }: Address): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(cause, host, port)))
    server.listen({ host, port }, () => {
      // A server of TCP has an address of this form.
      const { port: taken } = server.address() as AddressInfo
      resolve(`${host.includes(':') ? `[${host}]` : host}:${taken}`)
    })
  })
}

async function close({ server, finish, cut }: Endpoint): Promise<void> {
  if (!server.listening) return
  const force = setTimeout(cut, closeWithinMs)
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
