import { FrazilError } from '../base/index.ts'
import type { Field, Type } from '../data/index.ts'
import { distinctNames, duckType, foldCase } from './duck-types.ts'
import type { Condition, Constant } from './filters.ts'
import type { SentParameter } from './messages.ts'

/** Columns of these types are compared with a text by converting the text to their type. */
const converted: ReadonlySet<Type['kind']> = new Set(['uuid', 'date', 'time', 'timestamp', 'timestamptz'])
const plainUuid = /^'?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'?$/i
/** Conversions that are known to succeed; forgotten all at once beyond this. */
const maxKnown = 4096

/**
 * Refuses texts that cannot be of the type of the column that a statement compares them with. DuckDB finds that out with the first row that
 * it compares: whether there is one depends on the files that are left out, and must not. For one connection.
 */
export class ConstantCheck {
  readonly #rows: (sql: string, params: readonly SentParameter[]) => Promise<unknown[][]>
  readonly #known = new Set<string>()

  /** @param rows runs a statement */
  constructor(rows: (sql: string, params: readonly SentParameter[]) => Promise<unknown[][]>) {
    this.#rows = rows
  }

  /** Throws `request` (code `sql`) for the first text that does not fit. */
  async check(conditions: readonly Condition[], fields: readonly Field[], params: readonly SentParameter[]): Promise<void> {
    let names: readonly string[] | null = null
    const compared: { readonly value: Constant; readonly type: Type }[] = []
    const visit = (condition: Condition): void => {
      if (condition.kind === 'all' || condition.kind === 'any') {
        // Of several types: DuckDB converts them to one that may not be the column's.
        if ((condition.alike ?? []).every((value) => textOf(value, params) !== null)) condition.of.forEach(visit)
        return
      }
      if (condition.kind !== 'compare' || textOf(condition.value, params) === null) return
      names ??= distinctNames(fields.map(({ name }) => name)).map(foldCase)
      const type = fields[names.indexOf(foldCase(condition.column))]?.type
      if (type && converted.has(type.kind)) compared.push({ value: condition.value, type })
    }
    conditions.forEach(visit)
    for (const { value, type } of compared) await this.#convert(value, type, params)
  }

  async #convert(value: Constant, type: Type, params: readonly SentParameter[]): Promise<void> {
    const text = textOf(value, params) ?? ''
    if (type.kind === 'uuid' && plainUuid.test(text)) return
    const key = `${type.kind} ${'sql' in value} ${text}`
    if (this.#known.has(key)) return
    try {
      const [constant, used] = 'sql' in value ? [value.sql, []] : ['$1', [params[value.parameter - 1]]]
      await this.#rows(`SELECT CAST(${constant} AS ${duckType(type)})`, used)
    } catch (error) {
      const [message] = error instanceof Error ? error.message.split('\n') : ['']
      if (message.startsWith('Conversion Error')) throw new FrazilError('request', 'sql', message, { cause: error })
      // Nothing is known of it: the statement itself says what is wrong.
      return
    }
    if (this.#known.size >= maxKnown) this.#known.clear()
    this.#known.add(key)
  }
}

/** The text that a constant is, in quotes where the statement has it; null for anything else. */
function textOf(value: Constant, params: readonly SentParameter[]): string | null {
  if ('sql' in value) return value.type === 'text' || value.type === 'VARCHAR' ? value.sql : null
  const param = params[value.parameter - 1]
  return typeof param === 'string' ? param : null
}
