import { writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from 'pg'
import { asError } from '../../base/index.ts'
import { openEngine, parseConfig } from '../../engine/index.ts'
import type { Engine } from '../../engine/index.ts'
import { EventBus, createLog, logEvents } from '../../observe/index.ts'
import { startHttpServer } from '../../server/index.ts'
import { announceDaemon } from '../daemon.ts'
import { startEmbeddedPostgres } from '../embedded-postgres.ts'
import type { EmbeddedPostgres } from '../embedded-postgres.ts'
import { exitCodes } from '../exit.ts'
import { stopInTime, stopRequested } from '../stopping.ts'
import { packageVersion } from '../version.ts'
import { compareShop } from './compare.ts'
import { freePort, prepareFolder } from './folder.ts'
import type { DemoFolder } from './folder.ts'
import { providePostgres } from './postgres-package.ts'
import { Progress } from './progress.ts'
import { readerCommands } from './readers.ts'
import { openScreen } from './screen.ts'
import type { Screen } from './screen.ts'
import { connectShop, createShop, demoYaml, keepShopBusy, shopExists } from './shop.ts'

export interface DemoOptions {
  readonly folder: string
  /** Seconds of live writes, then it compares and ends; null: until it is interrupted. */
  readonly seconds: number | null
}

const preferredHttpPort = 3030
const preferredPostgresPort = 5439
const redrawMs = 500
const plainLineMs = 2000

/** Runs the demo; resolves with the exit code. Whatever it started has ended by then. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const stop = new AbortController()
  void stopRequested().then(() => stop.abort())
  const screen = openScreen(process.stdout)
  const parts = new AsyncDisposableStack()
  try {
    return await demonstrate(options, screen, parts, stop.signal)
  } finally {
    screen.end()
    if (stop.signal.aborted) screen.say('Stopping: commits what is applied, then ends Postgres.')
    await stopInTime(parts.disposeAsync())
  }
}

async function demonstrate(
  options: DemoOptions,
  screen: Screen,
  parts: AsyncDisposableStack,
  stopped: AbortSignal,
): Promise<number> {
  const folder = await prepareFolder(options.folder)
  const log = createLog({ level: 'warn', format: 'text', write: (line) => screen.say(line.trimEnd()) })
  const events = new EventBus()
  logEvents(log, events)

  const listen = { host: '127.0.0.1', port: await choosePort(preferredHttpPort, 'HTTP', screen) }
  const info = { version: packageVersion(), warehouse: folder.path }
  const server = await startHttpServer({ listen, info, log })
  parts.defer(() => server.close())

  const postgres = await startPostgres(folder, screen)
  parts.defer(() => postgres.stop())
  const shopUrl = new URL('/shop', postgres.url).href
  const yaml = demoYaml(shopUrl, listen.port)
  await writeFile(folder.configFile, yaml)
  const config = parseConfig(yaml, folder.configFile, {})
  parts.defer(await announceDaemon(config, server.url))
  if (stopped.aborted) return exitCodes.done

  const client = await openShop(postgres, shopUrl, folder, screen)
  parts.defer(() => client.end())
  if (stopped.aborted) return exitCodes.done

  const progress = new Progress(events)
  const engine = await openEngine(config, { events })
  parts.defer(() => engine.close())
  server.attach(engine)

  const tick = process.stdout.isTTY ? redrawMs : plainLineMs
  const started = performance.now()
  let status = await engine.status()
  while (!status.ready && !stopped.aborted) {
    screen.show(progress.copying(status))
    await nap(Math.min(tick, 250), stopped)
    status = await engine.status()
  }
  if (stopped.aborted) return exitCodes.done
  screen.end()
  screen.say(`The lake has the whole shop, ${((performance.now() - started) / 1000).toFixed(1)} s after the engine was started.`)
  screen.say('')
  sayWhereToLook(screen, folder, server.url, shopUrl)

  // Ends the writes: the time is over, Ctrl-C, the engine has stopped, or Postgres has gone.
  const enough = new AbortController()
  const over = AbortSignal.any([stopped, enough.signal])
  let failure: Error | null = null
  const end = (reason: Error | null): void => {
    failure ??= reason
    enough.abort()
  }
  void engine.stopped.then(end)
  const busy = keepShopBusy(client, over).catch((error: unknown) => end(asError(error)))
  const until = options.seconds === null ? Infinity : performance.now() + options.seconds * 1000
  while (!over.aborted && performance.now() < until) {
    await nap(Math.min(tick, until - performance.now()), over)
    if (!over.aborted) screen.show(await progress.streaming(await engine.status(), engine))
  }
  enough.abort()
  await busy
  if (failure) throw failure
  screen.end()
  const equal = stopped.aborted || (await sayComparison(screen, client, engine))
  await engine.flush()
  screen.say('')
  for (const line of readerCommands(folder.path)) screen.say(line)
  return equal ? exitCodes.done : exitCodes.data
}

async function choosePort(preferred: number, what: string, screen: Screen): Promise<number> {
  const port = await freePort(preferred)
  if (port !== preferred) screen.say(`Port ${preferred} is taken; ${what} uses ${port} instead.`)
  return port
}

async function startPostgres(folder: DemoFolder, screen: Screen): Promise<EmbeddedPostgres> {
  const binDir = await providePostgres((sentence) => screen.say(sentence))
  const port = await choosePort(preferredPostgresPort, 'Postgres', screen)
  // It is a demo: a power cut may cost its data. (`synchronous_commit` stays on: what is not flushed is not sent, and lags.)
  const settings = { fsync: 'off', full_page_writes: 'off' }
  return startEmbeddedPostgres({ binDir, port, dataDir: folder.postgresData, settings })
}

async function openShop(postgres: EmbeddedPostgres, shopUrl: string, folder: DemoFolder, screen: Screen): Promise<Client> {
  if (!folder.used) {
    const admin = await connectShop(postgres.url)
    try {
      await admin.query('create database shop')
    } finally {
      await admin.end()
    }
  }
  const client = await connectShop(shopUrl)
  if (await shopExists(client)) {
    screen.say(`Postgres runs again with the shop of the last demo in ${folder.path}.`)
  } else {
    await createShop(client)
    await folder.markComplete()
    screen.say('Postgres runs, with a small shop in it: customers, orders, order lines.')
  }
  return client
}

function sayWhereToLook(screen: Screen, folder: DemoFolder, url: string, shopUrl: string): void {
  screen.say('While this runs, from another terminal:')
  screen.say(`  psql ${shopUrl}`)
  screen.say(`  ${commandHere()} query --config ${folder.configFile} "select count(*) from shop.orders"`)
  screen.say(`  curl ${url}/tables`)
  screen.say('Ctrl-C ends it; the tables stay.')
  screen.say('')
}

/** In a clone the command is not on the path; `npm run` tells that it started this. */
function commandHere(): string {
  return process.env['npm_lifecycle_event'] === 'demo' ? 'npm run -s frazil --' : 'frazil'
}

async function sayComparison(screen: Screen, client: Client, engine: Engine): Promise<boolean> {
  screen.say('The writes have ended. Each table in the lake against Postgres, at one position:')
  const comparisons = await compareShop(client, engine)
  for (const { table, rows, equal } of comparisons) {
    screen.say(`  ${table.padEnd(12)} ${rows.toLocaleString('en-US').padStart(9)} rows  ${equal ? 'equal' : 'DIFFERENT'}`)
  }
  return comparisons.every(({ equal }) => equal)
}

async function nap(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.max(0, ms), undefined, { signal }).catch(() => {})
}
