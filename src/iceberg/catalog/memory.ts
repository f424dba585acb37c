import { assert } from '../../base/index.ts'
import type { Catalog, CatalogCommit, StateRecord, TableName, TablePointer } from './catalog.ts'
import { fullName, stateConflict, tableConflict } from './conflict.ts'

/** A catalog in maps, for tests and simulation: lives as long as the object. */
export class MemoryCatalog implements Catalog {
  readonly name: string
  readonly #namespaces = new Set<string>()
  readonly #tables = new Map<string, TablePointer>()
  /** Deleted records stay with value null, so that no version comes twice. */
  readonly #states = new Map<string, { value: string | null; version: number }>()

  constructor(name = 'frazil') {
    this.name = name
  }

  async createNamespace(namespace: string): Promise<void> {
    this.#namespaces.add(namespace)
  }

  async namespaces(): Promise<string[]> {
    return [...new Set([...this.#namespaces, ...[...this.#tables.values()].map((table) => table.namespace)])].sort()
  }

  async list(namespace?: string): Promise<TablePointer[]> {
    const tables = [...this.#tables.values()]
    return tables.filter((table) => namespace === undefined || table.namespace === namespace).sort(byName)
  }

  async load(table: TableName): Promise<TablePointer | null> {
    return this.#tables.get(mapKey(table)) ?? null
  }

  async commit(commit: CatalogCommit): Promise<void> {
    for (const { key, expected } of commit.states) {
      const found = this.#record(key)?.version ?? null
      if (found !== expected) throw stateConflict(key, expected, found)
    }
    for (const change of commit.tables) {
      assert(change.base !== change.next, `a commit changes ${fullName(change)}`)
      const found = this.#tables.get(mapKey(change))?.metadataLocation ?? null
      if (found !== change.base) throw tableConflict(change, found)
    }
    for (const { key, value } of commit.states) {
      if (value !== undefined) this.#states.set(key, { value, version: (this.#states.get(key)?.version ?? 0) + 1 })
    }
    for (const { namespace, name, next } of commit.tables) {
      if (next === null) this.#tables.delete(mapKey({ namespace, name }))
      else this.#tables.set(mapKey({ namespace, name }), { namespace, name, metadataLocation: next })
    }
  }

  async state(key: string): Promise<StateRecord | null> {
    return this.#record(key)
  }

  async states(prefix: string): Promise<StateRecord[]> {
    const keys = [...this.#states.keys()].filter((key) => key.startsWith(prefix)).sort()
    return keys.map((key) => this.#record(key)).filter((record) => record !== null)
  }

  async close(): Promise<void> {}

  #record(key: string): StateRecord | null {
    const stored = this.#states.get(key)
    return stored === undefined || stored.value === null ? null : { key, value: stored.value, version: stored.version }
  }
}

function mapKey(table: TableName): string {
  return JSON.stringify([table.namespace, table.name])
}

function byName(a: TableName, b: TableName): number {
  return a.namespace === b.namespace ? (a.name < b.name ? -1 : 1) : a.namespace < b.namespace ? -1 : 1
}
