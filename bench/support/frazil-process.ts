import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { processCost } from './process-cost.ts'
import type { ProcessCost } from './process-cost.ts'

export interface FrazilProcessOptions {
  /** Holds configuration, lake, log and profiles. */
  readonly folder: string
  readonly url: string
  readonly tables: readonly string[]
  readonly memory: string
  readonly profile: boolean
}

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly (readonly unknown[])[]
  readonly positions: Readonly<Record<string, string>>
}

/** `frazil run` as a separate process, spoken to over HTTP. */
export class FrazilProcess {
  readonly pid: number
  /** `performance.now()` when it was spawned, and when it first answered. */
  readonly spawnedAt: number
  #answeredAt = 0
  readonly #child: ChildProcess
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true })
  #log = ''

  private constructor(child: ChildProcess, port: number, spawnedAt: number) {
    this.#child = child
    this.#port = port
    this.pid = child.pid ?? 0
    this.spawnedAt = spawnedAt
    const keep = (chunk: Buffer): void => {
      this.#log = (this.#log + chunk.toString()).slice(-16384)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
  }

  get answeredAt(): number {
    return this.#answeredAt
  }

  static async start(options: FrazilProcessOptions): Promise<FrazilProcess> {
    await mkdir(options.folder, { recursive: true })
    const port = await freePort()
    const config = {
      warehouse: './lake',
      local: './local',
      listen: `127.0.0.1:${port}`,
      memory: options.memory,
      sources: { bench: { type: 'postgres', url: options.url, tables: options.tables } },
    }
    const file = join(options.folder, 'frazil.yaml')
    await writeFile(file, JSON.stringify(config, null, 2)) // JSON is YAML
    const profile = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${join(options.folder, 'profiles')}`] : []
    const main = join(import.meta.dirname, '../../src/cli/main.ts')
    const spawnedAt = performance.now()
    const child = spawn(process.execPath, [...profile, main, 'run', file], { stdio: ['ignore', 'pipe', 'pipe'], cwd: options.folder })
    const frazil = new FrazilProcess(child, port, spawnedAt)
    await frazil.until('it answers', async () => (await frazil.get('/health')).status === 200)
    frazil.#answeredAt = performance.now()
    return frazil
  }

  cost(): ProcessCost {
    return processCost(this.pid)
  }

  /** Polls until `done`, at most `seconds`; a process that has ended is an error at once. */
  async until(what: string, done: () => Promise<boolean>, seconds = 300): Promise<void> {
    const deadline = performance.now() + seconds * 1000
    for (;;) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`frazil ended while waiting until ${what}:\n${this.#log}`)
      if (await done().catch(() => false)) return
      if (performance.now() > deadline) throw new Error(`not within ${seconds} s: ${what}\n${this.#log}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  get(path: string): Promise<{ status: number; text: string }> {
    return this.#send('GET', path)
  }

  async query(sql: string, wait?: Readonly<Record<string, string>>): Promise<QueryResult> {
    const { status, text } = await this.#send('POST', '/query', JSON.stringify({ sql, wait }))
    if (status !== 200) throw new Error(`query answered ${status}: ${text}`)
    return JSON.parse(text) as QueryResult
  }

  /** Until all configured tables are copied and the stream is open. */
  async ready(): Promise<void> {
    await this.until('ready', async () => (await this.get('/ready')).status === 200)
  }

  /** Until every row up to this WAL position is visible to queries. */
  async visible(lsn: string, table: string): Promise<void> {
    await this.until(`visible at ${lsn}`, async () => (await this.query(`SELECT 1 FROM ${table} LIMIT 1`, { bench: lsn })).rows !== null)
  }

  /** Commits what is visible. */
  async commit(table: string): Promise<void> {
    const { status, text } = await this.#send('POST', `/tables/${table}/snapshot`, JSON.stringify({ database: 'bench', table }))
    if (status !== 200) throw new Error(`snapshot answered ${status}: ${text}`)
  }

  /** SIGTERM: what is applied is committed. */
  async stop(): Promise<void> {
    this.#agent.destroy()
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit')
      this.#child.kill('SIGTERM')
      await exited
    }
    if (this.#child.exitCode !== 0) throw new Error(`frazil exited with ${this.#child.exitCode ?? this.#child.signalCode}:\n${this.#log}`)
  }

  /** Ends it whatever state it is in. */
  kill(): void {
    this.#agent.destroy()
    this.#child.kill('SIGKILL')
  }

  #send(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
      const sent = request({ host: '127.0.0.1', port: this.#port, method, path, headers, agent: this.#agent }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
        response.on('error', reject)
      })
      sent.on('error', reject)
      sent.end(body)
    })
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
