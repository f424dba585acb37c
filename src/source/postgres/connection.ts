import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Client } from 'pg'
import type { ClientConfig } from 'pg'
import { FrazilError, asError } from '../../base/index.ts'
import { errorCode, postgresError } from './errors.ts'
import type { Place } from './errors.ts'

/** How to reach a server. `applicationName` is what its administrators see. */
export interface Endpoint {
  readonly url: string
  readonly applicationName: string
}

const connectWithinMs = 15_000
/** A peer that is gone without a word does not confirm these; the system then ends the connection within seconds. */
const probeAfterMs = 10_000
/** What keeps the connection but does not answer, on a connection for SQL. Moving a slot is what takes longest. */
const answerWithinMs = 300_000
const farewellMs = 1_000
const readBufferBytes = 256 << 10

/** A connection for SQL: catalogue queries and statements. Throws a FrazilError that says what to change. */
export async function connectControl(endpoint: Endpoint): Promise<Client> {
  const client = newClient(endpoint, { query_timeout: answerWithinMs })
  try {
    await client.connect()
    await client.query(sessionSettings)
  } catch (error) {
    void disconnect(client)
    throw postgresError(error, placeOf(endpoint.url))
  }
  return client
}

/** Sets `logical_decoding_work_mem` of a connection to the least or the greatest of what it has and `kb`. */
export async function setDecodingMemory(client: Client, which: 'least' | 'greatest', kb: number): Promise<void> {
  const setting = "(select setting::int from pg_catalog.pg_settings where name = 'logical_decoding_work_mem')"
  await client.query(`select pg_catalog.set_config('logical_decoding_work_mem', ${which}(${setting}, ${kb})::text, false)`)
}

/** Says goodbye, and does not wait long for a server that does not hear it. */
export async function disconnect(client: Client): Promise<void> {
  const timer = setTimeout(() => client.connection.stream.destroy(), farewellMs)
  await client.end().catch(() => {})
  clearTimeout(timer)
}

/** Nothing of a role's or database's settings may change what we read, keep us from writing what is ours, or cut us off. */
const sessionSettings =
  "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '10s'; SET row_security = off; " +
  "SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'; SET quote_all_identifiers = off; " +
  "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 3; " +
  "SET client_encoding = 'UTF8'; SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET search_path = ''; " +
  // Limits that not every version knows.
  "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')"

/** Bytes as they come. `buffer` is used again after the call. */
export interface RawHandlers {
  data(buffer: Buffer, length: number): void
  /** Once, when the connection has ended in whatever way. */
  closed(error: Error | null): void
}

/** A connection whose bytes we read ourselves. */
export interface RawStream {
  write(bytes: Buffer): void
  /** Stops and starts reading; writing goes on. */
  pause(): void
  resume(): void
  /** Sends what is left and closes. */
  end(): void
  destroy(): void
}

/**
 * A connection that `pg` opens (TLS, authentication) and may be asked by its simple queries, until {@link take} hands its
 * bytes to our own reader, which reads into one buffer that is used again and again.
 */
export class RawConnection {
  readonly client: Client
  readonly #route: { sink: RawHandlers | null }

  private constructor(client: Client, route: { sink: RawHandlers | null }) {
    this.client = client
    this.#route = route
  }

  static async open(endpoint: Endpoint, kind: 'replication' | 'sql'): Promise<RawConnection> {
    const route: { sink: RawHandlers | null } = { sink: null }
    const client = newClient(endpoint, {
      stream: (...given: unknown[]) => newSocket(given[0], route),
      ...(kind === 'replication' ? { replication: 'database' } : {}),
    })
    try {
      await client.connect()
      await client.query(sessionSettings)
    } catch (error) {
      void disconnect(client)
      throw postgresError(error, placeOf(endpoint.url))
    }
    return new RawConnection(client, route)
  }

  /** From here on the bytes are ours. The client must be idle and is not used again. */
  take(handlers: RawHandlers): RawStream {
    const stream = this.client.connection.stream
    stream.pause()
    for (const event of ['data', 'error', 'close']) stream.removeAllListeners(event)
    let closed = false
    let failure: Error | null = null
    stream.on('error', (error: Error) => {
      failure = error
    })
    const close = (): void => {
      if (closed) return
      closed = true
      handlers.closed(failure)
    }
    stream.once('end', close)
    stream.once('close', close)
    if (stream instanceof Socket && !('encrypted' in stream)) this.#route.sink = handlers
    else stream.on('data', (chunk: Buffer) => handlers.data(chunk, chunk.length))
    stream.resume()
    return {
      write: (bytes) => void stream.write(bytes),
      pause: () => void stream.pause(),
      resume: () => void stream.resume(),
      end: () => void stream.end(),
      destroy: () => void stream.destroy(),
    }
  }

  async close(): Promise<void> {
    await disconnect(this.client)
  }
}

/** Without TLS the socket reads into one buffer of ours; until the bytes are ours, `pg` gets copies. */
function newSocket(given: unknown, route: { sink: RawHandlers | null }): Duplex {
  if (typeof given === 'object' && given !== null && 'ssl' in given && given.ssl) return new Socket()
  const bytes = Buffer.allocUnsafeSlow(readBufferBytes)
  const socket: Socket = new Socket({
    onread: {
      buffer: bytes,
      callback(length) {
        if (route.sink) route.sink.data(bytes, length)
        else socket.emit('data', Buffer.from(bytes.subarray(0, length)))
        return true
      },
    },
  })
  return socket
}

function newClient(endpoint: Endpoint, extra: ClientConfig & { replication?: string }): Client {
  const config: ClientConfig = {
    connectionString: libpqUrl(endpoint.url),
    application_name: endpoint.applicationName,
    connectionTimeoutMillis: connectWithinMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: probeAfterMs,
    ...extra,
  }
  let client: Client
  try {
    client = new Client(config)
  } catch (error) {
    if (error instanceof FrazilError) throw error
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'EACCES') {
      const message = `url names a certificate or key that cannot be read: ${asError(error).message}`
      throw new FrazilError('config', 'bad-url', message, { hint: 'check sslrootcert, sslcert and sslkey' })
    }
    if (asError(error).message.includes('sslmode=verify-ca')) {
      throw new FrazilError('config', 'bad-url', 'sslmode=verify-ca needs the certificate of the authority', {
        hint: 'add sslrootcert=<file> to url, or use sslmode=verify-full',
      })
    }
    // The message of a bad URL contains the URL, and with it the password.
    throw new FrazilError('config', 'bad-url', 'url is not a Postgres connection string', {
      hint: 'postgres://user:password@host:5432/database',
    })
  }
  // A connection that ends while nobody asks it anything says so at the next use.
  client.on('error', () => {})
  return client
}

const sslModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']

/**
 * `sslmode` as everybody else who connects to Postgres means it (PostgreSQL documentation, "SSL Mode Descriptions"): `require`
 * encrypts, `verify-ca` and `verify-full` also verify. `prefer` does not fall back to the clear.
 */
function libpqUrl(text: string): string {
  if (!URL.canParse(text)) return text
  const parameters = new URL(text).searchParams
  const mode = parameters.get('sslmode')
  if (mode !== null && !sslModes.includes(mode)) {
    throw new FrazilError('config', 'bad-url', 'url has an unknown sslmode', {
      hint: `it is one of ${sslModes.slice(0, 5).join(', ')}`,
    })
  }
  if (mode === null || mode === 'no-verify' || parameters.has('uselibpqcompat')) return text
  return `${text}&uselibpqcompat=true`
}

/** The parts of a connection string that messages may show. */
export function placeOf(url: string): Place {
  const { host, port, user, database } = newClient({ url, applicationName: 'frazil' }, {})
  return { host, port, user: user ?? '', database: database ?? '' }
}
