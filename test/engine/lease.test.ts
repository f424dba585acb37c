import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import { FrazilError, seededRandom } from '../../src/base/index.ts'
import type { Clock } from '../../src/base/index.ts'
import { acquireLease, fencedCatalog } from '../../src/engine/lease.ts'
import type { Lease } from '../../src/engine/lease.ts'
import { fateOf, thisHolder } from '../../src/engine/lease-holder.ts'
import type { LeaseHolder } from '../../src/engine/lease-holder.ts'
import { MemoryCatalog, SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import type { Catalog } from '../../src/iceberg/catalog/index.ts'
import { rejectsWith } from '../conformance/store.ts'
import { ManualClock } from '../support/manual-clock.ts'

const scratch = mkdtempSync(join(tmpdir(), 'frazil-lease-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
let files = 0
const freshFile = (): string => join(scratch, `catalog-${files++}.db`)

const ttlMs = 9_000
const random = seededRandom(1)
const orders = { namespace: 'shop', name: 'orders' }

/** A holder on another machine, about which nothing can be known here. */
function elsewhere(host: string): LeaseHolder {
  return { instance: random.uuid(), host, boot: `boot of ${host}`, pidNamespace: 'pid:[1]', pid: 7, started: '1' }
}

/** A clock for cases that must be decided without waiting. */
const neverWaits: Clock = {
  now: () => 0,
  monotonic: () => 0,
  sleep(_ms, signal) {
    // Renewals sleep with a signal; looking at another's heartbeat does not.
    assert.ok(signal !== undefined, 'nothing to wait for')
    return new Promise((resolve) => {
      if (signal.aborted) resolve()
      else signal.addEventListener('abort', () => resolve(), { once: true })
    })
  },
}

async function isLost(lease: Lease): Promise<boolean> {
  return (await Promise.race([lease.lost, Promise.resolve(null)])) !== null
}

it('gives a free lease at once, and again after it was released, under a later epoch', async () => {
  const catalog = new MemoryCatalog()
  const first = await acquireLease({ catalog, clock: neverWaits, holder: elsewhere('a'), ttlMs })
  assert.equal(first.epoch, 1)
  await first.release()
  await first.release()
  const second = await acquireLease({ catalog, clock: neverWaits, holder: elsewhere('b'), ttlMs })
  assert.equal(second.epoch, 2)
  assert.equal(await isLost(first), false)
  await second.release()
})

it('refuses while the holder elsewhere renews, and names it', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const lease = await acquireLease({ catalog, clock, holder: elsewhere('db-1'), ttlMs })
  const refused = acquireLease({ catalog, clock, holder: elsewhere('db-2'), ttlMs })
  const check = assert.rejects(refused, (error) => {
    assert.ok(error instanceof FrazilError)
    assert.deepEqual([error.kind, error.code], ['config', 'lease-held'])
    assert.match(error.message, /process 7 on host db-1/)
    assert.match(error.hint ?? '', /--take-over/)
    return true
  })
  await clock.advance(ttlMs)
  await check
  assert.equal(await isLost(lease), false)
  await lease.release()
})

it('takes over from a holder elsewhere that is silent for its time to live, not earlier', async () => {
  const catalog = new MemoryCatalog()
  const frozen = await acquireLease({ catalog, clock: neverWaits, holder: elsewhere('a'), ttlMs })
  const clock = new ManualClock()
  let next: Lease | null = null
  // Its own time to live counts, not that of the one who waits.
  const waiting = acquireLease({ catalog, clock, holder: elsewhere('b'), ttlMs: 100 }).then((lease) => (next = lease))
  await clock.advance(ttlMs - 1)
  assert.equal(next, null)
  await clock.advance(1)
  const lease = await waiting
  assert.equal(lease.epoch, 2)
  await rejectsWith(fencedCatalog(catalog, frozen.fence).commit(create), 'fenced', 'lease-lost')
  await frozen.release()
  assert.equal((await catalog.state('lease/owner'))?.version, lease.fence.expected)
  await lease.release()
})

it('looks at no wall clock: steps of a day in either direction change nothing', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const lease = await acquireLease({ catalog, clock, holder: elsewhere('a'), ttlMs })
  for (const day of [86_400_000, -86_400_000, -86_400_000]) {
    const refused = rejectsWith(acquireLease({ catalog, clock, holder: elsewhere('b'), ttlMs }), 'config', 'lease-held')
    await clock.advance(1)
    clock.step(day)
    await clock.advance(ttlMs)
    await refused
  }
  assert.equal(await isLost(lease), false)
  await lease.release()
})

it('displaces a live holder when told to: its commits and heartbeats fail from then on', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const old = await acquireLease({ catalog, clock, holder: elsewhere('a'), ttlMs })
  const taker = await acquireLease({ catalog, clock, holder: elsewhere('b'), ttlMs, takeOver: true })
  assert.equal(taker.epoch, old.epoch + 1)
  await rejectsWith(fencedCatalog(catalog, old.fence).commit(create), 'fenced', 'lease-lost')
  assert.equal(await catalog.load(orders), null)
  await fencedCatalog(catalog, taker.fence).commit(create)
  assert.equal(await isLost(old), false)
  await clock.advance(ttlMs / 2)
  const error = await old.lost
  assert.ok(error instanceof FrazilError)
  assert.deepEqual([error.kind, error.code], ['fenced', 'lease-lost'])
  assert.match(error.message, /process 7 on host b/)
  // Releasing a lost lease does not touch the new one.
  await old.release()
  await fencedCatalog(catalog, taker.fence).commit({ tables: [{ ...orders, base: 'm1', next: 'm2' }], states: [] })
  await clock.advance(10 * ttlMs)
  assert.equal(await isLost(taker), false)
  await taker.release()
})

it('renewals do not disturb commits, and a commit in conflict stays one', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const lease = await acquireLease({ catalog, clock, holder: elsewhere('a'), ttlMs })
  const fenced = fencedCatalog(catalog, lease.fence)
  await fenced.commit(create)
  await clock.advance(5 * ttlMs)
  assert.ok(((await catalog.state('lease/heartbeat'))?.version ?? 0) > 10)
  await fenced.commit({ tables: [{ ...orders, base: 'm1', next: 'm2' }], states: [] })
  await rejectsWith(fenced.commit(create), 'conflict', 'table-exists')
  await rejectsWith(fenced.commit({ tables: [], states: [{ key: 's', expected: 4, value: '' }] }), 'conflict', 'state-changed')
  await lease.release()
  assert.equal(clock.sleeping, 0)
  await rejectsWith(fenced.commit({ tables: [{ ...orders, base: 'm2', next: 'm3' }], states: [] }), 'fenced', 'lease-lost')
})

it('survives a crash between taking the lease and the first heartbeat', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const dying: Catalog = fencedCatalog(catalog, { key: 'nothing', expected: null })
  dying.commit = async (commit) => {
    if (commit.states.some((state) => state.key === 'lease/heartbeat')) throw new Error('crashed')
    await catalog.commit(commit)
  }
  await acquireLease({ catalog: dying, clock, holder: elsewhere('a'), ttlMs })
  assert.equal(await catalog.state('lease/heartbeat'), null)
  const waiting = acquireLease({ catalog, clock, holder: elsewhere('b'), ttlMs })
  await clock.advance(ttlMs)
  const lease = await waiting
  assert.equal(lease.epoch, 2)
  await clock.advance(ttlMs)
  assert.equal(await isLost(lease), false)
  await lease.release()
})

it('finds out whether an uncertain acquisition or renewal went through', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const flaky: Catalog = fencedCatalog(catalog, { key: 'nothing', expected: null })
  let calls = 0
  flaky.commit = async (commit) => {
    // Every second one happened, whatever is said.
    if (calls++ % 2 === 0) await catalog.commit(commit)
    throw new FrazilError('uncertain', 'commit-uncertain', 'no answer')
  }
  const lease = await acquireLease({ catalog: flaky, clock, holder: elsewhere('a'), ttlMs })
  assert.equal(lease.epoch, 1)
  await clock.advance(5 * ttlMs)
  assert.equal(await isLost(lease), false)
  assert.equal((await catalog.state('lease/owner'))?.version, lease.fence.expected)
})

it('rides out a catalog that does not answer, and reports any other failure', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const flaky: Catalog = fencedCatalog(catalog, { key: 'nothing', expected: null })
  let failure: Error | null = null
  flaky.state = async (key) => {
    if (failure !== null) throw failure
    return catalog.state(key)
  }
  const lease = await acquireLease({ catalog: flaky, clock, holder: elsewhere('a'), ttlMs })
  failure = new FrazilError('unavailable', 'down', 'down')
  await clock.advance(5 * ttlMs)
  assert.equal(await isLost(lease), false)
  failure = new FrazilError('corrupt', 'catalog-corrupt', 'damaged')
  await clock.advance(ttlMs)
  assert.equal(await lease.lost, failure)
})

it('lets one of several starters win', async () => {
  const catalog = new MemoryCatalog()
  const clock = new ManualClock()
  const starts = Array.from({ length: 8 }, (_, i) => acquireLease({ catalog, clock, holder: elsewhere(`h${i}`), ttlMs }))
  const settled = Promise.allSettled(starts)
  await clock.advance(3 * ttlMs)
  const results = await settled
  const won = results.filter((result) => result.status === 'fulfilled')
  assert.equal(won.length, 1)
  for (const result of results) {
    if (result.status === 'rejected') assert.equal(result.reason.code, 'lease-held')
  }
  await won[0].value.release()
})

it('refuses records that it cannot read', async () => {
  const owners: [string, 'config' | 'corrupt', string][] = [
    ['{"format":2,"whatever":1}', 'config', 'newer-format'],
    ['{"format":1}', 'corrupt', 'lease-record'],
    ['{"format":1,"epoch":1,"ttlMs":1e300,"holder":null}', 'corrupt', 'lease-record'],
    ['not json', 'corrupt', 'lease-record'],
    ['null', 'corrupt', 'lease-record'],
  ]
  for (const [value, kind, code] of owners) {
    const catalog = new MemoryCatalog()
    await catalog.commit({ tables: [], states: [{ key: 'lease/owner', expected: null, value }] })
    await rejectsWith(acquireLease({ catalog, clock: neverWaits, takeOver: true }), kind, code)
  }
})

it('tells the fate of a process only where it can', { skip: process.platform !== 'linux' }, () => {
  const here = thisHolder(random)
  assert.equal(fateOf(here, thisHolder(random)), 'alive')
  assert.equal(fateOf({ ...here, started: '1' }, here), 'dead')
  assert.equal(fateOf({ ...here, pid: 2 ** 22 + 1 }, here), 'dead')
  assert.equal(fateOf({ ...here, boot: 'another' }, here), 'unknown')
  assert.equal(fateOf({ ...here, pidNamespace: 'another' }, here), 'unknown')
  assert.equal(fateOf({ ...here, boot: null, pidNamespace: null }, { ...here, boot: null, pidNamespace: null }), 'unknown')
})

/** A child process that holds the lease of the catalog in `file`. */
async function holdingChild(file: string): Promise<ChildProcess> {
  const child = fork(new URL('./hold-lease.ts', import.meta.url), [file])
  const [message] = await once(child, 'message')
  assert.equal(message, 'held')
  return child
}

it(
  'refuses at once beside a running process, and takes over at once when it was killed',
  { skip: process.platform !== 'linux' },
  async () => {
    const file = freshFile()
    const child = await holdingChild(file)
    const catalog = await SqliteCatalog.open(file)
    const refused = acquireLease({ catalog, clock: neverWaits })
    await assert.rejects(
      refused,
      (error) => error instanceof FrazilError && error.message.includes(`process ${child.pid} on host`),
    )
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lease = await acquireLease({ catalog, clock: neverWaits })
    assert.equal(lease.epoch, 2)
    await lease.release()
    await catalog.close()
  },
)

it('a displaced process learns it and cannot commit any more', async () => {
  const file = freshFile()
  const child = await holdingChild(file)
  const catalog = await SqliteCatalog.open(file)
  const lease = await acquireLease({ catalog, clock: neverWaits, takeOver: true })
  child.send('commit')
  assert.deepEqual((await once(child, 'message'))[0], 'fenced lease-lost')
  assert.deepEqual((await once(child, 'message'))[0], 'lost: fenced lease-lost')
  await once(child, 'exit')
  assert.equal(await catalog.load(orders), null)
  await lease.release()
  await catalog.close()
})

it('refuses a second engine in the same process', { skip: process.platform !== 'linux' }, async () => {
  const catalog = await SqliteCatalog.open(freshFile())
  const lease = await acquireLease({ catalog, clock: neverWaits })
  await rejectsWith(acquireLease({ catalog, clock: neverWaits }), 'config', 'lease-held')
  await lease.release()
  await (await acquireLease({ catalog, clock: neverWaits })).release()
  await catalog.close()
})

const create = { tables: [{ ...orders, base: null, next: 'm1' }], states: [] }
