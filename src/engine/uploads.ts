import { createHash } from 'node:crypto'
import { FrazilError, Turns } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import { encodeJson } from '../format/json/index.ts'
import { nameMapping, nameMappingProperty, schemaToJson } from '../iceberg/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { KeyRun, keySpecOf, keyTag, keyWords } from '../table/index.ts'
import type { Table, UploadJob, UploadResult, Uploader } from '../table/index.ts'
import type { Committer } from './committer.ts'
import type { UploadReceipt, UploadRequest } from './contract.ts'
import type { Mirror } from './mirror.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { runPathOf } from './recovery.ts'
import type { Work } from './table-work.ts'

/** Uploads that may wait for the one that is under way. */
const mostWaiting = 16
/** Property of a table with its last uploads that had a key, and how many and for how long these are remembered. */
const uploadsProperty = 'frazil.uploads'
const mostRemembered = 64
const rememberedMs = 24 * 3_600_000
/** How often files are taken in anew because the columns of their table have changed meanwhile. */
const mostAttempts = 3

export interface UploadsParts {
  readonly warehouse: string
  readonly local: string
  /** Folders from which files may be taken; none: none. */
  readonly folders: readonly string[]
  readonly mirror: Mirror
  readonly committer: Committer
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: Random
  readonly uploader: Uploader
  /** Does work on the tables as a source commit of its own, at the position that is visible. */
  readonly alone: (work: Work) => Promise<unknown>
}

/** An upload as its table remembers it. */
interface Remembered {
  readonly key: string
  readonly body: string
  readonly at: number
  readonly rows: number
}

/**
 * Takes Parquet files into tables that programs send rows to. Files become staged data files of a source commit of their own: they are
 * visible together, and one lake commit has all of them, the deletes of the rows that they replace, and the key of their request. So an
 * upload that was answered is there once; one that was not is there as a whole or not at all.
 */
export class Uploads {
  readonly #parts: UploadsParts
  readonly #turns = new Turns({ waiting: mostWaiting, message: 'too many uploads wait for each other' })

  constructor(parts: UploadsParts) {
    this.#parts = parts
  }

  /** Resolves when the lake has the files. One at a time: the next one sees what this one has made of the table. */
  async take(request: UploadRequest): Promise<UploadReceipt> {
    if (this.#parts.folders.length === 0) {
      throw new FrazilError('request', 'file-not-allowed', 'no folder is configured from which files are taken', {
        hint: 'http: {upload: [/data/incoming]} in the configuration allows one.',
      })
    }
    return this.#turns.take(() => this.#take(request))
  }

  async #take(request: UploadRequest): Promise<UploadReceipt> {
    const digest = digestOf(JSON.stringify([request.operation, request.files]))
    for (let attempt = 1; ; attempt++) {
      const mirrored = this.#find(request)
      const { table } = mirrored
      const earlier = this.#earlier(mirrored, request, digest)
      if (earlier) {
        // The lake may not have answered the first time.
        if (table.pendingProperty(uploadsProperty) !== undefined) await this.#commit(mirrored, table)
        return { position: mirrored.committed, rows: earlier.rows, replayed: true }
      }
      const { shape } = table
      const result = await this.#parts.uploader.take(this.#jobOf(request, mirrored))
      let isIn = false
      try {
        isIn = await this.#enter(mirrored, table, shape, result, this.#properties(mirrored, request, digest, result))
        if (isIn) {
          if (result.written.length > 0) await this.#commit(mirrored, table)
          else await this.#parts.committer.flush()
          return { position: mirrored.committed, rows: result.rows, replayed: false }
        }
      } finally {
        if (!isIn) await this.#discard(result)
      }
      if (attempt === mostAttempts) {
        const name = fullName(mirrored.source)
        throw new FrazilError('unavailable', 'table-changing', `the columns of ${name} change all the time`, { table: name })
      }
    }
  }

  #find({ namespace, name }: UploadRequest): MirroredTable & { table: Table } {
    // Throws for those that are not there.
    const { source } = this.#parts.mirror.find(namespace, name)
    const found = this.#parts.mirror.live.find((live) => live.source.id === source.id)
    if (found) return found
    const table = `${namespace}.${name}`
    throw new FrazilError('unavailable', 'table-not-ready', `the table ${table} takes no rows`, { table })
  }

  #jobOf({ operation, files }: UploadRequest, { iceberg, table }: MirroredTable & { table: Table }): UploadJob {
    const { warehouse, local, folders, random } = this.#parts
    const { source, fields } = table.shape
    const key = keySpecOf(fields, source.key)
    return {
      operation: operation === 'upload' ? 'adopt' : 'insert',
      folders,
      files: files.map((path) => {
        const uri = `${iceberg.location}/data/${random.uuid()}.parquet`
        return { path, uri, runPath: key ? runPathOf(local, iceberg.uuid, uri, keyTag(key, fields)) : null }
      }),
      warehouse,
      fields,
      schemaJson: encodeJson(schemaToJson({ ...iceberg.schema, fields })),
      key,
      layout: iceberg.layoutFor(fields),
    }
  }

  /** Makes the files the table's. False when the table has other columns by now, or has ended. */
  async #enter(
    mirrored: MirroredTable,
    table: Table,
    shape: Table['shape'],
    { written }: UploadResult,
    properties: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    const { mirror, committer } = this.#parts
    const width = table.keySpec && keyWords(table.keySpec)
    const files = written.map(({ file, runPath }) => ({
      file,
      run: runPath !== null && width !== null ? KeyRun.open(runPath, width, file.recordCount, table.pool) : null,
    }))
    let isIn = false
    try {
      await this.#parts.alone(function* (commit) {
        if (mirrored.table !== table || table.shape !== shape) return 0
        isIn = true
        const work = { stage: (at: number) => committer.stageOne(mirrored, at) }
        yield* mirror.changeHeld(commit, table, table.takeIn(commit, { files, properties }, work))
        return 0
      })
    } finally {
      if (!isIn) for (const { run } of files) run?.close()
    }
    return isIn
  }

  /** Has the lake take what the table has taken in. */
  async #commit(mirrored: MirroredTable, table: Table): Promise<void> {
    await this.#parts.committer.flush()
    if (mirrored.table === table) return
    const name = fullName(mirrored.source)
    throw new FrazilError('unavailable', 'table-not-ready', `the table ${name} has ended while files were taken in`, {
      table: name,
    })
  }

  async #discard({ written }: UploadResult): Promise<void> {
    await this.#parts.store.delete(written.map(({ file }) => file.path)).catch(() => undefined)
  }

  // ---- what a table remembers of its uploads -------------------------------------------------------------------------------

  #properties(
    mirrored: MirroredTable & { table: Table },
    { key }: UploadRequest,
    body: string,
    { rows, byName }: UploadResult,
  ): Record<string, string> {
    const { fields } = mirrored.table
    const at = this.#parts.clock.now()
    const uploads = [
      ...(key === null ? [] : [{ key: digestOf(key), body, at, rows }]),
      ...rememberedBy(propertyOf(mirrored, uploadsProperty)),
    ]
    const recent = uploads.filter((upload) => at - upload.at < rememberedMs).slice(0, mostRemembered)
    return {
      ...(key === null ? {} : { [uploadsProperty]: JSON.stringify(recent) }),
      ...(byName ? { [nameMappingProperty]: nameMapping(fields, propertyOf(mirrored, nameMappingProperty)) } : {}),
    }
  }

  /** The upload with the same key, if there was one. Throws `request` when it was another one. */
  #earlier(mirrored: MirroredTable & { table: Table }, { key }: UploadRequest, body: string): Remembered | null {
    if (key === null) return null
    const digest = digestOf(key)
    const found = rememberedBy(propertyOf(mirrored, uploadsProperty)).find((upload) => upload.key === digest)
    if (!found || this.#parts.clock.now() - found.at >= rememberedMs) return null
    if (found.body === body) return found
    throw new FrazilError('request', 'idempotency-key-reused', 'this Idempotency-Key was used for another upload')
  }
}

/** As it is in the lake, or will be with the files that the table has taken in since. */
function propertyOf({ iceberg, table }: MirroredTable & { table: Table }, name: string): string | undefined {
  return table.pendingProperty(name) ?? iceberg.properties[name]
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

/** What others have put there is no upload of ours. */
function rememberedBy(property: string | undefined): Remembered[] {
  try {
    const parsed: unknown = JSON.parse(property ?? '[]')
    return Array.isArray(parsed) ? parsed.filter(isRemembered) : []
  } catch {
    return []
  }
}

function isRemembered(value: unknown): value is Remembered {
  const { key, body, at, rows } = (value ?? {}) as Partial<Record<keyof Remembered, unknown>>
  return typeof key === 'string' && typeof body === 'string' && typeof at === 'number' && typeof rows === 'number'
}
