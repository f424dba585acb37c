import { createServer } from 'node:http'
import type { Server as HttpServer, RequestListener, ServerOptions, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { oldestTls } from '../access/index.ts'
import type { KeyPair } from '../access/index.ts'
import { Incoming } from './incoming.ts'
import { maxHeaderBytes, maxHeaders, probeAfterMs } from './limits.ts'
import type { HttpLimits } from './limits.ts'

/** Makes the server of `node:http`, or of `node:https` with a key pair, within the limits. */
export function makeListener(pair: KeyPair | null, limits: HttpLimits, handler: RequestListener): HttpServer {
  const options: ServerOptions = {
    IncomingMessage: Incoming,
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: limits.checkMs,
    maxHeaderSize: maxHeaderBytes,
    keepAlive: true,
    keepAliveInitialDelay: probeAfterMs,
  }
  const watched: RequestListener = (request, response) => {
    endIfStalled(response, limits)
    handler(request, response)
  }
  const server = pair
    ? createTlsServer({ ...options, ...pair, minVersion: oldestTls, handshakeTimeout: limits.headMs }, watched)
    : createServer(options, watched)
  server.maxConnections = limits.connections
  server.maxHeadersCount = maxHeaders
  return server
}

/**
 * Ends the connection of a response when its client takes nothing of it for `stalledMs`. Not for `server.timeout` to do: that ends
 * connections, too, which wait for an answer that nobody watches.
 */
export function endIfStalled(response: ServerResponse, { stalledMs }: HttpLimits): void {
  // A response has its socket when those before it have gone.
  response.req.socket.setTimeout(stalledMs)
  response.on('timeout', endStalled)
}

/**
 * A socket without traffic waits for an answer, which may take its time, or its client takes nothing of the answer: that one holds
 * memory and is ended.
 */
function endStalled(this: ServerResponse, socket: Socket): void {
  if (this.writableLength > 0 || socket.writableLength > 0) socket.destroy()
}
