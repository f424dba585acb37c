import { execFile } from 'node:child_process'
import { access, constants, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findPostgres, startEmbeddedPostgres } from '../../src/cli/embedded-postgres.ts'
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from '../../src/cli/embedded-postgres.ts'

export type { EmbeddedPostgres }

/** What Frazil supports. 18 is a devDependency; the others come from scripts/postgres-env.sh, which is for the full tests only. */
export type PostgresMajor = 14 | 15 | 16 | 17 | 18

export interface TestPostgresOptions extends EmbeddedPostgresOptions {
  /** Default: the one of FRAZIL_POSTGRES, so that any tests can be run with another; otherwise 18. */
  readonly major?: PostgresMajor
}

const run = promisify(execFile)
const script = join(import.meta.dirname, '../../scripts/postgres-env.sh')

/** Only the first server of a process: two of them are different systems, so they must not have the same identifier. */
let first = true

/** A throw-away Postgres with `wal_level=logical` on a free port, gone with `stop()` or with this process at the latest. */
export async function startPostgres(options: TestPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const { major = Number(process.env['FRAZIL_POSTGRES'] ?? 18), ...others } = options
  const plain = major === 18 && others.binDir === undefined && others.dataDir === undefined && others.password === undefined
  const copied = plain && first
  if (copied) first = false
  return startEmbeddedPostgres({
    ...others,
    binDir: others.binDir ?? (await programs(major)),
    template: copied ? await keptCluster() : undefined,
  })
}

/** A cluster that is made once and kept in .cache: making one takes as long as many a test. Undefined: it cannot be kept. */
async function keptCluster(): Promise<string | undefined> {
  const folder = join(import.meta.dirname, '../../.cache/clusters')
  try {
    // Of other programs another one.
    const kept = join(folder, `18-${(await stat(join(await findPostgres(), 'postgres'))).size}`)
    const isThere = (): Promise<boolean> =>
      access(kept, constants.R_OK).then(
        () => true,
        () => false,
      )
    if (await isThere()) return kept
    await mkdir(folder, { recursive: true })
    const own = await mkdtemp(join(folder, 'new-'))
    try {
      const dataDir = join(own, 'data')
      await (await startEmbeddedPostgres({ dataDir })).stop()
      await rename(dataDir, kept).catch(() => {}) // another process may have been faster
    } finally {
      await rm(own, { recursive: true, force: true })
    }
    return (await isThere()) ? kept : undefined
  } catch {
    return undefined
  }
}

/** Undefined: those of the devDependency. */
async function programs(major: number): Promise<string | undefined> {
  if (major === 18) return undefined
  const { stdout } = await run(script, [String(major)])
  return stdout.trim()
}
