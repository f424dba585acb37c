import type { z } from 'zod'
import * as answers from './answers.ts'
import * as requests from './requests.ts'

/** What the document says of a route. Schemas are named as in `requests.ts` and `answers.ts`. */
export interface DocumentedRoute {
  readonly method: 'get' | 'post' | 'delete'
  readonly path: string
  readonly id: string
  readonly summary: string
  /** Needs no token where others do. */
  readonly isOpen?: boolean
  readonly query?: z.ZodObject
  /** Column of a composite key as further parameters. */
  readonly hasFreeQuery?: boolean
  readonly headers?: Readonly<Record<string, string>>
  /** By media type. */
  readonly body?: Readonly<Record<string, keyof typeof requests | 'text'>>
  /** By status and media type. */
  readonly answers: Readonly<Record<number, Readonly<Record<string, keyof typeof answers | 'text'>>>>
  /** Statuses with an error. */
  readonly errors: readonly number[]
}

const json = 'application/json'
const inBody = [400, 401, 403, 413, 415, 503] as const
const work = [...inBody, 404, 409, 500, 501] as const

export const documentedRoutes: readonly DocumentedRoute[] = [
  {
    method: 'get',
    path: '/health',
    id: 'health',
    summary: 'Whether the process answers.',
    isOpen: true,
    answers: { 200: { [json]: 'healthAnswer' } },
    errors: [401, 403],
  },
  {
    method: 'get',
    path: '/ready',
    id: 'ready',
    summary: 'Whether all tables are copied and all streams open; 503 when not.',
    isOpen: true,
    answers: { 200: { [json]: 'readyAnswer' }, 503: { [json]: 'readyAnswer' } },
    errors: [401, 403],
  },
  {
    method: 'get',
    path: '/metrics',
    id: 'metrics',
    summary: 'Prometheus text.',
    answers: { 200: { 'text/plain': 'text' } },
    errors: [401, 403],
  },
  {
    method: 'get',
    path: '/openapi.json',
    id: 'openapi',
    summary: 'This document.',
    isOpen: true,
    answers: { 200: { [json]: 'rowAnswer' } },
    errors: [401, 403],
  },
  {
    method: 'get',
    path: '/tables',
    id: 'tables',
    summary: 'Positions, rows, files and health of each table, and the sources.',
    answers: { 200: { [json]: 'tablesAnswer' } },
    errors: [401, 403, 503],
  },
  {
    method: 'post',
    path: '/tables/{name}',
    id: 'createTable',
    summary: 'Makes a table for rows; a success as well when it is there just like this.',
    body: { [json]: 'createBody' },
    answers: { 200: { [json]: 'createAnswer' } },
    errors: work,
  },
  {
    method: 'post',
    path: '/tables/{name}/from_postgres',
    id: 'fromPostgres',
    summary: 'Has a table of a configured database mirrored, also after restarts. 202: it is still being copied.',
    body: { [json]: 'fromPostgresBody' },
    answers: { 200: { [json]: 'fromPostgresAnswer' }, 202: { [json]: 'fromPostgresAnswer' } },
    errors: [...work, 422, 429],
  },
  {
    method: 'delete',
    path: '/tables/{name}',
    id: 'dropTable',
    summary: 'Removes a table that programs send rows to, or have added from Postgres, with its rows.',
    body: { [json]: 'dropBody' },
    answers: { 200: { [json]: 'dropAnswer' } },
    errors: work,
  },
  {
    method: 'get',
    path: '/schema/{database}/{table}',
    id: 'schema',
    summary: 'Columns and key of a table.',
    answers: { 200: { [json]: 'schemaAnswer' } },
    errors: [400, 401, 403, 404, 503],
  },
  {
    method: 'post',
    path: '/ingest/{name}',
    id: 'ingest',
    summary: 'Stores rows. 202: they are stored, and not as far as was asked for.',
    query: requests.ingestParameters,
    headers: {
      'Idempotency-Key': 'Rows sent again under the same key are stored once; 1 to 255 characters.',
      'Producer-Id': 'Instead of a key: who sends, 1 to 64 characters; with Producer-Sequence.',
      'Producer-Sequence': 'Its number for this request, one more than that of its last one; a number is stored once.',
    },
    body: {
      [json]: 'ingestBody',
      'application/x-ndjson': 'text',
      'text/csv': 'text',
      'application/vnd.apache.arrow.stream': 'text',
      'avro/binary': 'text',
    },
    answers: { 200: { [json]: 'ingestAnswer' }, 202: { [json]: 'ingestAnswer' }, 422: { [json]: 'rowsRefused' } },
    errors: [...work, 429, 507],
  },
  {
    method: 'post',
    path: '/upload/{name}',
    id: 'upload',
    summary: 'Takes Parquet files of this machine into a table, all or none; answers when they are in Iceberg.',
    headers: { 'Idempotency-Key': 'Files sent again under the same key are taken once; 1 to 255 characters.' },
    body: { [json]: 'uploadBody' },
    answers: { 200: { [json]: 'uploadAnswer' } },
    errors: [...work, 422, 429, 507],
  },
  {
    method: 'post',
    path: '/query',
    id: 'query',
    summary: 'One SQL statement over hot and cold rows.',
    query: requests.numbersParameter,
    body: { [json]: 'queryBody' },
    answers: {
      200: {
        [json]: 'queryAnswer',
        'application/x-ndjson': 'text',
        'text/csv': 'text',
        'application/vnd.apache.arrow.stream': 'text',
      },
    },
    errors: [...work, 406, 429, 504],
  },
  {
    method: 'post',
    path: '/tables/{name}/snapshot',
    id: 'snapshot',
    summary: 'Commits what is visible; answers when it is in Iceberg.',
    body: { [json]: 'snapshotBody' },
    answers: { 200: { [json]: 'snapshotAnswer' } },
    errors: work,
  },
  {
    method: 'post',
    path: '/tables/{name}/flush',
    id: 'flush',
    summary: 'The same.',
    body: { [json]: 'snapshotBody' },
    answers: { 200: { [json]: 'snapshotAnswer' } },
    errors: work,
  },
  {
    method: 'post',
    path: '/tables/{name}/optimize',
    id: 'optimize',
    summary: 'Rewrites data files with deleted rows and merges small ones; answers after the commit.',
    body: { [json]: 'optimizeBody' },
    answers: { 200: { [json]: 'optimizeAnswer' } },
    errors: work,
  },
  {
    method: 'post',
    path: '/tables/{name}/resync',
    id: 'resync',
    summary: 'Has a table copied again from its source; one for rows of programs that was detached takes them again.',
    body: { [json]: 'resyncBody' },
    answers: { 200: { [json]: 'resyncAnswer' } },
    errors: work,
  },
  {
    method: 'get',
    path: '/tables/{database}/{table}/rows/{key}',
    id: 'row',
    summary: 'The row with this key.',
    query: requests.numbersParameter,
    answers: { 200: { [json]: 'rowAnswer' } },
    errors: [400, 401, 403, 404, 503],
  },
  {
    method: 'get',
    path: '/tables/{database}/{table}/rows',
    id: 'rowOfKey',
    summary: 'The row with this key of several columns: `?a=…&b=…`.',
    query: requests.numbersParameter,
    hasFreeQuery: true,
    answers: { 200: { [json]: 'rowAnswer' } },
    errors: [400, 401, 403, 404, 503],
  },
]
