import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import { connectControl, placeOf } from './connection.ts'
import { postgresError } from './errors.ts'
import { quoteName } from './identifiers.ts'
import { knowsSlot, readMemo } from './memo.ts'
import { copyPattern, isBorrowed, lakeMark } from './ownership.ts'
import { endpointOf, namesOf } from './postgres-config.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { readPublication, readSlot, readSystemId } from './preflight.ts'

const endWithinMs = 5_000

/** What was removed. */
export interface DroppedSource {
  readonly slot: string | null
  readonly publication: string | null
}

/**
 * Removes the slot and the publication that carry this lake's mark, and nothing else; a publication that was only used stays, and
 * the slot beside it goes when `memo`, what the lake remembers of the source, knows it. Nothing there is no error. Throws `config`
 * when they are another lake's, and `unavailable` when somebody reads the slot.
 */
export async function dropPostgresSource(
  config: Pick<PostgresConfig, 'name' | 'url' | 'slot' | 'publication'>,
  lakeId: string,
  memo: string | null = null,
): Promise<DroppedSource> {
  const names = namesOf({ ...config, lakeId })
  const client = await connectControl(endpointOf(config))
  try {
    const slot = await readSlot(client, names.slot)
    const publication = await readPublication(client, names.publication)
    const borrowed = isBorrowed(names, publication)
    if (publication && !borrowed && publication.comment !== lakeMark(lakeId)) {
      throw new FrazilError(
        'config',
        'publication-not-ours',
        `publication ${names.publication} does not carry this lake's mark`,
        {
          hint: 'nothing was removed',
        },
      )
    }
    // Without the publication nothing says whose the slot is.
    const known = borrowed ? memo !== null && knowsSlot(readMemo(memo), names, await readSystemId(client)) : publication !== null
    const ours = slot !== null && known && slot.plugin === 'pgoutput'
    if (slot && !ours) {
      throw new FrazilError('config', 'slot-not-ours', `replication slot ${names.slot} does not carry this lake's mark`, {
        hint: `nothing was removed; if nobody needs it: SELECT pg_drop_replication_slot('${names.slot}')`,
      })
    }
    await endGhosts(client, names.slot, endpointOf(config).applicationName)
    if (slot) await client.query('select pg_catalog.pg_drop_replication_slot($1)', [names.slot])
    const dropped = publication && !borrowed ? names.publication : null
    if (dropped !== null) await client.query(`DROP PUBLICATION ${quoteName(names.publication)}`)
    return { slot: slot ? names.slot : null, publication: dropped }
  } catch (error) {
    throw postgresError(error, placeOf(config.url))
  } finally {
    await client.end().catch(() => {})
  }
}

/**
 * Temporary slots beside ours end with their connections; one whose process died without a word may still be open at the server,
 * and keep log. Only connections under our name that hold a slot under our name are ended.
 */
async function endGhosts(client: Client, slot: string, applicationName: string): Promise<void> {
  await client.query(
    `select pg_catalog.pg_terminate_backend(a.pid, ${endWithinMs}) from pg_catalog.pg_replication_slots s
       join pg_catalog.pg_stat_activity a on a.pid = s.active_pid
     where s.temporary and s.slot_name ~ $1 and a.application_name = $2 and a.datname = current_database()`,
    [copyPattern(slot), applicationName],
  )
}
