import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EventBus } from '../../../src/observe/index.ts'
import type { ConfigInput, Frazil, ResultValue } from '../../../src/engine/index.ts'
import { open } from '../engine.ts'

export type OtlpInput = Extract<NonNullable<ConfigInput['sources']>[string], { type: 'otlp' }>
export type Signal = 'logs' | 'traces' | 'metrics'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

/** A lake in a folder of its own that takes OTLP as its source `telemetry`. */
export class OtlpLake implements AsyncDisposable {
  readonly folder: string
  #engine: Frazil
  /** `host:port` of what it listens at. */
  #addresses: ReadonlyMap<string, string>

  private constructor(folder: string, engine: Frazil, addresses: ReadonlyMap<string, string>) {
    this.folder = folder
    this.#engine = engine
    this.#addresses = addresses
  }

  static async open(source: Partial<OtlpInput> = {}, config: ConfigInput = {}): Promise<OtlpLake> {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-otlp-'))
    return new OtlpLake(folder, ...(await start(folder, source, config)))
  }

  /** The value of a metric with these labels; 0 before there is any. */
  async metric(name: string, labels: string): Promise<number> {
    const line = (await this.#engine.engine.metrics()).split('\n').find((text) => text.startsWith(`${name}{${labels}} `))
    return Number(line?.split(' ').at(-1) ?? 0)
  }

  get engine(): Frazil {
    return this.#engine
  }

  get http(): string {
    return this.#address('HTTP')
  }

  get grpc(): string {
    return this.#address('gRPC')
  }

  #address(what: string): string {
    return this.#addresses.get(what) ?? assert.fail(`it does not listen for ${what}`)
  }

  async send(signal: string, body: Uint8Array | string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const response = await fetch(`http://${this.http}/v1/${signal}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', ...headers },
      body: Buffer.from(body),
    })
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
  }

  /** Sends what has to be kept whole, one after the other, and waits until all of it can be read. */
  async store(signal: Signal, ...bodies: readonly Uint8Array[]): Promise<void> {
    let last: Answer | null = null
    for (const body of bodies) {
      // No message begins like this.
      const isJson = body[0] === 0x7b
      last = await this.send(signal, body, isJson ? { 'content-type': 'application/json' } : {})
      assert.equal(last.status, 200, last.body.toString('latin1'))
      assert.equal(last.body.toString('latin1'), isJson ? '{}' : '')
    }
    if (last) await this.visible(last)
  }

  async visible({ headers }: Answer): Promise<void> {
    await this.query('SELECT 1', headers.get('frazil-position') ?? assert.fail('no position'))
  }

  async query(sql: string, position?: string): Promise<readonly (readonly ResultValue[])[]> {
    const { rows } = await this.#engine.query(sql, position === undefined ? {} : { wait: { telemetry: position } })
    return rows
  }

  /** Rows as column → value. */
  async rows(sql: string): Promise<Record<string, ResultValue>[]> {
    const { columns, rows } = await this.#engine.query(sql)
    return rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])))
  }

  async restart(source: Partial<OtlpInput> = {}, config: ConfigInput = {}): Promise<void> {
    await this.#engine.close()
    ;[this.#engine, this.#addresses] = await start(this.folder, source, config)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine.close()
    await rm(this.folder, { recursive: true, force: true })
  }
}

async function start(
  folder: string,
  source: Partial<OtlpInput>,
  config: ConfigInput,
): Promise<[Frazil, ReadonlyMap<string, string>]> {
  const events = new EventBus()
  const addresses = new Map<string, string>()
  events.on((event) => {
    const found = event.type === 'notice' ? /OTLP over (\w+) at (\S+)$/.exec(event.message) : null
    if (found) addresses.set(found[1], found[2])
  })
  const sources = { telemetry: { type: 'otlp' as const, http: '127.0.0.1:0', ...source } }
  const engine = await open({ memory: '128MB', ...config, sources }, { folder, events })
  while (!(await engine.status()).ready) await new Promise((resolve) => setTimeout(resolve, 10))
  return [engine, addresses]
}
