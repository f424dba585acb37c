import { assert } from '../base/index.ts'
import { ChangeLog } from '../table/index.ts'
import type { ChangeLogParts, LoggedChange } from '../table/index.ts'

/**
 * What source transactions have changed whose end has not come: one log for each table, of the plain transaction and of every
 * streamed one.
 */
export class OpenTransactions {
  readonly #parts: ChangeLogParts
  /** Logs of the plain transaction, kept for the next one. */
  readonly #plain = new Map<string, ChangeLog>()
  /** In the order in which tables were touched. */
  readonly #streamed = new Map<number, Map<string, ChangeLog>>()
  #ended: readonly ChangeLog[] = []

  constructor(parts: ChangeLogParts) {
    this.#parts = parts
  }

  add(change: LoggedChange): void {
    const { streamed } = change
    const table = change.type === 'table' ? change.table.id : change.table
    const logs = streamed ? this.#logsOf(streamed.transaction) : this.#plain
    let log = logs.get(table)
    if (!log) logs.set(table, (log = new ChangeLog(table, this.#parts)))
    log.add(change, streamed?.part)
  }

  /** The logs of the plain transaction (null) or a streamed one, which ends with this. They are drained or cleared by the caller. */
  end(transaction: number | null): readonly ChangeLog[] {
    const logs = transaction === null ? this.#plain : (this.#streamed.get(transaction) ?? new Map<string, ChangeLog>())
    if (transaction !== null) this.#streamed.delete(transaction)
    this.#ended = [...logs.values()].filter((log) => !log.isEmpty)
    return this.#ended
  }

  /** Forgets a streamed transaction, or a part of it, or what it changed in one table. */
  rollback(transaction: number, part: number | null, table: string | null): void {
    const logs = this.#streamed.get(transaction)
    if (!logs) return
    if (part !== null) {
      for (const log of logs.values()) if (table === null || log.table === table) log.drop(part)
      return
    }
    for (const log of logs.values()) if (table === null || log.table === table) this.#forget(logs, log)
    if (logs.size === 0) this.#streamed.delete(transaction)
  }

  /** Forgets all that is open. */
  abort(): void {
    for (const log of this.#plain.values()) log.clear()
    for (const logs of this.#streamed.values()) for (const log of logs.values()) log.clear()
    this.#streamed.clear()
  }

  /** Forgets what was changed in a table that is not read any more. */
  forget(table: string): void {
    for (const logs of [this.#plain, ...this.#streamed.values()]) {
      const log = logs.get(table)
      if (log) this.#forget(logs, log)
    }
  }

  /** Gives what was changed in a table over to where its changes are kept from now on. */
  move(table: string, to: OpenTransactions): void {
    for (const [transaction, logs] of [[null, this.#plain] as const, ...this.#streamed]) {
      const log = logs.get(table)
      if (!log) continue
      logs.delete(table)
      const others = transaction === null ? to.#plain : to.#logsOf(transaction)
      assert(others.get(table)?.isEmpty !== false, 'a change is kept in one place')
      others.set(table, log)
    }
  }

  /** All logs that have something, also those of the transaction that ended last. */
  get logs(): ChangeLog[] {
    const open = [this.#plain, ...this.#streamed.values()].flatMap((logs) => [...logs.values()])
    return [...new Set([...open, ...this.#ended])].filter((log) => !log.isEmpty)
  }

  #forget(logs: Map<string, ChangeLog>, log: ChangeLog): void {
    log.clear()
    logs.delete(log.table)
  }

  #logsOf(transaction: number): Map<string, ChangeLog> {
    let logs = this.#streamed.get(transaction)
    if (!logs) this.#streamed.set(transaction, (logs = new Map()))
    return logs
  }
}
