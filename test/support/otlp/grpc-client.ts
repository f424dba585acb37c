import { once } from 'node:events'
import { connect } from 'node:http2'
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2'

export interface GrpcAnswer {
  readonly status: number
  readonly message: string
  /** google.rpc.Status of a refusal. */
  readonly details: Buffer
  readonly position: string | null
  /** The message of the answer; null without one. */
  readonly body: Buffer | null
}

const methods = {
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
} as const

/** Calls by gRPC over HTTP/2 as it is specified, nothing more. */
export class GrpcClient implements Disposable {
  readonly #session: ClientHttp2Session

  /** @param ca trusted for TLS; null: there is none */
  constructor(address: string, ca: string | null = null) {
    this.#session =
      ca === null
        ? connect(`http://${address}`, { maxSessionMemory: 256 })
        : connect(`https://${address}`, { maxSessionMemory: 256, ca })
    this.#session.on('error', () => undefined)
  }

  call(signal: keyof typeof methods | `/${string}`, message: Buffer, headers: OutgoingHttpHeaders = {}): Promise<GrpcAnswer> {
    const frame = Buffer.alloc(5 + message.length)
    frame[0] = headers['grpc-encoding'] === undefined ? 0 : 1
    frame.writeUInt32BE(message.length, 1)
    message.copy(frame, 5)
    return this.raw(signal, frame, headers)
  }

  /** What a frame should be. */
  async raw(signal: keyof typeof methods | `/${string}`, body: Buffer, headers: OutgoingHttpHeaders = {}): Promise<GrpcAnswer> {
    const path = signal.startsWith('/') ? signal : methods[signal as keyof typeof methods]
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
    const seen: Record<string, unknown> = {}
    stream.on('response', (response) => Object.assign(seen, response))
    stream.on('trailers', (trailers) => Object.assign(seen, trailers))
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.end(body)
    await once(stream, 'close')
    const answer = Buffer.concat(chunks)
    const text = (name: string): string => (typeof seen[name] === 'string' ? seen[name] : '')
    return {
      status: Number(text('grpc-status') || -1),
      message: decodeURIComponent(text('grpc-message')),
      details: Buffer.from(text('grpc-status-details-bin'), 'base64'),
      position: text('frazil-position') || null,
      body: answer.length >= 5 && answer.readUInt32BE(1) === answer.length - 5 ? answer.subarray(5) : null,
    }
  }

  [Symbol.dispose](): void {
    this.#session.destroy()
  }
}
