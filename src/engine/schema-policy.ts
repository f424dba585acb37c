import { FrazilError } from '../base/index.ts'
import type { SourceTable } from '../data/index.ts'
import { fullName } from './mirrored-table.ts'
import type { TableSettings } from './table-settings.ts'

/** What becomes of tables that change at the source: decided here, done by the pipeline. */
export class SchemaPolicy {
  readonly #settings: TableSettings

  constructor(settings: TableSettings) {
    this.#settings = settings
  }

  #evolves(table: SourceTable): boolean {
    return (this.#settings[fullName(table)]?.onSchemaChange ?? 'evolve') !== 'detach'
  }

  /** Why a table must not get its new shape; null when it may. */
  refusal(tables: Iterable<{ readonly source: SourceTable }>, next: SourceTable): FrazilError | null {
    const known = [...tables].find(({ source }) => source.id === next.id)?.source
    const look = ({ fields, key }: SourceTable): string => JSON.stringify([fields.map(({ name, type }) => [name, type]), key])
    if (this.#evolves(next) || (known && look(known) === look(next))) return null
    const message = `table ${next.sourceName} was changed at the source, and on-schema-change is detach`
    const hint = 'frazil resync the table: it is copied anew in its new shape'
    return new FrazilError('unsupported', 'schema-changed', message, { hint, table: fullName(next) })
  }

  /** Whether a table that has failed is to be copied anew. */
  outgrew(table: SourceTable, error: FrazilError): boolean {
    return (error.code === 'schema-changed' || error.code === 'table-recreated') && this.#evolves(table)
  }
}
