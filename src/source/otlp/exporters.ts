import { hostName, isLoopback } from '../../access/index.ts'
import type { Access, Caller } from '../../access/index.ts'
import { FrazilError } from '../../base/index.ts'
import { tablesOf } from './request-decoder.ts'
import { tableNames } from './tables.ts'
import type { Signal } from './tables.ts'

/** Who may export what. */
export class Exporters {
  readonly #access: Access
  readonly #namespace: string

  constructor(access: Access, namespace: string) {
    this.#access = access
    this.#namespace = namespace
  }

  /** Who sends this `Authorization`. Throws `request` (`unauthorized`). */
  caller(authorization: string | undefined): Caller {
    return this.#access.caller(authorization)
  }

  /**
   * Without tokens only this machine may send, and it is named as such, by `Host` or `:authority`: a web page may have another name point to
   * it. Throws `request` (`wrong-host`).
   */
  checkHost(header: string | undefined): void {
    if (this.#access.isClosed) return
    const host = hostName(header)
    if (host !== null && isLoopback(host)) return
    throw new FrazilError('request', 'wrong-host', 'the Host header must name this machine: localhost or a loopback address')
  }

  /** A request may have records for each table of its signal. Throws `request` (`forbidden`). */
  demand(caller: Caller, signal: Signal): void {
    for (const place of tablesOf[signal]) caller.demand('write', this.#namespace, tableNames[place])
  }
}
