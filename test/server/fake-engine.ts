import { FrazilError } from '../../src/base/index.ts'
import type { Engine, EngineQuery, EngineStatus } from '../../src/engine/index.ts'

async function noTables(): Promise<never> {
  throw new FrazilError('request', 'unknown-table', 'this engine has no tables for rows from programs')
}

/** An engine that answers from constants: for tests of the user interface alone. */
export class FakeEngine implements Engine {
  readonly queries: { sql: string; options: EngineQuery }[] = []
  flushes = 0
  readonly resyncs: string[] = []
  readonly optimized: string[] = []
  answer: () => Promise<string> = async () => '[[1,"a"]]'
  state: EngineStatus = {
    memory: { used: 0, budget: 1 },
    ready: true,
    reasons: [],
    sources: [
      {
        name: 'shop',
        type: 'postgres',
        state: 'streaming',
        reason: null,
        position: '0/2',
        committed: '0/1',
        lagMs: 7,
        lagBytes: null,
        log: null,
      },
    ],
    tables: [
      {
        database: 'shop',
        table: 'orders',
        source: 'shop',
        health: 'streaming',
        reason: null,
        visible: '0/2',
        committed: '0/1',
        hotRows: 3,
        stagedRows: 2,
        coldRows: 1,
        dataFiles: 1,
        deletedRows: 0,
        copy: null,
      },
    ],
  }
  readonly stopped: Promise<Error | null> = new Promise(() => {})

  async status(): Promise<EngineStatus> {
    return this.state
  }

  async ingestTable(): Promise<null> {
    return null
  }

  readonly describe = noTables
  readonly createTable = noTables
  readonly addFromPostgres = noTables
  readonly dropTable = noTables
  readonly push = noTables
  pushRow: Engine['pushRow'] = () => {
    throw new FrazilError('request', 'unknown-table', 'this engine has no tables for rows from programs')
  }
  readonly upload = noTables

  async execute(sql: string, options: EngineQuery = {}) {
    this.queries.push({ sql, options })
    const body = Buffer.from(await this.answer())
    return {
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'name', type: 'VARCHAR' },
      ],
      body,
      rowCount: 1,
      files: { read: 0, skipped: 0 },
      positions: { shop: '0/2' },
    }
  }

  async lookup(database: string, table: string, key: Readonly<Record<string, unknown>>) {
    await this.keyColumns(database, table)
    const found = key['id'] === '9007199254740993' || key['b'] === 'x/y'
    return {
      fields: [{ id: 1, name: 'id', type: { kind: 'long' as const }, required: true }],
      row: found ? [9007199254740993n] : null,
    }
  }

  async keyColumns(database: string, table: string): Promise<readonly string[]> {
    if (table === 'orders') return ['id']
    if (table === 'lines') return ['a', 'b']
    if (table === 'log') return []
    throw new FrazilError('request', 'unknown-table', `there is no table ${database}.${table}`)
  }

  async resync(database: string, table: string): Promise<'copying'> {
    await this.keyColumns(database, table)
    this.resyncs.push(`${database}.${table}`)
    return 'copying'
  }

  async optimize(database: string, table: string): Promise<void> {
    this.optimized.push(`${database}.${table}`)
  }

  async flush() {
    this.flushes++
    return { shop: '0/2' }
  }

  async metrics(): Promise<string> {
    return 'frazil_rows_applied_total 1\n'
  }

  async close(): Promise<void> {}
}
