import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { parseJson } from '../../../src/format/json/index.ts'
import type { JsonValue } from '../../../src/format/json/index.ts'

const run = promisify(execFile)
const scripts = join(import.meta.dirname, '../../../scripts')
const maxOutput = 1 << 28

export type Row = Readonly<Record<string, JsonValue>>

/** The python of an environment, made when it is not there yet. */
export async function python(environment: 'python' | 'spark'): Promise<string> {
  const { stdout } = await run(join(scripts, `${environment}-env.sh`), { maxBuffer: maxOutput })
  return stdout.trim().split('\n').at(-1) ?? ''
}

async function read(program: string, args: readonly string[]): Promise<Row[]> {
  const { stdout } = await run(await python('python'), [join(scripts, 'readers', program), ...args], { maxBuffer: maxOutput })
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => parseJson(line) as Row)
}

/** Rows by PyIceberg, from a metadata file, or `--catalog <file> <namespace.table>`. */
export function readPyIceberg(...args: readonly string[]): Promise<Row[]> {
  return read('read_pyiceberg.py', args)
}

/** Rows by DuckDB's Iceberg extension; `columns` may name row-lineage columns. */
export function readDuckDb(metadataLocation: string, columns: readonly string[] = []): Promise<Row[]> {
  return read('read_duckdb.py', [metadataLocation, ...columns])
}

/** One Spark process that answers many requests (see scripts/readers/read_spark.py). */
export class Spark implements AsyncDisposable {
  readonly #process: ReturnType<typeof spawn>
  readonly #answers: AsyncIterator<string>
  readonly #ended: Promise<void>

  private constructor(process: ReturnType<typeof spawn>, answers: AsyncIterator<string>) {
    this.#process = process
    this.#answers = answers
    this.#ended = new Promise((resolve) => process.once('exit', () => resolve()))
  }

  /** `warehouse`: folder of the catalog `lab`, for tables that Spark writes. */
  static async start(warehouse: string): Promise<Spark> {
    const child = spawn(await python('spark'), [join(scripts, 'readers', 'read_spark.py')], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, WAREHOUSE: warehouse },
    })
    return new Spark(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]())
  }

  /** Runs one statement; `{table}` in it is the table of `metadata`. */
  async sql(sql: string, where: { metadata?: string; catalog?: string } = {}): Promise<Row[]> {
    return this.#ask({ sql, ...where })
  }

  /** Expires all snapshots but the current one as Iceberg's Java library does it; `table` is `namespace.name`. */
  async expire(catalog: string, table: string): Promise<void> {
    await this.#ask({ catalog, expire: table })
  }

  async #ask(request: object): Promise<Row[]> {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`)
    const line = await this.#answers.next()
    if (line.done) throw new Error('Spark ended')
    const answer = parseJson(line.value) as { error?: string; rows: Row[] }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.rows
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin?.end()
    await this.#ended
  }
}
