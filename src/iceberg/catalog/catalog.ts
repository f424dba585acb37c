/** An Iceberg table's name. Namespaces of more than one level are joined with dots. */
export interface TableName {
  readonly namespace: string
  readonly name: string
}

/** Where a table's metadata is now. */
export interface TablePointer extends TableName {
  readonly metadataLocation: string
}

/** One table's part of a commit: the compare-and-set of its pointer. */
export interface PointerChange extends TableName {
  /** The metadata location that the commit was planned on; null creates the table. */
  readonly base: string | null
  /** The new metadata location; null drops the table (its files stay). */
  readonly next: string | null
}

/** A small durable record beside the tables, written by compare-and-set. */
export interface StateRecord {
  readonly key: string
  readonly value: string
  /**
   * Grows by one with every write of this key and never comes again, not even for a record deleted and made anew: who writes
   * over version n has version n + 1; who makes a record reads it to know its version.
   */
  readonly version: number
}

export interface StateChange {
  readonly key: string
  /** The version that must be stored now; null when the record must not exist. */
  readonly expected: number | null
  /** The new value; null deletes the record; undefined only checks the version (a fence). */
  readonly value?: string | null
}

/** Everything that becomes true at once, or not at all. */
export interface CatalogCommit {
  readonly tables: readonly PointerChange[]
  readonly states: readonly StateChange[]
}

/**
 * The one place where a commit becomes visible. Errors: `conflict` (code `table-changed`, `table-exists`, `state-changed`)
 * when a condition does not hold and nothing was changed; `uncertain` when the outcome is unknown; `unavailable`.
 */
export interface Catalog {
  /** Name under which other engines open this catalog. */
  readonly name: string
  /** Does nothing when it exists. A namespace also exists when a table has it. */
  createNamespace(namespace: string): Promise<void>
  namespaces(): Promise<string[]>
  list(namespace?: string): Promise<TablePointer[]>
  load(table: TableName): Promise<TablePointer | null>
  commit(commit: CatalogCommit): Promise<void>
  state(key: string): Promise<StateRecord | null>
  states(prefix: string): Promise<StateRecord[]>
  close(): Promise<void>
}
