import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { Option } from 'commander'
import { isLoopback } from '../access/index.ts'
import { FrazilError, asError } from '../base/index.ts'
import { openEngine } from '../engine/index.ts'
import type { Config, Engine } from '../engine/index.ts'
import { EventBus, createLog, logEvents, logLevels } from '../observe/index.ts'
import type { Log, LogLevel } from '../observe/index.ts'
import { startHttpServer } from '../server/index.ts'
import type { HttpServer } from '../server/index.ts'
import { announceDaemon, findDaemon } from './daemon.ts'
import { readSettingsOrDefaults } from './settings.ts'
import { stopInTime, stopRequested } from './stopping.ts'
import { packageVersion } from './version.ts'

interface RunOptions {
  readonly config?: string
  readonly takeOver?: boolean
  readonly logLevel: LogLevel
}

/** Errors of a source that has no slot to be reminded of any more. */
const slotIsGone: ReadonlySet<string> = new Set(['slot-missing', 'slot-lost'])

/** How long a stop waits for an engine that is still opening. */
const openingGraceMs = 3000

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('the daemon: reads the sources, commits to Iceberg, answers HTTP')
    .argument('[file]', 'configuration file (default: ./frazil.yaml; without it: rows over HTTP on port 3030 into ./lake)')
    .option('-c, --config <file>', 'the same')
    .option('--take-over', 'take the lake over from another process that still holds it; that one stops')
    .addOption(new Option('--log-level <level>', 'what to log').choices(logLevels).default('info'))
    .action(async (file: string | undefined, options: RunOptions) => {
      await runDaemon(readSettingsOrDefaults(file ?? options.config), options)
    })
}

async function runDaemon(config: Config, options: RunOptions): Promise<void> {
  const log = createLog({
    level: options.logLevel,
    format: process.stdout.isTTY ? 'text' : 'json',
    write: (line) => process.stdout.write(line),
  })
  const stop = stopRequested()
  const events = new EventBus()
  logEvents(log, events)
  const withoutSlot = new Set<string>()
  events.on((event) => {
    if (event.type === 'error' && event.source !== null && slotIsGone.has(event.code)) withoutSlot.add(event.source)
  })
  const server = await listen(config, log)
  const opening = openEngine(config, { takeOver: options.takeOver ?? false, events, processMetrics: true })
  const running = opening.then(async (engine) => {
    server.attach(engine)
    const forget = await announceDaemon(config, server.url)
    return { engine, forget }
  })
  let failure: Error | null = null
  try {
    const reason = await Promise.race([stop, running.then(({ engine }) => engine.stopped)])
    if (typeof reason === 'string') log.info(`${reason}: stops reading, commits what is applied`)
    else failure = reason
  } finally {
    await stopInTime(close(server, running))
  }
  remindOfSlots(config, log, withoutSlot)
  if (failure) throw failure
  log.info('stopped')
}

async function listen(config: Config, log: Log): Promise<HttpServer> {
  const info = { version: packageVersion(), warehouse: config.warehouse }
  try {
    const { listen, tls, auth } = config
    const server = await startHttpServer({ listen, tls, tokens: auth.tokens, info, log })
    if (tls === null && !isLoopback(listen.host)) {
      log.warn('tokens and rows travel in the clear: set "tls", or put a server in front that has it')
    }
    // As other servers do; the files are also looked at from time to time.
    process.on('SIGHUP', () => {
      server.reload().catch((error: unknown) => log.error('the certificate stays as it is', { reason: asError(error).message }))
    })
    log.info('listening', { url: server.url, version: info.version, pid: process.pid })
    return server
  } catch (error) {
    const daemon = error instanceof FrazilError && error.code === 'port-in-use' ? await findDaemon(config) : null
    if (!daemon) throw error
    throw new FrazilError('conflict', 'already-running', `frazil runs over this lake already: ${daemon.url}, pid ${daemon.pid}`, {
      cause: error,
      hint: `stop it first: kill ${daemon.pid}`,
    })
  }
}

async function close(server: HttpServer, running: Promise<{ engine: Engine; forget: () => Promise<void> }>): Promise<void> {
  await server.close()
  // An engine that failed to open has nothing to close; its error is on its way to the user. One that still waits for a server
  // that does not answer has read nothing: it ends with the process.
  const open = await Promise.race([running.catch(() => null), delay(openingGraceMs, null, { ref: false })])
  await open?.engine.close()
  await open?.forget()
}

/** A slot that nobody reads keeps the server's WAL, until its disk is full. */
function remindOfSlots(config: Config, log: Log, withoutSlot: ReadonlySet<string>): void {
  for (const [name, source] of Object.entries(config.sources)) {
    if (source.type !== 'postgres' || withoutSlot.has(name)) continue
    log.info(`the replication slot ${source.slot} stays on the server and keeps WAL for the next run`, {
      source: name,
      remove: `frazil drop ${name}`,
    })
  }
}
