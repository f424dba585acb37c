import type { ViewFile } from './contract.ts'
import { fileQuery, fileTable, filteredColumns } from './file-filter.ts'
import type { FileTable } from './file-filter.ts'
import type { Condition } from './filters.ts'
import { integerTest } from './integer-bounds.ts'
import type { HotTables } from './hot-scan.ts'
import type { SentParameter } from './messages.ts'
import type { ReceivedView } from './view-transfer.ts'

/** Fewer files are read as they are: opening them costs less than asking DuckDB. */
const fewFiles = 4
/** What is kept for the next query: file tables, and different choices of one table's files. */
const maxTables = 64
const maxChoices = 1024

interface Known {
  readonly files: readonly ViewFile[]
  readonly number: number
  readonly table: FileTable
}

function samePaths(a: readonly ViewFile[], b: readonly ViewFile[]): boolean {
  return a === b || (a.length === b.length && a.every(({ path }, i) => path === b[i].path))
}

/** Leaves out files of a view that cannot have a row which counts, by their column metrics. For one connection. */
export class FileChooser {
  readonly #hotTables: HotTables
  readonly #rows: (sql: string, params: readonly SentParameter[]) => Promise<unknown[][]>
  readonly #known = new Map<string, Known>()
  /** The same files are the same object, by the files of the view that they were chosen of. */
  readonly #choices = new WeakMap<readonly ViewFile[], Map<string, readonly ViewFile[]>>()

  /** @param rows runs a statement */
  constructor(hotTables: HotTables, rows: (sql: string, params: readonly SentParameter[]) => Promise<unknown[][]>) {
    this.#hotTables = hotTables
    this.#rows = rows
  }

  /** The files to read for rows that meet one of the conditions. */
  async choose(
    { namespace, name, fields, files }: ReceivedView,
    conditions: readonly Condition[],
    params: readonly SentParameter[],
  ): Promise<readonly ViewFile[]> {
    const integers = integerTest(conditions, fields, params)
    const near = files.flatMap((file, i) => (integers.mayHave(file) ? i : []))
    if (integers.isWhole || near.length < fewFiles) return this.#choice(files, near)
    const columns = filteredColumns(conditions, fields)
    if (columns.length === 0) return files
    // With places and types, too: those change with the table while the files and the ids stay.
    const key = JSON.stringify([namespace, name, ...columns.map((column) => [column, fields[column].id, fields[column].type])])
    let known = this.#known.get(key)
    if (!known || !samePaths(known.files, files)) {
      if (known) this.#hotTables.remove(known.number)
      const table = fileTable(files, fields, columns)
      known = { files, table, number: this.#hotTables.add(table.table) }
    }
    // The newest last: the oldest go first.
    this.#known.delete(key)
    this.#known.set(key, known)
    const { sql, params: used } = fileQuery(known.number, known.table, conditions, fields, params)
    let chosen: unknown[][]
    try {
      chosen = await this.#rows(sql, used)
    } catch {
      // A constant that does not fit its column: the statement itself says so.
      return files
    }
    const isNear = new Set(near)
    return this.#choice(
      files,
      chosen.map(Number).filter((number) => isNear.has(number)),
    )
  }

  #choice(files: readonly ViewFile[], numbers: readonly number[]): readonly ViewFile[] {
    if (numbers.length === files.length) return files
    let choices = this.#choices.get(files)
    if (!choices || choices.size >= maxChoices) this.#choices.set(files, (choices = new Map()))
    const key = numbers.join()
    const choice = choices.get(key) ?? numbers.map((number) => files[number])
    choices.set(key, choice)
    return choice
  }

  /** Forgets what was not used in a long time. */
  rest(): void {
    for (const [key, { number }] of this.#known) {
      if (this.#known.size <= maxTables) break
      this.#known.delete(key)
      this.#hotTables.remove(number)
    }
  }
}
