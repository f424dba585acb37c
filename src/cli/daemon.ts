import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { RequestOptions } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { checkServerIdentity } from 'node:tls'
import { FrazilError, asError } from '../base/index.ts'
import { Secret } from '../engine/index.ts'
import type { Config } from '../engine/index.ts'

/** A daemon that runs over a lake, as found on this machine. */
export interface Daemon {
  readonly url: string
  readonly pid: number
  readonly trust: RequestOptions
  readonly token: Secret | null
}

const probeTimeoutMs = 2000

function noteOf(config: Config): string {
  return join(config.local, 'daemon.json')
}

/** Leaves a note where the daemon listens. Returns how to take it away. */
export async function announceDaemon(config: Config, url: string): Promise<() => Promise<void>> {
  await mkdir(config.local, { recursive: true })
  const note = noteOf(config)
  await writeFile(note, `${JSON.stringify({ url, pid: process.pid })}\n`)
  return async () => {
    const current = await readNote(config)
    if (current?.pid === process.pid) await rm(note, { force: true })
  }
}

/** The daemon that runs over this configuration's lake: by its note, else by the address in the configuration. */
export async function findDaemon(config: Config): Promise<Daemon | null> {
  const note = await readNote(config)
  const { host, port } = config.listen
  const scheme = config.tls ? 'https' : 'http'
  const configured = port === 0 ? null : `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
  const trust = await trustOf(config)
  for (const url of new Set([note?.url, configured])) {
    if (!url) continue
    const daemon = await probe({ url, trust, token: tokenOf(config) }, config.warehouse)
    if (daemon) return daemon
  }
  return null
}

/** The token to show: of the environment, else the first of the configuration. */
function tokenOf(config: Config): Secret | null {
  const given = process.env['FRAZIL_TOKEN']
  return given ? new Secret(given) : (config.auth.tokens[0]?.token ?? null)
}

/** Who a daemon with TLS has to be: whoever has the key of the certificate that the configuration names, whatever host it is for. */
async function trustOf({ tls }: Config): Promise<RequestOptions> {
  if (tls === null) return {}
  try {
    const ca = await readFile(tls.cert, 'utf8')
    const { fingerprint256 } = new X509Certificate(ca)
    return {
      ca,
      allowPartialTrustChain: true,
      checkServerIdentity: (host, peer) => (peer.fingerprint256 === fingerprint256 ? undefined : checkServerIdentity(host, peer)),
    }
  } catch {
    return {} // not ours to read: then it has to be one that this machine trusts
  }
}

async function readNote(config: Config): Promise<Pick<Daemon, 'url' | 'pid'> | null> {
  try {
    const note: unknown = JSON.parse(await readFile(noteOf(config), 'utf8'))
    if (typeof note !== 'object' || note === null || !('url' in note) || !('pid' in note)) return null
    return typeof note.url === 'string' && typeof note.pid === 'number' ? { url: note.url, pid: note.pid } : null
  } catch {
    return null // no note, or one that was cut short by a crash: the same as none
  }
}

/** Asks who answers there; null unless it is a frazil over the same lake. It is shown no token. */
async function probe(door: Omit<Daemon, 'pid'>, warehouse: string): Promise<Daemon | null> {
  try {
    const response = await ask({ ...door, token: null }, '/health', { signal: AbortSignal.timeout(probeTimeoutMs) })
    const health = (await response.json()) as { service?: unknown; warehouse?: unknown; pid?: unknown }
    if (health.service !== 'frazil' || health.warehouse !== warehouse) return null
    return { ...door, pid: Number(health.pid) }
  } catch {
    return null // nobody there, or somebody who is not a frazil
  }
}

/** As `fetch`, which gives up an answer that does not begin within five minutes, and trusts no certificate of its own. */
async function ask(
  { url, trust, token }: Omit<Daemon, 'pid'>,
  path: string,
  { body = null, signal }: { body?: string | null; signal?: AbortSignal } = {},
): Promise<Response> {
  const headers = {
    ...(body === null ? {} : { 'content-type': 'application/json' }),
    ...(token === null ? {} : { authorization: `Bearer ${token.reveal()}` }),
  }
  const request = url.startsWith('https:') ? httpsRequest : httpRequest
  const sent = request(`${url}${path}`, { ...trust, method: body === null ? 'GET' : 'POST', headers, signal, agent: false })
  sent.end(body ?? undefined)
  const answered = (await once(sent, 'response')) as [IncomingMessage]
  return new Response(await buffer(answered[0]), { status: answered[0].statusCode })
}

/** A request to a daemon; its errors come back as ours. The answer may take as long as it needs. */
export async function callDaemon(daemon: Daemon, path: string, body?: unknown): Promise<Response> {
  let response: Response
  try {
    response = await ask(daemon, path, { body: body === undefined ? null : JSON.stringify(body) })
  } catch (error) {
    throw new FrazilError(
      'unavailable',
      'daemon-gone',
      `the daemon at ${daemon.url} does not answer: ${asError(error).message}`,
      {
        cause: error,
      },
    )
  }
  if (response.ok) return response
  const answer = (await response.json().catch(() => ({}))) as { code?: string; message?: string; hint?: string }
  const kind = response.status < 500 ? 'request' : 'unavailable'
  throw new FrazilError(kind, answer.code ?? 'daemon-answer', answer.message ?? `the daemon answered ${response.status}`, {
    hint: answer.hint,
  })
}
