import { Buffer } from 'node:buffer'
import { asError } from '../../base/index.ts'
import type { Clock, SlabPool } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import type { RawConnection, RawStream } from './connection.ts'
import { FrameReader } from './frames.ts'
import type { RetiredSegments } from './segment-writer.ts'

/** Turns the messages of a connection into events. */
export interface FrameDecoder {
  /** One message. False: it cannot go on now, and wants to be asked again with the same message. Throws what ends the connection. */
  frame(type: number, bytes: Buffer, from: number, to: number): boolean
  /** The events since it was last asked, as an array to keep. */
  events(): SourceEvent[]
  /** After a false: when to ask again; null when the pool has freed memory. */
  readonly waitsFor: Promise<void> | null
  /** Nothing more is expected. */
  readonly finished: boolean
  /** Whether what there is to tell are rows only that nobody waits for one by one. Not there: never. */
  readonly hasRowsOnly?: boolean
}

export interface PumpOptions {
  readonly pool: SlabPool
  readonly clock: Clock
  readonly retired: RetiredSegments
  readonly maxFrameBytes: number
  /** The walsender makes one system call a row: at a high rate let data pile up before reading on. */
  readonly pace: boolean
}

/** Decoded bytes that wait to be taken, above which reading stops. */
const maxWaitingBytes = 1 << 20
/** A server sends 8 KB at a time. To tell of so few rows costs as much as to decode a quarter of them: more are told of at once. */
const toldBytes = 128 << 10

// Measured (TCP, one walsender): reading at once 165 k rows/s, reading every 10 ms 440 k. Below 4 MB/s latency counts more.
const fastBytesPerSecond = 4 << 20
const rateWindowMs = 20
const pileUpMs = 10

/** Why we do not read. */
const paused = { queue: 1, decoder: 2, pace: 4, asked: 8 } as const

/**
 * Moves bytes from a connection through a decoder to whoever takes the events, and stops reading when nobody takes them or
 * when the pool is full. Nothing is promised or allocated per row: one array of events per read.
 */
export class EventPump {
  readonly #decoder: FrameDecoder
  readonly #options: PumpOptions
  readonly #reader: FrameReader
  readonly #stream: RawStream
  #pausedFor = 0
  #queue: SourceEvent[] = []
  #waitingBytes = 0
  #taker: { resolve(events: SourceEvent[] | null): void; reject(error: Error): void } | null = null
  #failure: Error | null = null
  #ended = false
  #stopped = false
  readonly #closed = Promise.withResolvers<void>()
  #windowStart: number
  #windowBytes = 0
  #fast = false
  /** Time of the last byte read, by the monotonic clock. */
  lastReadMs: number

  constructor(connection: Pick<RawConnection, 'take'>, decoder: FrameDecoder, options: PumpOptions) {
    this.#decoder = decoder
    this.#options = options
    this.#reader = new FrameReader((type, bytes, from, to) => decoder.frame(type, bytes, from, to), options.maxFrameBytes)
    this.#windowStart = options.clock.monotonic()
    this.lastReadMs = this.#windowStart
    this.#stream = connection.take({
      data: (buffer, length) => this.#read(buffer, length),
      closed: (error) => {
        this.#closed.resolve()
        this.fail(error ?? new Error('the connection was closed'))
      },
    })
  }

  /** True while it is we who do not read, so that silence means nothing. */
  get reading(): boolean {
    return this.#pausedFor === 0
  }

  /** The connection has ended. */
  get ended(): boolean {
    return this.#ended
  }

  write(bytes: Buffer): void {
    if (!this.#ended) this.#stream.write(bytes)
  }

  /**
   * The next events, at least one; null when the decoder has finished. Rejects with what ended the connection, after the events
   * before it were taken. One call at a time.
   */
  take(): Promise<SourceEvent[] | null> {
    this.#options.retired.release()
    if (this.#queue.length > 0) return Promise.resolve(this.#handOut())
    if (this.#decoder.finished || this.#stopped) return Promise.resolve(null)
    if (this.#failure) return Promise.reject(this.#failure)
    this.#resume(paused.queue)
    return new Promise((resolve, reject) => (this.#taker = { resolve, reject }))
  }

  /** Stops or continues reading by request. */
  pause(): void {
    this.#pause(paused.asked)
  }

  resume(): void {
    this.#resume(paused.asked)
  }

  /** Ends the connection; the taker gets the error after the events that it has not taken yet. */
  fail(error: Error): void {
    if (this.#ended) return
    this.#publish()
    this.#ended = true
    this.#failure = error
    this.#stream.destroy()
    const taker = this.#taker
    this.#taker = null
    if (!taker) return
    if (this.#decoder.finished) taker.resolve(null)
    else taker.reject(error)
  }

  /** Gives the taker null and reads no more; the connection stays, for what there is to write. */
  stop(): void {
    this.#stopped = true
    this.#pause(paused.asked)
    this.#taker?.resolve(null)
    this.#taker = null
  }

  /** Sends `last` and waits, at most so long, until the server has taken it and closed the connection. */
  async finish(last: Buffer, withinMs: number): Promise<void> {
    if (this.#ended) return
    this.stop()
    this.#ended = true
    this.#failure = new Error('closed')
    this.#stream.write(last)
    // What still comes is thrown away: a socket that is closed over unread bytes may lose what we sent.
    this.#stream.resume()
    const timer = new AbortController()
    await Promise.race([this.#closed.promise, this.#options.clock.sleep(withinMs, timer.signal)])
    timer.abort()
    this.#stream.destroy()
  }

  /** Closes, and gives the taker null. */
  close(): void {
    if (!this.#ended) {
      this.#ended = true
      this.#failure = new Error('closed')
      this.#stream.end()
      this.#stream.destroy()
    }
    this.#taker?.resolve(null)
    this.#taker = null
  }

  #read(buffer: Buffer, length: number): void {
    if (this.#ended || this.#stopped) return
    this.#waitingBytes += length
    const now = this.#options.clock.monotonic()
    this.lastReadMs = now
    this.#windowBytes += length
    const elapsed = now - this.#windowStart
    if (elapsed >= rateWindowMs) {
      this.#fast = this.#options.pace && (this.#windowBytes / elapsed) * 1000 > fastBytesPerSecond
      this.#windowStart = now
      this.#windowBytes = 0
    }
    this.#decode(() => this.#reader.push(buffer, length))
    if (this.#fast && length < buffer.length && !this.#ended) this.#letPileUp()
  }

  #decode(step: () => boolean): void {
    try {
      if (!step()) this.#waitForDecoder()
      else {
        this.#resume(paused.decoder)
        if (this.#decoder.hasRowsOnly === true && this.#waitingBytes < toldBytes) return
      }
      this.#publish()
      // Everything was taken: segments that were given up since are in nobody's hands.
      if (this.#taker && this.#queue.length === 0) this.#options.retired.releaseAll()
    } catch (error) {
      // What was decoded before the fault is still good.
      this.#publish()
      this.fail(asError(error))
    }
  }

  #waitForDecoder(): void {
    this.#pause(paused.decoder)
    const again = (): void => {
      if (!this.#ended && !this.#stopped) this.#decode(() => this.#reader.resume())
    }
    ;(this.#decoder.waitsFor ?? this.#options.pool.freed()).then(again, (error: unknown) => this.fail(asError(error)))
  }

  #letPileUp(): void {
    this.#pause(paused.pace)
    void this.#options.clock.sleep(pileUpMs).then(() => this.#resume(paused.pace))
  }

  #publish(): void {
    const events = this.#decoder.events()
    if (this.#queue.length === 0) this.#queue = events
    else for (const event of events) this.#queue.push(event)
    const taker = this.#taker
    if (taker && (this.#queue.length > 0 || this.#decoder.finished)) {
      this.#taker = null
      taker.resolve(this.#queue.length > 0 ? this.#handOut() : null)
    } else if (!taker && this.#waitingBytes > maxWaitingBytes) {
      this.#pause(paused.queue)
    }
  }

  #handOut(): SourceEvent[] {
    // Segments that have become full are given up with what is handed out, so what is in them has to be told of, too.
    if (this.#decoder.hasRowsOnly === true) for (const event of this.#decoder.events()) this.#queue.push(event)
    const events = this.#queue
    this.#queue = []
    this.#waitingBytes = 0
    this.#options.retired.handOut()
    this.#resume(paused.queue)
    return events
  }

  #pause(reason: number): void {
    if (this.#pausedFor === 0 && !this.#ended) this.#stream.pause()
    this.#pausedFor |= reason
  }

  #resume(reason: number): void {
    if ((this.#pausedFor & reason) === 0) return
    this.#pausedFor &= ~reason
    if (this.#pausedFor === 0 && !this.#ended) {
      this.lastReadMs = this.#options.clock.monotonic()
      this.#stream.resume()
    }
  }
}
