import { mkdir, open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { SpoolRecord } from './record.ts'
import type { Spool } from './spool.ts'

/** A table that was detached. */
export interface LeftTable {
  readonly id: string
  readonly namespace: string
  readonly name: string
}

/** What a request has for one table, as it can be sent again. */
export interface KeptRequest {
  readonly body: Uint8Array
  /** The last part of the name of its file: how it is to be sent. */
  readonly ending: string
  /** Whether bodies with this ending may follow each other in a file. */
  readonly joins: boolean
}

const folderName = 'detached'
const digits = 15

/** A file with more bytes, or rows, is followed by another one: each has to be a request that would be taken. */
const [mostFileBytes, mostFileRows] = [16 << 20, 250_000]

/**
 * Rows that were accepted for tables which were detached before the lake had them. They leave the spool as files below `detached`, to be
 * sent again: `<first>-<last>.<ending>` in a folder for each table, by the numbers of the requests, each request once.
 */
export class LeftRows {
  readonly #folder: string
  readonly #keep: (record: SpoolRecord, table: string) => KeptRequest | null
  /** With the last request that the lake has of it; null while that is not known. */
  readonly #tables = new Map<string, LeftTable & { readonly after: number | null }>()
  #saving: Promise<void> = Promise.resolve()

  /**
   * @param spool folder of the spool
   * @param keep what a request has for the table of an id; null: nothing
   */
  constructor(spool: string, keep: (record: SpoolRecord, table: string) => KeptRequest | null) {
    this.#folder = join(spool, folderName)
    this.#keep = keep
  }

  /** The table takes no rows any more. Its rows stay in the spool until they are here. */
  add(table: LeftTable, after: number | null): void {
    this.#tables.set(table.id, { ...table, after })
  }

  /** The lake has its rows up to the request `after`. */
  know(id: string, after: number): void {
    const table = this.#tables.get(id)
    if (table) this.#tables.set(id, { ...table, after })
  }

  /** Takes what there is out of the spool. Rejects when that cannot be done now: nothing may leave the spool then. */
  save(spool: Spool): Promise<void> {
    const saved = this.#saving.then(() => this.#save(spool))
    this.#saving = saved.catch(() => undefined)
    return saved
  }

  /** Where the files of a table are; null when there are none. */
  async folderOf(table: LeftTable): Promise<string | null> {
    const folder = join(this.#folder, folderOf(table))
    return (await lastSaved(folder)) > 0 ? folder : null
  }

  async #save(spool: Spool): Promise<void> {
    for (const [id, { after, ...table }] of this.#tables) {
      if (after === null) throw new Error('a table is just being detached')
      // Requests that it took last may still be on their way to the disk.
      await spool.written()
      await this.#saveTable(spool, table, after)
      this.#tables.delete(id)
    }
  }

  async #saveTable(spool: Spool, table: LeftTable, after: number): Promise<void> {
    const folder = join(this.#folder, folderOf(table))
    let run = null as Run | null
    for await (const record of spool.records(Math.max(after, await lastSaved(folder)))) {
      const kept = this.#keep(record, table.id)
      if (kept === null) continue
      const { body, ending, joins } = kept
      const fits = run?.ending === ending && run.bytes + body.length <= mostFileBytes && run.rows + record.rows <= mostFileRows
      if (run && !(joins && fits)) {
        await write(folder, run)
        run = null
      }
      run ??= { ending, first: record.sequence, last: 0, bodies: [], bytes: 0, rows: 0 }
      run.last = record.sequence
      run.bodies.push(body)
      run.bytes += body.length
      run.rows += record.rows
    }
    if (run) await write(folder, run)
  }
}

/** Requests that lie in one file. */
interface Run {
  readonly ending: string
  readonly first: number
  last: number
  readonly bodies: Uint8Array[]
  bytes: number
  rows: number
}

function folderOf({ id, namespace, name }: LeftTable): string {
  const text = `${namespace}.${name}`.replaceAll(/[^\w.-]/g, '_').slice(0, 100)
  return `${text}-${id.replaceAll(/[^\w-]/g, '_').slice(0, 36)}`
}

/** The last request in the files of `folder`, 0 when there are none. */
async function lastSaved(folder: string): Promise<number> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return Math.max(0, ...names.map((name) => Number(/^\d+-(\d+)\.\w+\.(?:ndjson|arrows|pb)$/.exec(name)?.[1] ?? 0)))
}

async function write(folder: string, { ending, first, last, bodies }: Run): Promise<void> {
  await mkdir(folder, { recursive: true })
  const number = (sequence: number): string => String(sequence).padStart(digits, '0')
  const name = `${number(first)}-${number(last)}.${ending}`
  const draft = join(folder, `${name}.new`)
  const handle = await open(draft, 'w', 0o600)
  try {
    for (const body of bodies) await handle.writeFile(body)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(draft, join(folder, name))
  const directory = await open(folder, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
