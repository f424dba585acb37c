import { FrazilError } from '../../base/index.ts'
import type { Change, SourceTable } from '../../data/index.ts'
import type { PushRequest, SourceParts } from '../source.ts'
import { Lane } from './lane.ts'
import type { Rows } from './lane.ts'

/** A table that programs send rows to. */
export class PushedTable {
  readonly table: SourceTable
  readonly #rows: Lane
  /** Keys of deleted rows; null without a key. */
  readonly #keys: Lane | null

  constructor(table: SourceTable, parts: SourceParts) {
    this.table = table
    this.#rows = new Lane(table.fields, [], parts.deletable(table), parts)
    const { key } = table
    if (key.kind !== 'columns') this.#keys = null
    else {
      const others = table.fields.filter((_, i) => !key.columns.includes(i)).map(({ name }) => name)
      this.#keys = new Lane(
        key.columns.map((i) => ({ ...table.fields[i], required: true })),
        others,
        false,
        parts,
      )
    }
  }

  /** Where rows of this operation are decoded. Throws `request` for what a table without a key cannot do. */
  lane(operation: PushRequest['operation']): Lane {
    if (operation === 'insert') return this.#rows
    if (this.#keys) return operation === 'delete' ? this.#keys : this.#rows
    const { namespace, name } = this.table
    throw new FrazilError('request', 'no-key', `${namespace}.${name} has no key: rows can only be inserted`, {
      hint: 'Create a table with table_config {"mooncake": {"append_only": false, "row_identity": {"SinglePrimitiveKey": 0}}}.',
    })
  }

  change(operation: PushRequest['operation'], { segment, from, to }: Rows): Change {
    const table = this.table.id
    if (operation === 'insert' && this.table.key.kind === 'none') return { type: 'insert', table, segment, from, to }
    if (operation === 'delete') return { type: 'delete', table, keys: segment, from, to, mustExist: false }
    return { type: 'upsert', table, segment, from, to, mustExist: false }
  }

  release(): void {
    this.#rows.release()
    this.#keys?.release()
  }
}
