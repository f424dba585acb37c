import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { oldestTls } from '../../access/index.ts'
import type { KeyPair } from '../../access/index.ts'
import { FrazilError, freeBytes } from '../../base/index.ts'
import type { Allowance } from '../../base/index.ts'
import { outcomeOf, refusalOf, responseJson, responseMessage, retryAfterSeconds, statusJson, statusMessage } from './answers.ts'
import { jsonRequest } from './json-request.ts'
import type { EndpointParts } from './endpoint-parts.ts'
import { maxBodyBytes, roomFor, tooLarge, unpacked } from './request-body.ts'
import type { Signal } from './tables.ts'
import { newExchange } from './traffic.ts'

/** A request must have arrived completely within this time, its head within the other. */
const requestTimeoutMs = 30_000
const headTimeoutMs = 10_000
/** A connection that is silent is kept for so long. */
const keptAliveMs = 65_000
const mostConnections = 4096

const paths: Readonly<Record<string, Signal>> = { '/v1/logs': 'logs', '/v1/traces': 'traces', '/v1/metrics': 'metrics' }
const types = { protobuf: 'application/x-protobuf', json: 'application/json' } as const
type Form = keyof typeof types

/** OTLP/HTTP (specification: "OTLP/HTTP"): `POST /v1/logs`, `/v1/traces`, `/v1/metrics`, as protobuf or as JSON; with TLS by `pair`. */
export function createHttpEndpoint({ receiver, exporters, traffic, room, failed }: EndpointParts, pair: KeyPair | null): Server {
  const options = {
    requestTimeout: requestTimeoutMs,
    headersTimeout: headTimeoutMs,
    keepAliveTimeout: keptAliveMs,
    connectionsCheckingInterval: 5000,
  }
  const listener = (request: IncomingMessage, response: ServerResponse): void => void answer(request, response)
  const server = pair
    ? createTlsServer({ ...options, ...pair, minVersion: oldestTls, handshakeTimeout: headTimeoutMs }, listener)
    : createServer(options, listener)
  server.maxConnections = mostConnections

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const given = formOf(request)
    const form = given ?? 'json'
    const exchange = newExchange('http', signalOf(pathOf(request)))
    const held = roomFor(request.socket, room)
    try {
      const caller = exporters.caller(request.headers.authorization)
      exporters.checkHost(request.headers.host)
      const signal = route(request)
      exporters.demand(caller, signal)
      if (given === null) {
        const wanted = `${types.protobuf} or ${types.json}`
        throw new FrazilError('request', 'wrong-content-type', `the Content-Type must be ${wanted}`)
      }
      const sent = await bodyOf(request, held)
      exchange.bytes = sent.length
      const body = await unpacked(sent, request.headers['content-encoding'] ?? '', held)
      const receipt = await receiver.receive(signal, form === 'json' ? jsonRequest(signal, body) : body)
      // Nobody has a part of it: the spool has written it, rows are copies.
      freeBytes(sent)
      freeBytes(body)
      exchange.outcome = 'stored'
      exchange.records = receipt.kept
      exchange.rejected = receipt.refused
      if (receipt.position !== null) response.setHeader('frazil-position', receipt.position)
      send(response, 200, form, form === 'json' ? responseJson(signal, receipt) : responseMessage(receipt))
    } catch (error) {
      const refusal = refusalOf(error)
      exchange.outcome = outcomeOf(refusal)
      if (refusal.http === 500) failed(error)
      if (refusal.http === 401) response.setHeader('www-authenticate', 'Bearer realm="frazil"')
      if (refusal.again) response.setHeader('retry-after', retryAfterSeconds)
      if (refusal.http === 405) response.setHeader('allow', 'POST')
      // What is left of its body is passed over, within the time of a request: to who is still writing a connection that ends is one that
      // failed, the answer is lost, and the same request comes again.
      send(response, refusal.http, form, form === 'json' ? statusJson(refusal) : statusMessage(refusal))
    } finally {
      held.end()
      traffic.count(exchange)
    }
  }
  return server
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0]
}

function signalOf(path: string): Signal | null {
  return Object.hasOwn(paths, path) ? paths[path] : null
}

function route(request: IncomingMessage): Signal {
  const { method, headers } = request
  const path = pathOf(request)
  if (/^\/v1(?:development)?\/profiles$/.test(path)) {
    throw new FrazilError('request', 'profiles-not-taken', 'profiles are not taken: there are logs, traces and metrics')
  }
  const signal = signalOf(path)
  if (signal === null) {
    throw new FrazilError('request', 'no-such-route', 'there are POST /v1/logs, /v1/traces and /v1/metrics')
  }
  if (method !== 'POST') throw new FrazilError('request', 'wrong-method', 'the method must be POST')
  if (headers.origin !== undefined || headers['sec-fetch-site'] === 'cross-site') {
    throw new FrazilError('request', 'wrong-origin', 'requests of web pages are refused')
  }
  return signal
}

/** Null for what is neither. */
function formOf({ headers }: IncomingMessage): Form | null {
  const type = (headers['content-type'] ?? '').split(';', 1)[0].trim().toLowerCase()
  if (type === types.protobuf || type === 'application/protobuf') return 'protobuf'
  return type === types.json ? 'json' : null
}

/** The whole body as it was sent. Throws `unavailable` when there is no room for it: before it has come, where it says how long it is. */
async function bodyOf(request: IncomingMessage, held: Allowance): Promise<Buffer> {
  const told = Number(request.headers['content-length'] ?? 0)
  if (told > maxBodyBytes) throw tooLarge()
  // It has to be free, but is not taken before it comes: who only announces something keeps nobody out.
  held.check(told)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      try {
        if (length > maxBodyBytes) throw tooLarge()
        held.grow(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        chunks.length = 0
        request.removeAllListeners('data')
        request.resume()
        reject(error)
      }
    })
    const gone = (): void => reject(new FrazilError('request', 'cut-short', 'the request was cut short'))
    request.on('end', () => {
      request.off('close', gone)
      if (chunks.length === 1) return resolve(chunks[0])
      resolve(Buffer.concat(chunks, length))
      for (const chunk of chunks) freeBytes(chunk)
    })
    request.on('error', gone)
    request.on('close', gone)
  })
}

function send(response: ServerResponse, status: number, form: Form, body: Buffer | string): void {
  response.writeHead(status, { 'content-type': types[form], 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
