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
  end(transaction: number | null): ChangeLog[] {
    if (transaction === null) return [...this.#plain.values()].filter((log) => !log.isEmpty)
    const logs = this.#streamed.get(transaction)
    this.#streamed.delete(transaction)
    return logs ? [...logs.values()] : []
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

  /** All logs that have something. */
  get logs(): ChangeLog[] {
    return [this.#plain, ...this.#streamed.values()].flatMap((logs) => [...logs.values()].filter((log) => !log.isEmpty))
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
