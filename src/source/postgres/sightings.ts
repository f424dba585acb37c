import type { Lsn } from './lsn.ts'
import type { Relation } from './relation.ts'
import type { KnownTable } from './shape-change.ts'
import type { BoundTable } from './stream-table.ts'
import type { TableDescription } from './table-description.ts'

/** What the catalogue says of a table of which the stream may never say it: it holds from `at` on, unless the stream tells of the table. */
export interface Sighting {
  /** As the table was known when the catalogue was asked: that is what `description` was compared with. */
  readonly known: KnownTable
  readonly relation: Relation
  readonly description: TableDescription
  readonly at: Lsn
}

/** What the catalogue says of tables, until the stream has come to where it holds or tells of the table itself. */
export class Sightings {
  /** Those of the stream. */
  readonly #tables: ReadonlyMap<number, BoundTable>
  readonly #waiting = new Map<BoundTable, Sighting>()
  /** Tables of which the stream has told since the catalogue was last asked about. */
  readonly #told = new Set<BoundTable>()

  constructor(tables: ReadonlyMap<number, BoundTable>) {
    this.#tables = tables
  }

  /**
   * Tables to ask the catalogue about now: those whose changes count at `position`, as they are known; without those of which something was
   * said that does not hold yet.
   */
  watched(position: Lsn): Map<string, KnownTable> {
    this.#told.clear()
    const watched = [...this.#tables.values()].filter(
      (table) => !table.failed && table.floor <= position && !this.#waiting.has(table),
    )
    return new Map(watched.map(({ id, known }) => [id, known]))
  }

  /** Nothing happened to these tables in the catalogue until transactions below `xid` (64 bits, as text) had ended. */
  unchanged(tables: ReadonlyMap<string, KnownTable>, xid: string): void {
    for (const [id, known] of tables) {
      const table = this.#tables.get(Number(id))
      const { memo } = known
      if (table?.known !== known || !memo.look) continue
      const looked = { ...known, memo: { ...memo, look: { ...memo.look, xid } } }
      if (table.settled === known) table.settled = looked
      table.known = looked
    }
  }

  /** What the catalogue has answered. What the stream said while it was asked may be of later. */
  add(id: string, sighting: Sighting): void {
    const table = this.#tables.get(Number(id))
    if (table && !table.failed && !this.#told.has(table)) this.#waiting.set(table, sighting)
  }

  /** The stream tells of it, or nobody wants to know. */
  forget(table: BoundTable): void {
    this.#waiting.delete(table)
    this.#told.add(table)
  }

  clear(): void {
    this.#waiting.clear()
  }

  /** Takes those that hold where everything before `position` has come. */
  *due(position: Lsn): Generator<[BoundTable, Sighting], void> {
    for (const [table, sighting] of this.#waiting) {
      if (sighting.at > position) continue
      this.#waiting.delete(table)
      // A copy that began since knows better, and so does the stream that has told of the same change meanwhile.
      if (!table.failed && table.floor <= sighting.at && table.known === sighting.known) yield [table, sighting]
    }
  }
}
