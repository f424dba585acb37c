import { FrazilError, editDistance } from '../base/index.ts'
import { foldCase } from './duck-types.ts'
import type { TableName } from './statement.ts'

/** A table by the name it has in the lake. */
export interface FullName {
  readonly namespace: string
  readonly name: string
}

/** Finds the tables that statements mean: exact names first, then without regard to ASCII case, as DuckDB compares. */
export class TableNames {
  readonly all: readonly FullName[]
  readonly #byName = new Map<string, FullName[]>()

  constructor(all: readonly FullName[]) {
    this.all = all
    for (const table of all) {
      const key = foldCase(table.name)
      const same = this.#byName.get(key)
      if (same) same.push(table)
      else this.#byName.set(key, [table])
    }
  }

  /**
   * The table meant, or a `request` error that names the nearest ones. Where a name is not among those that `mayRead` lets through, the
   * error is `forbidden`, whether there is such a table or not.
   */
  find(wanted: TableName, mayRead?: (namespace: string, name: string) => boolean): FullName {
    const found = (this.#byName.get(foldCase(wanted.name)) ?? []).filter(
      (table) => wanted.namespace === null || foldCase(table.namespace) === foldCase(wanted.namespace),
    )
    if (found.length === 0) {
      const { namespace, name } = wanted
      if (mayRead && namespace !== null && !mayRead(namespace, name)) {
        throw new FrazilError('request', 'forbidden', `this token may not read ${namespace}.${name}`)
      }
      throw this.#unknown(wanted)
    }
    if (found.length === 1) return found[0]
    const exact = found.filter((table) => table.name === wanted.name && (wanted.namespace ?? table.namespace) === table.namespace)
    if (exact.length === 1) return exact[0]
    const names = found.slice(0, 5).map(dotted).join(', ')
    throw new FrazilError('request', 'ambiguous-table', `"${wanted.name}" can mean several tables: ${names}`, {
      hint: 'write namespace.table, as it is spelled',
    })
  }

  #unknown(wanted: TableName): FrazilError {
    const text = wanted.namespace === null ? wanted.name : `${wanted.namespace}.${wanted.name}`
    if (/[/\\]|^[a-z0-9]+:|\.(parquet|csv|tsv|json|ndjson|jsonl|txt|gz|zst|db|duckdb|arrow|xlsx)$/i.test(text)) {
      return new FrazilError('request', 'not-allowed', `"${text}" is no table, and queries do not read files`)
    }
    const near = this.#nearest(wanted)
    const message = `there is no table ${text}`
    if (near.length > 0) return new FrazilError('request', 'unknown-table', `${message}; did you mean ${near.join(' or ')}?`)
    return new FrazilError('request', 'unknown-table', message, { hint: 'SHOW TABLES lists them' })
  }

  #nearest(wanted: TableName): string[] {
    const text = foldCase(wanted.namespace === null ? wanted.name : dotted({ namespace: wanted.namespace, name: wanted.name }))
    const bound = Math.max(2, Math.floor(text.length / 3))
    const scored: { readonly table: FullName; readonly distance: number }[] = []
    for (const table of this.all) {
      const whole = foldCase(wanted.namespace === null ? table.name : dotted(table))
      const same = foldCase(table.name) === foldCase(wanted.name)
      const distance = same ? 0 : Math.abs(whole.length - text.length) > bound ? bound + 1 : editDistance(text, whole)
      if (distance <= bound) scored.push({ table, distance })
    }
    scored.sort((a, b) => a.distance - b.distance)
    return scored.slice(0, 3).map(({ table }) => dotted(table))
  }
}

function dotted(table: FullName): string {
  return `${table.namespace}.${table.name}`
}
