import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { checkClosed } from './check-lake.ts'

export interface DaemonOptions {
  /** Its working folder: configuration, lake and local files are in it. */
  readonly folder: string
  /** As in frazil.yaml; `listen` is given a free port. */
  readonly config: Readonly<Record<string, unknown>>
  /** Further arguments of `frazil run`. */
  readonly args?: readonly string[]
  readonly nodeFlags?: readonly string[]
  /** Put before the command, to run it inside something. */
  readonly wrapper?: readonly string[]
  /** Its lake is not checked when it has ended: for what is no test. */
  readonly unchecked?: boolean
}

export interface Answer {
  readonly status: number
  readonly text: string
}

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly (readonly unknown[])[]
  readonly positions: Readonly<Record<string, string>>
}

const requestTimeoutMs = 90_000
/** One that tries something again and again has something to say all the time. */
const longestWaitMs = 100_000
/** It promises 30 s, and machines may be slow. */
const endsWithinMs = 60_000

/** `frazil run` as a process of its own, spoken to over HTTP as any program would. */
export class Daemon {
  readonly pid: number
  readonly url: string
  /** `performance.now()` when it was spawned. */
  readonly spawnedAt: number
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
  readonly #child: ChildProcess
  /** Checked when it has ended. */
  readonly #warehouse: string | null
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true })
  #log = ''
  /** How often it has printed something. */
  #words = 0

  private constructor(child: ChildProcess, port: number, spawnedAt: number, warehouse: string | null) {
    this.#child = child
    this.#warehouse = warehouse
    this.#port = port
    this.url = `http://127.0.0.1:${port}`
    this.pid = child.pid ?? 0
    this.spawnedAt = spawnedAt
    this.exited = once(child, 'exit').then(([code, signal]) => (code as number | null) ?? (signal as NodeJS.Signals))
    const keep = (chunk: Buffer): void => {
      this.#log = (this.#log + chunk.toString()).slice(-16_384)
      this.#words++
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
  }

  /** Returns as soon as the process exists. */
  static async spawn(options: DaemonOptions): Promise<Daemon> {
    await mkdir(options.folder, { recursive: true })
    const port = await freePort()
    const file = join(options.folder, `frazil-${port}.yaml`)
    await writeFile(file, JSON.stringify({ ...options.config, listen: `127.0.0.1:${port}` }, null, 2)) // JSON is YAML
    const main = join(import.meta.dirname, '../../bin/frazil.js')
    const command = [
      ...(options.wrapper ?? []),
      process.execPath,
      ...(options.nodeFlags ?? []),
      main,
      'run',
      file,
      ...(options.args ?? []),
    ]
    const spawnedAt = performance.now()
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], cwd: options.folder })
    const { warehouse } = options.config
    const lake = options.unchecked === true || typeof warehouse !== 'string' ? null : resolve(options.folder, warehouse)
    return new Daemon(child, port, spawnedAt, lake)
  }

  /** The end of what it has printed. */
  get log(): string {
    return this.#log
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /**
   * Polls until `done`, at most `seconds` after the last word of its log, and not for ever while that says the same again and again; a process
   * that has ended is an error at once.
   */
  async until(what: string, done: () => Promise<boolean>, seconds = 60): Promise<void> {
    const latest = performance.now() + Math.max(seconds * 1000, longestWaitMs)
    let deadline = performance.now() + seconds * 1000
    let words = this.#words
    for (;;) {
      if (words !== this.#words) deadline = Math.min(latest, performance.now() + seconds * 1000)
      words = this.#words
      if (!this.running) throw new Error(`frazil ended (${await this.exited}) while waiting until ${what}:\n${this.#log}`)
      if (await done().catch(() => false)) return
      if (performance.now() > deadline) throw new Error(`not within ${seconds} s: ${what}\n${this.#log}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  answering(): Promise<void> {
    return this.until('it answers', async () => (await this.get('/health')).status === 200)
  }

  /** Until all configured tables are copied and the stream is open. */
  ready(seconds = 60): Promise<void> {
    return this.until('it is ready', async () => (await this.get('/ready')).status === 200, seconds)
  }

  get(path: string): Promise<Answer> {
    return this.#send('GET', path)
  }

  post(path: string, body: unknown): Promise<Answer> {
    return this.#send('POST', path, JSON.stringify(body))
  }

  /** int64 and decimal come as strings. `wait` is a position of each source. */
  async query(sql: string, wait?: Readonly<Record<string, string>>, params?: readonly unknown[]): Promise<QueryResult> {
    const { status, text } = await this.post('/query?numbers=string', { sql, wait, params })
    if (status !== 200) throw new Error(`query answered ${status}: ${text}`)
    return JSON.parse(text) as QueryResult
  }

  /** Until everything up to this position of the source can be read. */
  visible(source: string, position: string, seconds = 60): Promise<void> {
    return this.until(
      `${position} is visible`,
      async () => (await this.query('SELECT 1', { [source]: position })).rows.length === 1,
      seconds,
    )
  }

  /** Commits what is visible. */
  async commit(database: string, table: string): Promise<void> {
    const { status, text } = await this.post(`/tables/${encodeURIComponent(table)}/snapshot`, { database, table })
    if (status !== 200) throw new Error(`snapshot answered ${status}: ${text}`)
  }

  /** SIGTERM; gives back how it ended. One that does not end is killed, and an error. */
  async terminate(): Promise<number | NodeJS.Signals> {
    this.#agent.destroy()
    if (this.running) this.#child.kill('SIGTERM')
    let isLate = false
    const late = setTimeout(() => {
      isLate = true
      this.#child.kill('SIGKILL')
    }, endsWithinMs)
    const how = await this.exited
    clearTimeout(late)
    await this.#check()
    if (isLate) throw new Error(`frazil had not ended ${endsWithinMs / 1000} s after SIGTERM:\n${this.#log}`)
    return how
  }

  /** SIGKILL, and until it is gone. */
  async kill(): Promise<void> {
    this.#agent.destroy()
    if (this.running) this.#child.kill('SIGKILL')
    await this.exited
    await this.#check()
  }

  async #check(): Promise<void> {
    if (this.#warehouse !== null) await checkClosed(this.#warehouse)
  }

  #send(method: string, path: string, body?: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
      const options = {
        host: '127.0.0.1',
        port: this.#port,
        method,
        path,
        headers,
        agent: this.#agent,
        timeout: requestTimeoutMs,
      }
      const sent = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
        response.on('error', reject)
      })
      sent.on('timeout', () => sent.destroy(new Error(`${method} ${path} had no answer within ${requestTimeoutMs} ms`)))
      sent.on('error', reject)
      sent.end(body)
    })
  }
}

const portsOfProcess = 20
let portsTaken = 0

/**
 * A port below those that systems give out by themselves, from a range that no other test process near by uses: between now and when the
 * daemon listens on it nobody else takes it.
 */
async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < portsOfProcess; attempt++) {
    const port = 10_000 + (process.pid % 1000) * portsOfProcess + (portsTaken++ % portsOfProcess)
    if (await isFree(port)) return port
  }
  throw new Error('no port')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
