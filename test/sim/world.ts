import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { FrazilError, seededRandom, systemClock } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import { isAlive, readRow } from '../../src/data/index.ts'
import type { Field, Value } from '../../src/data/index.ts'
import { acquireLease, fencedCatalog } from '../../src/engine/lease.ts'
import { Pipeline } from '../../src/engine/pipeline.ts'
import type { PipelineOptions } from '../../src/engine/pipeline-contract.ts'
import { readRecord } from '../../src/engine/state-record.ts'
import type { SourceRecord } from '../../src/engine/state-record.ts'
import type { TableSettings } from '../../src/engine/table-settings.ts'
import { ParquetReader } from '../../src/format/parquet/index.ts'
import { MemoryCatalog, lastUpdatedField, loadTable, readDeletionVector, rowIdField } from '../../src/iceberg/index.ts'
import type { Catalog, CatalogCommit, IcebergTable, TablePointer } from '../../src/iceberg/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import type { Source, SourceParts } from '../../src/source/index.ts'
import { SimulatedSource, valueText } from '../../src/source/simulated/index.ts'
import type { SimulatedHistory, SimulatedOptions, SimulatedRows } from '../../src/source/simulated/index.ts'
import { LocalStore } from '../../src/storage/index.ts'
import type { ObjectStore } from '../../src/storage/index.ts'
import { Compactions, FilePool, Uploader } from '../../src/table/index.ts'
import { serveCompactions } from '../../src/table/compaction-worker.ts'
import { serveFiles } from '../../src/table/file-worker.ts'
import { StructureChecker } from '../support/structure/table.ts'
import { Gate, gatedCatalog, gatedStore, hurriedClock } from './faults.ts'

/** Turns of waiting before a simulation counts as stuck. */
const maxTurns = 20_000
/** The faults of a simulation come once. */
const maxFlushes = 5
const stateKey = 'source/sim'

/** A file worker that does nothing until it is let go. */
export class HeldWorker {
  #held: (() => void)[] | null = []

  /** Whether there is something to do. */
  get isAsked(): boolean {
    return this.#held !== null && this.#held.length > 0
  }

  /** A port to the worker, whose owner is at `front`. */
  behind(front: MessagePort): MessagePort {
    const { port1, port2 } = new MessageChannel()
    front.on('message', (request: unknown) => {
      const pass = (): void => port1.postMessage(request)
      if (this.#held) this.#held.push(pass)
      else pass()
    })
    front.unref()
    front.on('close', () => port1.close())
    port1.on('message', (answer: unknown) => front.postMessage(answer))
    port1.unref()
    return port2
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const pass of held) pass()
  }
}

/** What outlives processes: store, catalog, and the database that is mirrored. */
export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'frazil-sim-'))
  readonly catalog: Catalog
  readonly store: ObjectStore
  readonly #structure: StructureChecker
  /** What was wrong with a table after a commit, whoever heard of it. */
  #broken: Error | null = null
  readonly history: SimulatedHistory
  readonly random: Random
  readonly #processes: Process[] = []

  constructor(history: SimulatedHistory, random: Random) {
    this.history = history
    this.random = random
    this.store = new LocalStore(join(this.folder, 'lake'))
    this.#structure = new StructureChecker(this.store)
    const catalog = new MemoryCatalog()
    const commit = catalog.commit.bind(catalog)
    this.catalog = Object.assign(catalog, {
      commit: async (changes: CatalogCommit) => {
        await commit(changes)
        await this.#checkCommit(changes)
      },
    })
  }

  /** Every table is whole after every commit. */
  async #checkCommit({ tables }: CatalogCommit): Promise<void> {
    for (const { name, base, next } of tables) {
      if (next === null) continue
      await this.#structure.check(next, { base }).catch((error: unknown) => {
        this.#broken ??= new Error(`the structure of ${name} is wrong: ${String(error)}`, { cause: error })
        throw this.#broken
      })
    }
  }

  [Symbol.dispose](): void {
    for (const process of this.#processes) process.die()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** A process that takes over from whoever came before. */
  async start(gate: Gate, settings: ProcessSettings = {}): Promise<Process> {
    const process = new Process(this, gate, this.#processes.length + 1, settings)
    this.#processes.push(process)
    await process.begin()
    return process
  }

  /** State record and tables of one moment, also while a process commits. */
  async #snapshot(): Promise<{ record: SourceRecord | null; pointers: Map<string, TablePointer> }> {
    for (;;) {
      const before = await this.catalog.state(stateKey)
      const tables = await this.catalog.list()
      const record = await readRecord(this.catalog, 'sim')
      const after = await this.catalog.state(stateKey)
      if (before?.version !== after?.version) continue
      return { record: record?.record ?? null, pointers: new Map(tables.map((table) => [table.name, table])) }
    }
  }

  /** The lake is the database as of the position in the state record, for every table. Returns the position. */
  async check(what: string): Promise<number | null> {
    if (this.#broken) throw this.#broken
    const { record, pointers } = await this.#snapshot()
    const take = (name: string): TablePointer | null => {
      const pointer = pointers.get(name)
      pointers.delete(name)
      return pointer ?? null
    }
    if (!record || record.position === null) {
      assert.equal(pointers.size, 0, `${what}: no table without a position`)
      return null
    }
    const position = Number(record.position)
    assert.ok(this.history.acknowledged <= position, `${what}: what is not in the lake is not acknowledged`)
    for (const { table } of record.tables) {
      const pointer = take(table.name) ?? assert.fail(`${what}: ${table.name} is in the catalog`)
      await this.#compare(`${what}: ${table.name} at ${position}`, table.id, pointer, position)
    }
    for (const { id, name, position: last } of record.detached) {
      const pointer = take(name)
      if (!pointer) continue
      assert.ok(last !== null, `${what}: a detached table in the lake has a position`)
      await this.#compare(`${what}: ${name}, detached at ${last}`, id, pointer, Number(last))
    }
    assert.deepEqual([...pointers.keys()], [], `${what}: every table in the catalog is known`)
    return position
  }

  /** Bytes in the `data` folders of all tables, and those of them that the current snapshots need. */
  async diskUse(): Promise<{ stored: number; live: number }> {
    const use = { stored: 0, live: 0 }
    for (const { metadataLocation } of await this.catalog.list()) {
      const { metadata, files } = await this.#structure.check(metadataLocation)
      for (const { file } of [...files.data.values(), ...files.vectors.values()]) use.live += file.fileSize
      for await (const { size } of this.store.list(`${metadata.location}/data`)) use.stored += size
    }
    return use
  }

  /** Objects in the folders of tables that nothing refers to. */
  async strays(): Promise<string[]> {
    const found: string[] = []
    for (const { metadataLocation } of await this.catalog.list()) {
      found.push(...(await this.#structure.check(metadataLocation)).unreferenced)
    }
    return found
  }

  async #compare(what: string, id: string, pointer: TablePointer, position: number): Promise<void> {
    const rows = await this.#lakeRows(pointer)
    const expected = textOf(this.history.rowsAt(id, position))
    // A difference of many thousand rows is not worth printing.
    if (Math.abs(rows.length - expected.length) > 1000) assert.equal(rows.length, expected.length, what)
    assert.deepEqual(rows, expected, what)
  }

  /** Another engine changes a table: here only a property of it. */
  async foreignCommit(name: string, properties: Record<string, string> = { owner: 'somebody' }): Promise<void> {
    const pointer = (await this.catalog.load({ namespace: 'shop', name })) ?? assert.fail(`${name} is in the catalog`)
    const table = await loadTable({ store: this.store, clock: systemClock, random: this.random }, pointer)
    const retention = { maxSnapshots: 100, maxAgeMs: 3_600_000 }
    const update = { added: [], removed: [], deletionVectors: [], summary: {}, properties, retention }
    const { commit } = await table.prepare(update)
    await this.catalog.commit({
      tables: [{ namespace: 'shop', name, base: commit.base, next: commit.metadataLocation }],
      states: [],
    })
  }

  /** The rows of a table as any reader of Iceberg sees them. */
  async #lakeRows(pointer: TablePointer): Promise<string[]> {
    const table = await loadTable({ store: this.store, clock: systemClock, random: seededRandom(1) }, pointer)
    const rows: string[] = []
    for (const file of await table.files()) {
      const vector = file.deletionVector
      const bits = vector && (await readDeletionVector(this.store, vector, file.recordCount))
      rows.push(...(await this.fileRows(file.path, file.fileSize, table.schema.fields, bits)))
    }
    return rows.sort()
  }

  /** A table as any reader of Iceberg sees it. */
  async table(name: string): Promise<IcebergTable> {
    const pointer = (await this.catalog.load({ namespace: 'shop', name })) ?? assert.fail(`${name} is in the catalog`)
    return loadTable({ store: this.store, clock: systemClock, random: seededRandom(1) }, pointer)
  }

  /** The live rows of a table, each with its row id and the sequence number of its last change: `row → [id, number]`. */
  async lineage(name: string): Promise<Map<string, string>> {
    const table = await this.table(name)
    const rows = new Map<string, string>()
    for (const file of await table.files()) {
      const bits = file.deletionVector && (await readDeletionVector(this.store, file.deletionVector, file.recordCount))
      const values = await this.fileRows(file.path, file.fileSize, table.schema.fields, null)
      const own = await this.fileRows(file.path, file.fileSize, [rowIdField, lastUpdatedField], null, (row, position) => {
        const { firstRowId, dataSequenceNumber } = file
        assert.ok(firstRowId !== null, 'every file has a first row id')
        return String([row[0] ?? firstRowId + BigInt(position), row[1] ?? dataSequenceNumber])
      })
      for (const [position, value] of values.entries()) {
        if (!bits || (bits[position >> 3] & (1 << (position & 7))) === 0) rows.set(value, own[position])
      }
    }
    return rows
  }

  async fileRows(
    uri: string,
    size: number,
    fields: readonly Field[],
    deleted: Uint8Array | null,
    textOf: (row: Value[], position: number) => string = valueText,
  ): Promise<string[]> {
    const read = (offset: number, length: number): Promise<Uint8Array> => this.store.get(uri, { offset, length })
    const reader = await ParquetReader.open({ size, read })
    const rows: string[] = []
    let position = 0
    for await (const segment of reader.read(fields, 0, reader.rowCount)) {
      for (let row = 0; row < segment.capacity; row++, position++) {
        if (deleted && (deleted[position >> 3] & (1 << (position & 7))) !== 0) continue
        rows.push(textOf(readRow(segment, row), position))
      }
    }
    return rows
  }
}

export interface ProcessSettings {
  readonly memory?: number
  readonly onError?: 'detach' | 'stop'
  readonly commitEveryMs?: number
  /** Milliseconds without a change after which a table rests; without it never. */
  readonly restMs?: number
  /** Size of data files that compaction aims for. */
  readonly targetBytes?: number
  /** What time it is for this process, beyond the real one. */
  readonly aheadMs?: number
  /** Waits of so long or longer never end by themselves. */
  readonly endlessMs?: number
  /** Folder of key runs; processes that come one after another share one. */
  readonly local?: string
  readonly tables?: TableSettings
  readonly source?: Partial<Pick<SimulatedOptions, 'capacity' | 'lostConnection' | 'batch' | 'streamed'>>
  /** In the place of the simulated source. */
  readonly openSource?: (parts: SourceParts) => Source
  /** Folders from which files may be taken. */
  readonly uploads?: readonly string[]
  /** One lane to a file worker each. */
  readonly workers?: readonly (HeldWorker | null)[]
  /** In front of the thread that rewrites files. */
  readonly compaction?: HeldWorker
  readonly onEvent?: (event: EngineEvent) => void
}

/** One run of a pipeline, until it is closed, fails or dies. */
export class Process {
  readonly gate: Gate
  readonly #world: World
  readonly #number: number
  readonly #settings: ProcessSettings
  #pipeline: Pipeline | null = null
  #files: FilePool | null = null
  #compactions: Compactions | null = null
  /** Why the pipeline stopped by itself. */
  failure: Error | null = null
  #failed: () => void = () => undefined
  readonly #ended = new Promise<void>((resolve) => (this.#failed = resolve))

  constructor(world: World, gate: Gate, number: number, settings: ProcessSettings) {
    this.#world = world
    this.gate = gate
    this.#number = number
    this.#settings = settings
  }

  async begin(): Promise<void> {
    const { gate } = this
    const world = this.#world
    const {
      memory = 32 << 20,
      onError = 'detach',
      commitEveryMs = 1,
      aheadMs = 0,
      endlessMs,
      local = 'local',
      workers = [null],
      tables = {},
      source = {},
      onEvent,
    } = this.#settings
    const clock = hurriedClock(gate, aheadMs, endlessMs)
    const catalog = gatedCatalog(world.catalog, gate)
    // Whoever dies here does not renew, and nobody waits for it.
    const still = { ...systemClock, sleep: () => new Promise<void>(() => undefined) }
    const lease = await acquireLease({ catalog: world.catalog, clock: still, takeOver: true })
    const lanes = workers.map((worker) => {
      const { port1, port2 } = new MessageChannel()
      const port = worker ? worker.behind(port2) : port2
      serveFiles(port)
      port.unref()
      return port1
    })
    const pool = new FilePool({ lanes, replacements: new MessageChannel().port1 })
    this.#files = pool
    const compaction = new MessageChannel()
    const port = this.#settings.compaction?.behind(compaction.port2) ?? compaction.port2
    serveCompactions(port)
    port.unref()
    const compactions = new Compactions(compaction.port1)
    this.#compactions = compactions
    const options: PipelineOptions = {
      name: 'sim',
      source: {
        type: 'postgres',
        url: '',
        tables: [],
        into: null,
        slot: '',
        publication: '',
        backlog: 'stream',
        failover: false,
        copy: { connections: 1, part: 1 << 20 },
        findTables: 10_000,
        outOfRange: 'error',
        columns: {},
      },
      warehouse: join(world.folder, 'lake'),
      catalogPath: '',
      local: join(world.folder, local),
      lakeId: 'sim',
      epoch: lease.epoch,
      fence: lease.fence,
      memory,
      commit: { every: commitEveryMs, bytes: 64 << 20 },
      history: { snapshots: 3_600_000, hourly: 2, daily: 1 },
      compaction: {
        automatic: true,
        targetBytes: this.#settings.targetBytes ?? 1 << 20,
        bytesPerSecond: Infinity,
        restMs: this.#settings.restMs ?? Infinity,
      },
      tables,
      uploads: this.#settings.uploads ?? [],
      withAdded: false,
      onError,
    }
    const starting = Pipeline.start(options, {
      clock,
      random: seededRandom(this.#number * 7919 + world.random.below(1 << 30)),
      store: gatedStore(world.store, gate),
      catalog: fencedCatalog(catalog, lease.fence),
      files: pool,
      compactions,
      uploader: new Uploader(),
      openSource:
        this.#settings.openSource ??
        ((parts) =>
          new SimulatedSource({ name: 'sim', history: world.history, random: world.random, capacity: 63, ...source }, parts)),
      listener: {
        event: (event) => onEvent?.(event),
        stopped: (error) => this.#fail(error),
      },
    })
    starting.then(
      (pipeline) => (this.#pipeline = pipeline),
      (error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))),
    )
    await Promise.race([starting.catch(() => undefined), gate.died])
  }

  #fail(error: Error): void {
    if (this.gate.isDead) return
    this.failure ??= error
    this.#failed()
  }

  get pipeline(): Pipeline {
    return this.#pipeline ?? assert.fail('the pipeline has started')
  }

  /** Whether the process is gone, by its own or by ours. */
  get isOver(): boolean {
    return this.gate.isDead || this.failure !== null
  }

  /** The machine loses power. */
  die(): void {
    this.gate.kill()
    this.#files?.close()
    this.#compactions?.close()
  }

  /** Waits until everything that has happened is visible and in the lake. False when the process ended before. */
  async catchUp(): Promise<boolean> {
    const head = Number(this.#world.history.head)
    for (let turn = 0; ; turn++) {
      if (this.isOver) return false
      const { source } = await this.pipeline.status()
      if (source.position !== null && Number(source.position) >= head && source.state === 'streaming') break
      assert.ok(turn < maxTurns, `stuck at ${source.position ?? 'no position'} of ${head}`)
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 1)), this.gate.died, this.#ended])
    }
    // A lake that does not answer for a moment is said to who waits, and written the next time.
    for (let attempt = 1; ; attempt++) {
      const flushed = this.pipeline.flush().then(
        () => true,
        (error: unknown) => {
          if (this.isOver) return false
          if (error instanceof FrazilError && error.kind === 'unavailable' && attempt < maxFlushes) return null
          throw error
        },
      )
      const gone = Promise.race([this.gate.died, this.#ended]).then(() => false)
      const isIn = await Promise.race([flushed, gone])
      if (isIn !== null) return isIn && !this.isOver
    }
  }

  /** What a query sees is the database as of the view's position. */
  async checkViews(): Promise<void> {
    const wanted = (await this.pipeline.status()).tables.filter(({ health }) => health === 'streaming')
    for (const [name, { rows, position }] of await this.#view(wanted.map(({ table }) => table))) {
      const expected = textOf(this.#world.history.rowsAt(name, Number(position)))
      assert.deepEqual(rows, expected, `the view of ${name} at ${position}`)
    }
  }

  /** What a query sees of a table. */
  async viewRows(name: string): Promise<string[]> {
    return (await this.#view([name])).get(name)?.rows ?? []
  }

  /** Rows of tables at one position. */
  async #view(names: readonly string[]): Promise<Map<string, { rows: string[]; position: string | null }>> {
    const { pipeline } = this
    const view = await pipeline.views(names.map((name) => ({ namespace: 'shop', name })))
    const found = new Map<string, { rows: string[]; position: string | null }>()
    try {
      for (const { name, hot, files, fields, commit } of view.tables) {
        const rows: string[] = []
        for (const { segment, from, to } of hot) {
          for (let row = from; row < to; row++) if (isAlive(segment, row, commit)) rows.push(valueText(readRow(segment, row)))
        }
        for (const { path, deleted } of files) {
          const uri = `file://${path}`
          const size = (await this.#world.store.head(uri))?.size ?? assert.fail(`${uri} is there`)
          rows.push(...(await this.#world.fileRows(uri, size, fields, deleted)))
        }
        found.set(name, { rows: rows.sort(), position: view.position })
      }
    } finally {
      pipeline.release(view.id)
    }
    return found
  }

  async close(): Promise<void> {
    if (this.gate.isDead) return this.die()
    await Promise.race([this.#pipeline?.close(), this.gate.died])
    this.#files?.close()
    this.#compactions?.close()
  }
}

/** Rows as sorted text, each as often as it is there. */
export function textOf(rows: SimulatedRows): string[] {
  return [...rows].flatMap(([text, { count }]) => Array.from({ length: count }, () => text)).sort()
}
