import { DatabaseSync } from 'node:sqlite'
import { FrazilError, retry } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'

/** About ten seconds in all: what holds the lock takes milliseconds. */
const waiting = { attempts: 200, minMs: 1, maxMs: 100 }

/**
 * Runs `critical` while no other holder of the lock file does, in this process or another one on this machine. The lock is
 * SQLite's byte-range lock, because Node has none of its own and the system drops it with the process that held it: a crash
 * leaves nothing behind. Throws `unavailable`, code `lock-busy`, when it cannot be had.
 */
export async function withFileLock<T>(path: string, clock: Clock, random: Random, critical: () => Promise<T>): Promise<T> {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    await retry(clock, random, waiting, () => {
      try {
        database.exec('BEGIN EXCLUSIVE')
      } catch (error) {
        throw new FrazilError('unavailable', 'lock-busy', `the lock file ${path} cannot be locked`, { cause: error })
      }
    })
    // Closing the database ends the transaction and with it the lock.
    return await critical()
  } finally {
    database.close()
  }
}
