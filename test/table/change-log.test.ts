import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { SlabPool, seededRandom } from '../../src/base/index.ts'
import { appendRow, readRow } from '../../src/data/index.ts'
import { ChangeLog, SpillSpace } from '../../src/table/index.ts'
import type { LoggedChange } from '../../src/table/index.ts'
import { ChangeWriter, tableOf } from './history.ts'
import { rowText } from './rows.ts'

const folder = mkdtempSync(join(tmpdir(), 'frazil-log-'))
after(() => rmSync(folder, { recursive: true }))

const table = tableOf('composite')

/** What a change does to each of its rows, as text. */
function textOf(change: LoggedChange): string[] {
  if (change.type === 'truncate' || change.type === 'table') return [change.type]
  return Array.from({ length: change.to - change.from }, (_, i) => {
    const row = 'segment' in change ? rowText(readRow(change.segment, change.from + i)) : ''
    const at = change.type === 'update' ? change.keysFrom + i : change.from + i
    const key = 'keys' in change ? rowText(readRow(change.keys, at)) : ''
    return `${change.type} ${row} ${key} ${'mustExist' in change ? change.mustExist : ''}`
  })
}

class Bench {
  readonly pool = new SlabPool({ budget: 4 << 20 })
  readonly space: SpillSpace
  readonly writer: ChangeWriter
  readonly #random
  #nextSegment = 1
  rooms = 0

  constructor(seed: number, capacity = 63) {
    this.#random = seededRandom(seed)
    this.space = new SpillSpace(join(folder, String(seed)))
    this.writer = new ChangeWriter(table, this.pool, this.#random, () => 0, capacity, appendRow)
  }

  log(): ChangeLog {
    return new ChangeLog(table.id, {
      pool: this.pool,
      space: this.space,
      nextSegmentId: () => this.#nextSegment++,
      room: async () => {
        this.rooms++
        return true
      },
    })
  }

  below(n: number): number {
    return this.#random.below(n)
  }

  /** Some changes; what they do, as text. */
  some(log: ChangeLog, count: number, part: number): string[] {
    const row = (): [string, string, number, number] => ['é'.repeat(this.below(9)), 'k', this.below(1000), this.below(9)]
    for (let i = 0; i < count; i++) {
      const choice = this.below(40)
      if (choice === 0) this.writer.truncate()
      else if (choice < 10) this.writer.insert(row())
      else if (choice < 20) this.writer.upsert(row(), choice < 15)
      else if (choice < 30) this.writer.update(row(), row())
      else this.writer.delete(row(), choice < 35)
    }
    const did: string[] = []
    this.writer.send((change) => {
      log.add(change, part)
      did.push(...textOf(change))
    })
    return did
  }

  async end(): Promise<void> {
    this.writer.close()
    assert.equal(this.pool.used, 0, 'all memory came back')
    this.space.close()
    while (readdirSync(folder).some((name) => readdirSync(join(folder, name)).length > 0)) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

async function drained(log: ChangeLog, between: () => void | Promise<void> = () => undefined): Promise<string[]> {
  const did: string[] = []
  for (const step of log.drain(0)) {
    if (step instanceof Promise) await step
    else if (step.type === 'outdates') did.push(...textOf(step.change).map((text) => `outdates before ${step.before}: ${text}`))
    else did.push(...textOf(step))
    await between()
  }
  assert.ok(log.isEmpty)
  return did
}

describe('change log', () => {
  it('gives out what came in, in order, whatever is spilled when', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const bench = new Bench(seed)
      const log = bench.log()
      // Twice: a log is used again.
      for (let round = 0; round < 2; round++) {
        const did: string[] = []
        for (let i = 0; i < 12; i++) {
          did.push(...bench.some(log, bench.below(60), 0))
          if (bench.below(3) === 0) await log.spill()
        }
        const spills: Promise<number>[] = []
        const maybeSpill = (): void => {
          if (bench.below(20) === 0) spills.push(log.spill())
        }
        assert.deepEqual(await drained(log, maybeSpill), did, `seed ${seed}`)
        await Promise.all(spills)
      }
      await bench.end()
    }
  })

  it('keeps entries that are many and small on disk as well', async () => {
    const bench = new Bench(21, 255)
    const log = bench.log()
    const did: string[] = []
    for (let i = 0; i < 20; i++) did.push(...bench.some(log, 1000, 0))
    bench.writer.close()
    const { used } = bench.pool
    assert.equal(await log.spill(), used - (64 << 10), 'all but the entries that are added to')
    assert.equal(bench.pool.used, 64 << 10)
    assert.equal(log.memory, 0)
    let most = 0
    assert.deepEqual(await drained(log, () => void (most = Math.max(most, bench.pool.used))), did)
    assert.ok(most < used / 4, 'is read back bit by bit')
    await bench.end()
  })

  for (const first of [0, 2 ** 31 - 5, 2 ** 32 - 101]) {
    it(`drops parts, and only those: numbers from ${first} on`, async () => {
      const bench = new Bench(31)
      const log = bench.log()
      const kept: string[] = []
      for (let part = 1; part <= 30; part++) {
        const did = [...bench.some(log, 5, first + (part % 10)), ...(part % 3 === 0 ? bench.some(log, 3, first + 100) : [])]
        if (part % 10 !== 4 && part % 3 !== 0) kept.push(...did)
        else if (part % 10 !== 4) kept.push(...did.slice(0, -3))
        if (part === 15) await log.spill()
      }
      log.drop(first + 4)
      log.drop(first + 100)
      assert.deepEqual(await drained(log), kept)
      const again = bench.some(log, 5, first + 4)
      assert.deepEqual(await drained(log), again, 'a new transaction has parts of its own')
      await bench.end()
    })
  }

  it('takes over what other logs have', async () => {
    for (let seed = 41; seed < 46; seed++) {
      const bench = new Bench(seed)
      const log = bench.log()
      const did: string[] = []
      for (let i = 0; i < 8; i++) {
        const other = bench.log()
        did.push(...bench.some(other, i === 3 ? 4000 : 20, 1))
        bench.some(other, 5, 2)
        other.drop(2)
        if (bench.below(2) === 0) await other.spill()
        for (const step of log.take(other)) await step
        assert.ok(other.isEmpty)
        if (bench.below(3) === 0) await log.spill()
      }
      assert.deepEqual(await drained(log), did)
      await bench.end()
    }
  })

  it('settles rows of parts as if each were dropped or outdated alone', async () => {
    for (let seed = 71; seed < 83; seed++) {
      const bench = new Bench(seed)
      const log = bench.log()
      const slow = { log: bench.log(), texts: [] as string[] }
      const did: { readonly part: number; readonly texts: readonly string[] }[] = []
      const transaction = async (part: number): Promise<void> => {
        const other = bench.log()
        did.push({ part, texts: bench.some(other, bench.below(12), 0) })
        // A transaction that goes on for longer has rows before, between and behind them.
        if (bench.below(4) === 0) slow.texts.push(...bench.some(slow.log, bench.below(30), 0))
        const spilling = bench.below(5) === 0 ? other.spill() : null
        for (const step of log.take(other, part)) await step
        await spilling
        if (bench.below(5) === 0) await log.spill()
        if (bench.below(8) > 0) return
        did.push({ part, texts: slow.texts })
        slow.texts = []
        for (const step of log.take(slow.log, part)) await step
      }
      for (let part = 1; part < 60; part++) {
        await transaction(part)
        // Several with one part.
        while (bench.below(3) === 0) await transaction(part)
      }
      const ends = [1 + bench.below(20), 21 + bench.below(20), 41 + bench.below(18)]
      log.settle(1, ends[0], 0)
      log.settle(ends[0] + 1, ends[1], 1)
      log.settle(ends[1] + 1, ends[2], 2)
      log.outdate(-2, 2)
      for (const part of [0, -2, 0, -2]) await transaction(part)
      slow.log.clear()
      const expected = did.flatMap(({ part, texts }) => {
        if (part > 0 && part <= ends[0]) return []
        const before = part === -2 || (part > ends[1] && part <= ends[2]) ? 2 : part > ends[0] && part <= ends[1] ? 1 : null
        return before === null ? texts : texts.map((text) => `outdates before ${before}: ${text}`)
      })
      assert.deepEqual(await drained(log), expected, `seed ${seed}`)
      await bench.end()
    }
  })

  it('holds a segment once, however many small transactions have rows in it', async () => {
    const bench = new Bench(91, 1023)
    const log = bench.log()
    const did: string[] = []
    let spills = 0
    for (let i = 0; i < 10_000; i++) {
      const other = bench.log()
      did.push(...bench.some(other, 1, 0))
      for (const step of log.take(other, 1 + (i >> 10))) await step
      assert.ok(log.memory <= bench.pool.used, 'no memory is counted twice')
      if (log.memory < 1 << 20) continue
      await log.spill()
      spills++
    }
    assert.ok(spills > 0)
    assert.deepEqual(await drained(log), did)
    await bench.end()
  })

  it('goes over the budget when there will be no memory, and lets go of everything when it is given up', async () => {
    const bench = new Bench(51)
    const log = bench.log()
    bench.some(log, 400, 0)
    await log.spill()
    bench.writer.close()
    const blocks = []
    for (;;) {
      const block = bench.pool.allocate(4096)
      if (!block) break
      blocks.push(block)
    }
    const steps = log.drain(0)
    const first = steps.next().value
    assert.ok(first instanceof Promise)
    await first
    assert.equal(bench.rooms, 1)
    // Given up while rows are being read.
    const second = steps.next().value
    assert.ok(second instanceof Promise)
    steps.return()
    assert.ok(log.isEmpty)
    await second
    await new Promise((resolve) => setImmediate(resolve))
    for (const block of blocks) bench.pool.free(block)
    await bench.end()
  })

  it('says when the disk does not take it, and loses nothing', async () => {
    const bench = new Bench(61)
    const log = bench.log()
    const did = bench.some(log, 100, 0)
    rmSync(join(folder, '61'), { recursive: true, force: true })
    writeFileSync(join(folder, '61'), 'not a folder')
    await assert.rejects(log.spill(), { kind: 'config', code: 'bad-path' })
    rmSync(join(folder, '61'))
    assert.deepEqual(await drained(log), did)
    await bench.end()
  })
})
