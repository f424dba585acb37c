import { pino, stdTimeFunctions } from 'pino'
import type { EngineEvent, EventBus } from './events.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** Facts that go with a message: names, counts, durations. Never row values or secrets. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export interface LogOptions {
  readonly level: LogLevel
  /** `text` for people at a terminal, `json` (one object a line) for machines. */
  readonly format: 'text' | 'json'
  /** Gets whole lines. */
  write(line: string): void
}

/** A logger over pino. JSON lines have `level` (a word), `time` (ISO 8601), `msg` and the fields. */
export function createLog(options: LogOptions): Log {
  const write = (line: string): void => options.write(options.format === 'json' ? line : textLine(line))
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  )
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  }
}

/** A logger that says nothing: the library's default. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** One JSON line as `12:34:56.789 warn  message  key=value`. */
function textLine(json: string): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown>
  const rest = Object.entries(fields)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? quoteIfNeeded(value) : JSON.stringify(value)}`)
    .join(' ')
  const clock = String(time).slice(11, 23)
  return `${clock} ${String(level).padEnd(5)} ${String(msg)}${rest === '' ? '' : `  ${rest}`}\n`
}

function quoteIfNeeded(text: string): string {
  return /^[\w./:@-]+$/.test(text) ? text : JSON.stringify(text)
}

/** Writes what an operator wants to know of the events; the frequent ones only at `debug`. Returns how to stop. */
export function logEvents(log: Log, events: EventBus): () => void {
  return events.on((event) => logEvent(log, event))
}

function logEvent(log: Log, event: EngineEvent): void {
  switch (event.type) {
    case 'source': {
      const level = event.state === 'failed' ? 'error' : event.state === 'retrying' ? 'warn' : 'info'
      return log[level](`source ${event.state}${because(event.reason)}`, { source: event.source })
    }
    case 'table': {
      const level = event.health === 'stopped' || event.health === 'detached' ? 'error' : 'info'
      return log[level](`table ${event.health}${because(event.reason)}`, { source: event.source, table: event.table })
    }
    case 'copied':
      return log.info('initial copy complete', { source: event.source, table: event.table, rows: event.rows })
    case 'committed': {
      const { source, position, tables, files, rows, deletes, ms } = event
      // One without tables only moves the position, every ten seconds where others write to the server.
      return log[tables === 0 ? 'debug' : 'info']('committed', {
        source,
        position,
        tables,
        files,
        rows,
        deletes,
        ms: Math.round(ms),
      })
    }
    case 'compacted': {
      const { source, table, filesIn, filesOut, bytesIn, bytesOut, rows, ms } = event
      return log.info('compacted', { source, table, filesIn, filesOut, bytesIn, bytesOut, rows, ms: Math.round(ms) })
    }
    case 'staged':
      return log.debug('file staged', { table: event.table, rows: event.rows, bytes: event.bytes, ms: Math.round(event.ms) })
    case 'replaced':
      return log.debug('values replaced', { source: event.source, values: event.values })
    case 'retry':
      return log.warn(`${event.what}: trying again: ${event.message}`, {
        source: event.source,
        attempt: event.attempt,
        delayMs: Math.round(event.delayMs),
        code: event.code,
      })
    case 'error':
      return log.error(event.message, {
        code: event.code,
        source: event.source ?? undefined,
        table: event.table ?? undefined,
        hint: event.hint ?? undefined,
      })
    case 'pressure':
      return log.warn(`memory budget reached: ${event.action}`, { used: event.used })
    case 'lease':
      return log[event.state === 'lost' ? 'error' : 'info'](`lease ${event.state}`, { holder: event.holder })
    case 'swept':
      return log.info('files that nothing refers to removed', { table: event.table, files: event.files, bytes: event.bytes })
    case 'followed':
      return log.info('changed by another program', { table: event.table, gone: event.gone, came: event.came })
    case 'notice':
      return log[event.level](event.message, { hint: event.hint ?? undefined })
    case 'query':
      return log.debug('query', { ms: Math.round(event.ms), rows: event.rows, code: event.code ?? undefined })
    case 'applied':
    case 'copying':
      return
  }
}

function because(reason: string | null): string {
  return reason === null ? '' : `: ${reason}`
}
