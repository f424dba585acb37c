import { execFile, spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { fromReader, parseExact, rowText } from '../../support/canonical.ts'
import type { TableRows } from '../../support/compare.ts'
import type { WorkloadTable } from '../../support/workload-tables.ts'

const run = promisify(execFile)
const scripts = join(import.meta.dirname, '../../../scripts')

/** The python of an environment, made when it is not there yet. */
export async function pythonOf(environment: 'python' | 'spark'): Promise<string> {
  const { stdout } = await run(join(scripts, `${environment}-env.sh`), { maxBuffer: 2 ** 24 })
  return stdout.trim().split('\n').at(-1) ?? ''
}

/** A Python process that answers each line with a line. */
class LineProcess {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #answers: AsyncIterator<string>
  #errors = ''

  constructor(command: string, args: readonly string[]) {
    const env = { ...process.env, TZ: 'UTC', PYTHONIOENCODING: 'utf-8' }
    this.#process = spawn(command, args, { env })
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
    this.#process.stderr.on('data', (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-8192)))
    this.#process.stdin.on('error', () => {}) // said by the missing answer
  }

  async ask(request: unknown): Promise<Readonly<Record<string, unknown>>> {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`)
    const line = await this.#answers.next()
    if (line.done) throw new Error(`it ended: ${this.#errors}`)
    const answer = parseExact(line.value) as Record<string, unknown>
    if (answer['error'] !== undefined) throw new Error(JSON.stringify(answer['error']))
    return answer
  }

  close(): void {
    this.#process.stdin.end()
    this.#process.kill()
  }
}

/** Reads what is committed with an implementation of Iceberg that is not ours. */
export class LakeReader {
  readonly name: 'pyiceberg' | 'duckdb'
  readonly #process: LineProcess
  readonly #folder: string

  private constructor(name: 'pyiceberg' | 'duckdb', process: LineProcess, folder: string) {
    this.name = name
    this.#process = process
    this.#folder = folder
  }

  static async open(name: 'pyiceberg' | 'duckdb', warehouse: string): Promise<LakeReader> {
    const python = await pythonOf('python')
    const folder = await mkdtemp(join(tmpdir(), 'frazil-reader-'))
    return new LakeReader(name, new LineProcess(python, [join(import.meta.dirname, 'read_lake.py'), name, warehouse]), folder)
  }

  async rows(table: WorkloadTable, namespace = 'shop'): Promise<TableRows> {
    const out = join(this.#folder, 'rows.ndjson')
    const columns = table.columns.map((column) => column.name)
    try {
      await this.#process.ask({ namespace, name: table.lakeName, columns, out })
    } catch (error) {
      throw new Error(`${this.name} cannot read ${table.lakeName}: ${String(error)}`, { cause: error })
    }
    const lines = (await readFile(out, 'utf8')).split('\n').filter((line) => line !== '')
    return lines.map((line) => rowText(table, parseExact(line) as unknown[], fromReader)).sort()
  }

  async close(): Promise<void> {
    this.#process.close()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Spark with Iceberg, for SQL over one table at a metadata location: `{table}` in the text stands for it. */
export class Spark {
  readonly #process: LineProcess

  private constructor(process: LineProcess) {
    this.#process = process
  }

  static async start(): Promise<Spark> {
    return new Spark(new LineProcess(await pythonOf('spark'), [join(scripts, 'readers/read_spark.py')]))
  }

  /** Rows as objects; numbers as the text of their digits. */
  async rows(metadata: string, sql: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    try {
      return (await this.#process.ask({ metadata, sql }))['rows'] as Record<string, unknown>[]
    } catch (error) {
      throw new Error(`Spark: ${sql}: ${String(error)}`, { cause: error })
    }
  }

  /** Runs a statement; in it the catalog that the SQLite file `catalog` is has the name `frazil`. One process opens one catalog. */
  async sql(catalog: string, sql: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    try {
      return (await this.#process.ask({ catalog, sql }))['rows'] as Record<string, unknown>[]
    } catch (error) {
      throw new Error(`Spark: ${sql}: ${String(error)}`, { cause: error })
    }
  }

  close(): void {
    this.#process.close()
  }
}
