import { FrazilError } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Field, SourceTable } from '../data/index.ts'
import { isPromotion, sameType } from '../data/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import { isEvolving, tableMemo } from '../source/index.ts'
import type { PushReceipt, PushRequest, PushSource, SentSource, Source } from '../source/index.ts'
import { TableAdditions } from './added-tables.ts'
import type { Committer } from './committer.ts'
import type { AddedTable, NewTable, TableDescription, TableToAdd, UploadReceipt, UploadRequest } from './contract.ts'
import type { Mirror } from './mirror.ts'
import { fullName } from './mirrored-table.ts'
import type { TableDeskHandle } from './pipeline-contract.ts'
import { isTableFault } from './policy.ts'
import type { PushedName } from './state-record.ts'
import type { Uploads } from './uploads.ts'
import type { Visibility } from './visibility.ts'

export interface TableDeskParts {
  readonly source: Source
  readonly mirror: Mirror
  readonly committer: Committer
  readonly catalog: Catalog
  readonly clock: Clock
  readonly random: Random
  readonly uploads: Uploads
  readonly visible: Visibility
  /** Aborted when the pipeline ends. */
  readonly ending: AbortSignal
  /** Set while a source commit is half applied. */
  readonly applying: () => Promise<void> | null
  readonly emit: (event: EngineEvent) => void
}

/** How long a table that is to go on waits for the requests that came before. */
const longestAttachMs = 30_000

/** What programs ask of a pipeline's tables beyond reading them: what they look like, new ones, rows for them, their end. */
export class TableDesk implements TableDeskHandle {
  readonly #parts: TableDeskParts
  readonly #additions: TableAdditions
  /** Names of tables that are being made. */
  readonly #making = new Set<string>()
  /** Tables that go on, and that the lake does not remember as such yet. */
  readonly #attaching = new Map<string, SourceTable>()

  constructor(parts: TableDeskParts) {
    this.#parts = parts
    this.#additions = new TableAdditions(parts)
  }

  async describe(namespace: string, name: string): Promise<TableDescription> {
    const { source } = this.#parts.mirror.find(namespace, name)
    const key = source.key.kind === 'columns' ? source.key.columns.map((i) => source.fields[i].name) : []
    const evolves = 'push' in this.#parts.source && isEvolving(source)
    return { ingest: source.sourceName, fields: source.fields, key, evolves }
  }

  push(request: PushRequest): Promise<PushReceipt> {
    return pushed(this.#parts.source).push(request)
  }

  async upload(request: UploadRequest): Promise<UploadReceipt> {
    pushed(this.#parts.source)
    return this.#parts.uploads.take(request)
  }

  /** Resolves when the table is in the lake, also when it was there already just like this. Throws `conflict` when it is another one. */
  async create(table: NewTable): Promise<void> {
    const { namespace, name, ingest, fields, key, evolves } = table
    const { mirror, committer, catalog, random } = this.#parts
    const source = pushed(this.#parts.source)
    const full = fullName({ namespace, name })
    for (const { source: other, health, iceberg } of mirror.tables) {
      // It ended before the lake had it: what is made now takes its place.
      if (health === 'detached' && iceberg.metadataLocation === null) continue
      if (other.namespace === namespace && other.name === name) {
        if (!isSame(other, table)) throw exists(full)
        await committer.flush()
        return
      }
      if (other.sourceName === ingest) {
        throw new FrazilError(
          'conflict',
          'ingest-name-taken',
          `rows sent to ${ingest} go to the table ${fullName(other)} already`,
        )
      }
    }
    if (this.#making.has(full) || this.#making.has(`/${ingest}`)) throw exists(full)
    this.#making.add(full).add(`/${ingest}`)
    try {
      if (await catalog.load({ namespace, name })) throw exists(full)
      await source.addTable({
        id: random.uuid(),
        sourceName: ingest,
        namespace,
        name,
        fields,
        key: key.length === 0 ? { kind: 'none' } : { kind: 'columns', columns: key },
        memo: tableMemo(evolves),
      })
      await committer.flush()
    } finally {
      this.#making.delete(full)
      this.#making.delete(`/${ingest}`)
    }
  }

  add(table: TableToAdd): Promise<AddedTable> {
    return this.#additions.add(table)
  }

  /** Whether programs send the rows of its tables. */
  get isSent(): boolean {
    return sent(this.#parts.source) !== null
  }

  /** What has to be remembered of a table that is detached. */
  pushedName({ sourceName, memo }: SourceTable): PushedName | null {
    return 'push' in this.#parts.source ? { ingest: sourceName, memo } : null
  }

  /**
   * Has a detached table take rows again, as the lake has it now; resolves when the lake remembers that. Rejects with `request` when there is
   * nothing to do, `conflict` for what is still wrong with it.
   */
  async attach(namespace: string, name: string): Promise<void> {
    const { mirror, committer, visible, applying, emit } = this.#parts
    const source = sent(this.#parts.source)
    if (!source) throw notPushed(this.#parts.source)
    const full = fullName({ namespace, name })
    const entry = mirror.detached.find((table) => fullName(table) === full)
    if (entry) {
      // It may be on its way to be.
      await committer.exclusively(() => mirror.reopen(entry.id))
      this.left(entry.id)
      await source.saveLeft()
      // What was sent to it has positions, too: later ones will be those of the table that goes on.
      await visible.wait(await source.head(), longestAttachMs)
      await committer.exclusively(async () => {
        const check = (table: SourceTable): void => source.checkAttachable?.(table)
        const table = await mirror.attach(entry, applying, check).catch((error: unknown) => {
          throw isTableFault(error) || isRolledBack(error) ? stillSick(full, error) : error
        })
        if (table) this.#attaching.set(full, table)
        else if (source.makeAgain) {
          // No `await` between here and the end: the next source commit may begin in any gap.
          for (let busy = applying(); busy; busy = applying()) await busy
          mirror.remove(entry.id)
        } else {
          throw new FrazilError('request', 'unknown-table', `the lake has nothing of the table ${full}`, {
            hint: 'POST /tables/{name} makes it again.',
          })
        }
      })
      if (source.makeAgain && !this.#attaching.has(full)) {
        await source.makeAgain(entry.id)
        await committer.flush()
        return
      }
    }
    const table = this.#attaching.get(full)
    // Throws when there is none.
    if (!table) mirror.find(namespace, name)
    if (!table) return source.recopy({ namespace, name })
    // Before a row is taken: after a crash nobody would know whose it is.
    await committer.flush()
    this.#attaching.delete(full)
    const folder = await source.attachTable(table)
    const message = `the table ${full} takes rows again`
    if (folder === null) emit({ type: 'notice', level: 'info', message, hint: null })
    else
      emit({
        type: 'notice',
        level: 'warn',
        message: `${message}; some that were accepted before are in ${folder}`,
        hint: 'Send these files to it.',
      })
  }

  /** A table was detached: no rows are taken for it any more. */
  closed(id: string): void {
    sent(this.#parts.source)?.closeTable(id)
  }

  /** A table will never have been in the lake: whoever sends rows for it is told so. */
  leftOut(id: string): void {
    this.closed(id)
    this.left(id)
  }

  /** A closed table is readable again as of what the lake has of it. */
  left(id: string): void {
    const { source, mirror } = this.#parts
    const entry = mirror.detached.find((table) => table.id === id)
    if (entry) sent(source)?.leaveTable(id, entry.position)
  }

  /** Resolves when the table is gone from the lake, with whatever rows it had. Throws `request` when there is none. */
  async drop(namespace: string, name: string): Promise<void> {
    const { mirror, committer } = this.#parts
    if (!('push' in this.#parts.source)) return this.#additions.drop(namespace, name)
    const source = pushed(this.#parts.source)
    await committer.exclusively(async () => {
      const { source: table, iceberg } = mirror.find(namespace, name)
      await committer.removeTable(new Set([table.id]), iceberg)
      // No `await` between here and the end: the next source commit may begin in any gap.
      for (let applying = this.#parts.applying(); applying; applying = this.#parts.applying()) await applying
      source.removeTable(table.id)
      mirror.remove(table.id)
    })
  }
}

function pushed(source: Source): PushSource {
  if ('push' in source) return source as PushSource
  throw notPushed(source)
}

function notPushed({ name }: Source): FrazilError {
  return new FrazilError('request', 'not-pushed', `the rows of ${name} come from its own server; programs cannot send any`)
}

function sent(source: Source): SentSource | null {
  return 'attachTable' in source ? (source as SentSource) : null
}

function isRolledBack(error: unknown): error is FrazilError {
  return error instanceof FrazilError && (error.code === 'rolled-back' || error.code === 'table-replaced')
}

function stillSick(table: string, error: FrazilError): FrazilError {
  return new FrazilError('conflict', 'table-detached', `the table ${table} cannot go on: ${error.message}`, {
    table,
    hint: 'Mend it with the program that changed it, then ask again.',
    cause: error,
  })
}

function exists(name: string): FrazilError {
  return new FrazilError('conflict', 'table-exists', `the lake has a table ${name} already, which is not this one`, {
    table: name,
  })
}

function isSame(table: SourceTable, { ingest, fields, key, evolves }: NewTable): boolean {
  const columns = table.key.kind === 'columns' ? table.key.columns : []
  const isSameField = (now: Field, then: Field): boolean =>
    now.name === then.name &&
    now.required === then.required &&
    (sameType(now.type, then.type) || (evolves && isPromotion(then.type, now.type)))
  return (
    table.sourceName === ingest &&
    columns.join() === key.join() &&
    isEvolving(table) === evolves &&
    // One that evolves may have other columns behind them by now.
    (evolves ? table.fields.length >= fields.length : table.fields.length === fields.length) &&
    fields.every((field, i) => isSameField(table.fields[i], field))
  )
}
