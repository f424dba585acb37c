import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom, systemClock } from '../../../src/base/index.ts'
import type { Clock } from '../../../src/base/index.ts'
import type { SourceTable } from '../../../src/data/index.ts'
import { acquireLease, fencedCatalog } from '../../../src/engine/lease.ts'
import type { HistoryOptions, PipelineOptions } from '../../../src/engine/pipeline-contract.ts'
import { Pipeline } from '../../../src/engine/pipeline.ts'
import { SqliteCatalog, loadTable } from '../../../src/iceberg/index.ts'
import { decodeManifestList } from '../../../src/iceberg/manifest-list.ts'
import { parseMetadata } from '../../../src/iceberg/metadata.ts'
import type { EngineEvent } from '../../../src/observe/index.ts'
import { openDuckDb } from '../../../src/query/index.ts'
import type { SqlEngine } from '../../../src/query/index.ts'
import { LocalStore } from '../../../src/storage/index.ts'
import type { ObjectStore } from '../../../src/storage/index.ts'
import { CompactionThread, Compactions, FilePool, FileWorkers, Uploader } from '../../../src/table/index.ts'
import { LoadSource } from './load-source.ts'

export interface RigOptions {
  /** Holds lake, catalog and local files; another rig may go on with them. */
  readonly folder: string
  readonly memory?: number
  /** Time between commits, in milliseconds; without it only {@link Rig.flush} commits. */
  readonly commitEveryMs?: number
  readonly history?: HistoryOptions
  readonly targetBytes?: number
  readonly automatic?: boolean
  readonly bytesPerSecond?: number
  /** Bytes of each text. */
  readonly textBytes?: number
  readonly clock?: Clock
  readonly seed?: number
  readonly onEvent?: (event: EngineEvent) => void
}

/** What a table's current snapshot takes. */
export interface LakeFigures {
  readonly dataFiles: number
  readonly rows: number
  readonly deletedRows: number
  readonly dataBytes: number
  /** Metadata file, manifest list and manifests of the current snapshot. */
  readonly metadataBytes: number
  readonly manifests: number
}

/** What a rig has written so far, in bytes of files. */
export interface Written {
  flushed: number
  rewritten: number
  objects: number
  objectBytes: number
}

const day = 86_400_000

/** A pipeline with the parts of a real one (threads, sqlite catalog, local store, SQL), fed by a {@link LoadSource}. */
export class Rig {
  readonly source: LoadSource
  readonly pipeline: Pipeline
  readonly written: Written
  readonly #parts: RigParts

  private constructor(source: LoadSource, pipeline: Pipeline, parts: RigParts) {
    this.source = source
    this.pipeline = pipeline
    this.#parts = parts
    this.written = parts.written
  }

  static async start(options: RigOptions): Promise<Rig> {
    const { folder, clock = systemClock, textBytes = 55, onEvent } = options
    const warehouse = join(folder, 'lake')
    mkdirSync(warehouse, { recursive: true })
    const catalogPath = join(folder, 'catalog.db')
    const catalog = await SqliteCatalog.open(catalogPath)
    // Nobody renews: a rig has its lake alone.
    const still = { ...systemClock, sleep: () => new Promise<void>(() => undefined) }
    const lease = await acquireLease({ catalog, clock: still, takeOver: true })
    const written: Written = { flushed: 0, rewritten: 0, objects: 0, objectBytes: 0 }
    const workers = new FileWorkers(1)
    const thread = new CompactionThread()
    const compactions = new Rewrites(thread.connect().port)
    let source: LoadSource | null = null
    const pipelineOptions: PipelineOptions = {
      name: 'load',
      source: { type: 'http' },
      warehouse,
      catalogPath,
      local: join(folder, 'local'),
      lakeId: 'load',
      epoch: lease.epoch,
      fence: lease.fence,
      memory: options.memory ?? 256e6,
      commit: { every: options.commitEveryMs ?? day, bytes: 64e6 },
      history: options.history ?? { snapshots: 3_600_000, hourly: 0, daily: 0 },
      compaction: {
        automatic: options.automatic ?? true,
        targetBytes: options.targetBytes ?? 128e6,
        bytesPerSecond: options.bytesPerSecond ?? Infinity,
        restMs: 600_000,
      },
      onError: 'stop',
      tables: {},
      uploads: [],
      withAdded: false,
    }
    let failure: Error | null = null
    const pipeline = await Pipeline.start(pipelineOptions, {
      clock,
      random: seededRandom(options.seed ?? 1),
      store: counted(new LocalStore(warehouse), written),
      catalog: fencedCatalog(catalog, lease.fence),
      files: new FilePool(workers.connect()),
      compactions,
      uploader: new Uploader(),
      openSource: (parts) => (source = new LoadSource(textBytes, parts)),
      listener: {
        event: (event) => {
          if (event.type === 'staged') written.flushed += event.bytes
          if (event.type === 'compacted') written.rewritten += event.bytesOut
          onEvent?.(event)
        },
        stopped: (error) => (failure = error),
      },
    })
    if (!source) throw new Error('the pipeline has opened its source')
    const sql = openDuckDb(
      { memoryBytes: 512e6, threads: 2, fileDirectories: [warehouse] },
      {
        names: () => pipeline.names(),
        views: async (tables) => {
          const { id, tables: views } = await pipeline.views(tables)
          return { tables: views, positions: {}, release: () => pipeline.release(id) }
        },
      },
    )
    const failed = (): Error | null => failure
    return new Rig(source, pipeline, { catalog, workers, thread, compactions, sql, written, warehouse, clock, failed })
  }

  /** Commits what was given out by then. */
  async flush(): Promise<void> {
    await this.pipeline.wait(await this.source.head(), 600_000)
    await this.pipeline.flush()
    const failure = this.#parts.failed()
    if (failure) throw failure
  }

  /** Resolves when no file is being rewritten. */
  async settled(): Promise<void> {
    await this.#parts.compactions.running
  }

  async query(sql: string): Promise<unknown[][]> {
    const { body } = await this.#parts.sql.query({ sql, format: 'json', timeoutMs: 600_000 })
    return JSON.parse(Buffer.from(body).toString()) as unknown[][]
  }

  /** What the current snapshot of a table is made of. */
  async figures({ namespace, name }: SourceTable): Promise<LakeFigures> {
    const { catalog, warehouse, clock } = this.#parts
    const store = new LocalStore(warehouse)
    const pointer = await catalog.load({ namespace, name })
    if (!pointer) throw new Error(`the table ${name} is not in the lake`)
    const json = await store.get(pointer.metadataLocation)
    const { snapshots } = parseMetadata(Buffer.from(json).toString())
    const table = await loadTable({ store, clock, random: seededRandom(1) }, pointer)
    const files = await table.files()
    const list = await store.get(snapshots.find(({ id }) => id === table.currentSnapshotId)?.manifestList ?? '')
    const manifests = decodeManifestList(list)
    const sum = (sizes: number[]): number => sizes.reduce((total, size) => total + size, 0)
    return {
      dataFiles: files.length,
      rows: sum(files.map(({ recordCount }) => recordCount)),
      deletedRows: sum(files.map(({ deletionVector }) => deletionVector?.cardinality ?? 0)),
      dataBytes: sum(files.map(({ fileSize }) => fileSize)),
      metadataBytes: json.length + list.length + sum(manifests.map(({ length }) => length)),
      manifests: manifests.length,
    }
  }

  /** Bytes and number of all files in the lake, needed or not. */
  async stored(): Promise<{ bytes: number; files: number }> {
    const stored = { bytes: 0, files: 0 }
    for await (const { size } of new LocalStore(this.#parts.warehouse).list(`file://${this.#parts.warehouse}`)) {
      stored.bytes += size
      stored.files++
    }
    return stored
  }

  async close(): Promise<void> {
    const { sql, workers, thread, catalog } = this.#parts
    await sql.close()
    await this.pipeline.close()
    await Promise.all([workers.close(), thread.close()])
    await catalog.close()
    const failure = this.#parts.failed()
    if (failure) throw failure
  }
}

interface RigParts {
  readonly catalog: SqliteCatalog
  readonly workers: FileWorkers
  readonly thread: CompactionThread
  readonly compactions: Rewrites
  readonly sql: SqlEngine
  readonly written: Written
  readonly warehouse: string
  readonly clock: Clock
  readonly failed: () => Error | null
}

/** Knows whether files are being rewritten. */
class Rewrites extends Compactions {
  running: Promise<unknown> = Promise.resolve()

  override compact(job: Parameters<Compactions['compact']>[0]): ReturnType<Compactions['compact']> {
    const result = super.compact(job)
    this.running = result.catch(() => undefined)
    return result
  }
}

/** Counts the objects that the pipeline's own thread writes: vectors and metadata. */
function counted(store: LocalStore, written: Written): ObjectStore {
  const put = store.put.bind(store)
  return Object.assign(store, {
    put: (...[uri, bytes, options]: Parameters<ObjectStore['put']>) => {
      written.objects++
      written.objectBytes += bytes.length
      return put(uri, bytes, options)
    },
  })
}
