import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { FrazilError } from '../../base/index.ts'
import { refusalOf, responseJson, responseMessage, retryAfterSeconds, statusJson, statusMessage } from './answers.ts'
import { jsonRequest } from './json-request.ts'
import type { Receiver } from './receiver.ts'
import { maxBodyBytes, tooLarge, unpacked } from './request-body.ts'
import type { BodyRoom, Hold } from './request-body.ts'
import type { Signal } from './tables.ts'

/** A request must have arrived completely within this time, its head within the other. */
const requestTimeoutMs = 30_000
const headTimeoutMs = 10_000
/** A connection that is silent is kept for so long. */
const keptAliveMs = 65_000
const mostConnections = 4096

const paths: Readonly<Record<string, Signal>> = { '/v1/logs': 'logs', '/v1/traces': 'traces', '/v1/metrics': 'metrics' }
const types = { protobuf: 'application/x-protobuf', json: 'application/json' } as const
type Form = keyof typeof types

/** OTLP/HTTP (specification: "OTLP/HTTP"): `POST /v1/logs`, `/v1/traces`, `/v1/metrics`, as protobuf or as JSON. */
export function createHttpEndpoint(receiver: Receiver, room: BodyRoom, failed: (error: unknown) => void): Server {
  const server = createServer(
    {
      requestTimeout: requestTimeoutMs,
      headersTimeout: headTimeoutMs,
      keepAliveTimeout: keptAliveMs,
      connectionsCheckingInterval: 5000,
    },
    (request, response) => void answer(request, response),
  )
  server.maxConnections = mostConnections

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let form: Form = 'json'
    let hold: Hold | null = null
    try {
      const signal = route(request)
      form = formOf(request)
      hold = room.take(0)
      const sent = await bodyOf(request, hold)
      const body = await unpacked(sent, request.headers['content-encoding'] ?? '', hold)
      const receipt = await receiver.receive(signal, form === 'json' ? jsonRequest(signal, body) : body)
      if (receipt.position !== null) response.setHeader('frazil-position', receipt.position)
      send(response, 200, form, form === 'json' ? responseJson(signal, receipt) : responseMessage(receipt))
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal.http === 500) failed(error)
      if (refusal.again) response.setHeader('retry-after', retryAfterSeconds)
      if (refusal.http === 405) response.setHeader('allow', 'POST')
      // What is left of its body is not waited for.
      if (refusal.http === 413) response.setHeader('connection', 'close')
      send(response, refusal.http, form, form === 'json' ? statusJson(refusal) : statusMessage(refusal))
    } finally {
      hold?.end()
    }
  }
  return server
}

function route({ url = '', method, headers }: IncomingMessage): Signal {
  const path = url.split('?', 1)[0]
  if (/^\/v1(?:development)?\/profiles$/.test(path)) {
    throw new FrazilError('request', 'profiles-not-taken', 'profiles are not taken: there are logs, traces and metrics')
  }
  if (!Object.hasOwn(paths, path)) {
    throw new FrazilError('request', 'no-such-route', 'there are POST /v1/logs, /v1/traces and /v1/metrics')
  }
  if (method !== 'POST') throw new FrazilError('request', 'wrong-method', 'the method must be POST')
  if (headers.origin !== undefined || headers['sec-fetch-site'] === 'cross-site') {
    throw new FrazilError('request', 'wrong-origin', 'requests of web pages are refused')
  }
  return paths[path]
}

function formOf({ headers }: IncomingMessage): Form {
  const type = (headers['content-type'] ?? '').split(';', 1)[0].trim().toLowerCase()
  if (type === types.protobuf || type === 'application/protobuf') return 'protobuf'
  if (type === types.json) return 'json'
  throw new FrazilError('request', 'wrong-content-type', `the Content-Type must be ${types.protobuf} or ${types.json}`)
}

/** The whole body as it was sent. Throws `unavailable` before it has come when there is no room for it. */
function bodyOf(request: IncomingMessage, hold: Hold): Promise<Buffer> {
  const told = Number(request.headers['content-length'] ?? -1)
  if (told >= 0) hold.grow(told)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      try {
        if (length > maxBodyBytes) throw tooLarge()
        if (told < 0) hold.grow(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        chunks.length = 0
        request.removeAllListeners('data')
        request.resume()
        reject(error)
      }
    })
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, length)))
    const gone = (): void => reject(new FrazilError('request', 'cut-short', 'the request was cut short'))
    request.on('error', gone)
    request.on('close', gone)
  })
}

function send(response: ServerResponse, status: number, form: Form, body: Buffer | string): void {
  response.writeHead(status, { 'content-type': types[form], 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
