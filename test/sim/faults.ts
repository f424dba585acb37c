import { FrazilError } from '../../src/base/index.ts'
import type { Clock } from '../../src/base/index.ts'
import type { Catalog } from '../../src/iceberg/catalog/index.ts'
import type { ObjectInfo, ObjectStore } from '../../src/storage/index.ts'

/** What happens at one call of the store or the catalog. */
export type Fault =
  /** The process dies: nothing of it is ever heard again. */
  | 'dies-before'
  | 'dies-after'
  /** The answer is lost on the way: nobody knows whether it was done. Catalog commits only. */
  | 'uncertain-undone'
  | 'uncertain-done'
  /** Nothing was done, and it says so. */
  | 'unavailable'

/** The calls that change something or ask for a state record, in the order in which one process makes them. */
export class Gate {
  /** Calls so far. */
  calls = 0
  isDead = false
  #isDue: (call: number, name: string) => boolean
  #fault: Fault | null
  #died: () => void = () => undefined
  /** Resolves when the process has died. */
  readonly died = new Promise<void>((resolve) => (this.#died = resolve))
  /** What happens before anybody can look whether a lost answer was a yes. */
  afterLoss: (() => Promise<void>) | null = null
  /** What others do, once, just before the next commit of tables reaches the catalog. */
  beforeCommit: (() => Promise<void>) | null = null
  /** Calls to the catalog, of any kind, that nothing answers from now on. */
  unanswered = 0
  /** What the fault met, for messages. */
  met: string | null = null

  /** @param at number of the call at which `fault` happens */
  constructor(fault: Fault | null = null, at = 0) {
    this.#fault = fault
    this.#isDue = (call) => call >= at
  }

  /** From now on: at the first call with such a name. */
  arm(fault: Fault, name: RegExp): void {
    this.#fault = fault
    this.met = null
    this.#isDue = (_call, called) => name.test(called)
  }

  kill(): void {
    this.isDead = true
    this.#died()
  }

  async change<T>(name: string, isCommit: boolean, work: () => Promise<T>): Promise<T> {
    if (this.isDead) return forever()
    this.calls++
    const fault = this.met === null && this.#isDue(this.calls, name) ? this.#fault : null
    if (fault === null) return this.passed(work())
    const isAnswer = fault === 'uncertain-done' || fault === 'uncertain-undone'
    // A lost answer waits for the next commit.
    if (isAnswer && !isCommit) return this.passed(work())
    this.met = `${fault} at call ${this.calls}: ${name}`
    switch (fault) {
      case 'dies-before':
        this.kill()
        return forever()
      case 'dies-after':
        await work().catch(() => undefined)
        this.kill()
        return forever()
      case 'uncertain-done':
        await work()
        await this.afterLoss?.()
        throw new FrazilError('uncertain', 'answer-lost', `the answer to ${name} was lost`)
      case 'uncertain-undone':
        await this.afterLoss?.()
        throw new FrazilError('uncertain', 'answer-lost', `the answer to ${name} was lost`)
      case 'unavailable':
        throw new FrazilError('unavailable', 'down', `${name} does not answer`)
    }
  }

  /** A dead process hears no answer. */
  async passed<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work
      return this.isDead ? await forever<T>() : result
    } catch (error) {
      if (this.isDead) return forever()
      throw error
    }
  }

  read<T>(work: () => Promise<T>): Promise<T> {
    return this.isDead ? forever() : this.passed(work())
  }
}

/** Never settles; a promise that nobody keeps is forgotten. */
function forever<T>(): Promise<T> {
  return new Promise(() => undefined)
}

export function gatedStore(store: ObjectStore, gate: Gate): ObjectStore {
  return {
    root: store.root,
    get: (uri, range) => gate.read(() => store.get(uri, range)),
    reader: (uri) => gate.read(() => store.reader(uri)),
    head: (uri) => gate.read(() => store.head(uri)),
    put: (uri, bytes, options) => gate.change('put', false, () => store.put(uri, bytes, options)),
    writer: (uri) => gate.read(() => store.writer(uri)),
    async *list(prefix) {
      // Read to the end first: a directory that a dead process leaves open would be closed with a warning.
      const found: ObjectInfo[] = []
      for await (const info of store.list(prefix)) found.push(info)
      for (const info of found) yield await gate.read(async () => info)
    },
    delete: (uris) => gate.change('delete', false, () => store.delete(uris)),
  }
}

export function gatedCatalog(catalog: Catalog, gate: Gate): Catalog {
  const answer = <T>(call: () => Promise<T>): Promise<T> => {
    if (gate.unanswered === 0) return call()
    gate.unanswered--
    return gate.passed(Promise.reject(new FrazilError('unavailable', 'down', 'the catalog does not answer')))
  }
  return {
    name: catalog.name,
    createNamespace: (namespace) => answer(() => gate.change('createNamespace', false, () => catalog.createNamespace(namespace))),
    namespaces: () => answer(() => gate.read(() => catalog.namespaces())),
    list: (namespace) => answer(() => gate.read(() => catalog.list(namespace))),
    load: (table) => answer(() => gate.read(() => catalog.load(table))),
    commit: (commit) =>
      answer(() =>
        gate.change(`commit of ${commit.tables.length} tables`, true, async () => {
          const { beforeCommit } = gate
          if (beforeCommit && commit.tables.length > 0) {
            gate.beforeCommit = null
            await beforeCommit()
          }
          await catalog.commit(commit)
        }),
      ),
    state: (key) => answer(() => gate.change(`state ${key}`, false, () => catalog.state(key))),
    states: (prefix) => answer(() => gate.read(() => catalog.states(prefix))),
    close: () => catalog.close(),
  }
}

const maxAsked = 1_000_000

/** A clock on which every wait is short, `aheadMs` before the real one; one of `endlessMs` or more ends only by its signal. */
export function hurriedClock(gate: Gate, aheadMs = 0, endlessMs = Infinity): Clock {
  // Who asks so often without letting anything else happen would go on without end.
  let asked = 0
  return {
    now: () => Date.now() + aheadMs,
    monotonic() {
      if (asked++ === 0) setImmediate(() => (asked = 0))
      if (asked > maxAsked) throw new Error('somebody spins: nothing else has happened meanwhile')
      return performance.now()
    },
    async sleep(ms, signal) {
      await new Promise<void>((resolve) => {
        if (signal?.aborted) return resolve()
        const timer = ms < endlessMs ? setTimeout(resolve, Math.min(ms, 3)) : undefined
        signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
      })
      if (gate.isDead) await forever()
    },
  }
}
