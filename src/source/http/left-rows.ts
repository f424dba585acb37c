import { Buffer } from 'node:buffer'
import { mkdir, open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { skipSpace, skipValue } from '../../format/json/index.ts'
import type { Spool, SpoolRecord } from '../push/index.ts'
import { decodeHead } from './record-head.ts'

/** A table that was detached. */
export interface LeftTable {
  readonly id: string
  readonly namespace: string
  readonly name: string
}

const folderName = 'detached'
const digits = 15

/**
 * Rows that were accepted for tables which were detached before the lake had them. They leave the spool as files of lines of JSON below
 * `detached` (and those of Arrow as they came), to be sent again to another table: `<first>-<last>.<operation>.ndjson` in a folder for each
 * table, by the numbers of the requests, each request once.
 */
export class LeftRows {
  readonly #folder: string
  /** With the last request that the lake has of it; null while that is not known. */
  readonly #tables = new Map<string, LeftTable & { readonly after: number | null }>()
  #saving: Promise<void> = Promise.resolve()

  /** @param spool folder of the spool */
  constructor(spool: string) {
    this.#folder = join(spool, folderName)
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
    let run: SpoolRecord[] = []
    const endRun = async (): Promise<void> => {
      if (run.length > 0) await write(folder, run)
      run = []
    }
    for await (const record of spool.records(Math.max(after, await lastSaved(folder)))) {
      if (record.table !== table.id) continue
      if (run.length > 0 && !(run[0].operation === record.operation && formOf(run[0]) + formOf(record) === 'ndjsonndjson'))
        await endRun()
      run.push(record)
    }
    await endRun()
  }
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
  return Math.max(0, ...names.map((name) => Number(/^\d+-(\d+)\.\w+\.(?:ndjson|arrows)$/.exec(name)?.[1] ?? 0)))
}

async function write(folder: string, records: readonly SpoolRecord[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  const number = ({ sequence }: SpoolRecord): string => String(sequence).padStart(digits, '0')
  const name = `${number(records[0])}-${number(records[records.length - 1])}.${records[0].operation}.${formOf(records[0])}`
  const draft = join(folder, `${name}.new`)
  const handle = await open(draft, 'w', 0o600)
  try {
    for (const record of records) {
      await handle.writeFile(formOf(record) === 'arrows' ? record.body : Buffer.concat([linesOf(record.body), newline]))
    }
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

/** The ending of files with such rows. */
function formOf({ head }: SpoolRecord): 'ndjson' | 'arrows' {
  return decodeHead(head).form === 'arrow' ? 'arrows' : 'ndjson'
}

const newline = Buffer.from('\n')

/** Rows as they are in the spool, each on a line of its own: those of one request may lie on several lines each. */
function linesOf(body: Uint8Array): Buffer {
  const lines: Buffer[] = []
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  let at = skipSpace(bytes, 0, bytes.length)
  while (at < bytes.length) {
    const to = skipValue(bytes, at, bytes.length)
    if (to < 0) return bytes
    const row = Buffer.from(bytes.subarray(at, to))
    // White space between tokens: texts have none of these characters.
    for (let i = 0; i < row.length; i++) if (row[i] === 0x0a || row[i] === 0x0d) row[i] = 0x20
    lines.push(row, newline)
    at = skipSpace(bytes, to, bytes.length)
  }
  return Buffer.concat(lines.slice(0, -1))
}
