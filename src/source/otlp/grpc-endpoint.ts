import { createSecureServer, createServer } from 'node:http2'
import type { Http2SecureServer, Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { oldestTls } from '../../access/index.ts'
import type { KeyPair } from '../../access/index.ts'
import { FrazilError, freeBytes } from '../../base/index.ts'
import type { Allowance } from '../../base/index.ts'
import { grpcCodes, outcomeOf, refusalOf, responseMessage, statusMessage } from './answers.ts'
import type { Refusal } from './answers.ts'
import type { EndpointParts } from './endpoint-parts.ts'
import { maxBodyBytes, roomFor, tooLarge, unpacked } from './request-body.ts'
import type { Signal } from './tables.ts'
import { newExchange } from './traffic.ts'

/** A message has one byte that says whether it is packed, and its length, before it. */
const frameBytes = 5
/** Calls that one connection may have under way. */
const mostCalls = 128
const mostConnections = 4096
/** What a client may send of one call, and of all of a connection, before we have read it. */
const streamWindowBytes = 1 << 20
const sessionWindowBytes = 4 << 20
/** What Node may hold of one connection, in megabytes; at less than the calls allow it would refuse them for good. */
const sessionMegabytes = 256
/** A call must have come within this time, whatever it says itself. */
const callTimeoutMs = 30_000
/** TLS must be agreed upon within this time. */
const handshakeTimeoutMs = 10_000
/** A connection without calls is kept for so long. */
const idleMs = 300_000

const services: Readonly<Record<string, Signal>> = {
  '/opentelemetry.proto.collector.logs.v1.LogsService/Export': 'logs',
  '/opentelemetry.proto.collector.trace.v1.TraceService/Export': 'traces',
  '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export': 'metrics',
}

/** OTLP/gRPC (specification: "OTLP/gRPC"; gRPC "over HTTP/2"): unary calls of the three services' Export; with TLS by `pair`. */
export function createGrpcEndpoint(
  { receiver, exporters, traffic, room, failed }: EndpointParts,
  pair: KeyPair | null,
): { readonly server: Http2Server | Http2SecureServer; readonly finish: () => void } {
  const sessions = new Set<ServerHttp2Session>()
  const options = {
    maxSessionMemory: sessionMegabytes,
    settings: { maxConcurrentStreams: mostCalls, initialWindowSize: streamWindowBytes, enablePush: false },
  }
  const server = pair
    ? createSecureServer({ ...options, ...pair, minVersion: oldestTls, handshakeTimeout: handshakeTimeoutMs })
    : createServer(options)
  server.maxConnections = mostConnections
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.setLocalWindowSize(sessionWindowBytes)
    session.setTimeout(idleMs, () => session.close())
    session.on('close', () => sessions.delete(session))
    // The connection is gone; what it had sent is refused as cut short.
    session.on('error', () => undefined)
  })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void answer(stream, headers))

  async function answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    // A client that resets its call is not waited for.
    stream.on('error', () => undefined)
    const held = roomFor(stream.session ?? stream, room)
    const deadline = deadlineOf(headers['grpc-timeout'])
    const timer = setTimeout(() => refuse(stream, late), Math.min(deadline, callTimeoutMs))
    const exchange = newExchange('grpc', signalOf(headers[':path'] ?? ''))
    try {
      const caller = exporters.caller(headers.authorization)
      exporters.checkHost(headers[':authority'] ?? headers.host)
      const signal = route(headers)
      exporters.demand(caller, signal)
      const sent = await bytesOf(stream, held)
      exchange.bytes = sent.length
      const body = await messageOf(sent, headers, held)
      // Nothing is stored for a caller who has been told that it was too late.
      if (stream.closed || stream.destroyed || stream.headersSent) {
        exchange.outcome = outcomeOf(late)
        return
      }
      const receipt = await receiver.receive(signal, body)
      // Nobody has a part of it: the spool has written it, rows are copies.
      freeBytes(sent)
      freeBytes(body)
      exchange.outcome = 'stored'
      exchange.records = receipt.kept
      exchange.rejected = receipt.refused
      accept(stream, responseMessage(receipt), receipt.position)
    } catch (error) {
      const refusal = refusalOf(error)
      exchange.outcome = outcomeOf(refusal)
      if (refusal.code === grpcCodes.internal) failed(error)
      refuse(stream, refusal)
    } finally {
      clearTimeout(timer)
      held.end()
      traffic.count(exchange)
    }
  }
  return {
    server,
    finish: () => {
      for (const session of sessions) session.close()
    },
  }
}

const late: Refusal = { http: 504, code: grpcCodes.late, message: 'the deadline has passed', again: true }

function signalOf(path: string): Signal | null {
  return Object.hasOwn(services, path) ? services[path] : null
}

function route(headers: IncomingHttpHeaders): Signal {
  const path = headers[':path'] ?? ''
  const type = (headers['content-type'] ?? '').split(';', 1)[0].trim().toLowerCase()
  if (headers[':method'] !== 'POST' || (type !== 'application/grpc' && type !== 'application/grpc+proto')) {
    throw new FrazilError('request', 'wrong-content-type', 'the Content-Type must be application/grpc')
  }
  if (path.startsWith('/opentelemetry.proto.collector.profiles.')) {
    throw new FrazilError('request', 'profiles-not-taken', 'profiles are not taken: there are logs, traces and metrics')
  }
  const signal = signalOf(path)
  if (signal === null) {
    throw new FrazilError('request', 'no-such-route', 'there is Export of LogsService, TraceService and MetricsService')
  }
  return signal
}

/** Milliseconds of `grpc-timeout`: at most eight digits and a unit. */
function deadlineOf(header: string | string[] | undefined): number {
  const match = /^(\d{1,8})([HMSmun])$/.exec(typeof header === 'string' ? header : '')
  if (!match) return Number.POSITIVE_INFINITY
  const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }
  return Number(match[1]) * units[match[2]]
}

/** The one message of a call. */
async function messageOf(sent: Buffer, headers: IncomingHttpHeaders, held: Allowance): Promise<Buffer> {
  if (sent.length < frameBytes || sent.readUInt32BE(1) !== sent.length - frameBytes || sent[0] > 1) {
    throw new FrazilError('request', 'bad-frame', 'a call has exactly one message')
  }
  const message = sent.subarray(frameBytes)
  if (sent[0] === 0) return message
  const encoding = headers['grpc-encoding']
  if (encoding === undefined || encoding === 'identity') {
    throw new FrazilError('request', 'bad-frame', 'a message is packed, and grpc-encoding does not say how')
  }
  return unpacked(message, String(encoding), held)
}

function bytesOf(stream: ServerHttp2Stream, held: Allowance): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length
      try {
        if (length > maxBodyBytes + frameBytes) throw tooLarge()
        held.grow(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        chunks.length = 0
        stream.removeAllListeners('data')
        stream.resume()
        reject(error)
      }
    })
    stream.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, length)))
    stream.on('close', () => reject(new FrazilError('request', 'cut-short', 'the request was cut short')))
  })
}

function accept(stream: ServerHttp2Stream, message: Buffer, position: string | null): void {
  if (stream.closed || stream.destroyed || stream.headersSent) return
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      ...(position === null ? {} : { 'frazil-position': position }),
    },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  const frame = Buffer.alloc(frameBytes + message.length)
  frame.writeUInt32BE(message.length, 1)
  message.copy(frame, frameBytes)
  stream.end(frame)
}

/** An answer that is nothing but trailers. */
function refuse(stream: ServerHttp2Stream, refusal: Refusal): void {
  if (stream.closed || stream.destroyed || stream.headersSent) return
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': String(refusal.code),
      'grpc-message': percentEncoded(refusal.message),
      'grpc-status-details-bin': statusMessage(refusal).toString('base64').replace(/=+$/, ''),
      ...(refusal.code === grpcCodes.unimplemented ? { 'grpc-accept-encoding': 'identity,gzip' } : {}),
    },
    { endStream: true },
  )
  // What is left of the call is passed over.
  stream.resume()
}

/** Bytes beyond printable ASCII, and `%`, as `%XX`. */
function percentEncoded(text: string): string {
  return Array.from(Buffer.from(text), (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('')
}
