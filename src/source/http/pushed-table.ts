import { FrazilError } from '../../base/index.ts'
import type { Change, Field, SourceTable } from '../../data/index.ts'
import type { Rows } from '../push/index.ts'
import type { PushRequest, SourceParts } from '../source.ts'
import { Lane } from './lane.ts'

/** A table that programs send rows to. */
export class PushedTable {
  readonly #parts: SourceParts
  #table: SourceTable
  #rows: Lane
  /** Keys of deleted rows; null without a key. */
  #keys: Lane | null
  #skipsOpen = false
  /** As the spool and the lake know it. */
  #durable: SourceTable
  /** As the events that were given out say. */
  #told: SourceTable
  /** Requests that are being stored. */
  #underWay = 0

  constructor(table: SourceTable, parts: SourceParts) {
    this.#parts = parts
    this.#table = table
    this.#durable = table
    this.#told = table
    ;[this.#rows, this.#keys] = this.#lanes(table)
  }

  #lanes(table: SourceTable): [Lane, Lane | null] {
    const parts = this.#parts
    const rows = new Lane(table.fields, [], parts.deletable(table), parts)
    const { key } = table
    if (key.kind !== 'columns') return [rows, null]
    const others = table.fields.filter((_, i) => !key.columns.includes(i)).map(({ name }) => name)
    const keys = key.columns.map((i) => ({ ...table.fields[i], required: true }))
    return [rows, new Lane(keys, others, false, parts)]
  }

  /** As rows are decoded now. */
  get table(): SourceTable {
    return this.#table
  }

  /** Whether rows with other columns give it these. */
  get evolves(): boolean {
    const policy = this.#parts.onSchemaChange(this.#table)
    return policy === null ? isEvolving(this.#table) : policy !== 'detach'
  }

  /** What columns it has that must stay as they are. */
  get keyNames(): string[] {
    const { key, fields } = this.#table
    return key.kind === 'columns' ? key.columns.map((i) => fields[i].name) : []
  }

  /** Whether values that say nothing may have names that are no columns. */
  set skipsOpen(skips: boolean) {
    this.#skipsOpen = skips
    this.#rows.skipsOpen = skips
    if (this.#keys) this.#keys.skipsOpen = skips
  }

  /** Columns of stored rows, when they are read again. Whether they are others than before. */
  restore(fields: readonly Field[]): boolean {
    if (JSON.stringify(fields) === JSON.stringify(this.#table.fields)) return false
    this.reshape({ ...this.#table, fields })
    this.#durable = this.#table
    this.#told = this.#table
    return true
  }

  /** Rows are decoded into these columns from now on. */
  reshape(table: SourceTable): void {
    this.release()
    this.#table = table
    ;[this.#rows, this.#keys] = this.#lanes(table)
    this.skipsOpen = this.#skipsOpen
  }

  /** Where rows of this operation are decoded. Throws `request` for what a table without a key cannot do. */
  lane(operation: PushRequest['operation']): Lane {
    if (operation === 'insert') return this.#rows
    if (this.#keys) return operation === 'delete' ? this.#keys : this.#rows
    const { namespace, name } = this.table
    throw new FrazilError('request', 'no-key', `${namespace}.${name} has no key: rows can only be inserted`, {
      hint: 'Only a table that was made with table_config {"key": ["id"]} knows which row is meant.',
    })
  }

  /**
   * Rows as they are decoded now are being stored. Returns the columns that have to be stored with them, which nothing durable has yet;
   * null: none.
   */
  storing(): SourceTable | null {
    this.#underWay++
    return this.#table === this.#durable ? null : this.#table
  }

  /** Rows are stored, with their columns. */
  stored(shape: SourceTable | null): void {
    this.#underWay--
    if (shape) this.#durable = shape
  }

  /** They are not: columns that no stored row has go again. */
  notStored(): void {
    this.#underWay--
    if (this.#underWay === 0 && this.#table !== this.#durable) this.reshape(this.#durable)
  }

  /** Whether an event has to tell of this shape before rows that have it. It is then told. */
  tells(shape: SourceTable): boolean {
    const isNew = shape !== this.#told
    this.#told = shape
    return isNew
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

/** What a table of this source remembers of itself. */
export function tableMemo(evolves: boolean): string | undefined {
  return evolves ? JSON.stringify({ evolves }) : undefined
}

/** Whether a table was made so that rows with other columns give it these. */
export function isEvolving({ memo }: SourceTable): boolean {
  return memo !== undefined && (JSON.parse(memo) as { evolves?: boolean }).evolves === true
}
