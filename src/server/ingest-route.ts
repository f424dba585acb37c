import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../access/index.ts'
import { FrazilError } from '../base/index.ts'
import { skipSpace } from '../format/json/index.ts'
import { longestKey, longestProducer } from '../engine/index.ts'
import type { Durability, Engine, PushAnswer, PushReceipt, PushRequest, TableFromRows } from '../engine/index.ts'
import { ingestParameters, tableName } from './api/index.ts'
import { noBody, parseEnvelope, unpacked } from './ingest-body.ts'
import type { Bodies, Body } from './ingest-body.ts'

/** Where a table goes that is made by its first rows, unless they say it. */
const defaultDatabase = 'http'

const csvType = 'text/csv'
const arrowType = 'application/vnd.apache.arrow.stream'
const avroTypes = ['avro/binary', 'application/avro', 'application/vnd.apache.avro+binary']
const lineTypes = ['application/x-ndjson', 'application/ndjson', 'application/jsonl', 'application/x-jsonlines']

/** Whether a body of this type, as its header says it, has an object on each line. */
export function isLinesType(type: string | undefined): boolean {
  return type !== undefined && lineTypes.includes(type)
}

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
  readonly body: Body
}

export interface IngestAnswer {
  readonly status: number
  /** JSON. */
  readonly body: string
  /** The answer is that of an earlier request with the same key. */
  readonly replayed: boolean
}

/** `POST /ingest/{name}`: rows for a table that was made with `POST /tables/{name}`. */
export function ingestRoute(app: FastifyInstance, engine: () => Engine, bodies: Bodies): void {
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(['application/json', csvType, arrowType, ...avroTypes, ...lineTypes], ({ raw }: FastifyRequest) =>
      bodies.receive(raw),
    )
    scope.post<{ Params: { name: string } }>('/ingest/:name', async (request, reply) => {
      const query = request.query as Record<string, unknown>
      const { name } = request.params
      const { caller, headers } = request
      // A request without a body and without a type for it has none at all.
      const body = (request.body as Body | undefined) ?? noBody
      try {
        const answer = await ingest(engine(), { caller, name, query, headers, body })
        if (answer.replayed) reply.header('idempotency-replayed', 'true')
        return reply.code(answer.status).type('application/json; charset=utf-8').send(answer.body)
      } finally {
        body.end()
      }
    })
  })
}

/** Stores the rows of a request, as far as it wishes. Rejects with what is wrong with all of it. */
export async function ingest(engine: Engine, request: IngestRequest): Promise<IngestAnswer> {
  const { caller, name, headers } = request
  const create = wantedTable(request)
  const isAnywhere = caller.mayAll('write') && request.query['database'] === undefined
  const table = isAnywhere ? { ingest: name } : await targetOf(request, engine, create)
  const { bytes, held } = request.body
  const encoding = headers['content-encoding']
  const body = encoding === undefined ? bytes : await unpacked(bytes, encoding, held)
  const { push, wishes } = readRequest(request, body)
  const answer = await engine.push(
    { ...push, table, partial: wishes.partial, key: keyOf(headers), producer: producerOf(headers) },
    wishes.durability,
    create,
  )
  return answered(name, wishes, answer)
}

/** A row that is to be stored in the spool, for a caller who may write everywhere. */
export interface PlainRow {
  readonly operation: PushRequest['operation']
  readonly data: Buffer
}

/**
 * The row of a request that wants nothing but to have it stored; null for any other request, which {@link ingest} takes. Throws
 * `request`.
 */
export function plainRow({ caller, headers, body: { bytes } }: IngestRequest): PlainRow | null {
  if (!caller.mayAll('write') || bytes[0] !== 0x7b) return null
  if (unusual.some((header) => headers[header] !== undefined)) return null
  const { operation, mode, data } = parseEnvelope(bytes)
  const known = operations.find((one) => one === operation)
  return known && (mode === null || mode === 'async') ? { operation: known, data } : null
}

const unusual = ['content-encoding', 'idempotency-key', 'producer-id', 'producer-sequence']

/** The answer for a row that was stored, or refused, in the spool. */
export function rowAnswer(table: string, operation: PushRequest['operation'], receipt: PushReceipt): IngestAnswer {
  const wishes: Wishes = { operation, durability: 'stored', partial: false }
  return answered(table, wishes, { ...receipt, reached: receipt.position === null ? null : 'stored' })
}

/**
 * The table that rows sent to a name go to. A token that has no right on that table gets the answer for a table that is not there.
 * Throws `request`, and `conflict` (`ingest-name-taken`) when it is in another database than the one that the request names.
 */
async function targetOf(
  { caller, name, query }: IngestRequest,
  engine: Engine,
  create: TableFromRows | undefined,
): Promise<PushRequest['table']> {
  const known = await engine.ingestTable(name)
  if (known === null && create) caller.demand('write', create.namespace, create.name)
  const table = known ?? (create ? { namespace: create.namespace, name: create.name } : null)
  if (table === null || !caller.sees(table.namespace, table.name)) {
    throw new FrazilError('request', 'unknown-table', `there is no table ${name} that takes rows`, {
      hint: 'Make one: POST /tables/{name}; or have these rows make it: ?create=true.',
    })
  }
  caller.demand('write', table.namespace, table.name)
  if (query['database'] !== undefined && create && table.namespace !== create.namespace) {
    const message = `rows sent to ${name} go to the table ${table.namespace}.${table.name} already`
    throw new FrazilError('conflict', 'ingest-name-taken', message, { hint: 'Send them to another name, or leave database out.' })
  }
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
  const other = type === csvType ? 'csv' : type === arrowType ? 'arrow' : avroTypes.includes(type) ? 'avro' : null
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

/** The `Idempotency-Key` of a request. Throws `request`. */
export function keyOf(headers: IncomingHttpHeaders): string | null {
  const key = headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key === 'string' && key.length >= 1 && key.length <= longestKey) return key
  throw new FrazilError('request', 'bad-idempotency-key', `an Idempotency-Key has 1 to ${longestKey} characters`)
}

function producerOf(headers: IncomingHttpHeaders): PushRequest['producer'] {
  const { 'producer-id': id, 'producer-sequence': sequence } = headers
  if (id === undefined && sequence === undefined) return null
  if (headers['idempotency-key'] !== undefined) {
    throw new FrazilError('request', 'bad-producer', 'a request has a Producer-Id or an Idempotency-Key, not both')
  }
  const isId = typeof id === 'string' && id.length >= 1 && id.length <= longestProducer
  if (isId && typeof sequence === 'string' && /^\d{1,15}$/.test(sequence)) return { id, sequence: Number(sequence) }
  throw new FrazilError(
    'request',
    'bad-producer',
    `a Producer-Id has 1 to ${longestProducer} characters, and its Producer-Sequence at most 15 digits`,
    { hint: 'Number the requests of each producer 1, 2, 3, …' },
  )
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
  // Put together by hand: it is a good part of what a single row costs.
  const lsn = durability === 'committed' ? `,"lsn":${Number(position)}` : ''
  const errors = refused > 0 ? `,"refused":${refused},"errors":${JSON.stringify(refusals)}` : ''
  const head = `{"table":${JSON.stringify(table)},"operation":"${operation}","rows":${rows}`
  const body = `${head},"position":"${position}","durability":"${reached}"${lsn}${errors}}`
  return { status: reached === durability ? 200 : 202, body, replayed }
}
