import { Buffer } from 'node:buffer'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Caller } from '../access/index.ts'
import type { Engine, PushReceipt, RowToStore } from '../engine/index.ts'
import type { Log } from '../observe/index.ts'
import { errorAnswer } from './answer-errors.ts'
import { maxIngestBytes } from './ingest-body.ts'
import type { Bodies } from './ingest-body.ts'
import { Incoming } from './incoming.ts'
import { ingest, isLinesType, plainRow, rowAnswer } from './ingest-route.ts'
import type { IngestRequest, PlainRow } from './ingest-route.ts'
import type { HttpLimits } from './limits.ts'
import { endIfStalled } from './listener.ts'
import type { Admit } from './request-guard.ts'

/** Larger ones are arrays as a rule, and take their time anyway. */
const longestJson = 64 << 10

const route = '/ingest/'
const plainType = 'application/json'

export interface PlainIngestParts {
  readonly admit: Admit
  readonly engine: () => Engine
  readonly bodies: Bodies
  readonly log: Log
  readonly limits: HttpLimits
}

interface StoreParts extends PlainIngestParts {
  readonly answers: Answers
}

/**
 * Takes the plain requests for rows, `POST /ingest/{name}` with a small JSON body or with lines, before the router does: what a router,
 * its hooks, its streams and promises cost is more than a row, and as much as a hundred rows in lines. Everything that is not plain goes
 * on to the router; checks, rows and answers are the same.
 */
export function takePlainIngest(app: FastifyInstance, parts: PlainIngestParts): void {
  const { server } = app
  const storeParts: StoreParts = { ...parts, answers: new Answers() }
  const others = server.listeners('request') as RequestListener[]
  let isClosing = false
  app.addHook('preClose', async () => {
    isClosing = true
  })
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    const name = isClosing ? null : plainName(request)
    if (name !== null) receive(request, response, name, storeParts)
    else for (const other of others) other(request, response)
  })
}

/** The name that a plain request sends rows to; null for any other request. */
function plainName({ method, url = '', headers }: IncomingMessage): string | null {
  if (method !== 'POST' || !url.startsWith(route)) return null
  const type = headers['content-type']
  const longest = type === plainType ? longestJson : isLinesType(type) ? maxIngestBytes : 0
  if (headers['transfer-encoding'] !== undefined || headers.expect !== undefined) return null
  const length = Number(headers['content-length'])
  if (!(length > 0 && length <= longest)) return null
  const name = url.slice(route.length)
  return /^[\w.-]+$/.test(name) ? name : null
}

function receive(request: IncomingMessage, response: ServerResponse, name: string, parts: StoreParts): void {
  let caller: Caller
  try {
    caller = parts.admit(request.headers)
  } catch (error) {
    request.resume()
    refuse(response, error, parts)
    return
  }
  const { headers } = request
  parts.bodies.take(
    Incoming.of(request),
    (body) => store(response, { caller, name, query: none, headers, body }, parts),
    (error) => refuse(response, error, parts, caller),
  )
}

function store(response: ServerResponse, request: IngestRequest, parts: StoreParts): void {
  try {
    const engine = parts.engine()
    const row = request.headers['content-type'] === plainType ? plainRow(request) : null
    if (row) engine.pushRow({ ingest: request.name }, row.operation, new SingleRow(response, request, row, parts))
    else void answer(engine, response, request, parts)
  } catch (error) {
    request.body.end()
    refuse(response, error, parts, request.caller)
  }
}

async function answer(engine: Engine, response: ServerResponse, request: IngestRequest, parts: StoreParts): Promise<void> {
  try {
    const { status, body: text, replayed } = await ingest(engine, request)
    send(response, status, text, replayed ? ['idempotency-replayed', 'true'] : [], parts.limits)
  } catch (error) {
    refuse(response, error, parts, request.caller)
  } finally {
    request.body.end()
  }
}

/** A row on its way into the spool, and the answer that waits for it. */
class SingleRow implements RowToStore {
  readonly body: Uint8Array
  readonly #operation: PlainRow['operation']
  readonly #response: ServerResponse
  readonly #request: IngestRequest
  readonly #parts: StoreParts

  constructor(response: ServerResponse, request: IngestRequest, { operation, data }: PlainRow, parts: StoreParts) {
    this.body = data
    this.#operation = operation
    this.#response = response
    this.#request = request
    this.#parts = parts
  }

  stored(receipt: PushReceipt): void {
    const { name, body } = this.#request
    body.end()
    const { status, text, headers } = this.#parts.answers.of(name, this.#operation, receipt)
    this.#response.writeHead(status, headers)
    end(this.#response, text, this.#parts.limits)
  }

  failed(error: Error): void {
    const { body, caller } = this.#request
    body.end()
    refuse(this.#response, error, this.#parts, caller)
  }
}

interface Answer {
  readonly status: number
  readonly text: string
  /** As `writeHead` takes them: names and values in turn. */
  readonly headers: string[]
}

/** Rows that were stored together have one receipt: their answer is made once. */
class Answers {
  #receipt: PushReceipt | null = null
  #name = ''
  #operation: PlainRow['operation'] = 'insert'
  #answer: Answer = { status: 0, text: '', headers: [] }

  of(name: string, operation: PlainRow['operation'], receipt: PushReceipt): Answer {
    if (receipt === this.#receipt && name === this.#name && operation === this.#operation) return this.#answer
    const { status, body: text } = rowAnswer(name, operation, receipt)
    this.#receipt = receipt
    this.#name = name
    this.#operation = operation
    this.#answer = { status, text, headers: headersOf(text) }
    return this.#answer
  }
}

const none = {}

function refuse(response: ServerResponse, error: unknown, { log, limits }: StoreParts, caller?: Caller): void {
  const { status, headers, body } = errorAnswer(error, caller)
  if (body.code === 'internal') {
    log.error('a request failed', { method: 'POST', route: `${route}{name}`, error: String(error) })
  }
  send(response, status, JSON.stringify(body), Object.entries(headers).flat(), limits)
}

function send(response: ServerResponse, status: number, text: string, headers: readonly string[], limits: HttpLimits): void {
  response.writeHead(status, [...headers, ...headersOf(text)])
  end(response, text, limits)
}

function end(response: ServerResponse, text: string, limits: HttpLimits): void {
  response.end(text)
  if (response.writableLength > 0) endIfStalled(response, limits)
}

function headersOf(text: string): string[] {
  return ['content-type', 'application/json; charset=utf-8', 'content-length', String(Buffer.byteLength(text))]
}
