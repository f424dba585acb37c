import { FrazilError } from '../base/index.ts'
import type { CopiedPart, SourceTable } from '../data/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { ObjectStore } from '../storage/index.ts'

const format = 1

/** How a copy in parts began. */
export interface CopyPlan {
  readonly table: SourceTable
  /** What the source wants to find again. */
  readonly plan: string
  /** The Iceberg table that the files are for, so that their key runs are found again. */
  readonly tableUuid: string
  /** Text of what files are written by, which has to be the same for all of a table's copy. */
  readonly layout: string
}

/** A part that is complete, with its staged files. */
export interface StagedPart extends CopiedPart {
  readonly rows: number
  readonly files: readonly DataFile[]
}

/**
 * What outlives the process of a copy in parts: small objects beside its files, one for the whole and one for each part that is complete.
 * The state record names the folder, so a start finds them. They go when the table has entered.
 */
export class CopyJournal {
  readonly folder: string
  readonly #store: ObjectStore

  constructor(store: ObjectStore, folder: string) {
    this.#store = store
    this.folder = folder
  }

  async begin(plan: CopyPlan): Promise<void> {
    await this.#put('plan', { format, ...plan })
  }

  async add(part: StagedPart): Promise<void> {
    await this.#put(`part-${part.part}`, { format, ...part })
  }

  /** What was written; null when there is nothing, or nothing that can be used: the copy then begins again. */
  async read(): Promise<{ readonly plan: CopyPlan; readonly parts: readonly StagedPart[] } | null> {
    const plan = await this.#get(this.#uri('plan'))
    if (plan === null) return null
    const parts: StagedPart[] = []
    for await (const { uri } of this.#store.list(`${this.folder}/copy`)) {
      const part = uri.endsWith('/plan.json') ? null : await this.#get(uri)
      if (part === null) continue
      // Ours alone, and its format was just checked.
      parts.push(part as unknown as StagedPart)
    }
    parts.sort((a, b) => a.part - b.part)
    return { plan: plan as unknown as CopyPlan, parts }
  }

  /** The copy is in the lake, or given up. */
  async end(): Promise<void> {
    const uris: string[] = []
    for await (const { uri } of this.#store.list(`${this.folder}/copy/`)) uris.push(uri)
    await this.#store.delete(uris)
  }

  #uri(name: string): string {
    return `${this.folder}/copy/${name}.json`
  }

  async #put(name: string, content: object): Promise<void> {
    await this.#store.put(this.#uri(name), new TextEncoder().encode(JSON.stringify(content, tagged)))
  }

  async #get(uri: string): Promise<Record<string, unknown> | null> {
    try {
      const content: unknown = JSON.parse(new TextDecoder().decode(await this.#store.get(uri)), untagged)
      if (typeof content !== 'object' || content === null || !('format' in content) || content.format !== format) return null
      return { ...content }
    } catch (error) {
      if (error instanceof SyntaxError || (error instanceof FrazilError && error.kind === 'corrupt')) return null
      throw error
    }
  }
}

/** Bytes as an object with their text: metrics and partition values have them. */
function tagged(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? { bytes: Buffer.from(value).toString('hex') } : value
}

function untagged(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('bytes' in value) || typeof value.bytes !== 'string') return value
  return new Uint8Array(Buffer.from(value.bytes, 'hex'))
}
