import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { checkPostgresSource } from '../../../src/source/index.ts'
import { MapLake } from '../../source/postgres/lake.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'

let folder: string
let server: EmbeddedPostgres

/** An authority of our own, a certificate of it for `localhost`, and another authority. */
function makeCertificates(): void {
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  }
  for (const name of ['ca', 'other']) {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '30',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
    )
  }
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-keyout', 'server.key', '-out', 'server.csr')
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost')
  openssl(
    'x509',
    '-req',
    '-in',
    'server.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '30',
    '-extfile',
    'names',
    '-out',
    'server.pem',
  )
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'frazil-tls-'))
  makeCertificates()
  server = await startPostgres()
  const client = new Client(server.url)
  await client.connect()
  await client.query('create table items (id int primary key, v text); insert into items values (1, $$a$$)')
  // The server wants its key to be its own, and nobody else's to read.
  for (const [source, target] of [
    ['server.pem', 'server.crt'],
    ['server.key', 'server.key'],
  ]) {
    const text = readFileSync(join(folder, source), 'utf8').trimEnd()
    await client.query(`copy (select regexp_split_to_table('${text}', E'\\n')) to program 'umask 077; cat > ${target}'`)
  }
  await client.query('alter system set ssl = on')
  await client.query('select pg_reload_conf()')
  await client.end()
})
after(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** The server under another host name, with these parameters. */
function url(host: string, parameters: Readonly<Record<string, string>>): string {
  const address = new URL(server.url)
  address.hostname = host
  address.password = 'hunter2'
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value)
  return address.href
}

test('each sslmode verifies what it says, and what is wrong is said', async () => {
  const ca = join(folder, 'ca.pem')
  const other = join(folder, 'other.pem')
  const cases: [string, Record<string, string>, RegExp | null][] = [
    ['127.0.0.1', { sslmode: 'require' }, null],
    ['127.0.0.1', { sslmode: 'disable' }, null],
    ['localhost', { sslmode: 'verify-full', sslrootcert: ca }, null],
    ['127.0.0.1', { sslmode: 'verify-ca', sslrootcert: ca }, null],
    ['127.0.0.1', { sslmode: 'verify-full', sslrootcert: ca }, /^tls: .*; the certificate is for another host name/],
    ['localhost', { sslmode: 'verify-full' }, /^tls: .*; add sslrootcert=/],
    ['localhost', { sslmode: 'verify-full', sslrootcert: other }, /^tls: .*; add sslrootcert=/],
    ['127.0.0.1', { sslmode: 'verify-ca', sslrootcert: other }, /^tls: /],
    ['127.0.0.1', { sslmode: 'require', sslrootcert: other }, /^tls: /],
    ['localhost', { sslmode: 'verify-ca' }, /^bad-url: .*; add sslrootcert=/],
  ]
  for (const [host, parameters, expected] of cases) {
    const config = { name: 'shop', url: url(host, parameters), tables: ['items'] }
    const report = await checkPostgresSource(config, { lakeId: null, running: false, memo: null, position: null })
    const errors = report.findings.filter(({ level }) => level === 'error')
    const text = errors.map(({ code, message, hint }) => `${code}: ${message}; ${hint}`).join('\n')
    const what = `${host} ${JSON.stringify(parameters)}`
    if (expected === null) assert.equal(text, '', what)
    else assert.match(text, expected, what)
    assert.ok(!JSON.stringify(report).includes('hunter2'))
  }
})

test('copy and stream over a verified connection', async () => {
  const config = { name: 'shop', url: url('localhost', { sslmode: 'verify-full', sslrootcert: join(folder, 'ca.pem') }) }
  await using lake = new MapLake({ ...config, tables: ['items'] })
  await lake.until(() => lake.streaming)
  const client = new Client(server.url)
  await client.connect()
  await client.query("insert into items select i, repeat('x', 1000) from generate_series(2, 3000) i")
  await client.end()
  await lake.caughtUp()
  assert.equal(lake.rows('shop.items').length, 3000)
})
