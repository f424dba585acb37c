import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { FakeEngine } from '../server/fake-engine.ts'
import { frazil } from './frazil.ts'

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'frazil-cli-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, text: string): string {
  const file = join(folder, name)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, text)
  return file
}

// Each starts processes of its own that know nothing of each other.
suite('the command line', { concurrency: 2 }, () => {
  test('help lists the commands that exist', async () => {
    const { code, out } = await frazil(['--help'])
    assert.equal(code, 0)
    for (const command of ['demo', 'init', 'run', 'check', 'query', 'tables', 'optimize', 'resync', 'drop'])
      assert.match(out, new RegExp(`^  ${command} `, 'm'))
    for (const command of ['verify', 'explain', 'replay']) assert.doesNotMatch(out, new RegExp(`^  ${command} `, 'm'))
  })

  test('version', async () => {
    const { code, out } = await frazil(['--version'])
    assert.equal(code, 0)
    assert.match(out, /^\d+\.\d+\.\d+\n$/)
  })

  test('a wrong flag, command or value: exit 2, with the nearest one', async () => {
    const cases: [string[], RegExp][] = [
      [['demo', '--secnds', '3'], /unknown option '--secnds'\n\(Did you mean --seconds\?\)/],
      [['querry'], /unknown command 'querry'\n\(Did you mean query\?\)/],
      [['demo', '--seconds', 'soon'], /a whole number of seconds/],
      [['query', '--format', 'xml', 'select 1'], /table, json, csv, arrow/],
      [['drop'], /missing required argument 'source'/],
    ]
    for (const [args, expected] of cases) {
      const { code, err } = await frazil(args)
      assert.match(err, expected)
      assert.equal(code, 2, args.join(' '))
    }
  })

  test('no configuration: exit 3 and what to do', async () => {
    const { code, err } = await frazil(['check'], { cwd: folder })
    assert.equal(code, 3)
    assert.match(err, /^frazil: there is no frazil\.yaml in .*\n {2}name one with --config/)
    // These go on with the defaults, as run does.
    const optimized = await frazil(['optimize'], { cwd: folder })
    assert.deepEqual([optimized.code, /no daemon runs/.test(optimized.err)], [4, true], optimized.err)
    const again = await frazil(['resync', 'shop.orders'], { cwd: folder })
    assert.deepEqual([again.code, /^frazil: there is no lake in .*lake\n/.test(again.err)], [3, true], again.err)
    const named = await frazil(['run', 'nowhere.yaml'], { cwd: folder })
    assert.equal(named.code, 3)
    assert.match(named.err, /cannot read the configuration file .*nowhere\.yaml/)
  })

  test('a bad key in the file: exit 3, its place and the nearest one', async () => {
    const file = write('bad.yaml', 'warehouse: ./lake\nmemmory: 1GB\n')
    for (const args of [
      ['check', file],
      ['run', file],
      ['tables', '-c', file],
    ]) {
      const { code, err } = await frazil(args)
      assert.equal(code, 3)
      assert.equal(err, 'frazil: bad.yaml:2:1: memmory is not a known key; did you mean "memory"?\n')
    }
  })

  test('listening beyond this machine: exit 3', async () => {
    const file = write('open.yaml', 'listen: 0.0.0.0:3030\n')
    for (const command of ['check', 'run']) {
      const { code, err } = await frazil([command, file])
      assert.equal(code, 3)
      assert.match(err, /listening on 0\.0\.0\.0 would let other machines in/)
    }
  })

  test('a port that another program has: check says it as an error, with the way out', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    try {
      const file = write('taken/frazil.yaml', `listen: 127.0.0.1:${port}\n`)
      const { code, out } = await frazil(['check', file])
      assert.equal(code, 1)
      const sentence = `port ${port} on 127.0.0.1 is taken by another program`
      assert(out.includes(`error   ${sentence}\n        stop that program, or set "listen" to another port\n`), out)
    } finally {
      other.close()
    }
  })

  test('an unknown source to drop: exit 1 and the nearest one', async () => {
    const file = write(
      'one.yaml',
      'sources: {shop: {type: postgres, url: "postgres://127.0.0.1:1/x", tables: [a]}}\nlisten: 127.0.0.1:0\n',
    )
    const { code, err } = await frazil(['drop', 'shpo', '-c', file])
    assert.equal(code, 1)
    assert.match(err, /there is no source shpo in the configuration\n {2}did you mean shop\?/)
  })

  test('no lake and no daemon: exit 3 and a sentence', async () => {
    const file = write('empty/frazil.yaml', 'listen: 127.0.0.1:0\n')
    const { code, err } = await frazil(['query', '-c', file, 'select 1'])
    assert.equal(code, 3)
    assert.match(err, /^frazil: there is no lake in /)
  })

  test('no statement: exit 1 and how to give one, before anything is opened', async () => {
    const hint = '  frazil query "select …", or echo "select …" | frazil query; on a terminal frazil query alone is a prompt.\n'
    for (const [args, input, sentence] of [
      [[], '', 'no statement was given, and standard input is empty'],
      [[], ' \n', 'no statement was given, and standard input is empty'],
      [[' '], '', 'the statement is empty'],
    ] as const) {
      const { code, err } = await frazil(['query', ...args], { cwd: folder, input })
      assert.deepEqual([code, err], [1, `frazil: ${sentence}\n${hint}`])
    }
  })

  test('a Node that is too old is told so before anything else', async () => {
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })`
    const { code, err } = await frazil(['--help'], { nodeFlags: ['--import', `data:text/javascript,${encodeURIComponent(old)}`] })
    assert.equal(code, 3)
    assert.match(err, /^frazil needs Node\.js 24 or newer, and this is /)
  })
})

suite('against a running daemon', () => {
  const engine = new FakeEngine()
  let server: HttpServer
  let file: string
  const listen = { host: '127.0.0.1', port: 0 }
  before(async () => {
    const info = { version: '0.0.0', warehouse: join(folder, 'daemon', 'lake') }
    server = await startHttpServer({ listen, info, log: silentLog })
    server.attach(engine)
    file = write('daemon/frazil.yaml', 'listen: 127.0.0.1:0\n')
    write('daemon/.frazil/daemon.json', JSON.stringify({ url: server.url, pid: process.pid }))
  })
  after(() => server.close())

  test('an answer as a table', async () => {
    engine.answer = async () => '[["9007199254740993","a"],[null,"line\\nbreak\\u001b[31m"]]'
    const { code, out } = await frazil(['query', '-c', file, 'select 1'])
    assert.equal(code, 0)
    assert.equal(
      out,
      [
        '┌──────────────────┬───────────────────────┐',
        '│               id │ name                  │',
        '├──────────────────┼───────────────────────┤',
        '│ 9007199254740993 │ a                     │',
        '│             NULL │ line\\nbreak\\u001b[31m │',
        '└──────────────────┴───────────────────────┘',
        '(2 rows)',
        '',
      ].join('\n'),
    )
  })

  test('check: the port is taken by the daemon itself, which is no error', async () => {
    const own = write('daemon/own-port.yaml', `listen: 127.0.0.1:${new URL(server.url).port}\n`)
    const { code, out } = await frazil(['check', own])
    assert.deepEqual([code, /a daemon runs over this lake/.test(out), /taken/.test(out)], [0, true, false], out)
  })

  test('as JSON and CSV, just as the daemon wrote it', async () => {
    engine.answer = async () => '[[9007199254740993,"a"]]'
    const json = await frazil(['query', '-c', file, '-f', 'json', 'select 1'])
    assert.match(json.out, /"rows":\[\[9007199254740993,"a"\]\],"positions":\{"shop":"0\/2"\}\}\n$/)
    engine.answer = async () => 'id,name\n1,a\n'
    const csv = await frazil(['query', '-c', file, '-f', 'csv', 'select 1'])
    assert.equal(csv.out, 'id,name\n1,a\n')
    assert.equal(engine.queries.at(-1)?.options.format, 'csv')
  })

  test('a statement from standard input, waiting for the sources', async () => {
    engine.answer = async () => '[]'
    const { code, out } = await frazil(['query', '-c', file, '--wait'], { input: 'select 42\n' })
    assert.equal(code, 0)
    assert.match(out, /\(0 rows\)\n$/)
    const { sql, options } = engine.queries.at(-1) ?? assert.fail('nothing was asked')
    assert.equal(sql, 'select 42\n')
    assert.equal(options.wait, 'now')
  })

  test('a wrong query: exit 1, its sentence and hint', async () => {
    engine.answer = () =>
      Promise.reject(
        new FrazilError('request', 'unknown-table', 'there is no table shop.order', { hint: 'did you mean shop.orders?' }),
      )
    const { code, err } = await frazil(['query', '-c', file, 'select 1'])
    assert.equal(code, 1)
    assert.equal(err, 'frazil: there is no table shop.order\n  did you mean shop.orders?\n')
  })

  test('something that does not answer: exit 4', async () => {
    engine.answer = () => Promise.reject(new FrazilError('unavailable', 'query-timeout', 'the query took longer than 60 s'))
    assert.equal((await frazil(['query', '-c', file, 'select 1'])).code, 4)
  })

  test('tables', async () => {
    const { code, out } = await frazil(['tables', '-c', file])
    assert.equal(code, 0)
    assert.match(out, /│ shop\.orders │ streaming │ {3}3 │ {6}2 │ {4}1 │ {5}1 │ {7}0 │ 7 ms │ 0\/2 {5}│ 0\/1 {7}│/)
    const json = await frazil(['tables', '-c', file, '--json'])
    assert.deepEqual(JSON.parse(json.out).tables, engine.state.tables)
  })

  test('drop refuses while it runs', async () => {
    const config = 'sources: {shop: {type: postgres, url: "postgres://127.0.0.1:1/x", tables: [a]}}\nlisten: 127.0.0.1:0\n'
    const other = write('daemon/with-source.yaml', config)
    const { code, err } = await frazil(['drop', 'shop', '-c', other])
    assert.equal(code, 1)
    assert.match(err, /frazil runs over this lake \(pid \d+\)/)
  })

  test('run says that one runs already: exit 5; that a port is taken: exit 3', async () => {
    const address = new URL(server.url).host
    const same = await frazil(['run', write('daemon/again.yaml', `listen: ${address}\n`)])
    assert.equal(same.code, 5)
    assert.match(same.err, /frazil runs over this lake already: http:\/\/127\.0\.0\.1:\d+, pid \d+/)
    const other = await frazil(['run', write('other/frazil.yaml', `listen: ${address}\n`)])
    assert.equal(other.code, 3)
    assert.match(other.err, /port \d+ on 127\.0\.0\.1 is taken by another program/)
  })
})
