import { FrazilError } from '../base/index.ts'
import { draftTable } from '../source/index.ts'
import type { PushReceipt, PushRequest } from '../source/index.ts'
import type { NewTable, TableFromRows } from './contract.ts'
import { keyOf } from './table-schema.ts'

/** How often a table may be gone again when its rows come. */
const mostAttempts = 3

/**
 * Makes tables of the first rows that are sent to them. A table is in the lake before its rows are stored; if all is lost in between,
 * the table is there, empty, when they are sent again.
 */
export class TablesFromRows {
  readonly #create: (table: NewTable) => Promise<void>
  /** Tables that are being made, by the name to which rows are sent. Never reject. */
  readonly #making = new Map<string, Promise<void>>()

  constructor(create: (table: NewTable) => Promise<void>) {
    this.#create = create
  }

  /** Does `store`; where that fails for want of the table, makes it and does it again. */
  async push(request: PushRequest, wanted: TableFromRows, store: () => Promise<PushReceipt>): Promise<PushReceipt> {
    const { ingest } = wanted
    for (let attempt = 1; ; attempt++) {
      try {
        return await store()
      } catch (error) {
        if (!(error instanceof FrazilError) || error.code !== 'unknown-table' || attempt > mostAttempts) throw error
      }
      const making = this.#making.get(ingest)
      if (making) await making
      else {
        const made = this.#make(request, wanted)
        const done = made.then(
          () => undefined,
          () => undefined,
        )
        this.#making.set(ingest, done)
        try {
          const refused = await made
          if (refused) return refused
        } finally {
          this.#making.delete(ingest)
        }
      }
    }
  }

  /** Returns the answer instead of the table when its rows would be refused. */
  async #make(request: PushRequest, { key, ...table }: TableFromRows): Promise<PushReceipt | null> {
    if (request.operation === 'delete') {
      throw new FrazilError('request', 'unknown-table', `there is no table ${table.ingest} to delete rows of`)
    }
    const { fields, count, refused, refusals } = draftTable(request, key)
    if (refused > 0 && (count === 0 || !request.partial)) {
      return { position: null, rows: 0, refused, refusals, replayed: false }
    }
    const columns = keyOf(key.length > 0 ? { key: [...key] } : undefined, fields)
    await this.#create({ ...table, fields, key: columns, evolves: true })
    return null
  }
}
