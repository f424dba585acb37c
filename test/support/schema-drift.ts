import { DatabaseError } from 'pg'
import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { connect } from './workload.ts'
import { column, quoted } from './workload-tables.ts'
import type { WorkloadTable } from './workload-tables.ts'

/** Columns that the writers know nothing of: they have a default or are null in their rows. */
const extraName = /^x\d+$/

const types = [
  'smallint',
  'integer',
  'bigint',
  'text',
  'numeric(9,2)',
  'boolean',
  'timestamptz',
  'uuid',
  'date',
  'real',
  'jsonb',
  'bytea',
]

/** What a type may grow to, all rows staying as they are. */
const wider: Readonly<Record<string, string>> = { smallint: 'integer', integer: 'bigint', real: 'double precision' }

/** What Postgres calls a type, as the workload does. */
const called: Readonly<Record<string, string>> = { 'timestamp with time zone': 'timestamptz' }

const mostExtras = 5
/** Deadlock, lock timeout, serialisation; a name that another transaction took. */
const losers = new Set(['40P01', '55P03', '40001', '42701'])

interface Extra {
  readonly name: string
  readonly type: string
}

/** Changes the columns of tables at random, under load: one transaction a step, with changes of rows among them. */
export class SchemaDrift {
  steps = 0
  readonly #client: pg.Client
  readonly #random: ReturnType<typeof seededRandom>
  readonly #tables: readonly WorkloadTable[]

  private constructor(client: pg.Client, tables: readonly WorkloadTable[], seed: number) {
    this.#client = client
    this.#tables = tables
    this.#random = seededRandom(seed)
  }

  static async open(url: string, tables: readonly WorkloadTable[], seed: number): Promise<SchemaDrift> {
    const client = await connect(url)
    await client.query("SET lock_timeout = '1s'; SET client_min_messages = error")
    return new SchemaDrift(client, tables, seed)
  }

  async step(): Promise<void> {
    const table = this.#tables[this.#random.below(this.#tables.length)]
    const statements = this.#statements(table, await extras(this.#client, table))
    await this.#client.query('BEGIN')
    try {
      for (const statement of statements) await this.#client.query(statement)
      await this.#client.query(this.#random.below(8) === 0 ? 'ROLLBACK' : 'COMMIT')
      this.steps++
    } catch (error) {
      await this.#client.query('ROLLBACK')
      if (!(error instanceof DatabaseError) || !losers.has(error.code ?? '')) throw error
    }
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {})
  }

  /** Postgres tells of changed columns with the next change of a row: makes one. */
  static async tell(client: pg.ClientBase, tables: readonly WorkloadTable[]): Promise<void> {
    for (const { sqlName, columns } of tables) {
      const name = quoted(columns[columns.length - 1].name)
      await client.query(`UPDATE ${sqlName} SET ${name} = ${name} WHERE ctid IN (SELECT ctid FROM ${sqlName} LIMIT 1)`)
    }
  }

  /** The table with the columns that it has now, if they could be told: of an empty one nobody can know. */
  static async now(client: pg.ClientBase, table: WorkloadTable): Promise<WorkloadTable> {
    const { rows } = await client.query<{ any: boolean }>(`SELECT EXISTS (SELECT FROM ${table.sqlName}) AS any`)
    if (!rows[0].any) return table
    const added = (await extras(client, table)).map(({ name, type }) => column(name, type))
    return { ...table, columns: [...table.columns, ...added] }
  }

  #statements(table: WorkloadTable, present: readonly Extra[]): string[] {
    const random = this.#random
    const alter = (change: string): string => `ALTER TABLE ${table.sqlName} ${change}`
    const name = `x${random.below(1_000_000)}`
    const one = present[random.below(Math.max(1, present.length))]
    const chance = random.below(100)
    if (present.length === 0 || (chance < 35 && present.length < mostExtras)) {
      const type = types[random.below(types.length)]
      const fresh = column(name, type)
      const value = random.below(3) === 0 ? '' : ` DEFAULT ${fresh.literal(random)}`
      const needed = value !== '' && !value.endsWith(' NULL') && random.below(4) === 0 ? ' NOT NULL' : ''
      return [
        ...this.#some(table, one),
        alter(`ADD COLUMN ${name} ${type}${value}${needed}`),
        ...this.#some(table, { name, type }),
      ]
    }
    if (chance < 50) return [...this.#some(table, one), alter(`DROP COLUMN ${one.name}`)]
    if (chance < 60) {
      // Another column of the same name, in one transaction.
      const type = types[random.below(types.length)]
      return [alter(`DROP COLUMN ${one.name}`), alter(`ADD COLUMN ${one.name} ${type}`), ...this.#some(table, { ...one, type })]
    }
    if (chance < 75)
      return [...this.#some(table, one), alter(`RENAME COLUMN ${one.name} TO ${name}`), ...this.#some(table, { ...one, name })]
    if (chance < 85 && present.length > 1) {
      const other = present[(present.indexOf(one) + 1) % present.length]
      return [
        alter(`RENAME COLUMN ${one.name} TO ${name}`),
        alter(`RENAME COLUMN ${other.name} TO ${one.name}`),
        ...(random.below(2) === 0 ? this.#some(table, { name: one.name, type: other.type }) : []),
        alter(`RENAME COLUMN ${name} TO ${other.name}`),
      ]
    }
    if (one.type in wider)
      return [alter(`ALTER COLUMN ${one.name} TYPE ${wider[one.type]}`), ...this.#some(table, { ...one, type: wider[one.type] })]
    return this.#some(table, one)
  }

  /** Gives a column other values in some rows. */
  #some(table: WorkloadTable, extra: Extra | undefined): string[] {
    const random = this.#random
    if (!extra || random.below(3) === 0) return []
    const { literal, sqlType } = column(extra.name, extra.type)
    const where = `ctid IN (SELECT ctid FROM ${table.sqlName} TABLESAMPLE SYSTEM (20) REPEATABLE (${random.below(1000)}) LIMIT 200)`
    return [
      `UPDATE ${table.sqlName} SET ${extra.name} = coalesce((${literal(random)})::${sqlType}, ${extra.name}) WHERE ${where}`,
    ]
  }
}

async function extras(client: pg.ClientBase, table: WorkloadTable): Promise<Extra[]> {
  const { rows } = await client.query<Extra>(
    `SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [table.sqlName],
  )
  return rows.filter(({ name }) => extraName.test(name)).map(({ name, type }) => ({ name, type: called[type] ?? type }))
}
