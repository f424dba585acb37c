import { DatabaseError } from 'pg'
import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { connect } from './workload.ts'
import type { WorkloadTable } from './workload-tables.ts'

/** Deadlock, lock timeout, serialisation; a key or a range of a partition that somebody else has by now. */
const losers = new Set(['40P01', '55P03', '40001', '23505', '42P17'])
/** The first partition of ours; the workload's rows are below. */
const firstRegion = 101

/**
 * What operators do to tables beside changing their columns, at random and under load: rewrites, other replica identities, columns with a value of
 * their own in each row, changes that are rolled back to a savepoint, partitions that come and go.
 */
export class OddChanges {
  readonly #client: pg.Client
  readonly #tables: readonly WorkloadTable[]
  readonly #random: ReturnType<typeof seededRandom>
  #region = firstRegion

  private constructor(client: pg.Client, tables: readonly WorkloadTable[], seed: number) {
    this.#client = client
    this.#tables = tables
    this.#random = seededRandom(seed)
  }

  static async open(url: string, tables: readonly WorkloadTable[], seed: number): Promise<OddChanges> {
    const client = await connect(url)
    await client.query("SET lock_timeout = '1s'; SET client_min_messages = error")
    return new OddChanges(client, tables, seed)
  }

  async step(): Promise<void> {
    try {
      for (const statement of this.#statements()) await this.#client.query(statement)
    } catch (error) {
      await this.#client.query('ROLLBACK')
      if (!(error instanceof DatabaseError) || !losers.has(error.code ?? '')) throw error
    }
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {})
  }

  #statements(): string[] {
    const random = this.#random
    const { name, sqlName } = this.#tables[random.below(this.#tables.length)]
    const column = `x${random.below(1_000_000)}`
    switch (random.below(6)) {
      case 0:
        return [`VACUUM FULL ${sqlName}`]
      case 1:
        // These have their own for the sake of other tests, or none that would do.
        if (['log_lines', 'codes', 'parted', 'full_keyed'].includes(name)) return []
        return [`ALTER TABLE ${sqlName} REPLICA IDENTITY ${random.below(2) === 0 ? 'FULL' : 'DEFAULT'}`]
      case 2:
        return [`ALTER TABLE ${sqlName} ADD COLUMN ${column} uuid DEFAULT gen_random_uuid()`]
      case 3: {
        const taken = `SAVEPOINT odd; ALTER TABLE ${sqlName} ADD COLUMN ${column} int; DELETE FROM ${sqlName}; ROLLBACK TO odd`
        return [`BEGIN; ${taken}; ALTER TABLE ${sqlName} ADD COLUMN ${column} text DEFAULT 'kept'; COMMIT`]
      }
      default:
        return this.#partitions()
    }
  }

  /** A partition that comes, with rows of its own and some of another's, and one that goes. */
  #partitions(): string[] {
    const random = this.#random
    const region = this.#region++
    const statements = [
      `CREATE TABLE public.parted_${region} PARTITION OF public.parted FOR VALUES IN (${region})`,
      `INSERT INTO public.parted (region, id, v) SELECT ${region}, i, 'row ' || i FROM generate_series(1, ${1 + random.below(60)}) i`,
      `UPDATE public.parted SET region = ${region} WHERE ctid IN (SELECT ctid FROM public.parted_rest LIMIT 5) AND tableoid = 'public.parted_rest'::regclass`,
    ]
    if (region > firstRegion && random.below(2) === 0) {
      const old = firstRegion + random.below(region - firstRegion)
      const gone =
        random.below(2) === 0
          ? `DROP TABLE public.parted_${old}`
          : `ALTER TABLE public.parted DETACH PARTITION public.parted_${old}`
      statements.push(
        // Of a partition that goes with rows in it the log says nothing.
        `DELETE FROM public.parted WHERE region = ${old}`,
        `DO $$ BEGIN IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass('public.parted_${old}')) THEN ${gone}; END IF; END $$`,
      )
    }
    if (random.below(2) === 0) return statements
    return ['BEGIN', ...statements, random.below(4) === 0 ? 'ROLLBACK' : 'COMMIT']
  }
}
