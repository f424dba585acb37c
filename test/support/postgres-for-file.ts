import { after } from 'node:test'
import type { Client } from 'pg'
import { startPostgres } from './postgres.ts'
import type { EmbeddedPostgres, TestPostgresOptions } from './postgres.ts'
import { connect } from './workload.ts'

/** For the top of a file: a server for all of its tests, and a connection to it. Both end with the last test. */
export async function postgresForFile(
  options: TestPostgresOptions = {},
): Promise<{ readonly server: EmbeddedPostgres; readonly client: Client }> {
  const server = await startPostgres(options)
  const client = await connect(server.url)
  after(async () => {
    await client.end()
    await server.stop()
  })
  return { server, client }
}
