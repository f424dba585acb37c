import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '../../src/cli/embedded-postgres.ts'
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

/** A throw-away Postgres with `wal_level=logical` on a free port, gone with `stop()` or with this process at the latest. */
export async function startPostgres(options: TestPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const { major = Number(process.env['FRAZIL_POSTGRES'] ?? 18), ...others } = options
  return startEmbeddedPostgres({ ...others, binDir: others.binDir ?? (await programs(major)) })
}

/** Undefined: those of the devDependency. */
async function programs(major: number): Promise<string | undefined> {
  if (major === 18) return undefined
  const { stdout } = await run(script, [String(major)])
  return stdout.trim()
}
