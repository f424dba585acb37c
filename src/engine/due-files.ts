import type { Field, Position } from '../data/index.ts'
import type { FileLayout, IcebergTable } from '../iceberg/index.ts'
import { aimedBytes, chooseFiles, mostSortedRows } from '../table/index.ts'
import type { ColdFile, RatedFile, Table } from '../table/index.ts'
import type { MirroredTable } from './mirrored-table.ts'

export interface DueSettings {
  /** Bytes that files should have. */
  readonly targetBytes: number
  /** How long a table is unchanged before it rests. */
  readonly restMs: number
}

/** A data file that may be rewritten. */
export interface Rated extends RatedFile {
  readonly file: ColdFile
  readonly unsorted: boolean
}

interface Due {
  readonly files: readonly ColdFile[]
  /** Bytes of the files that they become. */
  readonly targetBytes: number
}

type LiveTable = MirroredTable & { table: Table }

/**
 * All that the rule decides by. What the lake has of a table's files (vectors, layout, which there are) comes with a new list of files
 * or a new state in the lake; what is in no snapshot yet does not count.
 */
interface Grounds {
  readonly files: readonly ColdFile[]
  readonly iceberg: IcebergTable
  readonly fields: readonly Field[]
  readonly rests: boolean
}

interface Seen {
  readonly committed: Position | null
  /** Since when the lake has what it has of the table. */
  readonly since: number
  /** On which there was nothing to do. */
  well: Grounds | null
}

/** Which files of a table should be rewritten next. It is asked every second for each, so one that is as it was costs next to nothing. */
export class DueFiles {
  readonly #settings: DueSettings
  readonly #seen = new WeakMap<MirroredTable, Seen>()
  /** How files are laid out, by the state of the table in the lake. */
  readonly #layouts = new WeakMap<IcebergTable, { readonly fields: readonly Field[]; readonly layout: FileLayout }>()

  constructor(settings: DueSettings) {
    this.#settings = settings
  }

  /** By the rule ({@link chooseFiles}), at monotonic time `now`; null when all is well. */
  find(mirrored: LiveTable, now: number): Due | null {
    const { committed, iceberg, table } = mirrored
    let seen = this.#seen.get(mirrored)
    if (seen?.committed !== committed) {
      seen = { committed, since: now, well: seen?.well ?? null }
      this.#seen.set(mirrored, seen)
    }
    // Rewrites are no changes: they do not wake it.
    const rests = now - seen.since >= this.#settings.restMs
    const { files, fields } = table
    const { well } = seen
    if (well?.files === files && well.iceberg === iceberg && well.fields === fields && well.rests === rests) return null
    const due = this.#choose(mirrored, rests)
    seen.well = due ? null : { files, iceberg, fields, rests }
    return due
  }

  #choose(mirrored: LiveTable, rests: boolean): Due | null {
    const groups = byPartition(this.rated(mirrored))
    const settings = { ...this.#settings, partitions: groups.length, rests }
    for (const files of groups) {
      const chosen = chooseFiles(files, settings)
      if (chosen.length > 0) return { files: chosen.map(({ file }) => file), targetBytes: aimedBytes(files, settings) }
    }
    return null
  }

  /** The files of a table that may be rewritten: what has no row goes by itself. */
  rated(mirrored: LiveTable): Rated[] {
    const { sort, sortOrderId } = this.layoutOf(mirrored)
    return mirrored.table.files
      .filter((file) => file.committed && file.removedAt === 0 && file.committedDeleted < file.rows)
      .map((file) => {
        const { rows, committedDeleted: deleted } = file
        const isSorted = sort.length === 0 || (file.file.sortOrderId ?? 0) === sortOrderId
        const unsorted = !isSorted && rows - deleted <= mostSortedRows
        return { file, rows, deleted, bytes: file.file.fileSize, unsorted }
      })
  }

  layoutOf({ iceberg, table }: LiveTable): FileLayout {
    const { fields } = table
    const known = this.#layouts.get(iceberg)
    if (known?.fields === fields) return known.layout
    const layout = iceberg.layoutFor(fields)
    this.#layouts.set(iceberg, { fields, layout })
    return layout
  }
}

/** Files of one partition: only they become one. Those under an older spec stay under it. */
export function byPartition(files: readonly Rated[]): Rated[][] {
  const groups = Map.groupBy(files, ({ file: { file } }) => {
    const { specId = 0, values = [] } = file.partition ?? {}
    return JSON.stringify([specId, values.map((value) => value && Buffer.from(value).toString('hex'))])
  })
  return [...groups.values()]
}
