import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

/** Hears both directions of one connection. */
export interface Tap {
  fromClient(bytes: Buffer): void
  fromServer(bytes: Buffer): void
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  silent: boolean
}

/** Stands between a client and a server on this machine, for what networks do: connections cut at any byte, or silent for ever. */
export class TcpProxy {
  readonly port: number
  /** How many bytes of the server's a connection made from now on lets through before it is reset; null: all. */
  cutAfter: (() => number) | null = null
  /** Listens to each connection made from now on. */
  tap: (() => Tap) | null = null
  /** Asked of what clients send: with such bytes their connection stands still, until {@link release}. */
  holdAt: ((bytes: Buffer) => boolean) | null = null
  /** Connections that were cut. */
  cuts = 0
  readonly #listener: Server
  readonly #pairs = new Set<Pair>()
  #held: (() => void)[] = []

  private constructor(listener: Server, port: number) {
    this.#listener = listener
    this.port = port
  }

  static async before(target: number): Promise<TcpProxy> {
    const listener = createServer({ noDelay: true })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    const proxy = new TcpProxy(listener, (listener.address() as AddressInfo).port)
    listener.on('connection', (client) => proxy.#join(client, connect({ port: target, host: '127.0.0.1', noDelay: true })))
    return proxy
  }

  /** `url` by way of this proxy. */
  through(url: string): string {
    const changed = new URL(url)
    changed.port = String(this.port)
    return changed.href
  }

  /** Both ends of all open connections stay open and hear nothing any more. New ones are not concerned. */
  silence(): void {
    for (const pair of this.#pairs) pair.silent = true
  }

  /** Connections that stand still. */
  get held(): number {
    return this.#held.length
  }

  /** Those that stand still go on, and no others stand still. */
  release(): void {
    this.holdAt = null
    for (const goOn of this.#held.splice(0)) goOn()
  }

  /** Resets all open connections. */
  cut(): void {
    for (const pair of this.#pairs) this.#reset(pair)
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#listener.close(resolve))
  }

  #join(client: Socket, server: Socket): void {
    const pair: Pair = { client, server, silent: false }
    this.#pairs.add(pair)
    const tap = this.tap?.()
    let left = this.cutAfter?.() ?? Number.POSITIVE_INFINITY
    client.on('data', (bytes) => {
      tap?.fromClient(bytes)
      if (pair.silent) return
      if (!this.holdAt?.(bytes)) return void server.write(bytes)
      client.pause()
      this.#held.push(() => {
        server.write(bytes)
        client.resume()
      })
    })
    server.on('data', (bytes) => {
      if (pair.silent) return
      const part = bytes.subarray(0, left)
      tap?.fromServer(part)
      left -= part.length
      // At the very byte: the rest of the message never comes.
      if (left === 0) client.write(part, () => this.#reset(pair))
      else if (!client.write(part)) {
        server.pause()
        client.once('drain', () => server.resume())
      }
    })
    for (const [one, other] of [
      [client, server],
      [server, client],
    ]) {
      one.on('error', () => {})
      one.on('close', () => {
        this.#pairs.delete(pair)
        if (!pair.silent) other.destroy()
      })
    }
  }

  #reset(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return
    this.cuts++
    for (const socket of [pair.client, pair.server]) {
      // Node 24 neither resets nor closes a socket that is being shut down, and then spins for ever when the process ends.
      if (socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }
}
