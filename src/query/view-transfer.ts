import { assert } from '../base/index.ts'
import type { Field, SharedPart, SharedSegment } from '../data/index.ts'
import type { TableView, ViewFile } from './contract.ts'

/** A view of one table as it travels to the worker: what the worker has from the table's last view is not sent again. */
export interface SentView {
  readonly namespace: string
  readonly name: string
  readonly commit: number
  readonly parts: readonly { readonly segment: number; readonly from: number; readonly to: number }[]
  /** Segments that were not in the table's last view. Typed arrays over shared memory are shared, not copied. */
  readonly segments: readonly (readonly [number: number, segment: SharedSegment])[]
  /** Null: as in the table's last view. */
  readonly fields: readonly Field[] | null
  readonly files: readonly number[] | null
  /** Files that were not in the table's last view, or with other deletes. */
  readonly newFiles: readonly (readonly [number: number, file: ViewFile])[]
}

export interface SentViews {
  /** The worker forgets all tables first. */
  readonly afresh: boolean
  readonly tables: readonly SentView[]
}

/** A view of one table as the worker has it. */
export interface ReceivedView {
  readonly namespace: string
  readonly name: string
  readonly commit: number
  readonly parts: readonly SharedPart[]
  /** The same object as long as the fields are the same. */
  readonly fields: readonly Field[]
  /** The same object as long as the files and their deletes are the same; and so is each file. */
  readonly files: readonly ViewFile[]
}

/** Most tables that both sides remember; past it both start afresh. */
const maxTables = 1024

interface LastSent {
  fields: readonly Field[]
  files: readonly ViewFile[]
  /** By path. */
  fileNumbers: ReadonlyMap<string, NumberedFile>
  segments: Set<number>
}

interface NumberedFile {
  readonly number: number
  readonly file: ViewFile
}

/**
 * Sending side: cloning a message costs a microsecond or so for each typed array, and a table may have thousands of them. Both
 * sides remember each table's last view; messages of one port arrive in order, so they agree.
 */
export class ViewSender {
  readonly #last = new Map<string, LastSent>()
  /** Segments by their columns: `share()` makes a new object each time, the columns stay. */
  readonly #numbers = new WeakMap<SharedSegment['columns'], number>()
  #lastNumber = 0

  pack(views: readonly TableView[]): SentViews {
    const afresh = this.#last.size + views.length > maxTables
    if (afresh) this.#last.clear()
    return { afresh, tables: views.map((view) => this.#packOne(view)) }
  }

  #packOne(view: TableView): SentView {
    const key = tableKey(view)
    const last = this.#last.get(key)
    const segments: [number, SharedSegment][] = []
    const numbers = new Set<number>()
    const parts = view.hot.map(({ segment, from, to }) => {
      const number = this.#numberOf(segment)
      if (!numbers.has(number) && !last?.segments.has(number)) segments.push([number, segment])
      numbers.add(number)
      return { segment: number, from, to }
    })
    const fields = last && sameFields(last.fields, view.fields) ? null : view.fields
    const { namespace, name, commit } = view
    if (last && sameFiles(last.files, view.files)) {
      this.#last.set(key, { ...last, fields: view.fields, files: view.files, segments: numbers })
      return { namespace, name, commit, parts, segments, fields, files: null, newFiles: [] }
    }
    const files = view.files.map((file): NumberedFile => {
      const before = last?.fileNumbers.get(file.path)
      return before && sameFile(before.file, file) ? before : { number: ++this.#lastNumber, file }
    })
    const newFiles = files.filter((each) => last?.fileNumbers.get(each.file.path) !== each)
    const fileNumbers = new Map(files.map((each) => [each.file.path, each]))
    this.#last.set(key, { fields: view.fields, files: view.files, fileNumbers, segments: numbers })
    return {
      namespace,
      name,
      commit,
      parts,
      segments,
      fields,
      files: files.map(({ number }) => number),
      newFiles: newFiles.map(({ number, file }) => [number, compact(file)]),
    }
  }

  #numberOf(segment: SharedSegment): number {
    const known = this.#numbers.get(segment.columns)
    if (known !== undefined) return known
    this.#numbers.set(segment.columns, ++this.#lastNumber)
    return this.#lastNumber
  }
}

interface LastReceived {
  readonly view: ReceivedView
  readonly segments: ReadonlyMap<number, SharedSegment>
  /** By their numbers, in the order of the view. */
  readonly files: ReadonlyMap<number, ViewFile>
}

/** Receiving side of {@link ViewSender}. */
export class ViewReceiver {
  readonly #last = new Map<string, LastReceived>()

  unpack(sent: SentViews): ReceivedView[] {
    if (sent.afresh) this.#last.clear()
    return sent.tables.map((table) => this.#unpackOne(table))
  }

  #unpackOne(sent: SentView): ReceivedView {
    const key = tableKey(sent)
    const last = this.#last.get(key)
    const fresh = new Map(sent.segments)
    const segments = new Map<number, SharedSegment>()
    const parts = sent.parts.map(({ segment: number, from, to }) => {
      const segment = fresh.get(number) ?? last?.segments.get(number)
      assert(segment, 'both sides of a port know the same segments')
      segments.set(number, segment)
      return { segment, from, to }
    })
    const fields = sent.fields ?? last?.view.fields
    const numbered = sent.files === null ? last?.files : filesOf(sent, last?.files)
    const files = sent.files === null ? last?.view.files : numbered && [...numbered.values()]
    assert(fields && numbered && files, 'both sides of a port know the same tables')
    const view = { namespace: sent.namespace, name: sent.name, commit: sent.commit, parts, fields, files }
    this.#last.set(key, { view, segments, files: numbered })
    return view
  }
}

function filesOf({ files, newFiles }: SentView, last: ReadonlyMap<number, ViewFile> | undefined): Map<number, ViewFile> {
  const fresh = new Map(newFiles)
  const numbered = new Map<number, ViewFile>()
  for (const number of files ?? []) {
    const file = fresh.get(number) ?? last?.get(number)
    assert(file, 'both sides of a port know the same files')
    numbered.set(number, file)
  }
  return numbered
}

function tableKey(table: { readonly namespace: string; readonly name: string }): string {
  return JSON.stringify([table.namespace, table.name])
}

function sameFields(a: readonly Field[], b: readonly Field[]): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}

function sameFiles(a: readonly ViewFile[], b: readonly ViewFile[]): boolean {
  if (a === b) return true
  return a.length === b.length && a.every((file, i) => sameFile(file, b[i]))
}

/** Bitmaps never change, so the same object has the same bits. */
function sameFile(a: ViewFile, b: ViewFile): boolean {
  return a.path === b.path && a.rows === b.rows && a.deleted === b.deleted
}

/** Of a bitmap inside a larger private buffer, cloning would copy the whole buffer. */
function compact({ path, rows, deleted, stats = null }: ViewFile): ViewFile {
  const inside = deleted !== null && deleted.buffer instanceof ArrayBuffer && deleted.length < deleted.buffer.byteLength
  return { path, rows, deleted: inside ? deleted.slice() : deleted, stats }
}
