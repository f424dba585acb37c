import { FrazilError } from '../base/index.ts'
import type { Position, Value } from '../data/index.ts'
import type { EventBus } from '../observe/index.ts'
import { checkKey, checkOpening, checkQuery, checkSending, checkShape, tableNameOf } from './arguments.ts'
import { resolveConfig } from './config.ts'
import type { ConfigInput } from './config.ts'
import type { Producer, PushRequest } from '../source/index.ts'
import type { Durability, Engine, EngineQuery, EngineStatus } from './contract.ts'
import { openEngine } from './engine.ts'
import { jsonLines } from './row-json.ts'
import { checkSender } from './sender.ts'
import { fieldsOf, keyOf, tableNamePattern } from './table-schema.ts'
import type { FieldSchema } from './table-schema.ts'

/**
 * A value of an answer: 64-bit integers are bigint, decimals their text with all digits, times and the like ISO 8601 text, bytes base64,
 * NaN and the infinities `NaN`, `Infinity`, `-Infinity`. Within lists, structs and maps 64-bit integers are text, too.
 */
export type ResultValue = null | boolean | number | bigint | string | readonly unknown[] | Readonly<Record<string, unknown>>

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly (readonly ResultValue[])[]
  /** What the answer contains, by source. */
  readonly positions: Readonly<Record<string, Position>>
}

/** A row to send: column → value. 64-bit integers may be bigint, decimals text, times a Date or ISO 8601 text, bytes a Uint8Array. */
export type Row = Readonly<Record<string, unknown>>

export interface SendOptions {
  /** When the promise resolves: `stored` durably in the spool (the default), `visible` to queries, `committed` to the lake. */
  readonly durability?: Durability
  /** Rows sent again under the same key are stored once. */
  readonly idempotencyKey?: string
  /** The same for a program that numbers what it sends one by one, without end; not together with a key. */
  readonly producer?: Producer
  /** Makes the table, with the columns of the rows, when it is not there. It then evolves. */
  readonly create?: true | { readonly key: readonly string[] }
}

/** What became of rows that were sent. */
export interface SentRows {
  /** Contains them; to wait for in a query. */
  readonly position: Position
  readonly rows: number
  /** How far they are: less than was asked for when that took more than 30 seconds. */
  readonly durability: Durability
}

/** A table to send rows to. */
export interface TableShapeInput {
  readonly schema: readonly FieldSchema[]
  /** Names of key columns; without any, rows are only appended. */
  readonly key?: readonly string[]
  /** Rows with other columns: `evolve` gives them to the table, `refuse` (the default) refuses the rows. */
  readonly onSchemaChange?: 'evolve' | 'refuse'
}

/** One table. */
export interface TableHandle {
  /** The row with this key as column → value, read from memory or the lake; null when there is none. */
  get(key: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, Value>> | null>
  /** Makes it, for rows that programs send; resolves when it is in the lake, also when it was there already just like this. */
  create(shape: TableShapeInput): Promise<void>
  /**
   * Sends rows, all or none. Rejects with `request` and code `rows-refused` when one is not as the table wants it. In a table with a key
   * a row takes the place of the one with the same key.
   */
  insert(rows: Row | readonly Row[], options?: SendOptions): Promise<SentRows>
  upsert(rows: Row | readonly Row[], options?: SendOptions): Promise<SentRows>
  /** Removes the rows with these keys, if there are any; other columns are not looked at. */
  delete(keys: Row | readonly Row[], options?: SendOptions): Promise<SentRows>
  /** Copies it again, beside its rows, and swaps them in one commit. Resolves when the copy has begun or waits for its turn. */
  resync(): Promise<void>
  /** Rewrites its data files that have deleted rows and merges small ones. Resolves after the commit. */
  optimize(): Promise<void>
}

/** An engine in this process. Close it, or declare it with `await using`. */
export interface Frazil extends AsyncDisposable {
  /** One read-only statement over hot and cold rows at one position. Sees every row already applied. */
  query(sql: string, options?: Omit<EngineQuery, 'format' | 'numbersAsStrings'>): Promise<QueryResult>
  table(name: string): TableHandle
  status(): Promise<EngineStatus>
  /** Commits everything applied so far; resolves with the positions that are in Iceberg. */
  flush(): Promise<Readonly<Record<string, Position>>>
  /** Resolves when the engine has stopped by itself, with the reason; with null after `close`. */
  readonly stopped: Promise<Error | null>
  close(): Promise<void>
  /** The engine behind it, for programs that serve it. */
  readonly engine: Engine
}

export interface OpenOptions {
  /** Displaces a live process that holds the lake. */
  readonly takeOver?: boolean
  /** Gets typed events: commits, copies, errors. */
  readonly events?: EventBus
  /** Where relative paths start; default the current folder. */
  readonly folder?: string
}

/** Throws `request` (`table-name`) when no new table may be called so. */
function demandName({ namespace, name }: { readonly namespace: string; readonly name: string }): void {
  if (tableNamePattern.test(namespace) && tableNamePattern.test(name)) return
  throw new FrazilError('request', 'table-name', `${namespace}.${name} cannot be the name of a new table`, {
    hint: 'Namespace and name have at most 255 characters each, without . / \\ and quotes.',
  })
}

/**
 * Opens a lake and mirrors its sources: the keys of `frazil.yaml` as an object. Resolves when the sources are connected; throws
 * `FrazilError` with kind `config` and a sentence for whatever has to be changed first. Whatever is wrong with an argument, here and
 * below, is a `FrazilError` with kind `request`.
 */
export async function open(config: ConfigInput, options?: OpenOptions): Promise<Frazil> {
  checkOpening(options)
  const resolved = resolveConfig(config, {
    folder: options?.folder ?? process.cwd(),
    env: process.env,
  })
  const engine = await openEngine(resolved, { takeOver: options?.takeOver, events: options?.events })
  return {
    engine,
    stopped: engine.stopped,
    async query(sql, queryOptions) {
      checkQuery(sql, queryOptions)
      const wait = queryOptions?.wait ?? undefined
      const asked = { ...queryOptions, wait, format: 'json', numbersAsStrings: true } as const
      const { columns, body, positions } = await engine.execute(sql, asked)
      const rows = JSON.parse(new TextDecoder().decode(body)) as ResultValue[][]
      const wide = columns.flatMap(({ type }, i) => (/^(?:U?BIGINT|U?HUGEINT)$/.test(type) ? [i] : []))
      if (wide.length > 0) {
        for (const row of rows) {
          for (const i of wide) {
            const value = row[i]
            if (typeof value === 'string' || typeof value === 'number') row[i] = BigInt(value)
          }
        }
      }
      return { columns, rows, positions }
    },
    table(name) {
      const table = tableNameOf(name)
      const send =
        (operation: PushRequest['operation']): TableHandle['insert'] =>
        async (rows, options) => {
          checkSending(options)
          const durability = options?.durability ?? 'stored'
          const idempotencyKey = options?.idempotencyKey ?? null
          const producer = options?.producer ?? null
          const create = options?.create
          checkSender(idempotencyKey, producer)
          if (create) demandName(table)
          const body = jsonLines(Array.isArray(rows) ? rows : [rows])
          const request = { table, operation, form: 'lines', body, partial: false, key: idempotencyKey, producer } as const
          const made = create && { ...table, ingest: name, key: create === true ? [] : create.key }
          const { position, rows: count, reached, refused, refusals } = await engine.push(request, durability, made)
          if (position === null || reached === null) {
            const [{ row, column, message }] = refusals
            const where = column === null ? '' : `${JSON.stringify(column)} `
            const more = refused === 1 ? '' : `, and ${refused - 1} more`
            throw new FrazilError('request', 'rows-refused', `row ${row}: ${where}${message}${more}; no row was stored`)
          }
          return { position, rows: count, durability: reached }
        }
      return {
        async create(shape) {
          checkShape(shape)
          const { schema, key, onSchemaChange } = shape
          demandName(table)
          const fields = fieldsOf(schema)
          const columns = keyOf(key && key.length > 0 ? { key: [...key] } : undefined, fields)
          await engine.createTable({ ...table, ingest: name, fields, key: columns, evolves: onSchemaChange === 'evolve' })
        },
        insert: send('insert'),
        upsert: send('upsert'),
        delete: send('delete'),
        async get(key) {
          checkKey(key)
          const { fields, row } = await engine.lookup(table.namespace, table.name, key)
          return row && Object.fromEntries(fields.map((field, i) => [field.name, row[i]]))
        },
        resync: async () => {
          await engine.resync(table.namespace, table.name)
        },
        optimize: () => engine.optimize(table.namespace, table.name),
      }
    },
    status: () => engine.status(),
    flush: () => engine.flush(),
    close: () => engine.close(),
    [Symbol.asyncDispose]: () => engine.close(),
  }
}
