import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { EventBus, Metrics, createLog, logEvents } from '../../src/observe/index.ts'

const log = { uncommitted: 2000, retained: 3000, safe: null, status: 'extended', xminAge: 40 }
const state = {
  sources: [{ name: 'shop', state: 'streaming', lagMs: 250, lagBytes: 1000, log }],
  tables: [
    { database: 'shop', table: 'a', health: 'streaming', hotRows: 3, stagedRows: 2, coldRows: 1, dataFiles: 4, deletedRows: 5 },
    { database: 'shop', table: 'b', health: 'streaming', hotRows: 0, stagedRows: 0, coldRows: 0, dataFiles: 0, deletedRows: 0 },
  ],
  memory: { used: 10, budget: 100 },
}

suite('metrics', () => {
  test('count events and show the state', async () => {
    const events = new EventBus()
    const metrics = new Metrics(events, { process: false })
    events.emit({ type: 'applied', source: 'shop', commits: 2, rows: 7, bytes: 90, lagMs: 1 })
    events.emit({ type: 'applied', source: 'shop', commits: 1, rows: 1, bytes: 10, lagMs: 1 })
    events.emit({ type: 'query', ms: 3, rows: 1, bytes: 1, files: { read: 3, skipped: 2 }, code: null })
    events.emit({ type: 'query', ms: 3, rows: 0, bytes: 0, files: null, code: 'unknown-table' })
    const text = await metrics.text(state)
    for (const line of [
      'frazil_rows_applied_total{source="shop"} 8',
      'frazil_source_commits_total{source="shop"} 3',
      'frazil_queries_total{outcome="ok"} 1',
      'frazil_queries_total{outcome="unknown-table"} 1',
      'frazil_query_seconds_count 1',
      'frazil_table_hot_rows{database="shop",table="a"} 3',
      'frazil_tables{health="streaming"} 2',
      'frazil_source_lag_seconds{source="shop"} 0.25',
      'frazil_source_lag_bytes{source="shop"} 1000',
      'frazil_source_uncommitted_bytes{source="shop"} 2000',
      'frazil_slot_retained_bytes{source="shop"} 3000',
      'frazil_slot_status{source="shop",status="extended"} 1',
      'frazil_slot_xmin_age{source="shop"} 40',
      'frazil_memory_used_bytes 10',
    ]) {
      assert(text.split('\n').includes(line), `${line}\n${text}`)
    }
    assert(!text.includes('frazil_slot_safe_bytes{'), 'what has no limit is not shown')
    const later = await metrics.text({ ...state, tables: [] })
    assert(!later.includes('table="a"'), 'tables that are gone are not shown')
    metrics.close()
  })

  test('of two engines in one process are apart', async () => {
    const [first, second] = [new EventBus(), new EventBus()]
    const [mine, other] = [new Metrics(first, { process: false }), new Metrics(second, { process: false })]
    first.emit({ type: 'retry', what: 'postgres', attempt: 1, delayMs: 1, code: 'x', message: '' })
    assert.match(await mine.text(state), /frazil_retries_total\{what="postgres"\} 1/)
    assert.doesNotMatch(await other.text(state), /what="postgres"/)
  })
})

suite('logs', () => {
  test('are JSON lines for machines and text for people', () => {
    for (const format of ['json', 'text'] as const) {
      const lines: string[] = []
      const log = createLog({ level: 'info', format, write: (line) => void lines.push(line) })
      const events = new EventBus()
      const stop = logEvents(log, events)
      events.emit({ type: 'table', source: 'shop', table: 'shop.a', health: 'detached', reason: 'a type is not supported' })
      events.emit({ type: 'query', ms: 1, rows: 1, bytes: 1, files: { read: 3, skipped: 2 }, code: null })
      stop()
      events.emit({ type: 'copied', source: 'shop', table: 'shop.a', rows: 1 })
      assert.equal(lines.length, 1, 'queries are for debugging')
      if (format === 'json') {
        const { time, ...rest } = JSON.parse(lines[0])
        assert.match(time, /^\d{4}-\d\d-\d\dT.*Z$/)
        assert.deepEqual(rest, {
          level: 'error',
          msg: 'table detached: a type is not supported',
          source: 'shop',
          table: 'shop.a',
        })
      } else {
        assert.match(
          lines[0],
          /^\d\d:\d\d:\d\d\.\d{3} error table detached: a type is not supported {2}source=shop table=shop\.a\n$/,
        )
      }
    }
  })
})

test('commits that only move the position are for debugging; what is tried again names its source', () => {
  const lines: string[] = []
  const events = new EventBus()
  logEvents(createLog({ level: 'info', format: 'json', write: (line) => void lines.push(line) }), events)
  for (const tables of [0, 1]) {
    events.emit({
      type: 'committed',
      source: 'shop',
      position: '0/1',
      tables,
      files: 0,
      rows: 0,
      deletes: 0,
      objects: 0,
      ms: 1,
    })
  }
  events.emit({
    type: 'retry',
    what: 'postgres',
    source: 'shop',
    attempt: 1,
    delayMs: 100,
    code: 'x',
    message: 'nothing listens',
  })
  assert.deepEqual(
    lines.map((line) => {
      const { msg, source, tables } = JSON.parse(line) as { msg: string; source: string; tables?: number }
      return { msg, source, tables }
    }),
    [
      { msg: 'committed', source: 'shop', tables: 1 },
      { msg: 'postgres: trying again: nothing listens', source: 'shop', tables: undefined },
    ],
  )
})

test('a listener that throws stops neither the others nor the engine, and its error surfaces', (t) => {
  const later = t.mock.method(globalThis, 'queueMicrotask', () => {})
  const events = new EventBus()
  const seen: string[] = []
  events.on(() => {
    throw new Error('listener')
  })
  events.on(({ type }) => seen.push(type))
  events.emit({ type: 'notice', level: 'info', message: '', hint: null })
  assert.deepEqual(seen, ['notice'])
  assert.equal(later.mock.callCount(), 1)
  const rethrow: unknown = later.mock.calls[0].arguments[0]
  assert(typeof rethrow === 'function')
  assert.throws(() => void rethrow(), /listener/)
})
