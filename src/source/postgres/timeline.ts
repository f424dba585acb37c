import { FrazilError } from '../../base/index.ts'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { lsnToText, parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'

/**
 * After a failover: the new primary's history says where it left the timeline that we were reading. Throws `corrupt` when the
 * lake is beyond that point, and so has changes that this server never had.
 */
export async function checkTimeline(endpoint: Endpoint, from: number, to: number, position: Lsn): Promise<void> {
  const left = to > from ? await leftAt(endpoint, from, to) : null
  if (left !== null && position <= left) return
  throw new FrazilError(
    'corrupt',
    'diverged',
    left === null
      ? `the server is on timeline ${to}, which does not come from timeline ${from} that the lake was filled from`
      : `the lake is at ${lsnToText(position)} of timeline ${from}, which this server left at ${lsnToText(left)}: it lost changes that the lake has`,
    { hint: 'frazil drop the source, then resync its tables' },
  )
}

async function leftAt(endpoint: Endpoint, from: number, to: number): Promise<Lsn | null> {
  const connection = await RawConnection.open(endpoint, 'replication')
  try {
    const { rows } = await connection.client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${to}`)
    for (const line of rows[0].content.toString().split('\n')) {
      const match = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/i.exec(line)
      if (match && Number(match[1]) === from) return parseLsn(match[2])
    }
    return null
  } finally {
    await connection.close()
  }
}
