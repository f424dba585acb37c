import { isPromotion } from '../../data/index.ts'
import type { Field, Type } from '../../data/index.ts'
import { cellText } from './cells.ts'
import { isWord, numberEnd, skipSpace, stringEnd } from './scan.ts'

/** Columns that a table may have when more are made from rows; new ones with those nested in them. */
const mostFields = 2000
/** Deepest nesting of a column that is made from rows. */
const deepest = 16
const longestName = 255
/** Whole numbers up to here are the same as `double`. */
const exactDigits = 15
/** Longer numbers are not looked at. */
const mostDigits = 300

/**
 * What values have shown of a type. `open`: nothing but null yet. A list of what is open and a struct without members are open as well.
 * `isWide`: a whole number that `double` might round.
 */
type Guess =
  | { readonly kind: 'open' | 'boolean' | 'double' | 'string' }
  | { readonly kind: 'long'; readonly isWide: boolean }
  | { readonly kind: 'list'; readonly item: Guess }
  | { readonly kind: 'struct'; readonly members: ReadonlyMap<string, Guess> }

const open: Guess = { kind: 'open' }
const boolean: Guess = { kind: 'boolean' }
const double: Guess = { kind: 'double' }
const string: Guess = { kind: 'string' }
const long: Guess = { kind: 'long', isWide: false }
const wideLong: Guess = { kind: 'long', isWide: true }

/**
 * Finds the columns that JSON rows need, beside or instead of those that there are: whole numbers are long, others double, texts
 * string (also dates: nothing is guessed from the form of a text), objects structs, arrays lists; none is required. Columns that are
 * there grow as Iceberg lets them (int to long, float to double, decimals to more digits), apart from those in `fixed`.
 *
 * Whatever is only null, `[]` or `{}` makes no column; inside of structs and lists, which cannot grow later, null is string, `[]` a list
 * of strings and `{}` a map of strings.
 */
export class RowShape {
  readonly #fields: readonly Field[]
  readonly #fixed: ReadonlySet<string>
  readonly #types: Map<string, Type>
  readonly #guesses = new Map<string, Guess>()
  /** Names as SQL tells them apart. */
  readonly #folded: Set<string>

  constructor(fields: readonly Field[], fixed: readonly string[] = []) {
    this.#fields = fields
    this.#fixed = new Set(fixed)
    this.#types = new Map(fields.map(({ name, type }) => [name, type]))
    this.#folded = new Set(fields.map(({ name }) => name.toLowerCase()))
  }

  /**
   * Takes the row between `from` and `end` into account. Returns false, with nothing changed, for one that does not go together with the
   * rows before it, or is no JSON object.
   */
  add(bytes: Uint8Array, from: number, end: number): boolean {
    const found: [string, Guess][] = []
    const widened: [string, Type][] = []
    const reader = new GuessReader(bytes, end)
    const isRow = reader.members(skipSpace(bytes, from, end), 0, (name, at) => {
      const type = this.#types.get(name)
      if (type) {
        const next = this.#fixed.has(name) ? null : widerType(type, bytes, at, end)
        if (next) widened.push([name, next])
        return reader.value(at, 1) !== null
      }
      const before = this.#guesses.get(name)
      const guess = reader.value(at, 1)
      const merged = guess && (before ? merge(before, guess) : guess)
      if (merged === null) return false
      if (merged !== before) found.push([name, merged])
      return true
    })
    if (!isRow || skipSpace(bytes, reader.at, end) !== end) return false
    for (const [name, guess] of found) this.#guesses.set(name, guess)
    for (const [name, type] of widened) this.#types.set(name, type)
    return true
  }

  /** The columns as the rows need them, ids of new ones 0; null when they are those that there were. */
  grown(): Field[] | null {
    let changed = false
    const fields = this.#fields.map((field): Field => {
      const type = this.#types.get(field.name) ?? field.type
      if (type !== field.type) changed = true
      return type === field.type ? field : { ...field, type }
    })
    const folded = new Set(this.#folded)
    let count = fields.length
    for (const [name, guess] of this.#guesses) {
      if (isOpen(guess) || !isColumnName(name) || folded.has(name.toLowerCase())) continue
      const size = sizeOf(guess)
      if (count + size > mostFields) continue
      count += size
      folded.add(name.toLowerCase())
      fields.push({ id: 0, name, type: typeOf(guess), required: false })
      changed = true
    }
    return changed ? fields : null
  }
}

/** Whether the value at `at` says nothing of its type: null, `{}`, or a list of nothing else. */
export function isOpenValue(bytes: Uint8Array, at: number, end: number): boolean {
  const guess = new GuessReader(bytes, end).value(at, 1)
  return guess !== null && isOpen(guess)
}

function isOpen(guess: Guess): boolean {
  if (guess.kind === 'list') return isOpen(guess.item)
  return guess.kind === 'open' || (guess.kind === 'struct' && guess.members.size === 0)
}

/** Whether a column that rows bring may be called so. */
export function isColumnName(name: string): boolean {
  return name !== '' && name.length <= longestName && !/\p{Cc}/u.test(name) && name.isWellFormed()
}

/** Columns that it makes, nested ones counted. */
function sizeOf(guess: Guess): number {
  if (guess.kind === 'list') return 1 + sizeOf(guess.item)
  return guess.kind === 'struct' ? [...guess.members.values()].reduce((sum, member) => sum + sizeOf(member), 1) : 1
}

function typeOf(guess: Guess): Type {
  switch (guess.kind) {
    case 'open':
      return { kind: 'string' }
    case 'list':
      return { kind: 'list', elementId: 0, element: typeOf(guess.item), elementRequired: false }
    case 'struct': {
      const string: Type = { kind: 'string' }
      if (guess.members.size === 0) return { kind: 'map', keyId: 0, key: string, valueId: 0, value: string, valueRequired: false }
      const folded = new Map([...guess.members].map(([name, member]) => [name.toLowerCase(), { name, member }]))
      const fields = [...folded.values()].map(({ name, member }): Field => ({
        id: 0,
        name,
        type: typeOf(member),
        required: false,
      }))
      return { kind: 'struct', fields }
    }
    default:
      return { kind: guess.kind }
  }
}

/** What both show; `a` itself where `b` adds nothing; null where no type has both. */
function merge(a: Guess, b: Guess): Guess | null {
  if (b.kind === 'open') return a
  if (a.kind === 'open') return b
  if (a.kind === 'long' && b.kind === 'long') return a.isWide || !b.isWide ? a : b
  if (a.kind === 'long' && b.kind === 'double') return a.isWide ? null : b
  if (a.kind === 'double' && b.kind === 'long') return b.isWide ? null : a
  if (a.kind === 'list' && b.kind === 'list') {
    const item = merge(a.item, b.item)
    return item && (item === a.item ? a : { kind: 'list', item })
  }
  if (a.kind === 'struct' && b.kind === 'struct') {
    let members: Map<string, Guess> | null = null
    for (const [name, guess] of b.members) {
      const before = a.members.get(name)
      const merged = before ? merge(before, guess) : guess
      if (merged === null) return null
      if (merged === before) continue
      members ??= new Map(a.members)
      members.set(name, merged)
    }
    return members ? { kind: 'struct', members } : a
  }
  return a.kind === b.kind ? a : null
}

/** The type that a column must get for the value at `at`; null when it stays, or when no wider one helps. */
function widerType(type: Type, bytes: Uint8Array, at: number, end: number): Type | null {
  if (type.kind !== 'int' && type.kind !== 'float' && type.kind !== 'decimal') return null
  const to = numberEnd(bytes, at, end)
  if (to < 0 || to - at > mostDigits) return null
  const text = textOf(bytes, at, to)
  if (type.kind === 'float') {
    return Number.isFinite(Number(text)) && !Number.isFinite(Math.fround(Number(text))) ? { kind: 'double' } : null
  }
  const digits = /^-?(\d+)(?:\.(\d+))?$/.exec(text)
  if (!digits) return null
  const [, whole, fraction = ''] = digits
  if (type.kind === 'int') {
    const isInt = BigInt.asIntN(32, BigInt(whole)) === BigInt(whole) || text === '-2147483648'
    return fraction !== '' || isInt || whole.length > 19 ? null : { kind: 'long' }
  }
  const wanted: Type = { kind: 'decimal', precision: whole.replace(/^0+/, '').length + type.scale, scale: type.scale }
  return fraction.length <= type.scale && wanted.precision <= 38 && isPromotion(type, wanted) ? wanted : null
}

/** A whole number of many digits: `double` when it is too large for long and is what a double prints as. */
function wideNumber(bytes: Uint8Array, at: number, to: number): Guess | null {
  if (to - at > mostDigits) return null
  const text = textOf(bytes, at, to)
  const number = Number(text)
  const exact = BigInt(text)
  if (BigInt.asIntN(64, exact) === exact) return BigInt(number) === exact ? long : wideLong
  return BigInt(number) === exact || String(number) === text ? double : wideLong
}

function textOf(bytes: Uint8Array, at: number, to: number): string {
  let text = ''
  for (let i = at; i < to; i++) text += String.fromCharCode(bytes[i])
  return text
}

/** Looks at values of one row. */
class GuessReader {
  readonly #bytes: Uint8Array
  readonly #end: number
  #at = 0

  constructor(bytes: Uint8Array, end: number) {
    this.#bytes = bytes
    this.#end = end
  }

  /** Behind the value, or the members, that were read last. */
  get at(): number {
    return this.#at
  }

  /** The value at `at`; null when it is malformed, too deep, or has parts that do not go together. */
  value(at: number, depth: number): Guess | null {
    if (depth > deepest || at >= this.#end) return null
    switch (this.#bytes[at]) {
      case 0x22: {
        const quote = stringEnd(this.#bytes, at + 1, this.#end)
        this.#at = quote + 1
        return quote < 0 ? null : string
      }
      case 0x6e:
        return this.#word(at, 'null', open)
      case 0x74:
        return this.#word(at, 'true', boolean)
      case 0x66:
        return this.#word(at, 'false', boolean)
      case 0x5b:
        return this.#list(at, depth)
      case 0x7b: {
        const members = new Map<string, Guess>()
        const isStruct = this.members(at, depth, (name, place) => {
          const guess = this.value(place, depth + 1)
          // A name that cannot be a field's, or is there twice.
          const isFine = guess !== null && isColumnName(name) && !members.has(name)
          if (isFine) members.set(name, guess)
          return isFine
        })
        return isStruct ? { kind: 'struct', members } : null
      }
      default:
        return this.#number(at)
    }
  }

  #word(at: number, word: 'null' | 'true' | 'false', guess: Guess): Guess | null {
    this.#at = at + word.length
    return isWord(this.#bytes, at, this.#end, word) ? guess : null
  }

  #number(at: number): Guess | null {
    const to = numberEnd(this.#bytes, at, this.#end)
    this.#at = to
    if (to < 0) return null
    for (let i = at; i < to; i++) {
      const byte = this.#bytes[i]
      if (byte === 0x2e || (byte | 0x20) === 0x65) return double
    }
    return to - at > exactDigits ? wideNumber(this.#bytes, at, to) : long
  }

  #list(at: number, depth: number): Guess | null {
    const bytes = this.#bytes
    const end = this.#end
    let item = open
    at = skipSpace(bytes, at + 1, end)
    if (at < end && bytes[at] === 0x5d) {
      this.#at = at + 1
      return { kind: 'list', item }
    }
    for (;;) {
      const guess = this.value(at, depth + 1)
      const merged = guess && merge(item, guess)
      if (merged === null) return null
      item = merged
      at = skipSpace(bytes, this.#at, end)
      if (at >= end || (bytes[at] !== 0x2c && bytes[at] !== 0x5d)) return null
      if (bytes[at] === 0x5d) {
        this.#at = at + 1
        return { kind: 'list', item }
      }
      at = skipSpace(bytes, at + 1, end)
    }
  }

  /** Shows each member of the object at `at` to `each`, which reads its value with {@link value}. False when that is false, or none. */
  members(at: number, depth: number, each: (name: string, at: number) => boolean): boolean {
    const bytes = this.#bytes
    const end = this.#end
    if (depth > deepest || at >= end || bytes[at] !== 0x7b) return false
    at = skipSpace(bytes, at + 1, end)
    if (at < end && bytes[at] === 0x7d) {
      this.#at = at + 1
      return true
    }
    for (;;) {
      const quote = at < end && bytes[at] === 0x22 ? stringEnd(bytes, at + 1, end) : -1
      const name = quote < 0 ? null : cellText(bytes, at + 1, quote)
      if (name === null) return false
      at = skipSpace(bytes, quote + 1, end)
      if (at >= end || bytes[at] !== 0x3a) return false
      if (!each(name, skipSpace(bytes, at + 1, end))) return false
      at = skipSpace(bytes, this.#at, end)
      if (at >= end || (bytes[at] !== 0x2c && bytes[at] !== 0x7d)) return false
      if (bytes[at] === 0x7d) {
        this.#at = at + 1
        return true
      }
      at = skipSpace(bytes, at + 1, end)
    }
  }
}
