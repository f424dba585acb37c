/** What a connection may take, whoever is at its other end. Times in milliseconds. */
export interface HttpLimits {
  /** Connections at one time; further ones are closed at once. */
  readonly connections: number
  /** The head of a request must have come within this time. */
  readonly headMs: number
  /** The whole request must have come within this time. */
  readonly requestMs: number
  /** A connection may be idle for this long between two requests. */
  readonly idleMs: number
  /** A client that takes nothing of its answer for this long is gone. */
  readonly stalledMs: number
  /** How often the first two are looked at. */
  readonly checkMs: number
  /** Bytes of bodies with rows that have come and are being dealt with, as sent and unpacked: of all connections, and of one. */
  readonly bodyBytes: number
  readonly connectionBodyBytes: number
}

export const httpLimits: HttpLimits = {
  connections: 2048,
  headMs: 10_000,
  requestMs: 120_000,
  idleMs: 65_000,
  stalledMs: 30_000,
  checkMs: 2000,
  bodyBytes: 256 << 20,
  connectionBodyBytes: 128 << 20,
}

/** Headers of a request, in number and in bytes. */
export const maxHeaders = 100
export const maxHeaderBytes = 16 << 10
/** A peer that vanished without a word is noticed by probes after this time without traffic. */
export const probeAfterMs = 30_000
