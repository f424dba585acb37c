import assert from 'node:assert/strict'
import { join } from 'node:path'
import type pg from 'pg'
import { FrazilError } from '../../src/base/index.ts'
import type { ConfigInput } from '../../src/index.ts'
import { EventBus } from '../../src/observe/index.ts'
import { open } from './engine.ts'
import { agree, answeredRows, walPosition } from './compare.ts'
import { quoted } from './workload-tables.ts'
import type { ComparedType, WorkloadTable } from './workload-tables.ts'

type Lake = Awaited<ReturnType<typeof open>>

/** The server may need a moment to see that nobody reads it any more. */
export async function dropSlot(client: pg.Client, name: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ active: boolean }>('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [
      name,
    ])
    if (rows.length === 0) return
    if (rows[0].active) await new Promise((resolve) => setTimeout(resolve, 5))
    else await client.query('SELECT pg_drop_replication_slot($1)', [name]).catch(() => undefined)
  }
}

export interface SchemaCaseOptions {
  /** Between lake commits. */
  readonly every?: string
  readonly findTables?: string
  readonly onSchemaChange?: 'evolve' | 'new-column' | 'detach'
  readonly copyConnections?: number
}

/** One table under DDL: whatever was done to it, its lake has the columns and the rows of Postgres. */
export class SchemaCase {
  readonly #client: pg.Client
  readonly #url: string
  readonly #name: string
  readonly #folder: string
  readonly #options: SchemaCaseOptions
  lake: Lake | null = null
  /** How often the table was copied to the end. */
  copies = 0

  constructor(
    { url, client }: { url: string; client: pg.Client },
    name: string,
    folder: string,
    options: SchemaCaseOptions = {},
  ) {
    this.#url = url
    this.#client = client
    this.#name = name
    this.#folder = folder
    this.#options = options
  }

  async start(): Promise<void> {
    const { every = '5s', findTables, onSchemaChange, copyConnections } = this.#options
    const config: ConfigInput = {
      warehouse: join(this.#folder, 'lake'),
      local: join(this.#folder, 'local'),
      memory: '64MB',
      commit: { every },
      tables: onSchemaChange ? { [`shop.${this.#name}`]: { 'on-schema-change': onSchemaChange } } : {},
      sources: {
        shop: {
          type: 'postgres',
          url: this.#url,
          tables: [`public.${this.#name}`],
          slot: this.#name,
          publication: this.#name,
          ...(copyConnections ? { copy: { connections: copyConnections } } : {}),
          ...(findTables ? { 'find-tables': findTables } : {}),
        },
      },
    }
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'copied') this.copies++
    })
    this.lake = await open(config, { events })
    await this.lake.query('SELECT 1', { wait: 'now' })
  }

  async stop(): Promise<void> {
    await this.lake?.close()
    this.lake = null
  }

  /** Ends it, and removes what it had at the server. */
  async end(): Promise<void> {
    await this.stop()
    await this.run('DROP TABLE IF EXISTS T')
    await dropSlot(this.#client, this.#name)
    await this.#client.query(`DROP PUBLICATION IF EXISTS ${this.#name}`)
  }

  /** `T` stands for the table. */
  async run(sql: string): Promise<void> {
    await this.#client.query(sql.replaceAll(/\bT\b/g, this.#name))
  }

  get engine(): Lake {
    assert.ok(this.lake)
    return this.lake
  }

  /** Names of the columns in the lake, and rows, when everything has come that is written now. */
  async read(columns = '*', order = 'id'): Promise<{ readonly columns: string[]; readonly rows: unknown[][] }> {
    const wait = { shop: await walPosition(this.#client) }
    const answer = await this.engine.query(`SELECT ${columns} FROM shop.${this.#name} ORDER BY ${order}`, { wait })
    const plain = (value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value)
    return { columns: answer.columns.map(({ name }) => name), rows: answer.rows.map((row) => row.map(plain)) }
  }

  /** Waits until the lake has these columns, although nobody writes a row. */
  async shows(...names: string[]): Promise<void> {
    for (;;) {
      const answer = await this.engine.query(`SELECT * FROM shop.${this.#name} LIMIT 0`).catch((error: unknown) => {
        // It has just been detached, to be copied anew.
        if (!(error instanceof FrazilError) || error.code !== 'table-not-ready') throw error
      })
      if (answer && answer.columns.map(({ name }) => name).join() === names.join()) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Waits until the table was copied so often. */
  async copied(times: number): Promise<void> {
    while (this.copies < times) await new Promise((resolve) => setTimeout(resolve, 20))
    await this.whole()
  }

  /** Waits until the table is whole, also after it was copied anew. */
  async whole(): Promise<void> {
    for (;;) {
      await this.engine.query('SELECT 1', { wait: { shop: await walPosition(this.#client) } })
      const [{ health, copy }] = (await this.engine.status()).tables
      if (health === 'streaming' && copy === null) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** The lake has the columns of Postgres, in their order, and all of its rows. */
  async agree(): Promise<void> {
    const wait = { shop: await walPosition(this.#client) }
    const table = await describe(this.#client, this.#name)
    const { columns } = await this.engine.query(`SELECT * FROM shop.${this.#name} LIMIT 0`, { wait })
    const [{ reason }] = (await this.engine.status()).tables
    assert.equal(reason, null)
    assert.deepEqual(
      columns.map(({ name }) => name),
      table.columns.map(({ name }) => name),
    )
    await agree(this.#client, [table], 'our SQL', (one) =>
      answeredRows(async (sql) => {
        const answer = await this.engine.engine.execute(sql, { numbersAsStrings: true })
        return { columns: answer.columns, rows: JSON.parse(Buffer.from(answer.body).toString()) as unknown[][] }
      }, one),
    )
  }

  async everywhere(): Promise<void> {
    await this.agree()
    await this.engine.flush()
    await this.agree()
    await this.stop()
    await this.start()
    await this.agree()
  }
}

/** The table as it is now, for comparing. */
async function describe(client: pg.Client, name: string): Promise<WorkloadTable> {
  const { rows } = await client.query<{ name: string; type: string }>(
    `SELECT attname AS name, t.typname AS type FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
    [name],
  )
  const columns = rows.map(({ name: column, type }) => {
    const compared = comparedAs[type]
    assert.ok(compared, type)
    return { name: column, sqlType: type, compared, array: false, nullable: true, said: quoted(column), literal: () => '' }
  })
  return { schema: 'public', name, sqlName: name, lakeName: name, columns, unique: [], ddl: [], mostRows: 0 }
}

const comparedAs: Readonly<Record<string, ComparedType>> = {
  int2: 'integer',
  int4: 'integer',
  int8: 'integer',
  float4: 'float4',
  float8: 'float8',
  numeric: 'decimal',
  text: 'text',
  varchar: 'text',
  bool: 'boolean',
  bytea: 'bytea',
  uuid: 'uuid',
  date: 'date',
  timestamptz: 'timestamptz',
}
