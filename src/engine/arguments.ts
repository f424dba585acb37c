import { FrazilError } from '../base/index.ts'

/*
 * What programs in this process give to the library: they are not bound by types. All throw `request`, `bad-parameter` unless they say
 * another code. What is undefined or null was not given.
 */

type Members = Readonly<Record<string, unknown>>

/** Options with which a lake is opened. */
export function checkOpening(options: unknown): void {
  const { takeOver, events, folder } = membersOf(options, 'the options of open')
  if (isGiven(takeOver) && typeof takeOver !== 'boolean') throw bad('takeOver', 'true or false')
  if (isGiven(events) && !(isMembers(events) && 'emit' in events)) throw bad('events', 'an EventBus')
  if (isGiven(folder) && !isText(folder)) throw bad('folder', 'the path of a folder')
}

/** A query. Values of parameters are checked where they are sent. */
export function checkQuery(sql: unknown, options: unknown): void {
  if (typeof sql !== 'string') throw bad('sql', 'one SQL statement, as a text')
  const { params, wait, waitTimeoutMs, timeoutMs, signal, mayRead } = membersOf(options, 'the options of a query')
  if (isGiven(params) && !Array.isArray(params)) throw bad('params', 'a list, with a value for each parameter')
  if (isGiven(wait) && wait !== 'now' && !(isMembers(wait) && Object.values(wait).every(isText))) {
    throw bad('wait', '"now", or {source: position} with positions as they were answered, which are texts')
  }
  if (isGiven(waitTimeoutMs) && !isTime(waitTimeoutMs)) throw bad('waitTimeoutMs', 'a number of milliseconds, 0 or more')
  if (isGiven(timeoutMs) && (!isTime(timeoutMs) || timeoutMs === 0)) {
    throw bad('timeoutMs', 'a number of milliseconds, more than 0')
  }
  if (isGiven(signal) && !(isMembers(signal) && 'addEventListener' in signal)) throw bad('signal', 'an AbortSignal')
  if (isGiven(mayRead) && typeof mayRead !== 'function') throw bad('mayRead', 'a function')
}

/** The name of a table, as namespace and name. Throws `table-name`. */
export function tableNameOf(given: unknown): { readonly namespace: string; readonly name: string } {
  const text = typeof given === 'string' ? given : ''
  const dot = text.indexOf('.')
  if (dot > 0) return { namespace: text.slice(0, dot), name: text.slice(dot + 1) }
  const what = typeof given === 'string' ? given : 'what was given'
  throw new FrazilError('request', 'table-name', `${what} is not the name of a table: namespace.table`)
}

const durabilities: readonly unknown[] = ['stored', 'visible', 'committed']

/** Options with which rows are sent; who sends them is checked elsewhere. */
export function checkSending(options: unknown): void {
  const { durability, create } = membersOf(options, 'the options of rows')
  if (isGiven(durability) && !durabilities.includes(durability)) throw bad('durability', `one of ${durabilities.join(', ')}`)
  if (!isGiven(create) || typeof create === 'boolean') return
  if (!isMembers(create) || !isNames(create['key'])) throw bad('create', 'true, or {key: […]} with a list of names of columns')
}

/** Of a new table. Its columns are checked where they are read. */
export function checkShape(shape: unknown): void {
  if (!isMembers(shape)) throw bad('the shape of a table', 'an object: {schema: [{name, data_type}, …]}')
  const { key, onSchemaChange } = shape
  if (isGiven(key) && !isNames(key)) throw bad('key', 'a list of names of columns')
  if (isGiven(onSchemaChange) && onSchemaChange !== 'evolve' && onSchemaChange !== 'refuse') {
    throw bad('onSchemaChange', '"evolve" or "refuse"')
  }
}

/** The key of a look-up. Throws `bad-key`. */
export function checkKey(key: unknown): void {
  if (!isMembers(key)) throw badKey('a key must be an object, {column: value} for each of its columns')
  for (const [name, value] of Object.entries(key)) {
    if (isGiven(value) && (typeof value === 'object' || typeof value === 'function' || typeof value === 'symbol')) {
      throw badKey(`the key column ${name} needs a text, a number, a bigint, true or false; a time as ISO 8601, bytes as base64`)
    }
  }
}

function membersOf(given: unknown, what: string): Members {
  if (!isGiven(given)) return {}
  if (isMembers(given)) return given
  throw bad(what, 'an object')
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** Not a list, a Map or a Set: what they have is not in properties. */
function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !(Symbol.iterator in value)
}

function isTime(value: unknown): boolean {
  return typeof value === 'number' && value >= 0
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText)
}

function bad(what: string, wants: string): FrazilError {
  return new FrazilError('request', 'bad-parameter', `${what} must be ${wants}`)
}

function badKey(message: string): FrazilError {
  return new FrazilError('request', 'bad-key', message)
}
