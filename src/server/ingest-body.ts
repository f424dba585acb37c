import { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { Allowance, FrazilError, freeBytes } from '../base/index.ts'
import { unpackBody } from '../format/compression/index.ts'
import { skipSpace, skipValue } from '../format/json/index.ts'
import type { BodyTaker, Incoming } from './incoming.ts'
import type { HttpLimits } from './limits.ts'

/** Largest body of a request with rows, in bytes, as sent and unpacked. */
export const maxIngestBytes = 64 << 20

/** A body that is being received and dealt with. */
export interface Body {
  /** As it was sent. Nobody looks at them behind {@link end}: they are used again. */
  readonly bytes: Buffer
  /** Where it is counted, and what becomes of it. */
  readonly held: Allowance
  end(): void
}

export const noBody: Body = { bytes: Buffer.alloc(0), held: new Allowance(maxIngestBytes), end: () => undefined }

/** Receives bodies and counts their bytes. */
export class Bodies {
  readonly #all: Allowance
  readonly #ofConnection: number
  readonly #buffers = new BodyBuffers()

  constructor({ bodyBytes, connectionBodyBytes }: HttpLimits) {
    this.#all = new Allowance(bodyBytes)
    this.#ofConnection = connectionBodyBytes
  }

  /**
   * Resolves with the body of a request. Rejects with `unavailable` (`overloaded`) when there is no room for as much as it says it has,
   * or as soon as there is none for more of it: what is left of it is passed over, and the connection can go on; and with `request`:
   * `body-too-large`, `cut-short`. Room is taken as it comes: who only announces something keeps nobody out.
   */
  receive(request: IncomingMessage): Promise<Body> {
    return new Promise((resolve, reject) => {
      const reception = this.#begin(request, resolve, reject)
      request.on('data', (chunk: Buffer) => reception?.take(chunk))
      request.on('end', () => reception?.end())
    })
  }

  /**
   * {@link receive} without promise and stream, in the turn in which the request came: calls one of the functions, once, now or later, and
   * neither throws.
   */
  take(request: Incoming, received: (body: Body) => void, refused: (error: unknown) => void): void {
    const reception = this.#begin(request, received, refused)
    if (reception) request.takeBody(reception)
  }

  #begin(request: IncomingMessage, received: (body: Body) => void, refused: (error: unknown) => void): Reception | null {
    const { socket, headers } = request
    const told = Number(headers['content-length'] ?? 0)
    try {
      if (told > maxIngestBytes) throw tooLarge()
      const connection = this.#all.of(socket, this.#ofConnection)
      connection.check(told)
      const reception = new Reception(connection.part(), this.#buffers, received, refused)
      // Behind the end it says nothing.
      request.on('close', () => {
        if (!request.complete) reception.refuse(new FrazilError('request', 'cut-short', 'the request was cut short'))
      })
      return reception
    } catch (error) {
      refused(error)
      return null
    }
  }
}

/** A body that is coming, in parts. */
class Reception implements BodyTaker {
  readonly #held: Allowance
  readonly #buffers: BodyBuffers
  readonly #received: (body: Body) => void
  readonly #refused: (error: unknown) => void
  #chunks: Buffer[] = []
  #length = 0
  #isOver = false

  constructor(held: Allowance, buffers: BodyBuffers, received: (body: Body) => void, refused: (error: unknown) => void) {
    this.#held = held
    this.#buffers = buffers
    this.#received = received
    this.#refused = refused
  }

  take(chunk: Buffer): void {
    // What is left of one that was turned away.
    if (this.#isOver) return
    try {
      this.#length += chunk.length
      if (this.#length > maxIngestBytes) throw tooLarge()
      this.#held.grow(chunk.length)
      this.#chunks.push(chunk)
    } catch (error) {
      this.refuse(error)
    }
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    const chunks = this.#chunks
    this.#chunks = []
    this.#received(chunks.length === 1 ? new WholeBody(chunks[0], this.#held) : new JoinedBody(chunks, this.#held, this.#buffers))
  }

  refuse(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#chunks = []
    this.#held.end()
    this.#refused(error)
  }
}

/** A body that came as one. */
class WholeBody implements Body {
  readonly bytes: Buffer
  readonly held: Allowance

  constructor(bytes: Buffer, held: Allowance) {
    this.bytes = bytes
    this.held = held
  }

  end(): void {
    this.held.end()
  }
}

/** A body that came in several parts. */
class JoinedBody extends WholeBody {
  readonly #buffer: Buffer
  readonly #buffers: BodyBuffers

  constructor(chunks: readonly Buffer[], held: Allowance, buffers: BodyBuffers) {
    const buffer = buffers.take(held.held)
    let at = 0
    for (const chunk of chunks) {
      buffer.set(chunk, at)
      at += chunk.length
      freeBytes(chunk)
    }
    super(buffer.subarray(0, at), held)
    this.#buffer = buffer
    this.#buffers = buffers
  }

  override end(): void {
    this.#buffers.give(this.#buffer)
    super.end()
  }
}

/** Smallest buffer that is used again. */
const leastKeptBytes = 128 << 10
/** Most bytes of buffers that wait for the next body. */
const mostKeptBytes = 8 << 20

/** Buffers for bodies that come in several parts. Made anew for each they would be most of what the garbage collector has to do. */
class BodyBuffers {
  readonly #free: Buffer[] = []
  #freeBytes = 0

  take(bytes: number): Buffer {
    const i = this.#free.findIndex(({ length }) => length >= bytes)
    if (i < 0) return Buffer.allocUnsafeSlow(Math.max(leastKeptBytes, 2 ** Math.ceil(Math.log2(bytes))))
    const [buffer] = this.#free.splice(i, 1)
    this.#freeBytes -= buffer.length
    return buffer
  }

  give(buffer: Buffer): void {
    if (this.#freeBytes + buffer.length > mostKeptBytes) return
    this.#free.push(buffer)
    this.#freeBytes += buffer.length
  }
}

function tooLarge(): FrazilError {
  return new FrazilError('request', 'body-too-large', `the body has more than ${maxIngestBytes >> 20} MiB`)
}

/** The body without its Content-Encoding. Throws `request`: an encoding that we do not have, damaged, or too large. */
export async function unpacked(body: Buffer, encoding: string, held: Allowance): Promise<Buffer> {
  return unpackBody(body, encoding, { known: ['gzip', 'x-gzip', 'zstd', 'br'], mostBytes: maxIngestBytes, held })
}

/** One row as Moonlink's clients send it. */
export interface Envelope {
  readonly operation: string
  readonly mode: string | null
  /** The row, as it is in the body. */
  readonly data: Buffer
}

/**
 * `{"operation": …, "request_mode": …, "data": {…}}` taken apart; the row stays as bytes, so that its numbers keep their digits.
 * Throws `request`.
 */
export function parseEnvelope(body: Buffer): Envelope {
  const end = body.length
  let operation: string | null = null
  let mode: string | null = null
  let data: Buffer | null = null
  let at = skipSpace(body, 0, end)
  if (at >= end || body[at] !== 0x7b) throw at < end && skipValue(body, at, end) > 0 ? noObject() : malformed()
  at = skipSpace(body, at + 1, end)
  while (at < end && body[at] !== 0x7d) {
    const nameEnd = body[at] === 0x22 ? skipValue(body, at, end) : -1
    if (nameEnd < 0) throw malformed()
    const nameAt = at + 1
    at = skipSpace(body, nameEnd, end)
    if (body[at] !== 0x3a) throw malformed()
    at = skipSpace(body, at + 1, end)
    const after = skipValue(body, at, end)
    if (after === -2) throw new FrazilError('request', 'too-deep', 'the body is nested too deeply')
    if (after < 0) throw malformed()
    if (isText(body, nameAt, nameEnd - 1, 'data')) {
      // One of two would be lost.
      if (data !== null) throw new FrazilError('request', 'bad-body', 'the body has data twice', { hint })
      data = body.subarray(at, after)
    } else if (isText(body, nameAt, nameEnd - 1, 'operation')) operation = operationAt(body, at, after)
    else if (isText(body, nameAt, nameEnd - 1, 'request_mode')) mode = textAt(body, at, after)
    else throw new FrazilError('request', 'bad-body', 'the body can have operation, request_mode and data', { hint })
    at = skipSpace(body, after, end)
    if (body[at] === 0x2c) {
      at = skipSpace(body, at + 1, end)
      if (body[at] !== 0x22) throw malformed()
    } else if (body[at] !== 0x7d) throw malformed()
  }
  if (at >= end || skipSpace(body, at + 1, end) !== end) throw malformed()
  if (operation === null || data === null) {
    throw new FrazilError('request', 'bad-body', 'the body needs operation and data', { hint })
  }
  return { operation, mode, data }
}

const hint = 'Send {"operation": "insert", "data": {…}}; or several rows as a JSON array, or as application/x-ndjson.'

/** Whether the bytes are `text`. Nothing is made for them: this is done for each row. */
function isText(body: Buffer, from: number, to: number, text: string): boolean {
  if (to - from !== text.length) return false
  for (let i = 0; i < text.length; i++) if (body[from + i] !== text.charCodeAt(i)) return false
  return true
}

function operationAt(body: Buffer, from: number, to: number): string {
  for (const operation of ['insert', 'upsert', 'delete'])
    if (body[from] === 0x22 && isText(body, from + 1, to - 1, operation)) return operation
  return textAt(body, from, to)
}

function textAt(body: Buffer, from: number, to: number): string {
  return body[from] === 0x22 ? body.toString('utf8', from + 1, to - 1) : ''
}

function noObject(): FrazilError {
  return new FrazilError('request', 'bad-body', 'the body must be an object, or an array of objects', { hint })
}

function malformed(): FrazilError {
  return new FrazilError('request', 'bad-json', 'the body is not JSON')
}
