import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { connect } from './workload.ts'
import { column } from './workload-tables.ts'
import type { WorkloadTable } from './workload-tables.ts'

/** One goes by other names, the other one gets other types and is made anew. Both get other keys. */
const names = ['roaming', 'remade'] as const
type Name = (typeof names)[number]

const keys = ['id', 'other', 'id, other', 'other, id'] as const
const columns = `id int NOT NULL, other bigint NOT NULL UNIQUE, v text`

/** Tables that nobody else writes: their rows, keys, types and names change, and they are dropped and made again, all at random. */
export class RoamingTables {
  /** By which settings know them. */
  static readonly sqlNames: readonly string[] = names.map((name) => `public.${name}`)
  static readonly ddl: readonly string[] = names.map(
    (name) => `CREATE TABLE public.${name} (${columns}, CONSTRAINT ${name}_key PRIMARY KEY (id))`,
  )

  /** Whether one was made anew since this was set to false: noticed at the next start. */
  isRemade = false
  /** Whether names may change beyond a transaction: not before the lake knows the tables. */
  mayRoam = false
  readonly #client: pg.Client
  readonly #random: ReturnType<typeof seededRandom>
  #roaming = 'roaming'
  #type: 'int' | 'text' = 'text'
  #next = 1

  private constructor(client: pg.Client, seed: number) {
    this.#client = client
    this.#random = seededRandom(seed)
  }

  static async open(url: string, seed: number): Promise<RoamingTables> {
    return new RoamingTables(await connect(url), seed)
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {})
  }

  async step(): Promise<void> {
    const name = names[this.#random.below(names.length)]
    const statements = Array.from({ length: 1 + this.#random.below(3) }, () => this.#statement(name))
    await this.#client.query(`BEGIN; ${statements.join('; ')}; COMMIT`)
  }

  /** A row of each, which tells of everything before. */
  async tell(): Promise<void> {
    for (const name of names) await this.#client.query(this.#insert(name))
  }

  /** All have the names again that settings know them by. */
  async settle(): Promise<void> {
    if (this.#roaming !== 'roaming') await this.#client.query(this.#rename('roaming'))
  }

  /** As they are now. */
  async now(): Promise<WorkloadTable[]> {
    const tables: WorkloadTable[] = []
    for (const name of names) {
      const { rows } = await this.#client.query<{ type: string }>(
        "SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'v'",
        [this.#at(name)],
      )
      tables.push({
        schema: 'public',
        name,
        sqlName: this.#at(name),
        lakeName: name,
        columns: [column('id', 'integer', false), column('other', 'bigint', false), column('v', rows[0].type)],
        unique: [],
        ddl: [],
        mostRows: 0,
      })
    }
    return tables
  }

  #at(name: Name): string {
    return `public.${name === 'roaming' ? this.#roaming : name}`
  }

  #insert(name: Name): string {
    const from = this.#next
    this.#next += 1 + this.#random.below(40)
    return `INSERT INTO ${this.#at(name)} (id, other) SELECT g, g * 7 FROM generate_series(${from}, ${this.#next - 1}) g`
  }

  #rename(to: string): string {
    const statement = `ALTER TABLE ${this.#at('roaming')} RENAME TO ${to}`
    this.#roaming = to
    return statement
  }

  #statement(name: Name): string {
    const random = this.#random
    const at = this.#at(name)
    const chance = random.below(100)
    if (chance < 30) return this.#insert(name)
    if (chance < 45) return `UPDATE ${at} SET v = ${random.below(1000)} WHERE id % 7 = ${random.below(7)}`
    if (chance < 55) return `UPDATE ${at} SET id = -id WHERE id % 11 = ${random.below(11)}`
    if (chance < 62) return `UPDATE ${at} SET other = -other WHERE id % 5 = ${random.below(5)}`
    if (chance < 70) return `DELETE FROM ${at} WHERE id % 13 = ${random.below(13)}`
    if (chance < 80) {
      const key = keys[random.below(keys.length)]
      return `ALTER TABLE ${at} DROP CONSTRAINT ${name}_key, ADD CONSTRAINT ${name}_key PRIMARY KEY (${key})`
    }
    if (chance < 85) return `ALTER TABLE ${at} REPLICA IDENTITY ${random.below(2) === 0 ? 'FULL' : 'DEFAULT'}`
    if (name === 'roaming') {
      const other = this.#rename(`roaming_${random.below(1_000_000)}`)
      return this.mayRoam ? other : `${other}; ${this.#insert(name)}; ${this.#rename('roaming')}`
    }
    if (chance < 93) {
      // To the other type, and a row tells of it before the next change: values that are others under the same type are told by nothing.
      this.#type = this.#type === 'text' ? 'int' : 'text'
      return `ALTER TABLE ${at} ALTER v TYPE ${this.#type} USING length(v::text); ${this.#insert(name)}`
    }
    this.isRemade = true
    this.#type = 'text'
    return `DROP TABLE ${at}; ${RoamingTables.ddl[names.indexOf(name)]}; ${this.#insert(name)}`
  }
}
