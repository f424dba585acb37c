import { Client, DatabaseError } from 'pg'
import type { ClientBase } from 'pg'
import { asError, seededRandom } from '../../src/base/index.ts'
import { quoted, workloadTables } from './workload-tables.ts'
import type { UniqueGroup, WorkloadColumn, WorkloadTable } from './workload-tables.ts'

type Random = ReturnType<typeof seededRandom>

/** For the server: transactions are spilled or streamed early, and writers in each other's way find out soon. */
export const workloadSettings = { logical_decoding_work_mem: '64kB', deadlock_timeout: '50ms' } as const

/** One transaction, as SQL to run in order between BEGIN and its outcome. */
export interface Transaction {
  readonly statements: readonly string[]
  readonly outcome: 'COMMIT' | 'ROLLBACK'
}

export interface WorkloadOptions {
  readonly seed: number
  readonly tables?: readonly WorkloadTable[]
  /** Rows of the largest statement. */
  readonly mostRows?: number
  /** About so many rows a table; beyond it half of them are deleted. */
  readonly mostTableRows?: number
  /** Several writers at once need disjoint new keys: give each another number. */
  readonly writer?: number
}

/** A seeded sequence of random transactions over {@link workloadTables}. The same seed gives the same statements. */
export class Workload {
  readonly #random: Random
  readonly #tables: readonly WorkloadTable[]
  readonly #options: Required<Omit<WorkloadOptions, 'tables'>>
  /** Next unused key number; earlier ones may be in use or deleted. */
  readonly #next = new Map<string, number>()
  readonly #first: number
  readonly #rows = new Map<string, number>()

  constructor(options: WorkloadOptions) {
    this.#random = seededRandom(options.seed)
    this.#tables = options.tables ?? workloadTables
    this.#options = { mostRows: 20_000, mostTableRows: 40_000, writer: 0, ...options }
    this.#first = 1 + this.#options.writer * 100_000_000
  }

  /** A first filling of each table, before anything is copied. */
  *initial(rows: number): Generator<Transaction> {
    for (const table of this.#tables)
      yield { statements: [this.#insert(table, Math.min(rows, table.mostRows))], outcome: 'COMMIT' }
  }

  next(): Transaction {
    const random = this.#random
    const statements: string[] = []
    const operations = random.below(3) === 0 ? 1 : 1 + random.below(6)
    // One large statement a transaction is enough.
    let rows = this.#size()
    for (let i = 0; i < operations; i++) {
      const table = this.#tables[random.below(this.#tables.length)]
      const operation = this.#operation(table, Math.min(rows, table.mostRows))
      rows = Math.min(rows, 200)
      const savepoint = random.below(8)
      if (savepoint < 2) {
        statements.push(
          `SAVEPOINT s${i}`,
          ...operation,
          savepoint === 0 ? `ROLLBACK TO SAVEPOINT s${i}` : `RELEASE SAVEPOINT s${i}`,
        )
      } else statements.push(...operation)
    }
    return { statements, outcome: random.below(12) === 0 ? 'ROLLBACK' : 'COMMIT' }
  }

  #size(): number {
    const random = this.#random
    const most = this.#options.mostRows
    const chance = random.below(100)
    if (chance < 50) return 1 + random.below(3)
    if (chance < 85) return 1 + random.below(200)
    if (chance < 97) return 1 + random.below(Math.min(3000, most))
    return 1 + random.below(most)
  }

  #operation(table: WorkloadTable, rows: number): string[] {
    const random = this.#random
    if ((this.#rows.get(table.sqlName) ?? 0) > this.#options.mostTableRows) return [this.#deleteHalf(table)]
    const chance = random.below(100)
    if (chance < 25) return [this.#insert(table, rows)]
    if (chance < 45) return [this.#update(table, rows, [])]
    if (chance < 58) return [this.#delete(table, rows)]
    if (chance < 61) return this.#truncate(table, rows)
    if (table.unique.length === 0)
      return [this.#insert(table, 1), this.#insert(table, 1), this.#update(table, 3, []), this.#delete(table, 2)]
    if (chance < 70) return [this.#update(table, rows, this.#someGroups(table))]
    if (chance < 78) return [this.#reinsert(table, rows)]
    if (chance < 86) return this.#swap(table)
    if (chance < 94) return this.#sameKey(table)
    return this.#deleteAndInsert(table, Math.min(rows, 500))
  }

  #someGroups(table: WorkloadTable): readonly UniqueGroup[] {
    const chosen = table.unique.filter(() => this.#random.below(2) === 0)
    return chosen.length > 0 ? chosen : [table.unique[this.#random.below(table.unique.length)]]
  }

  /** Takes `count` key numbers that were never used. */
  #fresh(table: WorkloadTable, count: number): number {
    const from = this.#next.get(table.sqlName) ?? this.#first
    this.#next.set(table.sqlName, from + count)
    return from
  }

  /** A value of `column` chosen among a few by the hash `h`. */
  #value(column: WorkloadColumn, at: number, h: string): string {
    const random = this.#random
    const choices = Array.from({ length: 6 }, () => column.literal(random))
    const cases = choices.map((choice, i) => `WHEN ${i} THEN (${choice})::${column.sqlType}`).join(' ')
    return `CASE (hashint8extended(${h}, ${at}) & 1023) % ${choices.length} ${cases} END`
  }

  /** Expressions for all columns in order, keys from `g`, others from `h`. */
  #row(table: WorkloadTable, g: string, h: string): string {
    const keys = new Map(table.unique.flatMap((group) => group.columns.map((key) => [key.name, key.expression] as const)))
    return table.columns.map((column, i) => keys.get(column.name)?.(g) ?? this.#value(column, i, h)).join(', ')
  }

  #numbered(from: number, to: number): string {
    return `(SELECT g, hashint8extended(g, ${this.#random.below(1e9)}) AS h FROM generate_series(${from}::bigint, ${to}::bigint) AS g) AS numbered`
  }

  #insert(table: WorkloadTable, count: number): string {
    this.#grow(table, count)
    const from = this.#fresh(table, count)
    return `INSERT INTO ${table.sqlName} SELECT ${this.#row(table, 'g', 'h')} FROM ${this.#numbered(from, from + count - 1)}`
  }

  /** Keys that may exist, may be deleted, or were never there. Half of the time existing rows are overwritten. */
  #reinsert(table: WorkloadTable, count: number): string {
    const end = this.#next.get(table.sqlName) ?? this.#first
    const from = Math.max(this.#first, end - this.#random.below(Math.max(1, 2 * count)))
    if (from + count > end) this.#next.set(table.sqlName, from + count)
    this.#grow(table, Math.ceil(count / 2))
    const insert = `INSERT INTO ${table.sqlName} SELECT ${this.#row(table, 'g', 'h')} FROM ${this.#numbered(from, from + count - 1)}`
    if (table.unique.length > 1 || this.#random.below(2) === 0) return `${insert} ON CONFLICT DO NOTHING`
    const key = table.unique[0].columns.map((column) => quoted(column.name))
    const others = table.columns.map((column) => quoted(column.name)).filter((name) => !key.includes(name))
    return `${insert} ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${others.map((name) => `${name} = excluded.${name}`).join(', ')}`
  }

  /** `count` random rows as `chosen`: the row's name, a hash `h` and fresh key numbers `g`. */
  #chosen(table: WorkloadTable, count: number | string, fresh = 0): { source: string; match: string } {
    const seed = this.#random.below(1e9)
    const names = this.#rowName(table)
    const hash = `hashtextextended(${table.unique.length === 0 ? 't::text' : names.map((name) => `t.${name}::text`).join(" || '/' || ")}, ${seed})`
    const list = names.map((name, i) => `t.${name} AS name${i}`).join(', ')
    return {
      source: `(SELECT ${list}, ${hash} AS h, ${fresh} - 1 + row_number() OVER (ORDER BY ${hash}) AS g FROM ${table.sqlName} AS t ORDER BY h LIMIT ${count}) AS chosen`,
      match: names.map((name, i) => `target.${name} = chosen.name${i}`).join(' AND '),
    }
  }

  #rowName(table: WorkloadTable): string[] {
    return table.unique.length === 0 ? ['ctid'] : table.unique[0].columns.map((column) => quoted(column.name))
  }

  /** Sets some columns of `count` rows, and new keys in `groups`. */
  #update(table: WorkloadTable, count: number, groups: readonly UniqueGroup[]): string {
    const random = this.#random
    const fresh = groups.length > 0 ? this.#fresh(table, count) : 0
    const { source, match } = this.#chosen(table, count, fresh)
    const keys = new Set(table.unique.flatMap((group) => group.columns.map((column) => column.name)))
    const others = table.columns.map((column, at) => ({ column, at })).filter(({ column }) => !keys.has(column.name))
    const all = random.below(3) === 0
    const changed = others.filter(() => all || random.below(others.length) === 0)
    const set = [
      ...groups.flatMap((group) => group.columns.map((column) => `${quoted(column.name)} = ${column.expression('g')}`)),
      ...(changed.length > 0 ? changed : others.slice(0, 1)).map(
        ({ column, at }) => `${quoted(column.name)} = ${this.#value(column, at, 'h')}`,
      ),
    ]
    return `UPDATE ${table.sqlName} AS target SET ${set.join(', ')} FROM ${source} WHERE ${match}`
  }

  #delete(table: WorkloadTable, count: number | string): string {
    const { source, match } = this.#chosen(table, count)
    return `DELETE FROM ${table.sqlName} AS target USING ${source} WHERE ${match}`
  }

  #deleteHalf(table: WorkloadTable): string {
    this.#rows.set(table.sqlName, (this.#rows.get(table.sqlName) ?? 0) / 2)
    return this.#delete(table, `(SELECT count(*) / 2 FROM ${table.sqlName})`)
  }

  #truncate(table: WorkloadTable, rows: number): string[] {
    const random = this.#random
    this.#rows.set(table.sqlName, 0)
    const before = random.below(2) === 0 ? [this.#insert(table, Math.min(rows, 50)), this.#update(table, 10, [])] : []
    const other = this.#tables[random.below(this.#tables.length)]
    const both = random.below(4) === 0 && other !== table
    if (both) this.#rows.set(other.sqlName, 0)
    const after = random.below(2) === 0 ? [this.#insert(table, rows), this.#update(table, 10, [])] : []
    return [...before, `TRUNCATE ${table.sqlName}${both ? `, ${other.sqlName}` : ''}`, ...after]
  }

  /** Two rows exchange their keys through a third: rows of this transaction, or earlier ones that may be gone. */
  #swap(table: WorkloadTable): string[] {
    const random = this.#random
    const group = table.unique[0]
    const names = group.columns.map((column) => quoted(column.name)).join(', ')
    const keyOf = (g: number): string => group.columns.map((column) => column.expression(`${g}::bigint`)).join(', ')
    const move = (from: number, to: number): string =>
      `UPDATE ${table.sqlName} SET (${names}) = ROW(${keyOf(to)}) WHERE (${names}) = (${keyOf(from)})`
    const end = this.#next.get(table.sqlName) ?? this.#first
    const earlier = random.below(3) > 0 && end - this.#first > 10
    const a = earlier ? end - 2 - random.below(8) : this.#fresh(table, 2)
    const [b, c] = [a + 1, this.#fresh(table, 1)]
    const statements = [move(a, c), move(b, a), move(c, b)]
    if (random.below(4) === 0) statements.push('SAVEPOINT swap', move(b, c), move(a, b), 'ROLLBACK TO SAVEPOINT swap')
    if (earlier) return statements
    this.#grow(table, 2)
    return [`INSERT INTO ${table.sqlName} SELECT ${this.#row(table, 'g', 'h')} FROM ${this.#numbered(a, b)}`, ...statements]
  }

  /** Several changes of one row in one transaction. */
  #sameKey(table: WorkloadTable): string[] {
    const random = this.#random
    const seed = random.below(1e9)
    const changes = 2 + random.below(5)
    const names = this.#rowName(table)
    const hash = names.map((name) => `${name}::text`).join(" || '/' || ")
    const which = `(${names.join(', ')}) = (SELECT ${names.join(', ')} FROM ${table.sqlName} ORDER BY hashtextextended(${hash}, ${seed}), 1 LIMIT 1)`
    const keys = new Set(table.unique.flatMap((group) => group.columns.map((column) => column.name)))
    const others = table.columns.filter((column) => !keys.has(column.name))
    const statements = Array.from({ length: changes }, () => {
      const column = others[random.below(others.length)]
      return `UPDATE ${table.sqlName} SET ${quoted(column.name)} = (${column.literal(random)})::${column.sqlType} WHERE ${which}`
    })
    if (random.below(3) === 0) statements.push(`DELETE FROM ${table.sqlName} WHERE ${which}`)
    return statements
  }

  /** Rows go and come again with the same keys in one transaction, once or twice. */
  #deleteAndInsert(table: WorkloadTable, count: number): string[] {
    const from = this.#fresh(table, count)
    const rows = this.#numbered(from, from + count - 1)
    const insert = (): string => `INSERT INTO ${table.sqlName} SELECT ${this.#row(table, 'g', 'h')} FROM ${rows}`
    const names = this.#rowName(table)
    const keys = table.unique[0].columns.map((column) => column.expression('g')).join(', ')
    const remove = `DELETE FROM ${table.sqlName} WHERE (${names.join(', ')}) IN (SELECT ${keys} FROM generate_series(${from}::bigint, ${from + count - 1}::bigint) AS g)`
    this.#grow(table, count)
    return this.#random.below(2) === 0 ? [insert(), remove, insert()] : [insert(), remove, insert(), remove]
  }

  #grow(table: WorkloadTable, rows: number): void {
    this.#rows.set(table.sqlName, (this.#rows.get(table.sqlName) ?? 0) + rows)
  }
}

/** What may happen to one of several writers without being a fault: deadlock, unique violation, serialisation, lock timeout. */
const losers = new Set(['40P01', '23505', '40001', '55P03'])

/** Runs one transaction. False when it lost against another writer and was rolled back. */
export async function runTransaction(client: ClientBase, transaction: Transaction): Promise<boolean> {
  await client.query('BEGIN')
  for (const statement of transaction.statements) {
    try {
      await client.query(statement)
    } catch (error) {
      await client.query('ROLLBACK')
      if (error instanceof DatabaseError && losers.has(error.code ?? '')) return false
      throw new Error(`the workload made a statement that fails: ${asError(error).message}\n${statement.slice(0, 2000)}`, {
        cause: error,
      })
    }
  }
  await client.query(transaction.outcome)
  return true
}

/** A connection whose loss is not an unhandled error. */
const connectWithinMs = 30_000

/** `answerWithinMs`: what takes longer is an error. */
export async function connect(url: string, answerWithinMs?: number): Promise<Client> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: connectWithinMs,
    ...(answerWithinMs === undefined ? {} : { query_timeout: answerWithinMs }),
  })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Whether an error means that the server or the connection is gone. */
export function isConnectionLost(error: unknown): boolean {
  // Also when a statement's error wraps it. 57P01…3: the server shuts down, crashed, or does not accept yet.
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as Error & { code?: string }
    if (code !== undefined && /^(?:ECONN|EPIPE|57P0[1-3]$|08)/.test(code)) return true
    if (/Connection terminated|connection error|not queryable/i.test(cause.message)) return true
  }
  return false
}
