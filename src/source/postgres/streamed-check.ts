import { FrazilError } from '../../base/index.ts'
import type { Relation } from './relation.ts'
import { settleShape } from './shape-change.ts'
import type { ColumnRules, KnownTable } from './shape-change.ts'
import type { BoundTable } from './stream-table.ts'
import type { TableDescription } from './table-description.ts'

/** Whether the tables of a streamed transaction that ends are what its rows were read as: only now does the catalogue show what it did. */
export class StreamedCheck {
  readonly #relations: ReadonlyMap<BoundTable, Relation>
  readonly #answers = new Map<BoundTable, TableDescription | null>()
  readonly answered: Promise<void>
  isAnswered = false

  constructor(
    relations: ReadonlyMap<BoundTable, Relation>,
    describe: (known: KnownTable, relation: Relation) => Promise<TableDescription | null>,
  ) {
    this.#relations = relations
    const ask = async ([table, relation]: [BoundTable, Relation]): Promise<void> => {
      this.#answers.set(table, await describe(table.known, relation))
    }
    this.answered = Promise.all(Array.from(relations, ask)).then(() => {
      this.isAnswered = true
    })
  }

  /** A table that is another one than its rows were read as. */
  changed(rules: ColumnRules): BoundTable | null {
    for (const [table, relation] of this.#relations) {
      if (table.failed) continue
      let settled: KnownTable | null = null
      try {
        settled = settleShape(table.known, relation, this.#answers.get(table) ?? null, rules)
      } catch (error) {
        if (!(error instanceof FrazilError) || error.kind !== 'unsupported') throw error
      }
      if (settled?.table !== table.known.table) return table
    }
    return null
  }
}
