import type { Buffer } from 'node:buffer'
import { IncomingMessage } from 'node:http'
import { assert } from '../base/index.ts'

/** Gets a body as the parser of HTTP finds it. */
export interface BodyTaker {
  take(chunk: Buffer): void
  /** The body is whole. */
  end(): void
}

/**
 * A request whose body can be had without the machinery of a stream, which is a good part of what a small request costs. Whoever takes it so
 * has a bound for it: nothing holds the sender up.
 */
export class Incoming extends IncomingMessage {
  #taker: BodyTaker | null = null

  /** What the listener has made. */
  static of(request: IncomingMessage): Incoming {
    assert(request instanceof Incoming, 'the listener makes requests of this kind')
    return request
  }

  /** The body goes to `taker`. In the turn in which the request came: later some of it may be in the stream. */
  takeBody(taker: BodyTaker): void {
    this.#taker = taker
    // As somebody does who reads the stream: one that nobody reads is emptied when the answer has gone.
    this.read(0)
  }

  /** What the parser calls with each part of the body, and with null behind the last. */
  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    const taker = this.#taker
    if (!taker) return super.push(chunk, encoding)
    if (chunk === null) taker.end()
    else taker.take(chunk)
    return true
  }
}
