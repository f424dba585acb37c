import { FrazilError } from '../../base/index.ts'
import type { Column } from '../../data/index.ts'
import { isPresent } from '../../data/index.ts'
import type { Selection } from './gather.ts'
import type { LeafWriter } from './leaf-writer.ts'
import type { Node } from './schema.ts'
import { physical } from './schema.ts'

/**
 * Takes nested values apart: each row's cell (see `decodeValue` in `data/values.ts`) becomes entries of repetition level,
 * definition level and value in the leaf columns below `node` (the Dremel encoding).
 */
export class Shredder {
  readonly #node: Node
  readonly #leaves: readonly LeafWriter[]
  #bytes: Uint8Array = new Uint8Array(0)
  #view: DataView = new DataView(new ArrayBuffer(0))
  /** Where the cell being read ends: nothing is read beyond it. */
  #end = 0

  /** `leaves` are those of the whole file, by index. */
  constructor(node: Node, leaves: readonly LeafWriter[]) {
    this.#node = node
    this.#leaves = leaves
  }

  append(column: Column, { rows, from, to }: Selection): void {
    const node = this.#node
    const { heap, ends } = column
    if (this.#bytes !== heap) {
      this.#bytes = heap
      this.#view = new DataView(heap.buffer, heap.byteOffset, heap.byteLength)
    }
    let before = -1
    for (let i = from; i < to; i++) {
      const row = rows === null ? i : rows[i]
      if (isPresent(column, row)) {
        this.#end = ends[row + 1]
        if (before >= 0 && (row === before || this.#isSame(ends, before, row)) && this.#canRepeat()) {
          for (let leaf = node.firstLeaf; leaf < node.lastLeaf; leaf++) this.#leaves[leaf].repeatRow()
        } else this.#value(node, ends[row] + 4, this.#end - ends[row] - 4, 0)
        before = row
      } else {
        this.#absent(node, 0, node.definition - 1)
        before = -1
      }
      for (let leaf = node.firstLeaf; leaf < node.lastLeaf; leaf++) this.#leaves[leaf].endRow()
    }
  }

  #canRepeat(): boolean {
    for (let leaf = this.#node.firstLeaf; leaf < this.#node.lastLeaf; leaf++) if (!this.#leaves[leaf].canRepeat) return false
    return true
  }

  /** Whether two rows have the same cell, as attributes of a resource have. */
  #isSame(ends: Int32Array, a: number, b: number): boolean {
    let from = ends[a]
    let at = ends[b]
    const end = ends[b + 1]
    if (ends[a + 1] - from !== end - at) return false
    const view = this.#view
    for (; at + 4 <= end; at += 4, from += 4) if (view.getInt32(at, true) !== view.getInt32(from, true)) return false
    for (; at < end; at++, from++) if (this.#bytes[at] !== this.#bytes[from]) return false
    return true
  }

  /** Writes the value at [at, at + length). */
  #value(node: Node, at: number, length: number, repetitionLevel: number): void {
    if (length < 0 || at + length > this.#end) throw malformed()
    switch (node.kind) {
      case 'leaf': {
        const writer = this.#leaves[node.leaf.index]
        this.#put(writer, at, length)
        writer.appendLevels(repetitionLevel, node.definition)
        return
      }
      case 'struct': {
        let next = at
        for (const child of node.children) next = this.#item(child, next, repetitionLevel, node.definition)
        if (next !== at + length) throw malformed()
        return
      }
      case 'repeated': {
        const count = this.#word(at) >>> 0
        if (count === 0) return this.#absent(node, repetitionLevel, node.definition)
        let next = at + 4
        for (let i = 0; i < count; i++) {
          const level = i === 0 ? repetitionLevel : node.repetition
          for (const item of node.items) next = this.#item(item, next, level, node.definition + 1)
        }
        if (next !== at + length) throw malformed()
      }
    }
  }

  /** Writes one item (length, then bytes) and returns where the next one begins. `outer` is the level of what surrounds it. */
  #item(node: Node, at: number, repetitionLevel: number, outer: number): number {
    const length = this.#word(at)
    if (length < 0) {
      if (!node.optional) throw new FrazilError('corrupt', 'missing-value', 'a required field inside a nested value is null')
      this.#absent(node, repetitionLevel, outer)
      return at + 4
    }
    this.#value(node, at + 4, length, repetitionLevel)
    return at + 4 + length
  }

  #absent(node: Node, repetitionLevel: number, definitionLevel: number): void {
    for (let leaf = node.firstLeaf; leaf < node.lastLeaf; leaf++)
      this.#leaves[leaf].appendLevels(repetitionLevel, definitionLevel)
  }

  #put(writer: LeafWriter, at: number, length: number): void {
    const { values, leaf } = writer
    const { width } = leaf
    if (leaf.physical === physical.byteArray) return writer.appendText(this.#view, this.#bytes, at, length)
    values.reserve(length)
    let { end } = values
    const target = values.bytes
    if (leaf.type.kind === 'decimal' && leaf.type.precision > 18) {
      if (length !== 16) throw malformed()
      for (let k = at + width; k > at;) target[end++] = this.#bytes[--k]
    } else {
      if (length !== width) throw malformed()
      for (let k = 0; k < length; k++) target[end++] = this.#bytes[at + k]
    }
    values.end = end
  }

  #word(at: number): number {
    if (at + 4 > this.#end) throw malformed()
    return this.#view.getInt32(at, true)
  }
}

function malformed(): FrazilError {
  return new FrazilError('corrupt', 'nested-value', 'a nested value in memory does not have the shape of its type')
}
