import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { FrazilError } from '../base/index.ts'
import type { Engine, QueryAnswer, ResultFormat } from '../engine/index.ts'
import { queryBody } from './api/index.ts'
import { checkBody } from './json-body.ts'

const formats = {
  json: 'application/json; charset=utf-8',
  ndjson: 'application/x-ndjson; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  arrow: 'application/vnd.apache.arrow.stream',
} as const satisfies Record<ResultFormat, string>

const formatOfMedia = new Map<string, ResultFormat>([
  ['*/*', 'json'],
  ['application/*', 'json'],
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['text/csv', 'csv'],
  ['text/*', 'csv'],
  ['application/vnd.apache.arrow.stream', 'arrow'],
])

/** `POST /query`: SQL over hot and cold rows. */
export function queryRoute(app: FastifyInstance, engine: () => Engine): void {
  app.post('/query', async (request, reply) => {
    const body = checkBody(queryBody, request.body)
    if (body.at !== undefined) {
      throw new FrazilError('request', 'not-available-yet', 'queries of the past ("at") are not available yet in this version')
    }
    const format = body.format ?? acceptedFormat(request.headers.accept)
    const { caller } = request
    const answer = await engine().execute(body.sql, {
      ...(caller.mayAll('read') ? {} : { mayRead: (namespace, name) => caller.may('read', namespace, name) }),
      params: body.params,
      format,
      numbersAsStrings: wantsStrings(request),
      wait: body.wait,
      waitTimeoutMs: body.wait_timeout,
      timeoutMs: body.timeout,
      signal: abortedBy(reply),
    })
    return sendAnswer(reply, answer, format)
  })
}

/** True for `?numbers=string`; anything else than that or nothing is refused. */
export function wantsStrings(request: FastifyRequest): boolean {
  const { numbers } = request.query as { numbers?: unknown }
  if (numbers === undefined) return false
  if (numbers === 'string') return true
  throw new FrazilError('request', 'bad-parameter', '"numbers" can only be "string"')
}

/** JSON answers carry columns and positions around the rows; the other formats carry positions in a header. */
function sendAnswer(reply: FastifyReply, answer: QueryAnswer, format: ResultFormat): FastifyReply {
  reply.header('content-type', formats[format]).header('cache-control', 'no-store')
  const positions = JSON.stringify(answer.positions)
  if (format !== 'json') {
    return reply.header('frazil-positions', asciiJson(positions)).send(answer.body)
  }
  const head = Buffer.from(`{"columns":${JSON.stringify(answer.columns)},"rows":`)
  return reply.send(Buffer.concat([head, answer.body, Buffer.from(`,"positions":${positions}}`)]))
}

/** Headers are ASCII: other characters as \u escapes, which JSON reads the same. */
function asciiJson(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The first media type that we have, by the client's preference. Throws `request` when there is none. */
function acceptedFormat(accept: string | undefined): ResultFormat {
  if (accept === undefined || accept.trim() === '') return 'json'
  const wanted = accept
    .split(',')
    .map((part) => {
      const [media, ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase())
      const quality = parameters.find((parameter) => parameter.startsWith('q='))
      return { media, quality: quality === undefined ? 1 : Number(quality.slice(2)) }
    })
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality)
  for (const { media } of wanted) {
    const format = formatOfMedia.get(media)
    if (format !== undefined) return format
  }
  throw new FrazilError('request', 'not-acceptable', `answers come as ${Object.values(formats).join(', ')}`)
}

/** Aborts when the client goes away before it has its answer. */
function abortedBy(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort()
  })
  return controller.signal
}
