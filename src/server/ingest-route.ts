import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { FrazilError } from '../base/index.ts'
import { skipSpace } from '../format/json/index.ts'
import type { Durability, Engine, PushAnswer, PushRequest, TableFromRows } from '../engine/index.ts'
import type { Caller } from './access.ts'
import { ingestParameters, tableName } from './api/index.ts'
import { maxIngestBytes, parseEnvelope, unpacked } from './ingest-body.ts'

/** Bodies that are being received and dealt with, in bytes; more are turned away before they are read. */
const maxBytesUnderWay = 256 << 20
/** What a body counts whose length is not said beforehand. */
const unknownLength = 8 << 20
const longestKey = 255
/** Where a table goes that is made by its first rows, unless they say it. */
const defaultDatabase = 'http'

const csvType = 'text/csv'
const arrowType = 'application/vnd.apache.arrow.stream'
const lineTypes = ['application/x-ndjson', 'application/ndjson', 'application/jsonl', 'application/x-jsonlines']

/** Parameters of the URL, or of the envelope of a single row. */
interface Wishes {
  readonly operation: PushRequest['operation']
  readonly durability: Durability
  readonly partial: boolean
}

/** One request for rows, whichever way it came in. */
export interface IngestRequest {
  readonly caller: Caller
  /** The name to which the rows are sent. */
  readonly name: string
  readonly query: Record<string, unknown>
  readonly headers: IncomingHttpHeaders
  /** As it was sent. */
  readonly body: Buffer
}

export interface IngestAnswer {
  readonly status: number
  /** JSON. */
  readonly body: string
  /** The answer is that of an earlier request with the same key. */
  readonly replayed: boolean
}

/** Counts the bytes of bodies that are being received and dealt with. */
export class BodiesUnderWay {
  #bytes = 0

  /** Takes a body in, until `response` is closed. Throws `unavailable` (`overloaded`) before it is read, so that it costs nothing. */
  enter(headers: IncomingHttpHeaders, response: ServerResponse): void {
    const given = headers['content-length']
    const bytes = given === undefined ? unknownLength : Number(given)
    if (this.#bytes + bytes > maxBytesUnderWay && this.#bytes > 0) {
      throw new FrazilError('unavailable', 'overloaded', 'too many rows are on their way', { hint: 'Send it again later.' })
    }
    this.#bytes += bytes
    response.once('close', () => (this.#bytes -= bytes))
  }
}

/** `POST /ingest/{name}`: rows for a table that was made with `POST /tables/{name}`. */
export function ingestRoute(app: FastifyInstance, engine: () => Engine, underWay: BodiesUnderWay): void {
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser<Buffer>(
      ['application/json', csvType, arrowType, ...lineTypes],
      { parseAs: 'buffer', bodyLimit: maxIngestBytes },
      async (_request: FastifyRequest, body: Buffer) => body,
    )
    scope.addHook('preParsing', async (request, reply) => underWay.enter(request.headers, reply.raw))
    scope.post<{ Params: { name: string } }>('/ingest/:name', async (request, reply) => {
      const query = request.query as Record<string, unknown>
      const { name } = request.params
      const { caller, headers } = request
      // A request without a body and without a type for it has none at all.
      const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
      const answer = await ingest(engine(), { caller, name, query, headers, body })
      if (answer.replayed) reply.header('idempotency-replayed', 'true')
      return reply.code(answer.status).type('application/json; charset=utf-8').send(answer.body)
    })
  })
}

/** Stores the rows of a request, as far as it wishes. Rejects with what is wrong with all of it. */
export async function ingest(engine: Engine, request: IngestRequest): Promise<IngestAnswer> {
  const { caller, name, headers } = request
  const create = wantedTable(request)
  const table = caller.mayAll('write') ? { ingest: name } : await targetOf(caller, engine, name, create)
  const encoding = headers['content-encoding']
  const body = encoding === undefined ? request.body : await unpacked(request.body, encoding)
  const { push, wishes } = readRequest(request, body)
  const answer = await engine.push({ ...push, table, partial: wishes.partial, key: keyOf(headers) }, wishes.durability, create)
  return answered(name, wishes, answer)
}

/**
 * The table that rows sent to `name` go to. A token that has no right on that table gets the answer for a table that is not there.
 * Throws `request`.
 */
async function targetOf(
  caller: Caller,
  engine: Engine,
  name: string,
  create: TableFromRows | undefined,
): Promise<PushRequest['table']> {
  const known = await engine.ingestTable(name)
  if (known === null && create) caller.demand('write', create.namespace, create.name)
  const table = known ?? (create ? { namespace: create.namespace, name: create.name } : null)
  if (table === null || !caller.sees(table.namespace, table.name)) {
    throw new FrazilError('request', 'unknown-table', `there is no table ${name} that takes rows`)
  }
  caller.demand('write', table.namespace, table.name)
  return table
}

/** The table to be made if there is none. Throws `request`. */
function wantedTable({ name, query }: IngestRequest): TableFromRows | undefined {
  const { create, database, key } = query
  if (create !== 'true') {
    if ((create === undefined || create === 'false') && database === undefined && key === undefined) return undefined
    throw new FrazilError('request', 'bad-parameter', 'create must be true or false; database and key are for create=true')
  }
  const namespace = text(database) ?? defaultDatabase
  if (!tableName.safeParse(name).success || !tableName.safeParse(namespace).success) {
    throw new FrazilError('request', 'bad-parameter', 'the name in the path, or database, cannot be one of a table')
  }
  return { namespace, name, ingest: name, key: text(key)?.split(',') ?? [] }
}

function readRequest(
  { query, headers }: IngestRequest,
  body: Buffer,
): { push: Pick<PushRequest, 'operation' | 'form' | 'body'>; wishes: Wishes } {
  const [media] = (headers['content-type'] ?? '').split(';')
  const type = media.trim().toLowerCase()
  const isLines = lineTypes.includes(type)
  const other = type === csvType ? 'csv' : type === arrowType ? 'arrow' : null
  const isArray = !isLines && other === null && body[skipSpace(body, 0, body.length)] === 0x5b
  if (isLines || isArray || other) {
    const wishes = readWishes(query, 'insert', null)
    return { push: { operation: wishes.operation, form: other ?? (isLines ? 'lines' : 'array'), body }, wishes }
  }
  const { operation, mode, data } = parseEnvelope(body)
  const wishes = readWishes(query, operation, mode)
  return { push: { operation: wishes.operation, form: 'row', body: data }, wishes }
}

const operations: readonly PushRequest['operation'][] = ['insert', 'upsert', 'delete']
const parameters = new Set(Object.keys(ingestParameters.shape))

function readWishes(query: Record<string, unknown>, operation: string, mode: string | null): Wishes {
  for (const name of Object.keys(query)) {
    if (!parameters.has(name)) {
      throw new FrazilError('request', 'bad-parameter', `the parameters are ${[...parameters].join(', ')}`)
    }
  }
  const wanted = (text(query['operation']) ?? operation).toLowerCase()
  const found = operations.find((one) => one === wanted)
  if (!found) throw new FrazilError('request', 'bad-operation', 'operation must be insert, upsert or delete')
  const requestMode = (text(query['request_mode']) ?? mode ?? 'async').toLowerCase()
  if (requestMode !== 'async' && requestMode !== 'sync') {
    throw new FrazilError('request', 'bad-parameter', 'request_mode must be async or sync')
  }
  const { wait, partial } = query
  if (wait !== undefined && wait !== 'visible') throw new FrazilError('request', 'bad-parameter', 'wait can only be "visible"')
  if (partial !== undefined && partial !== 'true' && partial !== 'false') {
    throw new FrazilError('request', 'bad-parameter', 'partial must be true or false')
  }
  const durability = requestMode === 'sync' ? 'committed' : wait === 'visible' ? 'visible' : 'stored'
  return { operation: found, durability, partial: partial === 'true' }
}

/** A parameter that was given once; given twice it is an array, and as good as wrong. */
function text(parameter: unknown): string | null {
  return parameter === undefined ? null : typeof parameter === 'string' ? parameter : ''
}

function keyOf(headers: IncomingHttpHeaders): string | null {
  const key = headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key === 'string' && key.length >= 1 && key.length <= longestKey) return key
  throw new FrazilError('request', 'bad-idempotency-key', `an Idempotency-Key has 1 to ${longestKey} characters`)
}

function answered(table: string, { operation, durability }: Wishes, answer: PushAnswer): IngestAnswer {
  const { position, rows, refused, refusals, reached, replayed } = answer
  if (position === null) {
    const [first] = refusals
    const column = first.column === null ? '' : `${JSON.stringify(first.column)} `
    const more = refused === 1 ? '' : `, and ${refused - 1} more`
    const message = `row ${first.row}: ${column}${first.message}${more}; no row was stored`
    return { status: 422, body: JSON.stringify({ code: 'rows-refused', message, refused, rows: refusals }), replayed }
  }
  const body = JSON.stringify({
    table,
    operation,
    rows,
    position,
    durability: reached,
    ...(durability === 'committed' ? { lsn: Number(position) } : {}),
    ...(refused > 0 ? { refused, errors: refusals } : {}),
  })
  return { status: reached === durability ? 200 : 202, body, replayed }
}
