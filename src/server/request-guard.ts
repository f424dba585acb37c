import type { IncomingHttpHeaders } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { FrazilError } from '../base/index.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** True for names and addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const version = isIP(host)
  if (version === 0) return host.toLowerCase() === 'localhost'
  return loopback.check(host, version === 4 ? 'ipv4' : 'ipv6')
}

/** Throws `config` when other machines could connect to `host` and nothing asks them for a token. */
export function checkListenHost(host: string, hasTokens: boolean): void {
  if (hasTokens || isLoopback(host)) return
  throw new FrazilError(
    'config',
    'listen-beyond-loopback',
    `listening on ${host} would let other machines in without a password`,
    {
      hint: 'set "auth" with a token, or "listen" to 127.0.0.1:<port>',
    },
  )
}

/**
 * Refuses what a web page could make a browser send: a foreign `Origin`; and, where `onlyLocal`, a `Host` that is a name which was
 * made to point to this machine (DNS rebinding). A server for other machines is known by names that we do not know; what protects it
 * is the token, which such a page does not have. Throws `request`.
 */
export function guardRequest({ headers }: { readonly headers: IncomingHttpHeaders }, onlyLocal: boolean): void {
  const host = hostName(headers.host)
  if (host === null || (onlyLocal && !isLoopback(host))) {
    throw new FrazilError('request', 'wrong-host', 'the Host header must name this machine: localhost or a loopback address')
  }
  const { origin } = headers
  const site = headers['sec-fetch-site']
  if (origin === undefined) {
    // `none`: typed by a person. Another port of this machine is `same-site`, and another program.
    if (site === undefined || site === 'none' || site === 'same-origin') return
  } else if (URL.canParse(origin) && new URL(origin).host === headers.host?.toLowerCase()) {
    return
  }
  throw new FrazilError('request', 'wrong-origin', 'requests from web pages of other origins are refused')
}

/** `localhost` of `localhost:3030`, `::1` of `[::1]:3030`. */
function hostName(header: string | undefined): string | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/@]+))(?::\d{1,5})?$/.exec(header ?? '')
  return match ? (match[1] ?? match[2]) : null
}
