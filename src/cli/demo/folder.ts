import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { FrazilError } from '../../base/index.ts'
import { parseConfig } from '../../engine/index.ts'
import { findDaemon } from '../daemon.ts'
import { demoYaml } from './shop.ts'

/** The folder of a demo: the lake itself, with Postgres's data and our local files in hidden folders beside the tables. */
export interface DemoFolder {
  readonly path: string
  readonly postgresData: string
  readonly configFile: string
  /** True when an earlier demo left a complete shop here. */
  readonly used: boolean
  /** Says that the shop is complete. */
  markComplete(): Promise<void>
}

/** Present in folders that a demo has made: nothing else is ever removed. */
const ownMark = '.frazil-demo'

/**
 * Makes the folder, or finds what an earlier demo left. Throws `config` when a demo runs in it or when it has other content.
 */
export async function prepareFolder(folder: string): Promise<DemoFolder> {
  const path = resolve(folder)
  const mark = join(path, ownMark)
  const complete = join(mark, 'complete')
  await mkdir(path, { recursive: true })
  if (!existsSync(mark) && (await readdir(path)).length > 0) {
    throw new FrazilError('config', 'demo-folder-in-use', `${path} has other content than a demo's`, {
      hint: 'choose another folder: frazil demo --dir <folder>',
    })
  }
  const daemon = await findDaemon(parseConfig(demoYaml('postgres://127.0.0.1/x', 0), join(path, 'frazil.yaml'), {}))
  if (daemon) {
    throw new FrazilError('config', 'demo-runs', `a demo runs in ${path} already: ${daemon.url}, pid ${daemon.pid}`, {
      hint: 'look at that one, or start another with: frazil demo --dir <folder>',
    })
  }
  const used = existsSync(complete)
  if (!used) for (const entry of await readdir(path)) await rm(join(path, entry), { recursive: true, force: true })
  await mkdir(mark, { recursive: true })
  return {
    path,
    postgresData: join(path, '.postgres'),
    configFile: join(path, 'frazil.yaml'),
    used,
    markComplete: () => writeFile(complete, ''),
  }
}

/** `preferred` when nothing listens there, else a free port. */
export async function freePort(preferred: number): Promise<number> {
  return (await listens(preferred)) ? bind(0) : bind(preferred).catch(() => bind(0))
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const done = (open: boolean): void => {
      socket.destroy()
      resolve(open)
    }
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}

function bind(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
