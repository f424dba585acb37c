import { test } from 'node:test'
import { runIngestKills } from '../support/ingest-kills.ts'

test('killed while programs send rows: what was acknowledged is there once, what was refused is not', { timeout: 180_000 }, () =>
  runIngestKills({ kills: 3, between: 60 }),
)
