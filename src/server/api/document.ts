import { z } from 'zod'
import { fieldSchema } from '../../engine/index.ts'
import { statusOfCode } from '../answer-errors.ts'
import * as answers from './answers.ts'
import * as requests from './requests.ts'
import { documentedRoutes } from './routes.ts'
import type { DocumentedRoute } from './routes.ts'

type Json = Readonly<Record<string, unknown>>

/** The OpenAPI 3.1 document of the HTTP server, made of the schemas that it checks requests with. */
export function openApiDocument(): Json {
  const paths: Record<string, Record<string, Json>> = {}
  for (const route of documentedRoutes) (paths[route.path] ??= {})[route.method] = operation(route)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Frazil',
      version: '1',
      description: 'Rows in, SQL over hot and cold rows out. Errors have a code that stays the same, listed in docs/errors.md.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }, {}],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      responses: Object.fromEntries(
        Object.entries(errors).map(([status, description]) => [
          `error${status}`,
          { description: describe(Number(status), description), content: { 'application/json': reference('errorAnswer') } },
        ]),
      ),
      schemas: { ...schemasOf(requests, 'input'), ...schemasOf(answers, 'output') },
    },
  }
}

function operation(route: DocumentedRoute): Json {
  const { id, summary, path, query, headers = {}, body, isOpen, hasFreeQuery } = route
  const names = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name)
  const parameters = [
    ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string', minLength: 1 } })),
    ...parametersOf(query),
    ...(hasFreeQuery ? [{ name: 'key', in: 'query', style: 'form', explode: true, schema: freeQuery }] : []),
    ...Object.entries(headers).map(([name, description]) => ({ name, in: 'header', description, schema: { type: 'string' } })),
  ]
  const responses: Record<string, Json> = {}
  for (const status of [...route.errors, 408, 431].toSorted((a, b) => a - b)) {
    responses[status] = { $ref: `#/components/responses/error${status}` }
  }
  for (const [status, media] of Object.entries(route.answers)) {
    const description = errors[Number(status)] ?? (status === '202' ? 'Accepted, but not yet as far as was asked for.' : 'Done.')
    responses[status] = { description, content: contentOf(media) }
  }
  return {
    operationId: id,
    summary,
    ...(isOpen ? { security: [{}, { token: [] }] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: { required: true, content: contentOf(body) } } : {}),
    responses,
  }
}

const freeQuery = { type: 'object', additionalProperties: { type: 'string' } }

const errors: Readonly<Record<number, string>> = {
  400: 'The request is wrong.',
  401: 'A token is needed, or the one given is not known.',
  403: 'The token has no right to do that, or a web page of another origin sent it.',
  404: 'There is no such table, row or route.',
  406: 'No format that is accepted is there.',
  408: 'The request did not arrive in time.',
  409: 'Something else is there.',
  413: 'Too large.',
  415: 'A Content-Type or Content-Encoding that is not taken.',
  422: 'Rows, or what was asked for, are refused; nothing was done.',
  429: 'Too much at once: come again after Retry-After.',
  431: 'The headers are too large.',
  500: 'A failure of the server.',
  501: 'Not available yet.',
  503: 'Not ready, or something does not answer: come again after Retry-After.',
  504: 'It took too long.',
  507: 'The disk is full.',
}

/** With the codes that always come with this status; others come by their kind. */
function describe(status: number, description: string): string {
  const codes = Object.entries(statusOfCode).filter(([, of]) => of === status)
  return codes.length === 0 ? description : `${description} Codes: ${codes.map(([code]) => code).join(', ')}.`
}

function contentOf(media: Readonly<Record<string, string>>): Json {
  return Object.fromEntries(
    Object.entries(media).map(([type, name]) => [type, name === 'text' ? { schema: { type: 'string' } } : reference(name)]),
  )
}

function reference(name: string): Json {
  return { schema: { $ref: `#/components/schemas/${name}` } }
}

function parametersOf(query: z.ZodObject | undefined): Json[] {
  if (!query) return []
  const { properties = {} } = z.toJSONSchema(query, { io: 'input' }) as {
    properties?: Record<string, Json & { description?: string }>
  }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    ...(description === undefined ? {} : { description }),
    schema,
  }))
}

function schemasOf(module: Readonly<Record<string, z.ZodType>>, io: 'input' | 'output'): Record<string, Json> {
  const registry = z.registry<{ id: string }>()
  registry.add(fieldSchema, { id: io === 'input' ? 'field' : 'fieldAnswer' })
  for (const [id, schema] of Object.entries(module)) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, {
    io,
    unrepresentable: 'any',
    uri: (id) => `#/components/schemas/${id}`,
    override: ({ zodSchema, jsonSchema }) => {
      // Of any size, which JSON has and zod's word for it does not.
      if (zodSchema._zod.def.type === 'bigint') jsonSchema.type = 'integer'
    },
  })
  // In a document they need neither a dialect nor an address of their own.
  const own = ([key]: [string, unknown]): boolean => key !== '$schema' && key !== '$id'
  return Object.fromEntries(
    Object.entries(schemas).map(([id, schema]) => [id, Object.fromEntries(Object.entries(schema).filter(own))]),
  )
}
