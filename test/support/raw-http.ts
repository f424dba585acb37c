import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** A connection that says what it is told, byte for byte, and collects what comes back. */
export class RawHttp implements Disposable {
  readonly socket: Socket
  #text = ''

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.setEncoding('latin1').on('data', (chunk: string) => (this.#text += chunk))
  }

  /** @param url of the server */
  static async open(url: string): Promise<RawHttp> {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    return new RawHttp(socket)
  }

  write(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }

  /** One chunk of a body with `Transfer-Encoding: chunked`. */
  chunk(bytes: Buffer): void {
    this.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]))
  }

  /** The next answer as it came, head and body. */
  async answer(): Promise<string> {
    for (;;) {
      const head = this.#text.indexOf('\r\n\r\n')
      const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(this.#text.slice(0, head + 2))?.[1] ?? 0)
      const end = head + 4 + length
      if (head >= 0 && this.#text.length >= end) {
        const whole = this.#text.slice(0, end)
        this.#text = this.#text.slice(end)
        return whole
      }
      if (this.socket.closed) throw new Error(`the connection has ended behind ${JSON.stringify(this.#text)}`)
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.socket.off('data', done).off('close', done)
          resolve()
        }
        this.socket.on('data', done).on('close', done)
      })
    }
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

/** The status of an answer. */
export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])
}
