import { z } from 'zod'
import { FrazilError, systemRandom } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Catalog, StateChange, StateRecord } from '../iceberg/catalog/index.ts'
import { fateOf, holderSchema, thisHolder } from './lease-holder.ts'
import type { LeaseHolder } from './lease-holder.ts'

/** A holder that has not renewed for this long is taken for gone, where nothing better is known. */
export const leaseTtlMs = 15_000
/** Renewals within one time to live: two may fail or be late. */
const beatsPerTtl = 3
/** Looks at a silent holder's heartbeat within its time to live. */
const looksPerTtl = 10
/** A holder's own time to live is honoured up to this. */
const maxTtlMs = 600_000
/** Each further attempt means that somebody else changed the owner meanwhile. */
const maxAttempts = 10

/** Changes when the lease changes hands, and only then: every commit checks its version. */
const ownerKey = 'lease/owner'
/** Changes with every renewal; apart from the owner so that renewals disturb no commit. */
const heartbeatKey = 'lease/heartbeat'

const ownerSchema = z.object({
  format: z.literal(1),
  /** Grows with each holder. */
  epoch: z.number().int().positive(),
  ttlMs: z.number().positive().max(maxTtlMs),
  /** Null once given up. */
  holder: holderSchema.nullable(),
})
type Owner = z.infer<typeof ownerSchema>

export interface LeaseOptions {
  readonly catalog: Catalog
  readonly clock: Clock
  /** Default: this process, as a new instance. */
  readonly holder?: LeaseHolder
  /** Default {@link leaseTtlMs}. */
  readonly ttlMs?: number
  /** Displace whoever holds it, alive or not. */
  readonly takeOver?: boolean
}

/**
 * The right to write a lake. It only avoids contests: what keeps two processes from harming a table is the fence, a condition
 * on the catalog's own transaction and no clock.
 */
export interface Lease {
  readonly epoch: number
  readonly holder: LeaseHolder
  /**
   * To be among the `states` of every commit: once another process holds the lease, the commit fails and changes nothing. See
   * {@link fencedCatalog}. Plain data; may be sent to other threads.
   */
  readonly fence: StateChange
  /** Resolves when the lease is lost: kind `fenced`, code `lease-lost`, or the error that ended the renewals. Never rejects. */
  readonly lost: Promise<Error>
  /** Stops renewing and gives the lease up, so that the next start need not wait. Fails as the catalog fails. */
  release(): Promise<void>
}

/**
 * Acquires the lease of the lake that `catalog` belongs to. Free, given up, or held by a process that died on this host: at
 * once. Held by one that runs on this host: refused at once. Otherwise its heartbeat is watched for its time to live: refused
 * when it renews, taken over when it does not. Only the passing of time here counts, no wall clock of either host.
 *
 * Errors: `config` code `lease-held` (names host and pid), `newer-format`; `unavailable` code `lease-contested`; those
 * of the catalog.
 */
export async function acquireLease(options: LeaseOptions): Promise<Lease> {
  const { catalog, clock, ttlMs = leaseTtlMs, takeOver = false } = options
  const holder = options.holder ?? thisHolder(systemRandom)
  for (let attempt = 1; attempt <= maxAttempts; attempt++) {
    const record = await catalog.state(ownerKey)
    const owner = record === null ? null : parseOwner(record.value)
    if (record !== null && owner !== null && owner.holder !== null && !takeOver) {
      const fate = fateOf(owner.holder, holder)
      if (fate === 'alive') throw heldBy(owner.holder)
      if (fate === 'unknown') {
        const seen = await watch(catalog, clock, record, owner.ttlMs)
        if (seen === 'renewed') throw heldBy(owner.holder)
        if (seen === 'changed-hands') continue
      }
    }
    const mine: Owner = { format: 1, epoch: (owner?.epoch ?? 0) + 1, ttlMs, holder }
    try {
      const value = JSON.stringify(mine)
      await catalog.commit({ tables: [], states: [{ key: ownerKey, expected: record?.version ?? null, value }] })
    } catch (error) {
      if (!hasKind(error, 'conflict') && !hasKind(error, 'uncertain')) throw error
    }
    const now = await catalog.state(ownerKey)
    if (now !== null && parseOwner(now.value).holder?.instance === holder.instance) {
      return new HeldLease(catalog, clock, mine, holder, now.version)
    }
  }
  throw new FrazilError('unavailable', 'lease-contested', 'several processes are starting on this lake at the same time')
}

/** Who holds the lease, and whether that process still runs as far as one can tell from here; null when nobody does. */
export async function readLeaseHolder(
  catalog: Catalog,
): Promise<{ holder: LeaseHolder; fate: 'alive' | 'dead' | 'unknown' } | null> {
  const record = await catalog.state(ownerKey)
  const holder = record === null ? null : parseOwner(record.value).holder
  return holder === null ? null : { holder, fate: fateOf(holder, thisHolder(systemRandom)) }
}

/**
 * A catalog whose commits hold only while the lease does: after a take-over they fail with kind `fenced`, code `lease-lost`,
 * and have changed nothing.
 */
export function fencedCatalog(catalog: Catalog, fence: StateChange): Catalog {
  return {
    name: catalog.name,
    createNamespace: (namespace) => catalog.createNamespace(namespace),
    namespaces: () => catalog.namespaces(),
    list: (namespace) => catalog.list(namespace),
    load: (table) => catalog.load(table),
    state: (key) => catalog.state(key),
    states: (prefix) => catalog.states(prefix),
    close: () => catalog.close(),
    async commit(commit) {
      try {
        await catalog.commit({ tables: commit.tables, states: [fence, ...commit.states] })
      } catch (error) {
        if (hasKind(error, 'conflict')) throw (await lossOf(catalog, fence)) ?? error
        throw error
      }
    },
  }
}

class HeldLease implements Lease {
  readonly epoch: number
  readonly holder: LeaseHolder
  readonly fence: StateChange
  readonly lost: Promise<Error>
  readonly #catalog: Catalog
  readonly #clock: Clock
  readonly #owner: Owner
  readonly #stop = new AbortController()
  readonly #beating: Promise<void>
  #released: Promise<void> | null = null

  constructor(catalog: Catalog, clock: Clock, owner: Owner, holder: LeaseHolder, version: number) {
    this.epoch = owner.epoch
    this.holder = holder
    this.fence = { key: ownerKey, expected: version }
    this.#catalog = catalog
    this.#clock = clock
    this.#owner = owner
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.lost = promise
    this.#beating = this.#beat().catch(resolve)
  }

  release(): Promise<void> {
    this.#released ??= this.#giveUp()
    return this.#released
  }

  /** Renews until told to stop; throws when the lease is lost. */
  async #beat(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        await this.#renew()
      } catch (error) {
        // While the catalog does not answer nobody can take the lease either; the next beat tries again.
        if (!hasKind(error, 'unavailable') && !hasKind(error, 'uncertain')) throw error
      }
      await this.#clock.sleep(this.#owner.ttlMs / beatsPerTtl, signal)
    }
  }

  async #renew(): Promise<void> {
    const last = await this.#catalog.state(heartbeatKey)
    const value = JSON.stringify({ format: 1, epoch: this.epoch, at: new Date(this.#clock.now()).toISOString() })
    const beat: StateChange = { key: heartbeatKey, expected: last?.version ?? null, value }
    try {
      await this.#catalog.commit({ tables: [], states: [this.fence, beat] })
    } catch (error) {
      const loss = hasKind(error, 'conflict') ? await lossOf(this.#catalog, this.fence) : null
      if (loss !== null) throw loss
      // The fence holds, so it was an earlier holder's last beat that came in between.
      if (!hasKind(error, 'conflict')) throw error
    }
  }

  async #giveUp(): Promise<void> {
    this.#stop.abort()
    await this.#beating
    const value = JSON.stringify({ ...this.#owner, holder: null } satisfies Owner)
    try {
      await this.#catalog.commit({ tables: [], states: [{ ...this.fence, value }] })
    } catch (error) {
      // Somebody else has it already.
      if (!hasKind(error, 'conflict')) throw error
    }
  }
}

/** Watches a holder of whom nothing is known until it renews, the lease changes hands, or its time to live has passed. */
async function watch(
  catalog: Catalog,
  clock: Clock,
  record: StateRecord,
  ttlMs: number,
): Promise<'renewed' | 'changed-hands' | 'expired'> {
  const first = await catalog.state(heartbeatKey)
  const deadline = clock.monotonic() + ttlMs
  for (;;) {
    await clock.sleep(ttlMs / looksPerTtl)
    // Taken before looking: what is read then is at least as new.
    const passed = clock.monotonic() >= deadline
    const [owner, beat] = [await catalog.state(ownerKey), await catalog.state(heartbeatKey)]
    if (owner?.version !== record.version) return 'changed-hands'
    if (beat?.version !== first?.version) return 'renewed'
    if (passed) return 'expired'
  }
}

/** The error of a lease that somebody else has now; null while the fence still holds. */
export async function lossOf(catalog: Catalog, fence: StateChange): Promise<FrazilError | null> {
  const now = await catalog.state(fence.key)
  if (now !== null && now.version === fence.expected) return null
  const holder = now === null ? null : parseOwner(now.value).holder
  const who = holder === null ? 'another process took it' : `${describe(holder)} took it over`
  return new FrazilError('fenced', 'lease-lost', `this process no longer holds the lake: ${who}`)
}

function heldBy(holder: LeaseHolder): FrazilError {
  return new FrazilError('config', 'lease-held', `the lake is in use by ${describe(holder)}`, {
    hint: `stop that process, or start with --take-over to displace it`,
  })
}

function describe(holder: LeaseHolder): string {
  return `process ${holder.pid} on host ${holder.host}`
}

function hasKind(error: unknown, kind: FrazilError['kind']): boolean {
  return error instanceof FrazilError && error.kind === kind
}

function parseOwner(text: string): Owner {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new FrazilError('corrupt', 'lease-record', `the record '${ownerKey}' is not JSON`, { cause })
  }
  const format = z.object({ format: z.number() }).safeParse(json).data?.format
  if (format !== undefined && format > 1) {
    throw new FrazilError('config', 'newer-format', `this lake is held by a newer version (lease format ${format})`, {
      hint: 'install the newer version of frazil again',
    })
  }
  const parsed = ownerSchema.safeParse(json)
  if (parsed.success) return parsed.data
  throw new FrazilError('corrupt', 'lease-record', `the record '${ownerKey}' is not a lease`, { cause: parsed.error })
}
