import type { IncomingHttpHeaders } from 'node:http'
import { hostName, isLoopback } from '../access/index.ts'
import type { Caller } from '../access/index.ts'
import { FrazilError } from '../base/index.ts'

/** Decides by the headers whether a request is dealt with at all, and for whom. Throws `request`: 401, 403. */
export type Admit = (headers: IncomingHttpHeaders, isOpen?: boolean) => Caller

/**
 * Refuses what a web page could make a browser send: a foreign `Origin`; and, where `onlyLocal`, a `Host` that is a name which was
 * made to point to this machine (DNS rebinding). A server for other machines is known by names that we do not know; what protects it
 * is the token, which such a page does not have. What it returns throws `request`.
 */
export function requestGuard(onlyLocal: boolean): (headers: IncomingHttpHeaders) => void {
  // A server is called by few names: the one that was found good last is the next one, too.
  let known: string | undefined
  return (headers) => {
    if (headers.host === undefined || headers.host !== known) {
      const host = hostName(headers.host)
      if (host === null || (onlyLocal && !isLoopback(host))) {
        throw new FrazilError('request', 'wrong-host', 'the Host header must name this machine: localhost or a loopback address')
      }
      known = headers.host
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
}
