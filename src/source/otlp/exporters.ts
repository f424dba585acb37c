import type { Access, Caller } from '../../access/index.ts'
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

  /** A request may have records for each table of its signal. Throws `request` (`forbidden`). */
  demand(caller: Caller, signal: Signal): void {
    for (const place of tablesOf[signal]) caller.demand('write', this.#namespace, tableNames[place])
  }
}
