import type { Client } from 'pg'
import { FrazilError, asError, assert } from '../../base/index.ts'
import type { Position, SourceEvent, SourceTable } from '../../data/index.ts'
import type { EventListener } from '../../observe/index.ts'
import type { ServerSource, SourceLag, SourceParts, SourceState, TableName } from '../source.ts'
import { Backlog, farBehindBytes, mayReadBySql } from './backlog.ts'
import { readBorrowed, withPublished } from './borrowed-publication.ts'
import { readCatalogue } from './catalogue.ts'
import type { Catalogue } from './catalogue.ts'
import { ChangeDecoder } from './change-decoder.ts'
import type { StreamTable } from './stream-table.ts'
import { askedAgain, compareTables, interruptedCopies, notPublished } from './compared-tables.ts'
import { Confluence } from './confluence.ts'
import { placeOf } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { ControlConnection } from './control-connection.ts'
import { Copier } from './copier.ts'
import { partPages } from './copy-parts.ts'
import type { PartialCopy } from './copy-parts.ts'
import { errorCode, isRefusal, postgresError } from './errors.ts'
import { parseTablePattern } from './identifiers.ts'
import { describeTable, whenVisible } from './table-description.ts'
import type { TableDescription } from './table-description.ts'
import { typesOf } from './shape-memo.ts'
import { lsnToText, parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { readMemberships } from './membership.ts'
import { knowsSlot, newMemo, readMemo, writeMemo } from './memo.ts'
import type { Memo } from './memo.ts'
import { arrangePublication, checkSlot, isBorrowed, publicationGone, refuseForeign, unpublish } from './ownership.ts'
import type { Names } from './ownership.ts'
import { endpointOf, namesOf } from './postgres-config.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { preflight, readPublication, readSlot } from './preflight.ts'
import type { ServerFacts, SlotFacts } from './preflight.ts'
import { readHead } from './log-head.ts'
import { ReplicationStream } from './replication-stream.ts'
import { ReplacedValues } from './replaced-values.ts'
import { makeSlot } from './permanent-slot.ts'
import type { PermanentSlotRequest } from './permanent-slot.ts'
import { Retry } from './retry.ts'
import { TableFinder, catalogueSettings } from './table-finder.ts'
import { RetiredSegments } from './segment-writer.ts'
import { ShapeWatch } from './shape-watch.ts'
import { SlotWatch } from './slot-watch.ts'
import type { TablePlan } from './table-plan.ts'
import { checkServer, whatChanged } from './timeline.ts'

export interface PostgresParts extends SourceParts {
  /** Told of retries, and of tables that are left out. */
  readonly observe?: EventListener
}

/** How long a server that does not answer at all is asked when the source starts. */
const firstContactMs = 3_000
const defaultCopyConnections = 4
/** Errors that mean a stream of another form. */
const reopenings: ReadonlySet<string> = new Set(['text-needed', 'whole-needed', 'streaming-again'])

/** A Postgres database's changes by logical replication, after a copy of what is there (`Source`). */
export function createPostgresSource(config: PostgresConfig, parts: PostgresParts): ServerSource {
  return new PostgresSource(config, parts)
}

/** What has to be done after everything was checked and made. */
interface Plan {
  readonly facts: ServerFacts
  readonly catalogue: Catalogue
  readonly start: Lsn
  /** Tables that the lake has. */
  readonly known: readonly StreamTable[]
  readonly toCopy: readonly TablePlan[]
  /** Copies of those that may go on, by the table's id. */
  readonly partial: Map<string, PartialCopy>
  readonly detached: readonly string[]
  /** Tables that cannot go on, or not begin. */
  readonly failed: readonly SourceEvent[]
  /** End of the server's log. */
  readonly head: Lsn
  readonly byStream: boolean
}

class PostgresSource implements ServerSource {
  readonly name: string
  readonly #config: PostgresConfig
  readonly #parts: PostgresParts
  readonly #names: Names
  readonly #endpoint: Endpoint
  readonly #control: ControlConnection
  readonly #retired = new RetiredSegments()
  readonly #closing = new AbortController()
  readonly #replaced: ReplacedValues
  readonly #watch: SlotWatch
  #opened = false
  #closed = false
  #memo: Memo | null = null
  #decoder: ChangeDecoder | null = null
  #stream: ReplicationStream | null = null
  #trouble: string | null = null
  #backlog: Backlog | null = null
  #backlogRefused = false
  #copier: Copier | null = null
  #finder: TableFinder | null = null
  #acknowledged: Lsn = 0
  #target: Lsn = 0

  constructor(config: PostgresConfig, parts: PostgresParts) {
    this.name = config.name
    this.#config = config
    this.#parts = parts
    this.#names = namesOf(config)
    this.#replaced = new ReplacedValues(config.name, parts.observe)
    this.#endpoint = endpointOf(config)
    this.#control = new ControlConnection(this.#endpoint)
    this.#watch = new SlotWatch({
      source: this.name,
      slot: this.#names.slot,
      clock: parts.clock,
      ask: (question) => this.#control.ask(question),
      onHead: (head) => this.#stream?.reach(head),
      onWarning: (message, hint) => this.#notice('warn', message, hint),
    })
  }

  async *open(state: SourceState | null): AsyncGenerator<readonly SourceEvent[], void> {
    assert(!this.#opened, 'a source is opened once')
    this.#opened = true
    try {
      yield* this.#run(state)
    } catch (error) {
      if (!this.#closing.signal.aborted) throw postgresError(error, placeOf(this.#config.url))
    } finally {
      this.#copier?.close()
      if (!this.#closing.signal.aborted || this.#closed) await this.#stream?.close()
      // However it ended, nothing of it goes on asking the server.
      this.#closing.abort()
      this.#decoder?.tables.release()
      this.#retired.releaseAll()
      await this.#control.close()
    }
  }

  memo(): string {
    return this.#memo === null ? '' : writeMemo(this.#memo)
  }

  reached(a: Position, b: Position): boolean {
    return parseLsn(a) >= parseLsn(b)
  }

  checkPosition(text: string): Position {
    return lsnToText(parseLsn(text))
  }

  async head(): Promise<Position> {
    const head = await this.#control.ask(readHead)
    this.#reach(head)
    return lsnToText(head)
  }

  #reach(position: Lsn): void {
    this.#target = Math.max(this.#target, position)
    this.#stream?.reach(this.#target)
  }

  acknowledge(position: Position): void {
    const lsn = parseLsn(position)
    if (lsn <= this.#acknowledged) return
    this.#acknowledged = lsn
    this.#stream?.acknowledge(lsn)
    this.#backlog?.acknowledge(lsn)
    this.#decoder?.tables.releaseSealed()
  }

  async recopy(table: TableName): Promise<void> {
    await this.#tables().again(table, this.#decoder?.tables.known ?? [])
  }

  async examine(name: string): Promise<SourceTable> {
    return this.#tables().examine(name)
  }

  async include(name: string): Promise<void> {
    await this.#tables().include(name)
  }

  async namedBy(name: string): Promise<string | null> {
    return this.#tables().namedBy(name)
  }

  async exclude(name: string, ids: readonly string[]): Promise<void> {
    this.#tables().exclude(name, ids)
    for (const id of ids) this.#decoder?.tables.forget(id)
    for (const id of ids) await this.#control.ask((client) => unpublish(client, this.#names, id))
  }

  #tables(): TableFinder {
    if (this.#finder) return this.#finder
    throw new FrazilError('unavailable', 'starting', `source ${this.name} has not started`)
  }

  reach(position: Position): void {
    const lsn = parseLsn(position)
    if (lsn <= this.#target) this.#stream?.reach(this.#target)
    else this.head().catch(() => {}) // whoever waits is told that it takes too long
  }

  lag(visible: Position | null, committed: Position | null): SourceLag | null {
    const begin = this.#memo?.start ?? 0
    return this.#watch.lag(visible === null ? begin : parseLsn(visible), committed === null ? begin : parseLsn(committed))
  }

  get trouble(): string | null {
    return this.#trouble
  }

  stop(): void {
    this.#closing.abort()
    this.#copier?.stop()
    this.#backlog?.close()
    this.#stream?.stop()
  }

  async close(): Promise<void> {
    this.stop()
    this.#closed = true
    await this.#stream?.close()
    await this.#control.close()
  }

  async *#run(state: SourceState | null): AsyncGenerator<readonly SourceEvent[], void> {
    const plan = await this.#retrying(() => this.#prepare(state))
    if (plan === null) return
    void this.#watch.run(this.#closing.signal)
    const decoder = new ChangeDecoder(plan.start, {
      tables: plan.known,
      binary: ![...plan.known, ...plan.toCopy].some(({ columns }) => columns.some(({ codec }) => codec.textOnly)),
      parts: this.#parts,
      retired: this.#retired,
      codecOf: plan.catalogue.codecOf,
      settingOf: (sourceName, column) => plan.catalogue.settingOf(sourceName, column),
      leavesBehind: ({ namespace, name }) => this.#config.newColumns?.includes(`${namespace}.${name}`) ?? false,
      describe: (known, { oid, columns }, transaction) => {
        const types = columns.map(({ typeOid }) => typeOid)
        const ask = async (client: Client): Promise<TableDescription | 'too early' | null> => {
          await plan.catalogue.learnTypes(client, types)
          return describeTable(client, { oid, types, transaction, known })
        }
        return whenVisible(() => this.#control.ask(ask), this.#parts.clock, this.#closing.signal)
      },
    })
    this.#decoder = decoder
    for (const { floor } of plan.known) this.#target = Math.max(this.#target, floor)
    const copier = this.#makeCopier(plan, decoder)
    this.#copier = copier
    copier.request(plan.toCopy)
    const look = {
      everyMs: this.#config.newTablesEveryMs,
      clock: this.#parts.clock,
      asking: <T>(ask: (client: Client) => Promise<T>) => this.#control.ask(ask),
    }
    const finder = new TableFinder({
      ...look,
      names: this.#names,
      version: plan.facts.version,
      settings: catalogueSettings(this.#config, this.#names, this.#replaced),
      known: plan,
      closing: this.#closing.signal,
      take: (plans, borrowed) => {
        if (this.#memo) this.#memo = withPublished(this.#memo, plans, borrowed)
        copier.request(plans)
      },
      notice: (message, hint) => this.#notice('warn', message, hint),
    })
    this.#finder = finder
    const shapes = new ShapeWatch({
      ...look,
      source: this.name,
      publication: this.#names.publication,
      version: plan.facts.version,
      decoder,
      catalogue: plan.catalogue,
      reach: (at) => this.#stream?.reach(at, true),
    })
    void shapes.run(this.#closing.signal)
    if (plan.failed.length > 0) yield plan.failed
    // With nothing to keep fresh the changes wait best where they are: at the server.
    if (plan.known.length === 0) yield* copier.all()
    const skipped = decoder.skipToFloors()
    if (skipped.length > 0) yield skipped
    const lanes = new Confluence()
    lanes.add(this.#follow(plan, decoder))
    lanes.add(copier.run())
    if (this.#config.tables.some((table) => !parseTablePattern(table).exact)) {
      lanes.add(finder.watch())
    }
    yield* lanes.flow()
  }

  // ---- before anything is read --------------------------------------------------------------------------------------------

  /** Checks the server, makes publication and slot where they are missing, and compares what the lake has with what is there. */
  async #prepare(state: SourceState | null): Promise<Plan> {
    const control = await this.#control.client()
    const names = this.#names
    let memo = state?.memo ? readMemo(state.memo) : null
    const last = state?.lastMemo ? readMemo(state.lastMemo) : memo
    const [slot, publication] = [await readSlot(control, names.slot), await readPublication(control, names.publication)]
    const newSlots = (slot ? 0 : 1) + (state === null || state.tables.length === 0 ? 1 : 0)
    const facts = await preflight(control, {
      applicationName: this.#endpoint.applicationName,
      newSlots,
      newPublication: publication === null,
    })
    if (memo && state?.position == null) {
      const changed = await whatChanged(this.#endpoint, names, { memo, facts, slot })
      if (changed !== null) this.#notice('warn', `source ${this.name}: its copies begin again: ${changed}`)
      if (changed !== null) memo = null
    }
    const position = state?.position ? parseLsn(state.position) : (memo?.start ?? null)
    if (memo) await checkServer(this.#endpoint, this.#names, { memo, facts, position, committed: position })
    if (memo?.published && !isBorrowed(names, publication)) throw publicationGone(names)
    refuseForeign(names, slot, publication, facts, knowsSlot(last, names, facts.systemId))
    if (position !== null) checkSlot(names, slot, position, facts)
    const borrowed = isBorrowed(names, publication) ? await readBorrowed(control, names.publication, facts.version) : null
    const catalogue = await readCatalogue(control, {
      ...catalogueSettings(this.#config, this.#names, this.#replaced),
      borrowed,
      detached: new Set(state?.detached),
      known: new Map(state?.tables.map(({ table }) => [table.id, table.sourceName])),
      knownTypes: (state?.tables ?? []).flatMap(({ table }) => typesOf(table)),
    })
    for (const column of catalogue.unknownColumns) {
      this.#notice('warn', `source ${this.name}: no table that is read has the column ${column} of its columns`)
    }
    for (const { error } of catalogue.astray) this.#notice('warn', error.message, error.hint)
    const tables = compareTables(catalogue, state, this.name)
    for (const event of tables.failed) {
      if (event.type === 'failed') this.#notice('warn', event.error.message, event.error.hint)
    }
    const ids = [...tables.known.map(({ table }) => table.id), ...(state?.copies ?? []).map(({ table }) => table.id)]
    const memberships = await readMemberships(control, names.publication, facts.version, ids)
    const now = { source: this.name, publication, borrowed, memo, memberships }
    const unpublished = notPublished(tables.known, now)
    const known = tables.known.filter((entry) => !unpublished.has(entry))
    const failed = [...tables.failed, ...unpublished.values()]
    const toCopy = [...tables.toCopy, ...askedAgain(known, state)]
    const published = [...known.map(({ plan }) => plan), ...tables.toCopy]
    if (!borrowed) await arrangePublication(control, names, published, publication)
    const start =
      position ?? (await this.#makeSlot(control, { exists: slot !== null, version: facts.version, borrowed: borrowed !== null }))
    this.#memo = withPublished(newMemo(names, facts, memo?.start ?? start), published, borrowed)
    return {
      facts,
      catalogue,
      start,
      known: known.map(({ table, columns, memo, floor, plan }) => ({
        table,
        columns,
        memo: { ...memo, member: memo.member ?? memberships.get(table.id) },
        floor: parseLsn(floor),
        loose: plan.loose,
      })),
      toCopy,
      // Beside tables that go on, the stream begins where they are: behind what the parts need.
      partial: interruptedCopies(known.length > 0 ? null : state, toCopy, now),
      detached: state?.detached ?? [],
      failed,
      head: facts.flushed,
      byStream: this.#byStream(slot, facts),
    }
  }

  #makeSlot(control: Client, slot: Pick<PermanentSlotRequest, 'exists' | 'version' | 'borrowed'>): Promise<Lsn> {
    const { slotWaitMs, failover } = this.#config
    return makeSlot(this.#endpoint, control, { names: this.#names, slotWaitMs, failover, ...slot })
  }

  // ---- copies -------------------------------------------------------------------------------------------------------------

  #makeCopier({ facts, start, partial }: Plan, { tables }: ChangeDecoder): Copier {
    return new Copier({
      endpoint: this.#endpoint,
      names: this.#names,
      version: facts.version,
      waitMs: this.#config.slotWaitMs ?? 10_000,
      retryForMs: this.#config.retryForMs,
      connections: this.#config.copyConnections ?? defaultCopyConnections,
      partPages: partPages(this.#config.copyPartBytes),
      start: this.#memo?.start ?? start,
      partial,
      maxFrameBytes: this.#maxFrameBytes,
      parts: this.#parts,
      tables,
      replaced: this.#replaced,
      asking: (ask) => this.#control.ask(ask),
      control: () => this.#control.client(),
      unavailable: (error) => this.#unavailable(error),
      reach: (floor) => this.#reach(floor),
      closing: this.#closing.signal,
    })
  }

  // ---- the stream ---------------------------------------------------------------------------------------------------------

  async *#follow(plan: Plan, decoder: ChangeDecoder): AsyncGenerator<readonly SourceEvent[], void> {
    let retry = new Retry(this.#parts, this.#config.retryForMs)
    let announced = false
    // While tables were copied the log went on.
    let again = plan.toCopy.length > 0
    let { head, byStream } = plan
    while (!this.#closing.signal.aborted) {
      const from = decoder.position
      try {
        if (again) ({ head, byStream } = await this.#checkAgain(decoder.position))
        if (!byStream && head - decoder.position >= (this.#config.farBehindBytes ?? farBehindBytes)) {
          if (!announced) yield [{ type: 'streaming' }]
          announced = true
          this.#trouble = null
          yield* this.#readBacklog(decoder, head)
          if (this.#closing.signal.aborted) return
          await this.#checkAgain(decoder.position)
        }
        const stream = await ReplicationStream.open({
          endpoint: this.#endpoint,
          slot: this.#names.slot,
          publication: this.#names.publication,
          version: plan.facts.version,
          decoder,
          acknowledged: Math.min(this.#acknowledged, decoder.position),
          pool: this.#parts.pool,
          clock: this.#parts.clock,
          retired: this.#retired,
          maxFrameBytes: this.#maxFrameBytes,
          senderTimeoutMs: this.#config.senderTimeoutMs ?? null,
        })
        this.#stream = stream
        void stream.started.then(() => {
          if (this.#stream === stream) this.#trouble = null
        })
        if (this.#closing.signal.aborted) return
        stream.reach(this.#target)
        let next = stream.take()
        if (!announced) {
          await Promise.race([stream.started, next])
          announced = true
          yield [{ type: 'streaming' }]
        }
        for (;;) {
          const events = await next
          if (events === null) return
          retry = new Retry(this.#parts, this.#config.retryForMs)
          this.#replaced.tell()
          yield events
          next = stream.take()
        }
      } catch (error) {
        if (this.#closing.signal.aborted) return
        const failure = await this.#explained(error, decoder.position)
        if (decoder.position > from) retry = new Retry(this.#parts, this.#config.retryForMs)
        void this.#stream?.close()
        this.#stream = null
        // What ended the stream may have silenced this connection too.
        await this.#control.drop()
        again = true
        const events = decoder.reconnect()
        this.#retired.handOut()
        yield events
        this.#retired.release()
        if (reopenings.has(failure.code)) this.#notice('info', failure.message)
        else await this.#waitFor(retry, failure)
      }
    }
  }

  /** Until the stream can go on: the slot is nearly read, or the server does not let us read it like this. */
  async *#readBacklog(decoder: ChangeDecoder, head: Lsn): AsyncGenerator<readonly SourceEvent[], void> {
    const { slot, publication } = this.#names
    const { pool, clock } = this.#parts
    try {
      this.#backlog = await Backlog.open({
        endpoint: this.#endpoint,
        slot,
        publication,
        decoder,
        head,
        pool,
        clock,
        retired: this.#retired,
        maxFrameBytes: this.#maxFrameBytes,
        roundBytes: this.#config.backlogRoundBytes,
        advance: async (position) => {
          await this.#control.ask((client) =>
            client.query('select pg_catalog.pg_replication_slot_advance($1, $2)', [slot, lsnToText(position)]),
          )
        },
      })
      const behind = Math.round((head - decoder.position) / 1e6)
      this.#notice('info', `source ${this.name} is ${behind} MB of log behind: it is read by SQL first`)
      for (;;) {
        if (this.#closing.signal.aborted) return
        const events = await this.#backlog.take()
        if (events === null) return
        this.#replaced.tell()
        yield events
      }
    } catch (error) {
      if (!isRefusal(error)) throw error
      this.#backlogRefused = true
      const { message } = postgresError(error, placeOf(this.#config.url))
      this.#notice('warn', `the backlog of source ${this.name} is read by the stream, which is slower; by SQL: ${message}`)
      const events = decoder.reconnect()
      this.#retired.handOut()
      yield events
      this.#retired.release()
    } finally {
      this.#backlog?.close()
      this.#backlog = null
    }
  }

  #byStream(slot: SlotFacts | null, facts: ServerFacts): boolean {
    return this.#config.backlog === 'stream' || this.#backlogRefused || !mayReadBySql(slot, facts)
  }

  /** After a lost connection: is this still the server, the slot and the publication that we were reading? */
  async #checkAgain(position: Lsn): Promise<{ head: Lsn; byStream: boolean }> {
    const control = await this.#control.client()
    const [slot, publication] = [
      await readSlot(control, this.#names.slot),
      await readPublication(control, this.#names.publication),
    ]
    const facts = await preflight(control, {
      applicationName: this.#endpoint.applicationName,
      newSlots: 0,
      newPublication: false,
    })
    if (this.#memo) {
      const committed = this.#acknowledged
      await checkServer(this.#endpoint, this.#names, { memo: this.#memo, facts, position, committed })
      this.#memo = { ...this.#memo, timeline: facts.timeline }
    }
    checkSlot(this.#names, slot, position, facts)
    refuseForeign(this.#names, slot, publication, facts, true)
    return { head: facts.flushed, byStream: this.#byStream(slot, facts) }
  }

  // ---- connections --------------------------------------------------------------------------------------------------------

  #notice(level: 'info' | 'warn', message: string, hint: string | null = null): void {
    this.#parts.observe?.({ type: 'notice', level, message, hint })
  }

  get #maxFrameBytes(): number {
    return this.#config.maxFrameBytes ?? (1 << 30) + (64 << 20)
  }

  /**
   * Repeats what fails because the server is busy with something else. A server that is not there at all is soon told: as a rule
   * the address is wrong. Null when the source was closed meanwhile.
   */
  async #retrying<T>(attempt: () => Promise<T>): Promise<T | null> {
    const retry = new Retry(this.#parts, this.#config.retryForMs)
    const started = this.#parts.clock.monotonic()
    for (;;) {
      try {
        const done = await attempt()
        this.#trouble = null
        return done
      } catch (error) {
        await this.#control.drop()
        if (this.#closing.signal.aborted) return null
        const failure = this.#unavailable(error)
        if (failure.code === 'unreachable' && this.#parts.clock.monotonic() - started > firstContactMs) throw failure
        await this.#waitFor(retry, failure)
        if (this.#closing.signal.aborted) return null
      }
    }
  }

  /** Throws `failure` when it has lasted too long. */
  #waitFor(retry: Retry, failure: FrazilError): Promise<void> {
    this.#trouble = failure.message
    return retry.after(failure, this.#closing.signal)
  }

  /** The same for the stream: what the server says of a slot that cannot be read depends on its version, the slot itself does not. */
  async #explained(error: unknown, position: Lsn): Promise<FrazilError> {
    if (isRefusal(error)) await this.#checkAgain(position)
    return this.#unavailable(error)
  }

  /** The error, if it is one that time may heal; else throws it. */
  #unavailable(error: unknown): FrazilError {
    if (!(error instanceof FrazilError) && errorCode(error) === '' && asError(error).name === 'AssertionError') throw error
    const failure = postgresError(error, placeOf(this.#config.url))
    if (failure.kind !== 'unavailable') throw failure
    return failure
  }
}
