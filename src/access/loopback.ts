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

/** What a `Host` header names: `localhost` of `localhost:3030`, `::1` of `[::1]:3030`. Null for what is none. */
export function hostName(header: string | undefined): string | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/@]+))(?::\d{1,5})?$/.exec(header ?? '')
  return match ? (match[1] ?? match[2]) : null
}

/**
 * Throws `config` (`listen-beyond-loopback`) when other machines could connect to `host` and nothing asks them for a token.
 *
 * @param setting that names the host, for the hint
 */
export function checkListenHost(host: string, hasTokens: boolean, setting: string): void {
  if (hasTokens || isLoopback(host)) return
  throw new FrazilError(
    'config',
    'listen-beyond-loopback',
    `listening on ${host} would let other machines in without a password`,
    {
      hint: `set "auth" with a token, or ${setting} to 127.0.0.1:<port>`,
    },
  )
}
