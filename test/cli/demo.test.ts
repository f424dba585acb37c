import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { frazil, start } from './frazil.ts'

suite('frazil demo', () => {
  let folder: string
  const blockers: Server[] = []
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'frazil-demo-'))
    // Both preferred ports are taken, by us or by whoever has them already: the demo has to choose others.
    for (const port of [3030, 5439]) {
      const server = createServer()
      await new Promise<void>((resolve) => {
        server.once('error', () => resolve())
        server.listen(port, '127.0.0.1', resolve)
      })
      blockers.push(server)
    }
  })
  after(() => {
    for (const server of blockers) server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('mirrors a live Postgres, compares every table with it, stops by itself', async () => {
    const { code, out, err } = await frazil(['demo', '--dir', join(folder, 'a'), '--seconds', '3'])
    assert.equal(code, 0, out + err)
    assert.match(out, /Port 3030 is taken; HTTP uses \d+ instead\./)
    assert.match(out, /Port 5439 is taken; Postgres uses \d+ instead\./)
    assert.match(out, /^[\d,]+ rows\/s, lag \d+ ms/m)
    for (const table of ['customers', 'orders', 'order_lines']) {
      assert.match(out, new RegExp(`^ {2}${table} +[\\d,]+ rows {2}equal$`, 'm'))
    }
    assert.match(out, /duckdb -c "INSTALL iceberg; LOAD iceberg; SELECT .* iceberg_scan\('\//)
    assert.match(out, /from pyiceberg\.catalog import load_catalog/)
  })

  test('a second start goes on with the data of the first; Ctrl-C ends it at once and leaves no process', async () => {
    const path = join(folder, 'a')
    const demo = start(['demo', '--dir', path])
    await demo.line('Ctrl-C ends it')
    const second = await frazil(['demo', '--dir', path, '--seconds', '1'])
    assert.equal(second.code, 3)
    assert.match(second.err, new RegExp(`a demo runs in .* already: http://127\\.0\\.0\\.1:\\d+, pid ${demo.process.pid}`))
    demo.process.kill('SIGINT')
    const { code, out } = await demo.finished
    assert.equal(code, 0)
    assert.match(out, /Postgres runs again with the shop of the last demo/)
    assert(!readdirSync(join(path, '.postgres')).includes('postmaster.pid'), 'Postgres was shut down')
  })

  test('a folder with other content is left alone', async () => {
    const path = join(folder, 'mine')
    mkdirSync(path)
    writeFileSync(join(path, 'thesis.txt'), 'dear')
    const { code, err } = await frazil(['demo', '--dir', path, '--seconds', '1'])
    assert.equal(code, 3)
    assert.match(err, /has other content than a demo's/)
    assert.deepEqual(readdirSync(path), ['thesis.txt'])
  })
})
