import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import { requestResync, resolveConfig } from '../../../src/engine/index.ts'
import { SqliteCatalog } from '../../../src/iceberg/catalog/index.ts'
import { openStore } from '../../../src/storage/index.ts'
import { checkLake } from '../../support/check-lake.ts'
import { ForeignEngine } from '../../support/foreign-engine.ts'
import { logRecord, metric, request, span } from '../../support/otlp/encode.ts'
import { OtlpLake } from '../../support/otlp/lake.ts'

const time = 1_790_000_000_000_000_000n
const config = { commit: { every: '1h' } }

const log = (id: number): Buffer => inRequest(logRecord({ time, body: { int: BigInt(id) }, event: `event ${id}` }))
const trace = (): Buffer =>
  inRequest(span({ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name: 'work', start: time, end: time }))
const sum = (id: number): Buffer => {
  const points = [{ time, value: { int: BigInt(id) } }]
  return metric({ name: 'n', data: { kind: 'sum', monotonic: true, temporality: 1, points } })
}
const summary = (id: number): Buffer => {
  const points = [{ time, count: BigInt(id), sum: 1, quantiles: [] }]
  return metric({ name: 's', data: { kind: 'summary', points } })
}

function inRequest(...records: Buffer[]): Buffer {
  const resource = { attributes: [['service.name', { string: 'shop' }]] as const }
  return request([{ resource, scopes: [{ scope: { name: 'test' }, records }] }])
}

/** A lake with another engine that works on it. */
class SharedLake implements AsyncDisposable {
  readonly lake: OtlpLake
  readonly catalog: SqliteCatalog
  readonly other: ForeignEngine

  private constructor(lake: OtlpLake, catalog: SqliteCatalog) {
    this.lake = lake
    this.catalog = catalog
    this.other = new ForeignEngine({ store: openStore(join(lake.folder, 'lake')), catalog, random: seededRandom(5) })
  }

  static async open(): Promise<SharedLake> {
    const lake = await OtlpLake.open({}, config)
    await lake.engine.flush()
    return new SharedLake(lake, await SqliteCatalog.open(join(lake.folder, 'lake', 'catalog.db')))
  }

  async health(table: string): Promise<string | undefined> {
    return (await this.lake.engine.status()).tables.find((one) => one.table === table)?.health
  }

  async detach(table: string, harm: () => Promise<void>): Promise<void> {
    await harm()
    await this.lake.engine.flush()
    while ((await this.health(table)) !== 'detached') await new Promise((resolve) => setTimeout(resolve, 20))
  }

  async resync(table: string): Promise<void> {
    await this.lake.engine.table(`telemetry.${table}`).resync()
  }

  /** The files of rows that left the spool, by the signal that their names say. */
  async left(table: string): Promise<{ readonly signal: string; readonly body: Buffer }[]> {
    const root = join(this.lake.folder, '.frazil', 'spool', 'telemetry', 'detached')
    const folder =
      (await readdir(root)).find((name) => name.startsWith(`telemetry.${table}-`)) ?? assert.fail(`files of ${table}`)
    const names = (await readdir(join(root, folder))).sort()
    return Promise.all(
      names.map(async (name) => ({
        signal: /^\d+-\d+\.(\w+)\.pb$/.exec(name)?.[1] ?? assert.fail(name),
        body: await readFile(join(root, folder, name)),
      })),
    )
  }

  async texts(sql: string): Promise<unknown> {
    return (await this.lake.query(sql)).map(([value]) => (typeof value === 'bigint' ? Number(value) : value))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.catalog.close()
    await this.lake.engine.close()
    await checkLake(join(this.lake.folder, 'lake'))
    await this.lake[Symbol.asyncDispose]()
  }
}

suite('a table of OpenTelemetry that was detached', { timeout: 300_000 }, () => {
  test('takes records again when it is asked for; those that the lake does not have are in files, each once', async () => {
    await using shared = await SharedLake.open()
    const { lake, other } = shared
    const bodies = 'SELECT body FROM telemetry.otel_logs ORDER BY body'
    await lake.store('logs', log(1))
    await lake.engine.flush()
    await lake.store('logs', log(2), log(3))
    const more = { name: 'more', type: { kind: 'string' }, required: false } as const
    await shared.detach('otel_logs', async () => {
      await other.dropColumn('telemetry', 'otel_logs', 'event_name')
      await other.addColumn('telemetry', 'otel_logs', more)
    })
    await lake.store('metrics', inRequest(sum(4), summary(5), sum(6)), inRequest(summary(7)))
    await shared.detach('otel_metrics_number', () => other.addColumn('telemetry', 'otel_metrics_number', more))
    assert.equal((await lake.send('logs', log(9))).status, 503)
    const refused = await lake.send('metrics', inRequest(summary(9)))
    assert.equal(refused.status, 503)
    assert(refused.body.includes('takes no rows now'))

    // It stays so over a restart.
    await lake.restart({}, config)
    assert.equal((await lake.send('logs', log(9))).status, 503)
    await shared.resync('otel_logs')
    await shared.resync('otel_metrics_number')
    assert.equal(await shared.health('otel_logs'), 'streaming')
    assert.deepEqual(await shared.texts(bodies), ['1'])
    for (const table of ['otel_logs', 'otel_metrics_number']) {
      for (const { signal, body } of await shared.left(table)) await lake.store(signal as 'logs' | 'metrics', body)
    }
    await lake.store('logs', log(4))
    const check = async (): Promise<void> => {
      assert.deepEqual(await shared.texts(bodies), ['1', '2', '3', '4'])
      const events = 'SELECT event_name FROM telemetry.otel_logs ORDER BY body'
      assert.deepEqual(await shared.texts(events), [null, 'event 2', 'event 3', 'event 4'])
      const values = "SELECT value_int FROM telemetry.otel_metrics_number WHERE metric_name = 'n' ORDER BY value_int"
      assert.deepEqual(await shared.texts(values), [4, 6])
      assert.deepEqual(await shared.texts('SELECT count FROM telemetry.otel_metrics_summary ORDER BY count'), [5, 7])
      assert.deepEqual(await shared.texts('SELECT DISTINCT service_name FROM telemetry.otel_metrics_number'), ['shop'])
    }
    await check()
    // What the spool has is decoded as it was.
    await lake.restart({}, config)
    await check()
    await assert.rejects(shared.resync('otel_logs'), { code: 'nothing-to-copy' })
    await lake.engine.close()
    const resolved = resolveConfig(
      { ...config, sources: { telemetry: { type: 'otlp', http: '127.0.0.1:0' } } },
      { folder: lake.folder, env: {} },
    )
    for (const target of ['telemetry', 'telemetry.otel_logs']) {
      await assert.rejects(requestResync(resolved, target), { code: 'no-daemon' })
    }
  })

  test('is refused while records do not fit into it, and made again when it is gone', async () => {
    await using shared = await SharedLake.open()
    const { lake, other } = shared
    await lake.store('traces', trace())
    await lake.store('logs', log(1))
    await lake.engine.flush()
    const must = { name: 'must', type: { kind: 'string' }, required: true } as const
    await shared.detach('otel_traces', () => other.addColumn('telemetry', 'otel_traces', must))
    await assert.rejects(shared.resync('otel_traces'), { code: 'table-detached', message: /its column must may not be null/ })
    assert.equal(await shared.health('otel_traces'), 'detached')
    assert.equal((await lake.send('traces', trace())).status, 503)

    await assert.rejects(lake.engine.engine.dropTable('telemetry', 'otel_logs'), { code: 'table-refused', message: /be dropped/ })
    await shared.detach('otel_logs', () => other.drop('telemetry', 'otel_logs'))
    await shared.resync('otel_logs')
    await lake.store('logs', log(2))
    const bodies = 'SELECT body FROM telemetry.otel_logs ORDER BY body'
    assert.deepEqual(await shared.texts(bodies), ['2'])
    await lake.restart({}, config)
    await lake.store('logs', log(3))
    assert.deepEqual(await shared.texts(bodies), ['2', '3'])
  })

  test('takes nothing while its name is that of a table of somebody else', async () => {
    await using shared = await SharedLake.open()
    const { lake, other, catalog } = shared
    // The lake knows nothing of the source any more, and has its tables.
    await lake.engine.close()
    const states = [
      ...(await catalog.states('source/')).filter(({ key }) => key === 'source/telemetry'),
      ...(await catalog.states('table/telemetry/')),
    ]
    await catalog.commit({ tables: [], states: states.map(({ key, version }) => ({ key, expected: version, value: null })) })
    await lake.restart({}, config)
    assert.equal((await lake.send('logs', log(1))).status, 503)
    await assert.rejects(shared.resync('otel_logs'), { code: 'table-detached', message: /which is not this one/ })
    await other.drop('telemetry', 'otel_logs')
    await shared.resync('otel_logs')
    await lake.store('logs', log(2))
    assert.deepEqual(await shared.texts('SELECT body FROM telemetry.otel_logs'), ['2'])
  })
})
