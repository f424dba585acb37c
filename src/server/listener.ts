import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server as HttpServer, RequestListener, ServerOptions, ServerResponse } from 'node:http'
import { Server as HttpsServer, createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { FrazilError, asError } from '../base/index.ts'
import type { TlsConfig } from '../engine/index.ts'
import type { Log } from '../observe/index.ts'
import { maxHeaderBytes, maxHeaders, probeAfterMs } from './limits.ts'
import type { HttpLimits } from './limits.ts'

/** Certificates and keys are looked at this often. */
const watchEveryMs = 10_000
const oldestTls = 'TLSv1.2'

interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** Makes the server of `node:http`, or of `node:https` with a key pair, within the limits. */
export function makeListener(pair: KeyPair | null, limits: HttpLimits, handler: RequestListener): HttpServer {
  const options: ServerOptions = {
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: limits.checkMs,
    maxHeaderSize: maxHeaderBytes,
    keepAlive: true,
    keepAliveInitialDelay: probeAfterMs,
  }
  const watched: RequestListener = (request, response) => {
    response.on('timeout', endStalled)
    handler(request, response)
  }
  const server = pair
    ? createTlsServer({ ...options, ...pair, minVersion: oldestTls, handshakeTimeout: limits.headMs }, watched)
    : createServer(options, watched)
  server.maxConnections = limits.connections
  server.maxHeadersCount = maxHeaders
  server.timeout = limits.stalledMs
  return server
}

/**
 * A socket without traffic waits for an answer, which may take its time, or its client takes nothing of the answer: that one holds
 * memory and is ended.
 */
function endStalled(this: ServerResponse, socket: Socket): void {
  if (this.writableLength > 0 || socket.writableLength > 0) socket.destroy()
}

/** The key pair of an HTTPS server, which follows its files. */
export class KeyPairFiles {
  readonly #files: TlsConfig
  #current: KeyPair

  private constructor(files: TlsConfig, current: KeyPair) {
    this.#files = files
    this.#current = current
  }

  /** Throws `config` `tls-files`. */
  static async open(files: TlsConfig): Promise<KeyPairFiles> {
    return new KeyPairFiles(files, await readPair(files))
  }

  get current(): KeyPair {
    return this.#current
  }

  /** Gives the servers what the files have now, if that is new. Throws `config` `tls-files`; they then go on with what they have. */
  async reload(servers: readonly HttpServer[]): Promise<boolean> {
    const { cert, key } = await readPair(this.#files)
    if (cert === this.#current.cert && key === this.#current.key) return false
    for (const server of servers) {
      if (server instanceof HttpsServer) server.setSecureContext({ cert, key, minVersion: oldestTls })
    }
    this.#current = { cert, key }
    return true
  }

  /** Looks at the files from time to time. Returns how to end that. */
  watch(servers: readonly HttpServer[], log: Log): () => void {
    let complained = ''
    const timer = setInterval(() => {
      this.reload(servers).then(
        (isNew) => {
          complained = ''
          if (isNew) log.info('the certificate is a new one now')
        },
        (error: unknown) => {
          const { message } = asError(error)
          // Two files that change one after the other do not fit each other for a moment.
          if (message !== complained) log.warn('the certificate stays as it is', { reason: message })
          complained = message
        },
      )
    }, watchEveryMs)
    timer.unref()
    return () => clearInterval(timer)
  }
}

/** Throws `config` `tls-files` unless the files are a certificate and its key. */
export async function checkKeyPair(files: TlsConfig): Promise<void> {
  await readPair(files)
}

async function readPair(files: TlsConfig): Promise<KeyPair> {
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8')
    } catch (cause) {
      throw new FrazilError('config', 'tls-files', `the file ${path} of "tls" cannot be read: ${asError(cause).message}`, {
        cause,
      })
    }
  }
  const [cert, key] = [await read(files.cert), await read(files.key)]
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw new FrazilError(
      'config',
      'tls-files',
      `${files.cert} and ${files.key} are no certificate and its key: ${asError(cause).message}`,
      { cause, hint: 'both have to be PEM, the certificate first in its file, the key without a passphrase' },
    )
  }
  return { cert, key }
}
