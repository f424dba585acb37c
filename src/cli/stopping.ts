import { FrazilError } from '../base/index.ts'
import { exitCodes } from './exit.ts'

/** A stop takes at most this long, whatever the source and the store do. */
const stopWithinMs = 28_000

/** Resolves at the first SIGINT or SIGTERM. A second one ends the process at once. */
export function stopRequested(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false
    const stop = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(exitCodes.interrupted)
      asked = true
      resolve(signal)
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })
}

/** Waits for the work of stopping. Throws `unavailable` when it takes too long: the process then ends without it. */
export async function stopInTime(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = 'stopping took too long and was cut short; the source sends again what is not committed'
      reject(new FrazilError('unavailable', 'stop-timeout', message))
    }, stopWithinMs)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
