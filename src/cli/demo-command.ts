import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('everything at once on this machine: a real Postgres with live writes, mirrored into Iceberg tables, with SQL')
    .option('--dir <folder>', 'where the lake and the Postgres live', './frazil-demo')
    .option(
      '--seconds <n>',
      'stop after so many seconds of live writes, compare every table with Postgres, and exit',
      wholeSeconds,
    )
    .action(async (options: { dir: string; seconds?: number }) => {
      const { runDemo } = await import('./demo/index.ts')
      process.exitCode = await runDemo({ folder: options.dir, seconds: options.seconds ?? null })
    })
}

function wholeSeconds(text: string): number {
  const seconds = Number(text)
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds
  throw new InvalidArgumentError('a whole number of seconds from 1 to 86400 is needed.')
}
