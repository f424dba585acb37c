import { FrazilError, asError } from '../../base/index.ts'

/** Where we connect to, without the password. */
export interface Place {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
}

/** SQLSTATE of an error of the server, or the system's code of a socket error, or ''. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** The server has understood a statement and does not carry it out: another way may do, and the connection is not to blame. */
export function isRefusal(error: unknown): boolean {
  return /^(?!08|57|E)[0-9A-Z]{5}$/.test(errorCode(error)) && !(error instanceof FrazilError)
}

/** What went wrong between us and the server, as an error whose kind says what to do. */
export function postgresError(thrown: unknown, place: Place): FrazilError {
  if (thrown instanceof FrazilError) return thrown
  const error = asError(thrown)
  const code = errorCode(error)
  const where = `${place.host}:${place.port}`
  const make = (kind: 'config' | 'unavailable', name: string, message: string, hint?: string): FrazilError =>
    new FrazilError(kind, name, message, { cause: error, hint })
  switch (code) {
    case '28P01':
    case '28000':
      return make(
        'config',
        'login-refused',
        `Postgres at ${where} refuses user ${place.user}: ${error.message}`,
        loginHint(error.message, place),
      )
    case '3D000':
      return make(
        'config',
        'unknown-database',
        `Postgres at ${where} has no database ${place.database}`,
        'check the database name at the end of url',
      )
    case '42501':
      return make(
        'config',
        'missing-right',
        `Postgres at ${where}: ${error.message}`,
        `ALTER ROLE "${place.user}" REPLICATION; and GRANT what is missing`,
      )
    case '53400':
      return make(
        'config',
        'no-free-slot',
        `Postgres at ${where}: ${error.message}`,
        'ALTER SYSTEM SET max_replication_slots = 20; ALTER SYSTEM SET max_wal_senders = 20; then restart Postgres',
      )
    case '55P03':
      return make(
        'unavailable',
        'lock-held',
        `Postgres at ${where}: ${error.message}`,
        'another session holds a lock on one of the tables: select pid, query from pg_stat_activity where wait_event_type is null',
      )
    case '55006':
      return make(
        'unavailable',
        'slot-in-use',
        `Postgres at ${where}: ${error.message}`,
        'another process reads this slot; stop it, or give this source another name or slot',
      )
    case '53300':
      return make('unavailable', 'too-many-connections', `Postgres at ${where}: ${error.message}`)
  }
  if (error.message.includes('does not support SSL')) {
    return make(
      'config',
      'no-tls',
      `Postgres at ${where} does not offer TLS`,
      'add ?sslmode=disable to url, or switch TLS on at the server',
    )
  }
  if (/^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E')) {
    const transient = ['08', '40', '53', '57', '58', 'XX'].includes(code.slice(0, 2))
    const hint = code === 'XX000' && /could not map filen/.test(error.message) ? undecodable : undefined
    return make(transient ? 'unavailable' : 'config', 'postgres-error', `Postgres at ${where}: ${error.message} (${code})`, hint)
  }
  if (/^ERR_(?:TLS|SSL|OSSL)|CERT|LEAF_SIGNATURE|^EPROTO$/.test(code)) {
    return make('config', 'tls', `TLS with Postgres at ${where} failed: ${error.message}`, tlsHint(code))
  }
  if (error.message.startsWith('SASL') || error.message.includes('password')) {
    return make(
      'config',
      'login-refused',
      `Postgres at ${where} wants a password for user ${place.user}`,
      'put user and password into url',
    )
  }
  const [why, hint] = unreachable(code, error.message, place)
  return make('unavailable', 'unreachable', `Postgres at ${where} cannot be reached: ${why}`, hint)
}

const undecodable =
  'the slot does not know the catalogue of that time, a fault of Postgres: if it lasts, run frazil drop for this source and start again: its tables are copied anew'

/** pg_hba.conf has no line for us, or the password is wrong. */
function loginHint(message: string, place: Place): string {
  if (!message.includes('pg_hba.conf')) return 'check user and password in url'
  if (message.includes('no encryption')) return 'add ?sslmode=require to url; or allow the connection in pg_hba.conf'
  return `add to pg_hba.conf: host ${place.database} ${place.user} <address of this machine>/32 scram-sha-256; then SELECT pg_reload_conf()`
}

function tlsHint(code: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return 'the certificate is for another host name: use that one in url, or sslmode=verify-ca with sslrootcert'
  }
  if (code === 'CERT_HAS_EXPIRED') return 'renew the certificate of the server'
  return 'add sslrootcert=<file with the certificate of the authority> to url; without any verification: sslmode=require'
}

function unreachable(code: string, message: string, place: Place): readonly [why: string, hint: string] {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return [`the host name ${place.host} is not known`, 'check the host in url, and the name server of this machine']
    case 'ECONNREFUSED':
      return ['nothing listens there', 'is it running, and are host and port in url right?']
    case 'ENOENT':
      return ['there is no such socket', 'is it running, and is the directory in url right?']
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return ['no answer', 'is the host in url right, and does a firewall let this machine through?']
  }
  if (/timeout expired/.test(message)) {
    return ['no answer in time', 'is the host in url right, and does a firewall let this machine through?']
  }
  if (/terminated unexpectedly|unrecognized|unexpected/i.test(message) || code === 'ECONNRESET') {
    return ['the other side closed the connection', 'is it starting or stopping, or is what listens there not Postgres?']
  }
  return [message || code, 'is it running, and is the address in url right?']
}

/** An ErrorResponse or NoticeResponse: fields of one letter and text. */
export function readServerMessage(bytes: Buffer, from: number, to: number): { code: string; message: string; severity: string } {
  const fields = new Map<string, string>()
  let at = from
  while (at < to && bytes[at] !== 0) {
    const end = bytes.indexOf(0, at + 1)
    if (end < 0 || end >= to) break
    fields.set(String.fromCharCode(bytes[at]), bytes.toString('utf8', at + 1, end))
    at = end + 1
  }
  return { code: fields.get('C') ?? '', message: fields.get('M') ?? 'unknown error', severity: fields.get('V') ?? '' }
}

/** The same as a thrown value that {@link postgresError} understands. */
export function serverError(bytes: Buffer, from: number, to: number): Error {
  const { code, message } = readServerMessage(bytes, from, to)
  return Object.assign(new Error(message), { code })
}

/** Throws what a notice of the replication stream says that must not be passed over. */
export function checkNotice(bytes: Buffer, from: number, to: number): void {
  const { code, message } = readServerMessage(bytes, from, to)
  // From 18 on the server goes on without a publication that it cannot load, which would lose its changes.
  if (code === '55000' && message.includes('publication')) {
    throw new FrazilError('corrupt', 'publication-missing', `Postgres skips changes: ${message}`, {
      hint: 'the publication was dropped after the slot was made: stop frazil, run frazil resync with the name of the source, and start it again',
    })
  }
}
