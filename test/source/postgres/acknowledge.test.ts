import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import { lsnToText, parseLsn, readLsn } from '../../../src/source/postgres/lsn.ts'
import type { Lsn } from '../../../src/source/postgres/lsn.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Tap } from '../../support/tcp-proxy.ts'
import { MapLake } from './lake.ts'

const { server, client } = await postgresForFile()

/** Cuts bytes into typed messages; the first of a client has no type. */
function messages(untyped: boolean, each: (type: number, body: Buffer) => void): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0)
  let first = untyped
  return (bytes) => {
    rest = Buffer.concat([rest, bytes])
    for (;;) {
      const head = first ? 0 : 1
      if (rest.length < head + 4 || rest.length < head + rest.readInt32BE(head)) return
      const size = head + rest.readInt32BE(head)
      each(first ? 0 : rest[0], rest.subarray(head + 4, size))
      rest = rest.subarray(size)
      first = false
    }
  }
}

/** What is said on one replication connection, judged as it is said. */
class Judge implements Tap {
  readonly fromClient: (bytes: Buffer) => void
  readonly fromServer: (bytes: Buffer) => void
  statuses = 0
  #received: Lsn = 0
  #flushed: Lsn = 0

  constructor(durable: () => Lsn, faults: string[]) {
    this.fromServer = messages(false, (type, body) => {
      if (type !== 0x64) return
      if (body[0] === 0x6b) this.#hear(readLsn(body, 1))
      else if (body[0] === 0x77 && body[25] === 0x43) this.#hear(readLsn(body, 35))
    })
    this.fromClient = messages(true, (type, body) => {
      const start = type === 0x51 ? /^START_REPLICATION SLOT \S+ LOGICAL (\S+)/.exec(body.toString()) : null
      if (start) this.#hear(parseLsn(start[1]))
      if (type !== 0x64 || body[0] !== 0x72) return
      this.statuses++
      const [written, flushed, applied] = [1, 9, 17].map((at) => readLsn(body, at))
      const fault = (rule: string): void => void faults.push(`flush ${lsnToText(flushed)} ${rule}`)
      if (flushed > durable()) fault(`is beyond what is durable, ${lsnToText(durable())}`)
      if (flushed < this.#flushed) fault(`is before the last one, ${lsnToText(this.#flushed)}`)
      if (flushed > this.#received) fault(`is beyond what was received, ${lsnToText(this.#received)}`)
      if (applied > flushed || written < flushed) fault('does not lie between applied and written')
      this.#flushed = flushed
    })
  }

  #hear(lsn: Lsn): void {
    this.#received = Math.max(this.#received, lsn)
  }
}

test('postgres fault 36: flush never exceeds what is durable or received, and never decreases', async () => {
  await client.query('create table acked (id int primary key, v text); create table others (v text)')
  const proxy = await TcpProxy.before(server.port)
  const random = seededRandom(36)
  const faults: string[] = []
  const judges: Judge[] = []
  let durable: Lsn = 0
  proxy.tap = () => {
    const judge = new Judge(() => durable, faults)
    judges.push(judge)
    return judge
  }
  const config = { name: 'acked', url: proxy.through(server.url), tables: ['acked'], senderTimeoutMs: 300 }
  await using lake = new MapLake(config, { acknowledge: false })
  await lake.until(() => lake.streaming)
  const seen: string[] = []
  for (let i = 0; i < 150; i++) {
    await client.query(`insert into acked values (${i}, repeat('x', ${random.below(3000)}))`)
    if (random.below(3) === 0) await client.query("insert into others select 'y' from generate_series(1, 100)")
    if (lake.position !== null) seen.push(lake.position)
    // Any position that was given out, also an older one than before, also twice.
    const position = seen.at(-1 - random.below(Math.min(8, seen.length || 1)))
    if (position !== undefined && random.below(2) === 0) {
      durable = Math.max(durable, parseLsn(position))
      lake.source.acknowledge(position)
    }
    if (random.below(25) === 0) proxy.cut()
    if (random.below(10) === 0) await lake.caughtUp()
  }
  await lake.caughtUp()
  await lake.close()
  await proxy.close()
  assert.deepEqual(faults, [])
  const spoken = judges.filter(({ statuses }) => statuses > 0)
  assert.ok(spoken.length > 3, `${spoken.length} connections`)
  assert.equal(lake.table('acked.acked').rows.size, 150)
})
