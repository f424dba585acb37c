import { once } from 'node:events'
import { connect } from 'node:net'

export interface LoadOptions {
  readonly port: number
  readonly connections: number
  readonly seconds: number
  /** Most requests a second, of all connections together. */
  readonly perSecond?: number
  /** The next request, headers included. */
  readonly next: () => Buffer
}

export interface LoadResult {
  /** Answers with status 200. */
  readonly accepted: number
  /** Answers with status 429: sent again. */
  readonly turnedAway: number
  readonly seconds: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
}

const headEnd = Buffer.from('\r\n\r\n')

/** Connections that are kept alive, each with one request under way, over plain sockets so that the sender costs little. */
export async function load({ port, connections, seconds, perSecond = Infinity, next }: LoadOptions): Promise<LoadResult> {
  const latencies: number[] = []
  let turnedAway = 0
  const started = performance.now()
  const until = started + seconds * 1000
  let begun = 0
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      await new Promise<void>((resolve, reject) => {
        let request = next()
        let sentAt = 0
        let pending = Buffer.alloc(0)
        const send = (): void => {
          sentAt = performance.now()
          socket.write(request)
        }
        socket.on('error', reject)
        socket.on('close', () => resolve())
        socket.on('data', (chunk) => {
          pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
          const head = pending.indexOf(headEnd)
          if (head < 0) return
          const text = pending.toString('latin1', 0, head)
          const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
          if (pending.length < head + 4 + length) return
          const status = Number(text.slice(9, 12))
          if (status === 200) {
            latencies.push(performance.now() - sentAt)
            request = next()
          } else if (status === 429) turnedAway++
          else {
            socket.destroy(new Error(`${text.split('\r\n')[0]}: ${pending.toString('utf8', head + 4)}`))
            return
          }
          pending = Buffer.alloc(0)
          if (performance.now() >= until) socket.end()
          else if (status === 429) setTimeout(send, 5)
          else {
            const early = started + (begun++ / perSecond) * 1000 - performance.now()
            if (early > 1) setTimeout(send, early)
            else send()
          }
        })
        send()
      })
    }),
  )
  const elapsed = (performance.now() - started) / 1000
  latencies.sort((a, b) => a - b)
  const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
  return { accepted: latencies.length, turnedAway, seconds: elapsed, p50: at(0.5), p99: at(0.99) }
}

/** A POST with a body as bytes on the wire. */
export function post(path: string, type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body)
  const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\ncontent-length: ${bytes.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), bytes])
}
