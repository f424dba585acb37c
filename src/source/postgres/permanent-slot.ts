import type { Client } from 'pg'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import type { Lsn } from './lsn.ts'
import { createSlot, touchCatalogue } from './ownership.ts'
import type { Names } from './ownership.ts'

const defaultWaitMs = 10_000

export interface PermanentSlotRequest {
  readonly names: Names
  /** Whether there is one although the lake knows of no position: it is left from a start that did not come far, and goes first. */
  readonly exists: boolean
  readonly version: number
  /** How long to wait for transactions that are open. Default 10 seconds. */
  readonly slotWaitMs?: number
  /** The publication is somebody else's. */
  readonly borrowed: boolean
  /** Kept on standbys too. Default true. */
  readonly failover?: boolean
}

/** Makes the source's own slot. Returns where it begins. */
export async function makeSlot(endpoint: Endpoint, control: Client, request: PermanentSlotRequest): Promise<Lsn> {
  const { names, exists, version, borrowed, slotWaitMs: waitMs = defaultWaitMs, failover = true } = request
  const replication = await RawConnection.open(endpoint, 'replication')
  try {
    if (exists) await control.query('select pg_catalog.pg_drop_replication_slot($1)', [names.slot])
    const made = { name: names.slot, kind: 'permanent', version, waitMs, failover } as const
    const { consistentPoint } = await createSlot(replication.client, control, made)
    await touchCatalogue(control, names, borrowed)
    return consistentPoint
  } finally {
    await replication.close()
  }
}
