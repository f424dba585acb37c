import type { IncomingHttpHeaders } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { FrazilError } from '../base/index.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** True for names and addresses that only this machine can reach. */
function isLoopback(host: string): boolean {
  const version = isIP(host)
  if (version === 0) return host.toLowerCase() === 'localhost'
  return loopback.check(host, version === 4 ? 'ipv4' : 'ipv6')
}

/** Throws `config` unless `host` is loopback: there is no authentication yet. */
export function checkListenHost(host: string): void {
  if (isLoopback(host)) return
  throw new FrazilError(
    'config',
    'listen-beyond-loopback',
    `listening on ${host} would let other machines in without a password`,
    {
      hint: 'set "listen" to 127.0.0.1:<port>; authentication is not available yet in this version',
    },
  )
}

/**
 * Refuses what a web page could make a browser send to this machine: a foreign `Host` (a name that was made to point here), a
 * foreign `Origin`. Throws `request`.
 */
export function guardRequest({ headers }: { readonly headers: IncomingHttpHeaders }): void {
  const host = hostName(headers.host)
  if (host === null || !isLoopback(host)) {
    throw new FrazilError('request', 'wrong-host', 'the Host header must name this machine: localhost or a loopback address')
  }
  const { origin } = headers
  if (origin === undefined) {
    if (headers['sec-fetch-site'] !== 'cross-site') return
  } else if (URL.canParse(origin) && new URL(origin).host === headers.host) {
    return
  }
  throw new FrazilError('request', 'wrong-origin', 'requests from web pages of other origins are refused')
}

/** `localhost` of `localhost:3030`, `::1` of `[::1]:3030`. */
function hostName(header: string | undefined): string | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::\d+)?$/.exec(header ?? '')
  return match ? (match[1] ?? match[2]) : null
}
