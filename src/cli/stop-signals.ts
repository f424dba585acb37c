import { exitCodes } from './exit.ts'

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
