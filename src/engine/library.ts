import { FrazilError } from '../base/index.ts'
import type { Position, Value } from '../data/index.ts'
import type { EventBus } from '../observe/index.ts'
import { resolveConfig } from './config.ts'
import type { ConfigInput } from './config.ts'
import type { Engine, EngineQuery, EngineStatus } from './contract.ts'
import { openEngine } from './engine.ts'

/** A value of an answer: 64-bit integers are bigint, decimals their text with all digits, times and the like ISO 8601 text. */
export type ResultValue = null | boolean | number | bigint | string | readonly unknown[] | Readonly<Record<string, unknown>>

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly (readonly ResultValue[])[]
  /** What the answer contains, by source. */
  readonly positions: Readonly<Record<string, Position>>
}

/** One mirrored table. */
export interface TableHandle {
  /** The row with this key as column → value, read from memory or the lake; null when there is none. */
  get(key: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, Value>> | null>
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

/**
 * Opens a lake and mirrors its sources: the keys of `frazil.yaml` as an object. Resolves when the sources are connected; throws
 * `FrazilError` with kind `config` and a sentence for whatever has to be changed first.
 */
export async function open(config: ConfigInput, options: OpenOptions = {}): Promise<Frazil> {
  const resolved = resolveConfig(config, {
    folder: options.folder ?? process.cwd(),
    env: process.env,
  })
  const engine = await openEngine(resolved, { takeOver: options.takeOver, events: options.events })
  return {
    engine,
    stopped: engine.stopped,
    async query(sql, queryOptions) {
      const { columns, body, positions } = await engine.execute(sql, { ...queryOptions, format: 'json', numbersAsStrings: true })
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
      const dot = name.indexOf('.')
      if (dot <= 0) throw new FrazilError('request', 'table-name', `${name} is not namespace.table`)
      return {
        async get(key) {
          const { fields, row } = await engine.lookup(name.slice(0, dot), name.slice(dot + 1), key)
          return row && Object.fromEntries(fields.map((field, i) => [field.name, row[i]]))
        },
        resync: () => engine.resync(name.slice(0, dot), name.slice(dot + 1)),
        optimize: () => engine.optimize(name.slice(0, dot), name.slice(dot + 1)),
      }
    },
    status: () => engine.status(),
    flush: () => engine.flush(),
    close: () => engine.close(),
    [Symbol.asyncDispose]: () => engine.close(),
  }
}
