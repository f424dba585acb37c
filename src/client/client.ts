import type {
  CreateBody,
  FromPostgresAnswer,
  FromPostgresBody,
  IngestParameters,
  IngestResult,
  QueryBody,
  QueryRows,
  RefusedRow,
  SchemaAnswer,
  SnapshotAnswer,
  TablesAnswer,
  UploadBody,
  UploadResult,
} from '../server/api/index.ts'
import { FrazilClientError, failureOf } from './failure.ts'
import { fromJson, toJson } from './values.ts'

export interface ClientOptions {
  /** For example `http://127.0.0.1:3030`. */
  readonly url: string
  readonly token?: string | undefined
  /** How often a request is sent at most. Default 10. */
  readonly attempts?: number
  /** Each attempt has so long for its answer, in milliseconds. Default 90 000. */
  readonly timeoutMs?: number
  /** Pause before the second attempt; each is twice as long as the one before, with some chance in it. Default 100 ms. */
  readonly firstPauseMs?: number
  /** Longest pause, whatever `Retry-After` says. Default 10 seconds. */
  readonly longestPauseMs?: number
  /** For tests, and for what a `fetch` can be told (proxies, certificates). */
  readonly fetch?: typeof fetch
}

export interface IngestOptions extends Omit<IngestParameters, 'partial' | 'create'> {
  readonly partial?: boolean
  readonly create?: boolean
  /** Rows sent again under the same key, by whatever client, are stored once. Default: a new one for each call. */
  readonly idempotencyKey?: string
  /** Instead of keys: who sends, and the number of the first batch; each has the next number. See `Producer-Id`. */
  readonly producer?: { readonly id: string; readonly sequence: number }
  readonly batchRows?: number
  readonly signal?: AbortSignal
}

/** What became of all batches of a call. */
export interface Ingested {
  readonly rows: number
  readonly refused: number
  /** What was refused because of `partial`, by number among all rows of the call, from 1; the first 100 of each batch. */
  readonly errors: readonly RefusedRow[]
  /** Of the last batch that was stored: contains all of them. Null when there were no rows. */
  readonly position: string | null
  /** Answer of each batch that was stored; rows in them count within their batch. */
  readonly batches: readonly IngestResult[]
}

/** Positions by source. Null, as `ingest` without rows gives it, is nothing to wait for. */
export type Positions = Readonly<Record<string, string | null>>

export type Row = Readonly<Record<string, unknown>>

const mostBatchBytes = 8 << 20
const defaultBatchRows = 10_000
/** Nothing was done, or doing it again does nothing more. */
const passing: ReadonlySet<number> = new Set([408, 429, 502, 503, 504, 507])

/**
 * A client of the HTTP server, for Node and browsers: needs `fetch` and nothing else. Requests that are turned away or have no answer are
 * sent again; rows under an `Idempotency-Key`, so that each is stored once. Errors are {@link FrazilClientError}.
 */
export class FrazilClient {
  readonly #options: Required<Omit<ClientOptions, 'token'>> & Pick<ClientOptions, 'token'>

  constructor(options: ClientOptions) {
    // What is there as undefined is as good as not there.
    const { url, token, attempts = 10, timeoutMs = 90_000, firstPauseMs = 100, longestPauseMs = 10_000 } = options
    const send: typeof fetch = options.fetch ?? ((...given) => fetch(...given))
    this.#options = { url: url.replace(/\/$/, ''), token, attempts, timeoutMs, firstPauseMs, longestPauseMs, fetch: send }
  }

  /**
   * Stores rows: in batches, one after the other, each as a whole. Rejects at the first that is refused, with the rows that are why; those
   * before it are stored. With `partial` rows are refused one by one, also where a batch has no good one, and the others are stored.
   */
  async ingest(name: string, rows: Iterable<Row> | AsyncIterable<Row>, options: IngestOptions = {}): Promise<Ingested> {
    const { partial, create, idempotencyKey, producer, batchRows = defaultBatchRows, signal, ...parameters } = options
    const query = search({ ...parameters, ...(partial ? { partial: 'true' } : {}), ...(create ? { create: 'true' } : {}) })
    const key = idempotencyKey ?? newKey()
    const batches: IngestResult[] = []
    const errors: RefusedRow[] = []
    let [sentBatches, sentRows, refused] = [0, 0, 0]
    const refuse = (count: number, listed: readonly RefusedRow[]): void => {
      refused += count
      for (const each of listed) errors.push({ ...each, row: sentRows + each.row })
    }
    const send = async (lines: readonly string[]): Promise<void> => {
      // The same rows have the same key whenever they are sent; a number is used up by what is stored, and by nothing else.
      const sender: Record<string, string> = producer
        ? { 'producer-id': producer.id, 'producer-sequence': String(producer.sequence + batches.length) }
        : { 'idempotency-key': `${key}-${sentBatches}` }
      const headers = { 'content-type': 'application/x-ndjson', ...sender }
      const path = `/ingest/${encodeURIComponent(name)}${query}`
      try {
        const answer = (await this.#send('POST', path, { body: lines.join('\n'), headers, signal })) as IngestResult
        batches.push(answer)
        refuse(answer.refused ?? 0, answer.errors ?? [])
      } catch (error) {
        // A batch without one good row is refused as a whole.
        if (!partial || !(error instanceof FrazilClientError) || error.code !== 'rows-refused') throw error
        refuse(error.refused, error.rows)
      }
      sentBatches += 1
      sentRows += lines.length
    }
    let lines: string[] = []
    let bytes = 0
    for await (const row of rows) {
      const line = toJson(row)
      // Three bytes of UTF-8 are the most that a unit of UTF-16 takes.
      if (lines.length === batchRows || (lines.length > 0 && bytes + line.length * 3 > mostBatchBytes)) {
        await send(lines)
        lines = []
        bytes = 0
      }
      lines.push(line)
      bytes += line.length * 3
    }
    if (lines.length > 0) await send(lines)
    return {
      rows: batches.reduce((sum, batch) => sum + batch.rows, 0),
      refused,
      errors,
      position: batches.at(-1)?.position ?? null,
      batches,
    }
  }

  /** SQL over hot and cold rows. Integers beyond 2^53 come as bigint. */
  async query(
    sql: string,
    options: Omit<QueryBody, 'sql' | 'format' | 'at' | 'wait'> & {
      readonly wait?: 'now' | Positions
      readonly signal?: AbortSignal
    } = {},
  ): Promise<QueryRows> {
    const { signal, wait, ...body } = options
    const wanted = typeof wait === 'object' ? Object.fromEntries(Object.entries(wait).filter(([, at]) => at !== null)) : wait
    return (await this.#post('/query', { sql, ...body, wait: wanted, format: 'json' }, signal)) as QueryRows
  }

  /** Resolves when everything up to these positions, by source, can be read. */
  async wait(positions: Positions, options: { timeout?: string; signal?: AbortSignal } = {}): Promise<void> {
    await this.query('SELECT 1', { wait: positions, wait_timeout: options.timeout, signal: options.signal })
  }

  /** Positions, rows, files and health of all tables. */
  async tables(): Promise<TablesAnswer> {
    return (await this.#send('GET', '/tables', {})) as TablesAnswer
  }

  async schema(database: string, table: string): Promise<SchemaAnswer> {
    return (await this.#send('GET', `/schema/${encodeURIComponent(database)}/${encodeURIComponent(table)}`, {})) as SchemaAnswer
  }

  /** The row with this key, by the names of the key's columns; null when there is none. */
  async row(
    database: string,
    table: string,
    key: Readonly<Record<string, string | number | bigint | boolean>>,
  ): Promise<Row | null> {
    const path = `/tables/${encodeURIComponent(database)}/${encodeURIComponent(table)}/rows${search(key)}`
    try {
      return (await this.#send('GET', path, {})) as Row
    } catch (error) {
      if (error instanceof FrazilClientError && error.code === 'no-such-row') return null
      throw error
    }
  }

  /** Makes a table to which rows are sent by `name`; also a success when it is there just like this. */
  async createTable(name: string, table: CreateBody): Promise<void> {
    await this.#post(`/tables/${encodeURIComponent(name)}`, table)
  }

  /**
   * Has a table of a Postgres source mirrored that the configuration opens for it (`http.from-postgres`); resolves when it can be read, or
   * with `state` `copying` when that takes longer than a request. Also a success when it is mirrored already.
   */
  async addFromPostgres(table: FromPostgresBody): Promise<FromPostgresAnswer> {
    return (await this.#post(`/tables/${encodeURIComponent(table.table)}/from_postgres`, table)) as FromPostgresAnswer
  }

  /**
   * Has the server take Parquet files, which lie in a folder that its configuration allows; resolves when they are in Iceberg. Sent again
   * like rows, under one key: they are taken once.
   */
  async upload(
    name: string,
    files: UploadBody,
    options: { readonly idempotencyKey?: string; readonly signal?: AbortSignal } = {},
  ): Promise<UploadResult> {
    const headers = { 'content-type': 'application/json', 'idempotency-key': options.idempotencyKey ?? newKey() }
    const path = `/upload/${encodeURIComponent(name)}`
    return (await this.#send('POST', path, { body: toJson(files), headers, signal: options.signal })) as UploadResult
  }

  /** Commits what is visible; resolves when it is in Iceberg. */
  async commit(database: string, table: string): Promise<SnapshotAnswer> {
    return (await this.#post(`/tables/${encodeURIComponent(table)}/snapshot`, { database, table })) as SnapshotAnswer
  }

  #post(path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    return this.#send('POST', path, { body: toJson(body), headers: { 'content-type': 'application/json' }, signal })
  }

  async #send(method: string, path: string, request: Sending): Promise<unknown> {
    const { url, token, attempts, timeoutMs, firstPauseMs, longestPauseMs, fetch } = this.#options
    const { body, headers, signal } = request
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted()
      const timeout = AbortSignal.timeout(timeoutMs)
      let failure: FrazilClientError
      let pauseMs = firstPauseMs * 2 ** (attempt - 1) * (0.5 + Math.random())
      try {
        const response = await fetch(`${url}${path}`, {
          method,
          body,
          headers: { ...headers, ...authorization },
          signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        })
        const text = await response.text()
        if (response.ok) return fromJson(text)
        failure = failureOf(response.status, text)
        if (!passing.has(response.status)) throw failure
        pauseMs = Math.max(pauseMs, Number(response.headers.get('retry-after') ?? 0) * 1000 || 0)
      } catch (cause) {
        if (cause instanceof FrazilClientError) throw cause
        signal?.throwIfAborted()
        failure = new FrazilClientError(`${url} does not answer`, { status: null, code: 'no-answer', cause })
      }
      if (attempt >= attempts) throw failure
      await pause(Math.min(pauseMs, longestPauseMs), signal)
    }
  }
}

interface Sending {
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

function search(parameters: Readonly<Record<string, string | number | bigint | boolean | undefined>>): string {
  const given = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) given.append(name, String(value))
  return given.size === 0 ? '' : `?${given.toString()}`
}

/** Not `crypto.randomUUID`, which browsers have for secure pages only. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
