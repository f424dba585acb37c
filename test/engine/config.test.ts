import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { FrazilError } from '../../src/base/index.ts'
import { nearest } from '../../src/base/index.ts'
import { loadConfig, parseConfig, parseDuration, parseSize, resolveConfig } from '../../src/engine/index.ts'
import type { Config, PostgresSourceConfig } from '../../src/engine/index.ts'

function parse(text: string, variables: Record<string, string> = {}): Config {
  return parseConfig(text, '/srv/shop/frazil.yaml', variables)
}

/** Lines of the error that a text gives. */
function refused(text: string, variables: Record<string, string> = {}): string[] {
  try {
    parse(text, variables)
  } catch (error) {
    assert(error instanceof FrazilError)
    assert.equal(error.kind, 'config')
    return error.message.split('\n')
  }
  return assert.fail('the configuration was accepted')
}

/** The settings of a Postgres source. */
function database({ sources }: Config, name: string): PostgresSourceConfig {
  const source = sources[name]
  assert(source.type === 'postgres')
  return source
}

const shop = (lines: string): string => `sources:
  shop:
    type: postgres
    url: postgres://app@127.0.0.1:5432/shop
    tables: [public.orders]
${lines}`

suite('configuration', () => {
  test('certificates of OTLP: its own everywhere, the general one where others can reach it', () => {
    const text = (tls: string): string =>
      `tls: { cert: a.pem, key: /etc/a.key }\nsources: { t: { type: otlp, http: '0.0.0.0:4318', grpc: '127.0.0.1:4317'${tls} } }`
    const addresses = (tls: string): unknown => {
      const { t } = parse(text(tls)).sources
      assert(t.type === 'otlp')
      return [t.http, t.grpc]
    }
    const general = { cert: '/srv/shop/a.pem', key: '/etc/a.key' }
    const own = { cert: '/srv/shop/b.pem', key: '/srv/shop/b.key' }
    assert.deepEqual(addresses(''), [
      { host: '0.0.0.0', port: 4318, tls: general },
      { host: '127.0.0.1', port: 4317, tls: null },
    ])
    assert.deepEqual(addresses(', tls: { cert: b.pem, key: b.key }'), [
      { host: '0.0.0.0', port: 4318, tls: own },
      { host: '127.0.0.1', port: 4317, tls: own },
    ])
    assert.deepEqual(refused(text(', tls: { cert: b.pem }')), [
      'frazil.yaml:2:80: sources.t.tls.key must be the path of a PEM file',
    ])
  })

  test('an empty file has all defaults', () => {
    assert.deepEqual(parse(''), {
      warehouse: '/srv/shop/lake',
      catalog: { type: 'sqlite' },
      local: '/srv/shop/.frazil',
      listen: { host: '127.0.0.1', port: 3030 },
      auth: { tokens: [] },
      tls: null,
      http: { upload: [], fromPostgres: [] },
      memory: 512_000_000,
      query: { memory: 512_000_000, threads: 2, timeout: 60_000 },
      commit: { every: 5000, bytes: 64_000_000 },
      compaction: { automatic: true, targetBytes: 128_000_000, bytesPerSecond: 64_000_000, restMs: 600_000 },
      history: { window: 300_000, snapshots: 3_600_000, hourly: 0, daily: 0 },
      onError: 'detach',
      ready: { maxLag: null, maxLagBytes: null },
      pipelines: 'inline',
      tables: {},
      sources: {},
    })
  })

  test('the layout of a table is parsed, and refused with what was meant', () => {
    const tables = (settings: string): string => `tables: { s.t: { ${settings} } }`
    const { tables: parsed } = parse(tables("partition-by: ['day(at)', 'bucket(4, id)'], sort-by: [a desc]"))
    assert.deepEqual(parsed['s.t'].partitionBy, [
      { text: 'day(at)', transform: { kind: 'day' }, column: 'at' },
      { text: 'bucket(4, id)', transform: { kind: 'bucket', buckets: 4 }, column: 'id' },
    ])
    assert.deepEqual(parsed['s.t'].sortBy, [
      { text: 'a desc', transform: { kind: 'identity' }, column: 'a', descending: true, nullsFirst: false },
    ])
    assert.deepEqual(parse(tables('partition-by: []')).tables['s.t'], { partitionBy: [] })
    assert.match(refused(tables("partition-by: ['dya(at)']"))[0], /partition-by is wrong: .*no transform dya. Did you mean day\?/)
    assert.deepEqual(parse(tables("properties: { 'write.parquet.bloom-filter-max-bytes': 1000 }")).tables['s.t'].properties, {
      'write.parquet.bloom-filter-max-bytes': '1000',
    })
    const property = (text: string): string => refused(tables(`properties: { ${text} }`))[0]
    assert.match(property("'write.parquet.bloom-filter-enabled.column.a': 1"), /cannot be "1"/)
    assert.match(property("'write.metadata.metrics.default': truncate"), /cannot be "truncate"/)
    assert.match(property("'write.metadata.metric.default': full"), /Did you mean write.metadata.metrics.default\?/)
    assert.match(property("'write.format.default': orc"), /is no property that can be set/)
    assert.match(refused(tables('partition-by: at'))[0], /must be a list/)
    assert.match(refused(tables("sort-by: ['a up']"))[0], /is no sort field/)
  })

  test('everything that can be set is set', () => {
    const config = parse(`
warehouse: /data/lake
catalog: sqlite
local: scratch
listen: '[::1]:0'
memory: 1GiB
query: { memory: 100MB, threads: 8, timeout: 1.5h }
commit: { every: 250ms, bytes: 2000000 }
history: { window: 0s, snapshots: 7d, hourly: 24, daily: 7 }
on-error: stop
ready: { max-lag: [10s, 1GB] }
pipelines: worker
sources:
  my-Shop:
    type: postgres
    url: postgres://app@127.0.0.1:5432/shop
    tables: [public.orders, 'sales.*', 'public."Odd Name"']
    into: 'lake.{schema}_{table}'
    publication: ours
`)
    assert.equal(config.warehouse, '/data/lake')
    assert.equal(config.local, '/srv/shop/scratch')
    assert.deepEqual(config.listen, { host: '::1', port: 0 })
    assert.equal(config.memory, 2 ** 30)
    assert.deepEqual(config.query, { memory: 1e8, threads: 8, timeout: 5_400_000 })
    assert.deepEqual(config.commit, { every: 250, bytes: 2e6 })
    assert.deepEqual(config.history, { window: 0, snapshots: 7 * 86_400_000, hourly: 24, daily: 7 })
    assert.equal(config.onError, 'stop')
    assert.deepEqual(config.ready, { maxLag: 10_000, maxLagBytes: 1e9 })
    assert.equal(config.pipelines, 'worker')
    const source = database(config, 'my-Shop')
    assert.deepEqual(source.tables, ['public.orders', 'sales.*', 'public."Odd Name"'])
    assert.equal(source.into, 'lake.{schema}_{table}')
    assert.equal(source.slot, 'frazil_my_shop')
    assert.equal(source.publication, 'ours')
  })

  test('an unknown key is refused with its place and the nearest known one', () => {
    assert.deepEqual(refused('warehous: x\nquery:\n  memry: 5MB\n'), [
      'frazil.yaml:3:3: query.memry is not a known key; did you mean "memory"?',
      'frazil.yaml:1:1: warehous is not a known key; did you mean "warehouse"?',
    ])
    assert.deepEqual(refused(shop('    tabels: [a]\n')), [
      'frazil.yaml:6:5: sources.shop.tabels is not a known key; did you mean "tables"?',
    ])
    assert.match(refused('history: {zzzzzzzz: 1}')[0], /known are window, snapshots, hourly, daily/)
  })

  test('a bad value is refused with its place and what is allowed', () => {
    const cases: [string, RegExp][] = [
      ['memory: lots', /^frazil\.yaml:1:9: memory is not a size; write for example 512MB/],
      ['memory: 1MB', /memory must be at least 16MB/],
      ['commit: {every: 5}', /commit\.every is not a duration; write for example 250ms, 5s/],
      ['commit: 5s', /commit must have settings under it/],
      ['on-error: ignore', /on-error must be "detach" or "stop"/],
      ['listen: 3030', /listen must be/],
      ['listen: "localhost:70000"', /must be host:port/],
      ['query: {threads: 1.5}', /must be a whole number from 1 to 256/],
      ['warehouse: ""', /warehouse must not be empty/],
      ['sources: {http: {type: postgres}}', /sources\.http is the name of the events that arrive over HTTP/],
      ['sources: {"9a": {type: postgres}}', /sources\.9a is not a good name/],
      ['sources: {shop: }', /sources\.shop must be a source with type, url and tables/],
      [shop('    slot: Bad-Slot\n'), /sources\.shop\.slot must be 1 to 63 characters/],
      [shop('    into: "{table}"\n'), /sources\.shop\.into must be namespace\.table/],
      [shop('').replace('postgres://app', 'mysql://app'), /must look like postgres:\/\//],
      [shop('').replace('[public.orders]', '[]'), /sources\.shop\.tables must name at least one table/],
    ]
    for (const [text, expected] of cases) assert.match(refused(text).join('\n'), expected, text)
  })

  test('what later versions have is refused, not ignored', () => {
    for (const text of [
      'listen-postgres: 127.0.0.1:5433',
      'catalog: { type: rest }',
      'warehouse: s3://bucket/prefix',
      'sources: { clicks: { type: kafka, brokers: [a], topics: [b] } }',
    ]) {
      const lines = refused(text)
      assert.equal(lines.length, 1, text)
      assert.match(lines[0], /not available yet in this version/, text)
    }
  })

  test('two sources do not share a slot', () => {
    const text = `${shop('')}  other:
    type: postgres
    url: postgres://app@127.0.0.1:5432/other
    slot: frazil_shop
    tables: [public.orders]
`
    assert.deepEqual(refused(text), ['frazil.yaml:6:3: sources.other uses the same slot as shop; give it a "slot" of its own'])
  })

  test('no source has tables in a namespace that means something else in SQL', () => {
    for (const name of ['temp', 'Memory', 'system', 'information_schema', 'pg_catalog']) {
      const own = shop('').replace('  shop:', `  ${name}:`)
      assert.match(
        refused(own).join('\n'),
        /^frazil\.yaml:\d+:3: sources\.\w+ would have its tables in the namespace \w+, which is one of SQL itself.*give it another name$/i,
      )
      assert.ok(
        parse(shop('    into: "lake.{source}_{table}"\n').replace('  shop:', `  ${name}:`)),
        'the name alone does no harm',
      )
      assert.match(refused(shop(`    into: "${name}.{table}"\n`)).join('\n'), /sources\.shop would have.*give it another "into"$/)
      assert.match(refused(`sources: {${name}: {type: otlp, http: '127.0.0.1:4318'}}`).join('\n'), /no query could name them/)
    }
    assert.ok(parse(shop('    into: "main.{table}"\n')))
  })

  test('YAML that cannot be read is refused with its place', () => {
    assert.match(refused('a: 1\nwarehouse: [')[0], /^frazil\.yaml:2:\d+: /)
    assert.match(refused('local: a\nlocal: b')[0], /^frazil\.yaml:2:1: Map keys must be unique/)
    assert.match(refused('- a')[0], /^frazil\.yaml:1:1: the configuration must be a map/)
    assert.match(refused('a: *nowhere')[0], /frazil\.yaml/)
    const bomb = Array.from({ length: 12 }, (_, i) => `l${i}: &l${i} [${i === 0 ? 'x' : `*l${i - 1},`.repeat(9)}]`).join('\n')
    assert.match(refused(bomb)[0], /alias/i)
  })

  test('any text gives a configuration or a clear refusal', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parse(text)
        } catch (error) {
          assert(error instanceof FrazilError && error.kind === 'config', String(error))
        }
      }),
    )
  })
})

suite('tokens and TLS', () => {
  const token = 'a-token-of-some-length'
  const auth = (entry: string): string => `auth: { tokens: [${entry}] }`
  const good = "{ token: '${env:TOKEN}', tables: ['shop.*', '*'], may: [read, write] }"

  test('are references, filled in and never printed', () => {
    const config = parse(`${auth(good)}\ntls: { cert: tls/cert.pem, key: /etc/key.pem }`, { TOKEN: token })
    const [entry] = config.auth.tokens
    assert.equal(entry.token.reveal(), token)
    assert.deepEqual(
      [entry.tables, entry.may],
      [
        ['shop.*', '*'],
        ['read', 'write'],
      ],
    )
    assert.deepEqual(config.tls, { cert: '/srv/shop/tls/cert.pem', key: '/etc/key.pem' })
    for (const printed of [JSON.stringify(config), inspect(config, { depth: 9 })]) assert(!printed.includes(token), printed)
  })

  test('that are wrong are refused with what is allowed, and are not printed', () => {
    const cases: [string, RegExp][] = [
      [auth(good.replace('${env:TOKEN}', token)), /auth\.tokens\.0\.token must be a reference, not the token itself/],
      [auth(good.replace('${env:TOKEN}', 'x-${env:TOKEN}')), /must be a reference/],
      [auth(good.replace('TOKEN', 'SHORT')), /auth\.tokens\.0\.token must have at least 16 characters/],
      [auth(good.replace('TOKEN', 'SPACED')), /must have at least 16 characters A-Z/],
      [auth(good.replace('TOKEN', 'NOWHERE')), /needs the environment variable NOWHERE, which is not set/],
      [auth(good.replace("'shop.*', '*'", '')), /tokens\.0\.tables must be a list of tables/],
      [auth(good.replace("'shop.*'", 'orders')), /tokens\.0\.tables\.0 must be a list of tables/],
      [auth(good.replace('read, write', 'admin')), /tokens\.0\.may\.0 must be a list of read and write/],
      [auth(good.replace('tables:', 'table:')), /tokens\.0\.table is not a known key; did you mean "tables"\?/],
      ['auth: { tokens: [] }', /auth\.tokens must have at least one token/],
      ['auth: {}', /auth\.tokens must be a list of tokens/],
      ['tls: { cert: a.pem }', /tls\.key must be the path of a PEM file/],
    ]
    for (const [text, expected] of cases) {
      const message = refused(text, { TOKEN: token, SHORT: 'fifteen-chars-x', SPACED: `${token} ${token}` }).join('\n')
      assert.match(message, expected, text)
      assert(!message.includes(token) && !message.includes('fifteen'), message)
    }
    assert.equal(refused(auth(good)).length, 1)
  })
})

suite('secrets', () => {
  const text = shop('').replace('postgres://app@', 'postgres://app:${env:PASSWORD}@')

  test('are filled in, escaped for a URL, and never printed', () => {
    const config = parse(text, { PASSWORD: 'p@ss/w:rd' })
    const { url } = database(config, 'shop')
    assert.equal(url.reveal(), 'postgres://app:p%40ss%2Fw%3Ard@127.0.0.1:5432/shop')
    assert.equal(decodeURIComponent(new URL(url.reveal()).password), 'p@ss/w:rd')
    for (const printed of [String(url), JSON.stringify(config), inspect(config, { depth: 9 })]) {
      assert(!printed.includes('p%40ss') && !printed.includes('p@ss'), printed)
      assert(printed.includes('[secret]'))
    }
  })

  test('that are missing or in no known form are named', () => {
    assert.deepEqual(refused(text), [
      'frazil.yaml:4:10: sources.shop.url needs the environment variable PASSWORD, which is not set',
    ])
    assert.match(refused(text.replace('env:', 'vault:'))[0], /neither \$\{env:NAME\} nor \$\{file:path\}/)
    assert.match(refused(text.replace('env:', 'file:./'))[0], /needs the file \.\/PASSWORD, which cannot be read/)
  })

  test('do not show up in errors', () => {
    const lines = refused(text.replace('/shop\n', '\n'), { PASSWORD: 'hunter2' })
    assert(!lines.join().includes('hunter2'))
    assert.match(lines[0], /sources\.shop\.url must look like/)
  })

  test('come from files beside the configuration', () => {
    const folder = mkdtempSync(join(tmpdir(), 'frazil-config-'))
    try {
      writeFileSync(join(folder, 'password'), 'from-file\n')
      writeFileSync(join(folder, 'frazil.yaml'), text.replace('env:PASSWORD', 'file:password'))
      const config = loadConfig(join(folder, 'frazil.yaml'), {})
      assert.equal(new URL(database(config, 'shop').url.reveal()).password, 'from-file')
      assert.equal(config.warehouse, join(folder, 'lake'))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

test('a missing file is one sentence', () => {
  assert.throws(
    () => loadConfig('/nowhere/frazil.yaml', {}),
    (error: FrazilError) => error.code === 'config-missing' && error.kind === 'config',
  )
})

test('a library gives the same as an object', () => {
  const config = resolveConfig(
    { warehouse: './lake', sources: { shop: { type: 'postgres', url: 'postgres://a@b/c', tables: ['t'] } } },
    { folder: '/app', env: {} },
  )
  assert.equal(config.warehouse, '/app/lake')
  assert.throws(() => resolveConfig({ lake: 1 }, { folder: '/app', env: {} }), /^FrazilError: lake is not a known key/)
})

test('sizes and durations', () => {
  assert.deepEqual(['512MB', '1 gib', '0.5KB', '7B', '1.5', 'MB', '-1MB', '1e3MB', '99999999TB'].map(parseSize), [
    512e6,
    2 ** 30,
    500,
    7,
    null,
    null,
    null,
    null,
    null,
  ])
  assert.equal(parseSize(1024), 1024)
  assert.equal(parseSize(-1), null)
  assert.deepEqual(['250ms', '5s', '2m', '1.5h', '1d', '5', 's', '5 sec', '-5s'].map(parseDuration), [
    250,
    5000,
    120_000,
    5_400_000,
    86_400_000,
    null,
    null,
    null,
    null,
  ])
})

test('the nearest word', () => {
  const words = ['warehouse', 'listen', 'memory', 'query']
  assert.equal(nearest('wharehose', words), 'warehouse')
  assert.equal(nearest('qurey', words), 'query')
  assert.equal(nearest('kafka', words), null)
})
