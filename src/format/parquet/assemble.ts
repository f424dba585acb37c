import { FrazilError, assert } from '../../base/index.ts'
import type { Column, Field, Type } from '../../data/index.ts'
import { isNested, layoutOf, widthOf } from '../../data/index.ts'
import type { Convert } from './convert.ts'
import { checkedText, conversion } from './convert.ts'
import { tooLarge } from './decode-values.ts'
import type { EntryQueue } from './entry-queue.ts'
import { notConvertible } from './file-schema.ts'
import type { FileLeaf, FileNode } from './file-schema.ts'
import { malformed } from './read-metadata.ts'

/** What a missing column reads as: a value's stored bytes, or null. */
export type Missing = (field: Field) => Uint8Array | null

/** How a field of a table is made from the leaves of a file. */
export type Plan =
  | { readonly kind: 'constant'; readonly type: Type; readonly bytes: Uint8Array | null }
  | {
      readonly kind: 'leaf'
      readonly type: Type
      readonly node: FileNode
      readonly leaf: number
      readonly probes: readonly number[]
    }
  | {
      readonly kind: 'struct' | 'repeated'
      readonly type: Type
      readonly node: FileNode
      readonly children: readonly Plan[]
      /** Level of a further entry (repeated), or of the entries around (struct). */
      readonly repetition: number
      /** Places of the leaves below in the list of leaves to read; the first one's levels are looked at. */
      readonly probes: readonly number[]
    }

/** The leaves of a file that a reading needs, each once. */
export class LeafList {
  readonly leaves: FileLeaf[] = []
  readonly converts: Convert[] = []
  readonly #checkText: boolean

  constructor(checkText: boolean) {
    this.#checkText = checkText
  }

  add(leaf: FileLeaf, convert: Convert): number {
    this.leaves.push(leaf)
    this.converts.push(this.#checkText && leaf.element.annotation?.kind === 'string' ? checkedText(leaf, convert) : convert)
    return this.leaves.length - 1
  }
}

/**
 * Plans how `field` is read from `node` of the file (undefined: the file does not have it); `around` is the repetition level
 * of the entries that it lies in.
 */
export function planField(field: Field, node: FileNode | undefined, list: LeafList, missing: Missing, around = 0): Plan {
  if (node === undefined) {
    const bytes = missing(field)
    if (bytes === null && field.required)
      throw new FrazilError('corrupt', 'missing-column', `the Parquet file does not have the required column ${field.name}`)
    return { kind: 'constant', type: field.type, bytes }
  }
  return planType(field.type, node, list, missing, around)
}

function planType(type: Type, node: FileNode, list: LeafList, missing: Missing, around: number): Plan {
  if (!isNested(type)) {
    if (node.kind !== 'leaf') throw notConvertible(node.name, type)
    const leaf = list.add(node.leaf, conversion(node.leaf, type))
    return { kind: 'leaf', type, node, leaf, probes: [leaf] }
  }
  const first = list.leaves.length
  let children: Plan[]
  let repetition = around
  if (type.kind === 'struct') {
    if (node.kind !== 'struct') throw notConvertible(node.name, type)
    children = type.fields.map((field) => planField(field, findById(node.children, field.id), list, missing, around))
    // Whether the struct itself is there must be seen by something.
    if (list.leaves.length === first) list.add(node.probe, (values) => values)
  } else {
    if (node.kind !== type.kind) throw notConvertible(node.name, type)
    ;({ repetition } = node)
    const types = type.kind === 'list' ? [type.element] : [type.key, type.value]
    if (types.length !== node.items.length) throw notConvertible(node.name, type)
    children = types.map((item, i) => planType(item, node.items[i], list, missing, node.repetition))
  }
  const probes = Array.from({ length: list.leaves.length - first }, (_, i) => first + i)
  return { kind: type.kind === 'struct' ? 'struct' : 'repeated', type, node, children, repetition, probes }
}

export function findById(nodes: readonly FileNode[], id: number): FileNode | undefined {
  return id > 0 ? nodes.find((node) => node.fieldId === id) : undefined
}

/** Largest heap of a column: positions in it are int32. */
const maxHeapBytes = 2 ** 31 - 1

/** Fills one column of a batch of `rows` rows. */
export class ColumnBuilder {
  readonly #field: Field
  readonly #plan: Plan
  /** Of the row group being read, by leaf. */
  #queues: readonly EntryQueue[] = []
  readonly #rows: number
  readonly #width: number
  readonly #valid: Uint8Array<ArrayBuffer> | null
  readonly #data: Uint8Array<ArrayBuffer>
  readonly #words: Int32Array<ArrayBuffer>
  readonly #ends: Int32Array<ArrayBuffer>
  #heap: Uint8Array<ArrayBuffer>
  #row = 0
  #end = 0

  /** `heapBytes`: what the heap is likely to need. */
  constructor(field: Field, plan: Plan, rows: number, heapBytes = rows * 16) {
    this.#field = field
    this.#plan = plan
    this.#rows = rows
    this.#width = widthOf(field.type)
    if (rows * this.#width > maxHeapBytes) throw tooLarge()
    const variable = layoutOf(field.type) === 'var'
    this.#valid = field.required ? null : new Uint8Array((rows + 8) >> 3)
    this.#data = new Uint8Array((rows * this.#width + 7) & ~7)
    this.#words = new Int32Array(this.#data.buffer)
    this.#ends = new Int32Array(variable ? rows + 1 : 0)
    this.#heap = new Uint8Array(variable ? heapBytes : 0)
  }

  /** Bytes of the rows taken so far. */
  get bytes(): number {
    return this.#end + this.#row * this.#width
  }

  /** Takes the next `count` rows from a row group's queues, which have them. */
  take(queues: readonly EntryQueue[], count: number): void {
    this.#queues = queues
    assert(this.#row + count <= this.#rows, 'a batch is as long as it was planned')
    const plan = this.#plan
    if (plan.kind === 'constant') this.#takeConstant(plan.bytes, count)
    else if (plan.kind === 'leaf' && this.#queues[plan.leaf].reader.leaf.maxRepetition === 0)
      this.#takeFlat(this.#queues[plan.leaf], count)
    else this.#takeNested(plan, count)
  }

  finish(): Column {
    const field = this.#field
    const layout = layoutOf(field.type)
    const data = this.#data.subarray(0, this.#row * this.#width)
    return {
      field,
      layout,
      width: this.#width,
      valid: this.#valid,
      data,
      words:
        this.#width % 4 === 0 && layout !== 'fixed' && layout !== 'var'
          ? this.#words.subarray(0, data.length >> 2)
          : new Int32Array(0),
      ends: this.#ends,
      heap: this.#heap.subarray(0, this.#end),
    }
  }

  #takeConstant(bytes: Uint8Array | null, count: number): void {
    for (let i = 0; i < count; i++) {
      if (bytes !== null) this.#present(this.#row)
      if (layoutOf(this.#field.type) !== 'var') {
        if (bytes !== null) this.#data.set(bytes, this.#row * this.#width)
      } else if (bytes !== null) {
        this.#room(4 + bytes.length)
        putWord(this.#heap, this.#end, bytes.length)
        this.#heap.set(bytes, this.#end + 4)
        this.#end += 4 + bytes.length
      }
      this.#endRow()
    }
  }

  #takeFlat(queue: EntryQueue, count: number): void {
    const max = queue.reader.leaf.maxDefinition
    queue.took(count)
    while (count > 0) {
      const { page, entry, value } = queue
      const take = Math.min(count, page.entries - entry)
      const { definitions, values } = page
      if (definitions === null) this.#copyAll(values.bytes, values.ends, value, take)
      else {
        let from = value
        for (let i = 0; i < take; i++) {
          if (definitions[entry + i] === max) this.#copyOne(values.bytes, values.ends, from++)
          else if (this.#valid === null) throw this.#missingValue()
          this.#endRow()
        }
      }
      queue.advance(take)
      count -= take
    }
  }

  /** Copies `count` values, all there, as the next rows. */
  #copyAll(bytes: Uint8Array, ends: Int32Array, from: number, count: number): void {
    const width = this.#width
    const row = this.#row
    if (this.#valid !== null) for (let i = row; i < row + count; i++) this.#valid[i >> 3] |= 1 << (i & 7)
    if (this.#ends.length === 0) this.#data.set(bytes.subarray(from * width, (from + count) * width), row * width)
    else {
      const start = ends[from]
      const length = ends[from + count] - start
      this.#room(length)
      this.#heap.set(bytes.subarray(start, start + length), this.#end)
      const shift = this.#end - start
      for (let i = 1; i <= count; i++) this.#ends[row + i] = ends[from + i] + shift
      this.#end += length
    }
    this.#row += count
  }

  #copyOne(bytes: Uint8Array, ends: Int32Array, from: number): void {
    const width = this.#width
    this.#present(this.#row)
    if (this.#ends.length === 0) {
      const start = from * width
      const to = this.#row * width
      for (let k = 0; k < width; k++) this.#data[to + k] = bytes[start + k]
    } else this.#append(bytes, ends[from], ends[from + 1])
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    this.#room(to - from)
    const heap = this.#heap
    let end = this.#end
    if (to - from > 96) {
      heap.set(bytes.subarray(from, to), end)
      end += to - from
    } else while (from < to) heap[end++] = bytes[from++]
    this.#end = end
  }

  #takeNested(plan: Plan, count: number): void {
    for (let i = 0; i < count; i++) {
      const before = this.#end
      for (const probe of probesOf(plan)) this.#checkRowStart(this.#queues[probe])
      if (this.#ends.length === 0) throw malformed('a list is where a single value should be')
      this.#item(plan)
      if (readWord(this.#heap, before) < 0) {
        if (this.#valid === null) throw this.#missingValue()
        this.#end = before
      } else this.#present(this.#row)
      for (const probe of probesOf(plan)) this.#queues[probe].took(1)
      this.#endRow()
    }
  }

  /** Writes the next value of `plan` as an item of a cell: its length and bytes, or −1. */
  #item(plan: Plan): void {
    const start = this.#end
    this.#room(4)
    this.#end += 4
    if (plan.kind === 'constant') {
      putWord(this.#heap, start, plan.bytes === null ? -1 : plan.bytes.length)
      if (plan.bytes !== null) this.#append(plan.bytes, 0, plan.bytes.length)
      return
    }
    const { node, probes } = plan
    const probe = this.#queues[probes[0]]
    if (probe.empty) throw malformed('a nested column ends within a value')
    const { definition } = probe
    if (definition < node.definition) {
      if (!node.optional && definition >= node.definition) throw malformed('a required value is missing')
      putWord(this.#heap, start, -1)
      this.#pass(probes)
      return
    }
    if (plan.kind === 'leaf') {
      const { values } = probe.page
      const { value } = probe
      if (values.width === 0) this.#append(values.bytes, values.ends[value] + 4, values.ends[value + 1])
      else this.#append(values.bytes, value * values.width, (value + 1) * values.width)
      probe.advance(1)
    } else if (plan.kind === 'struct') {
      for (const child of plan.children) this.#item(child)
      if (plan.children.every((child) => child.kind === 'constant')) {
        // Its only leaf is there for its levels; it may have further entries below.
        this.#pass(probes)
        while (!probe.empty && probe.repetition > plan.repetition) probe.advance(1)
      }
    } else {
      this.#room(4)
      const countAt = this.#end
      this.#end += 4
      let count = 0
      if (definition === node.definition) this.#pass(probes)
      else {
        do {
          for (const child of plan.children) {
            const first = this.#queues[probesOf(child)[0]]
            if (count > 0 && (first.empty || first.repetition !== plan.repetition))
              throw malformed('the parts of a list do not match')
            this.#item(child)
          }
          count++
        } while (!probe.empty && probe.repetition === plan.repetition)
      }
      putWord(this.#heap, countAt, count)
    }
    putWord(this.#heap, start, this.#end - start - 4)
  }

  /** Passes the entry that says, in each of these leaves, that something is missing. */
  #pass(probes: readonly number[]): void {
    for (const probe of probes) {
      const queue = this.#queues[probe]
      if (queue.empty) throw malformed('a nested column ends within a value')
      queue.advance(1)
    }
  }

  #checkRowStart(queue: EntryQueue): void {
    if (queue.empty || queue.repetition !== 0) throw malformed('the rows of a nested column do not match')
  }

  #present(row: number): void {
    if (this.#valid !== null) this.#valid[row >> 3] |= 1 << (row & 7)
  }

  #endRow(): void {
    this.#row++
    if (this.#ends.length > 0) this.#ends[this.#row] = this.#end
  }

  #room(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#heap.length) return
    if (needed > maxHeapBytes) throw tooLarge()
    const larger = new Uint8Array(Math.min(maxHeapBytes, Math.max(needed, this.#heap.length * 2)))
    larger.set(this.#heap.subarray(0, this.#end))
    this.#heap = larger
  }

  #missingValue(): FrazilError {
    return new FrazilError('corrupt', 'missing-value', `the Parquet file has no value in the required column ${this.#field.name}`)
  }
}

function probesOf(plan: Plan): readonly number[] {
  return plan.kind === 'constant' ? [] : plan.probes
}

function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >> 8
  bytes[at + 2] = value >> 16
  bytes[at + 3] = value >> 24
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
}
