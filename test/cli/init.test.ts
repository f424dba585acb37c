import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { frazil, start } from './frazil.ts'

const password = 'p@ss/w:rd${x}'
let server: EmbeddedPostgres
let client: Client
let folder: string

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'frazil-init-'))
  server = await startPostgres({ password })
  client = new Client(server.url)
  await client.connect()
  await client.query('create database "Odd: db"')
  await client.end()
  client = new Client(urlOf('Odd: db'))
  await client.connect()
  await client.query(`
    create schema "Sales: Data"; create schema sales;
    create table orders (id bigint primary key, note text); insert into orders select i, 'x' from generate_series(1, 1000) i;
    create table "Sales: Data"."it's # ""odd""" (id int primary key); insert into "Sales: Data"."it's # ""odd""" values (1);
    create table "line
break" (id int primary key);
    create table "Ünïcode" (id int primary key);
    create table "select" (a int, b int, primary key (a, b));
    create table parts (id int primary key) partition by range (id);
    create table parts_1 partition of parts for values from (0) to (10); insert into parts values (1), (2);
    create table no_key (a int);
    create unlogged table "un: logged" (id int primary key);
    create table guarded (id int primary key); alter table guarded enable row level security;
    create table sales_x (id int primary key); create table sales.x (id int primary key);
    create view v as select 1 as one`)
})
after(async () => {
  await client.end()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

function urlOf(database: string): string {
  const url = new URL(server.url)
  url.pathname = `/${database}`
  return url.href
}

test('init writes a file that check finds right and run mirrors, without the password', async (t) => {
  const url = urlOf('Odd: db')
  const { code, out, err } = await frazil(['init', url], { cwd: folder })
  assert.equal(code, 0, err)
  const file = join(folder, 'frazil.yaml')
  assert.match(
    out,
    /^wrote .*frazil\.yaml: 9 tables\n2 cannot be mirrored as they are: .*\n.*export PGPASSWORD=…\nnext: frazil check, then frazil run\n$/,
  )
  const text = readFileSync(file, 'utf8')
  assert.ok(!text.includes('p@ss') && !text.includes('p%40ss'), 'no password')
  assert.match(text, /^ {4}url: 'postgres:\/\/postgres:\$\{env:PGPASSWORD\}@127\.0\.0\.1:\d+\/Odd:%20db'$/m)
  assert.match(text, /^ {6}- 'public\.orders' +# public\.orders → \S+, key id, \d+ kB/m)
  assert.match(
    text,
    /^ {6}# table public\.no_key has no usable key.*\n.*ALTER TABLE "public"\."no_key" ADD PRIMARY KEY.*\n {6}# - 'public\.no_key'$/m,
  )
  assert.match(text, /^ {6}# table public\."un: logged" is unlogged.*\n.*SET LOGGED\n/m)

  const again = await frazil(['init', url], { cwd: folder })
  assert.equal(again.code, 1)
  assert.match(again.err, /is there already\n.*--force/)
  assert.equal(readFileSync(file, 'utf8'), text)
  assert.equal((await frazil(['init', url, '--force'], { cwd: folder })).code, 0)
  const printed = await frazil(['init', url, '--out', '-'], { cwd: folder })
  assert.equal(printed.out, text)

  writeFileSync(file, text.replace('127.0.0.1:3030', '127.0.0.1:0'))
  const env = { PGPASSWORD: password }
  const checked = await frazil(['check', '--format', 'json'], { cwd: folder, env })
  assert.equal(checked.err, '')
  const report = JSON.parse(checked.out) as { ok: boolean; sources: { tables: unknown[]; findings: { level: string }[] }[] }
  assert.equal(checked.code, 0, checked.out)
  assert.equal(report.ok, true)
  assert.equal(report.sources[0].tables.length, 9)
  assert.ok(report.sources[0].findings.every(({ level }) => level !== 'error' && level !== 'warning'))

  const daemon = start(['run'], { cwd: folder, env })
  t.after(() => daemon.process.kill('SIGKILL'))
  const listening = JSON.parse(await daemon.line('"listening"')) as { url: string }
  for (const deadline = Date.now() + 100_000; ;) {
    const ready = await fetch(`${listening.url}/ready`)
    const reasons = await ready.text()
    if (ready.status === 200) break
    assert.ok(Date.now() < deadline, reasons)
    await delay(50)
  }
  const answer = await fetch(`${listening.url}/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'select count(*) as n from "Odd__db".public_orders', wait: 'now' }),
  })
  assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [[1000]])
  daemon.process.kill('SIGTERM')
  assert.equal((await daemon.finished).code, 0)
})

test('init of a database that is not there: a sentence, no file, no password', async () => {
  const elsewhere = join(folder, 'elsewhere')
  mkdirSync(elsewhere)
  const cases: [string, number, RegExp][] = [
    [urlOf('nowhere'), 3, /has no database nowhere/],
    ['postgres://postgres:p%40ss@127.0.0.1:1/x', 4, /nothing listens there/],
    ['127.0.0.1:9092', 1, /only Postgres databases/],
    ['postgres://[bad', 3, /must look like postgres:/],
  ]
  for (const [url, expected, message] of cases) {
    const { code, err } = await frazil(['init', url], { cwd: elsewhere })
    assert.match(err, message)
    assert.equal(code, expected, url)
    assert.ok(!err.includes('p@ss') && !err.includes('p%40ss'))
  }
  assert.throws(() => readFileSync(join(elsewhere, 'frazil.yaml')))
})
