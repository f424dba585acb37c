import { Buffer } from 'node:buffer'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Engine } from '../engine/index.ts'
import type { Log } from '../observe/index.ts'
import type { Admit, Caller } from './access.ts'
import { errorAnswer } from './answer-errors.ts'
import { ingest } from './ingest-route.ts'
import type { BodiesUnderWay, IngestRequest } from './ingest-route.ts'

/** Larger bodies have more than one row in them, or take their time anyway. */
const longestBody = 64 << 10

const route = '/ingest/'

export interface SingleRowsParts {
  readonly admit: Admit
  readonly engine: () => Engine
  readonly underWay: BodiesUnderWay
  readonly log: Log
}

/**
 * Takes the plain requests for rows, `POST /ingest/{name}` with a small JSON body, before the router does: what a router, its hooks and
 * its streams cost is more than a row. Everything that is not plain goes on to the router; checks, rows and answers are the same.
 */
export function takeSingleRows(app: FastifyInstance, parts: SingleRowsParts): void {
  const { server } = app
  const others = server.listeners('request') as RequestListener[]
  let isClosing = false
  app.addHook('preClose', async () => {
    isClosing = true
  })
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    const name = isClosing ? null : plainName(request)
    if (name !== null) receive(request, response, name, parts)
    else for (const other of others) other(request, response)
  })
}

/** The name that a plain request sends a row to; null for any other request. */
function plainName({ method, url = '', headers }: IncomingMessage): string | null {
  if (method !== 'POST' || !url.startsWith(route) || headers['content-type'] !== 'application/json') return null
  if (headers['transfer-encoding'] !== undefined || headers.expect !== undefined) return null
  const length = Number(headers['content-length'])
  if (!(length > 0 && length <= longestBody)) return null
  const name = url.slice(route.length)
  return /^[\w.-]+$/.test(name) ? name : null
}

function receive(request: IncomingMessage, response: ServerResponse, name: string, parts: SingleRowsParts): void {
  let caller: Caller
  try {
    caller = parts.admit(request.headers)
    parts.underWay.enter(request.headers, response)
  } catch (error) {
    request.resume()
    refuse(response, error, parts.log)
    return
  }
  let body: Buffer | null = null
  request.on('data', (chunk: Buffer) => (body = body === null ? chunk : Buffer.concat([body, chunk])))
  request.on(
    'end',
    () => void answer(response, { caller, name, query: none, headers: request.headers, body: body ?? Buffer.alloc(0) }, parts),
  )
}

async function answer(response: ServerResponse, request: IngestRequest, { engine, log }: SingleRowsParts): Promise<void> {
  try {
    const { status, body: text, replayed } = await ingest(engine(), request)
    send(response, status, text, replayed ? ['idempotency-replayed', 'true'] : [])
  } catch (error) {
    refuse(response, error, log, request.caller)
  }
}

const none = {}

function refuse(response: ServerResponse, error: unknown, log: Log, caller?: Caller): void {
  const { status, headers, body } = errorAnswer(error, caller)
  if (body.code === 'internal') {
    log.error('a request failed', { method: 'POST', route: `${route}{name}`, error: String(error) })
  }
  send(response, status, JSON.stringify(body), Object.entries(headers).flat())
}

function send(response: ServerResponse, status: number, text: string, headers: readonly string[]): void {
  const length = String(Buffer.byteLength(text))
  response.writeHead(status, ['content-type', 'application/json; charset=utf-8', 'content-length', length, ...headers])
  response.end(text)
}
