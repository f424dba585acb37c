import type { Engine, EngineStatus } from '../../engine/index.ts'
import type { EventBus } from '../../observe/index.ts'
import { answerTable } from '../answer-table.ts'
import { watchedQuery } from './shop.ts'

const number = (value: number): string => Math.round(value).toLocaleString('en-US')

/** An answer that takes longer than this is a fault worth seeing. */
const queryTimeoutMs = 10_000

/** Counts what the engine says, and makes lines of it. */
export class Progress {
  #rows = 0
  #commits = 0
  #lastCommit: { readonly at: number; readonly position: string; readonly ms: number } | null = null
  #before: { readonly at: number; readonly rows: number } = { at: performance.now(), rows: 0 }

  constructor(events: EventBus) {
    events.on((event) => {
      if (event.type === 'applied') this.#rows += event.rows
      if (event.type === 'committed') {
        this.#commits++
        this.#lastCommit = { at: performance.now(), position: event.position, ms: event.ms }
      }
    })
  }

  /** One line while tables are copied. */
  copying(status: EngineStatus): string[] {
    const tables = status.tables.map(({ table, copy, health }) => {
      if (!copy) return `${table} ${health === 'copying' ? 'copied, waits for the others' : 'copied'}`
      const total = copy.estimated === null ? '' : ` of about ${number(copy.estimated)}`
      return `${table} ${number(copy.rows)}${total} rows`
    })
    return [`initial copy: ${tables.join(', ') || 'starting'}`]
  }

  /** The state of the stream, and under it the answer of a query that moves with it. */
  async streaming(status: EngineStatus, engine: Engine): Promise<string[]> {
    const now = performance.now()
    const rate = ((this.#rows - this.#before.rows) * 1000) / Math.max(1, now - this.#before.at)
    this.#before = { at: now, rows: this.#rows }
    const sum = (pick: 'hotRows' | 'stagedRows' | 'coldRows'): string =>
      number(status.tables.reduce((total, table) => total + table[pick], 0))
    const lag = status.sources[0]?.lagMs ?? null
    const last = this.#lastCommit
    const commit =
      last === null
        ? 'no lake commit yet'
        : `${this.#commits} lake ${this.#commits === 1 ? 'commit' : 'commits'}, the last ${((now - last.at) / 1000).toFixed(1)} s ago`
    const started = performance.now()
    const answer = await engine.execute(watchedQuery, { numbersAsStrings: true, timeoutMs: queryTimeoutMs })
    const took = performance.now() - started
    return [
      `${number(rate)} rows/s, lag ${lag === null ? '–' : `${Math.round(lag)} ms`}, ${number(this.#rows)} rows since the start; ${commit}`,
      `rows: ${sum('hotRows')} hot, ${sum('stagedRows')} staged, ${sum('coldRows')} cold; at ${status.sources[0]?.position ?? '–'}, in Iceberg ${last?.position ?? '–'}`,
      '',
      ...watchedQuery.split('\n'),
      ...answerTable(answer).trimEnd().split('\n').slice(0, -1),
      `answered in ${took.toFixed(1)} ms, over hot and cold rows at one exact position`,
    ]
  }
}
