import type { Client } from 'pg'
import { parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'

const logPageBytes = 8192
const longPageHeaderBytes = 40

/** At the start of a page the insert position lies behind the page's header, where no record ends. */
function endOfRecords(inserted: Lsn): Lsn {
  const inPage = inserted % logPageBytes
  return inPage <= longPageHeaderBytes ? inserted - inPage : inserted
}

/** Where everything that is visible at the server now ends; brings it to the server's disk, since only that is streamed. */
export async function readHead(client: Client): Promise<Lsn> {
  const { rows } = await client.query<{ inserted: string; flushed: string }>(
    'select pg_catalog.pg_current_wal_insert_lsn()::text as inserted, pg_catalog.pg_current_wal_flush_lsn()::text as flushed',
  )
  const flushed = parseLsn(rows[0].flushed)
  const inserted = endOfRecords(parseLsn(rows[0].inserted))
  if (inserted <= flushed) return flushed
  // A commit with synchronous_commit = off is visible before it is on disk.
  await client.query(
    "BEGIN; SET LOCAL synchronous_commit = 'local'; SELECT pg_catalog.pg_logical_emit_message(true, 'frazil', ''); COMMIT",
  )
  return inserted
}
