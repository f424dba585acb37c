import type { Command } from 'commander'
import { checkSources } from '../engine/index.ts'
import type { Config } from '../engine/index.ts'
import { checkListenHost } from '../server/index.ts'
import { findDaemon } from './daemon.ts'
import { exitCodes } from './exit.ts'
import { readSettings } from './settings.ts'

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('validates the configuration, connects to the sources, and says what is wrong and how to mend it')
    .argument('[file]', 'configuration file (default: ./frazil.yaml)')
    .option('-c, --config <file>', 'the same')
    .action(async (file: string | undefined, options: { config?: string }) => {
      const settings = readSettings(file ?? options.config)
      process.stdout.write(`ok      ${settings.file} is valid\n`)
      if (!(await check(settings.config))) process.exitCode = exitCodes.refused
    })
}

async function check(config: Config): Promise<boolean> {
  checkListenHost(config.listen.host)
  const daemon = await findDaemon(config)
  if (daemon) process.stdout.write(`ok      a daemon runs over this lake: ${daemon.url}, pid ${daemon.pid}\n`)
  if (Object.keys(config.sources).length === 0) process.stdout.write('note    there are no sources in it\n')
  let good = true
  for (const { source, level, message, hint } of await checkSources(config)) {
    if (level === 'problem') good = false
    process.stdout.write(`${level.padEnd(7)} ${source}: ${message}\n${hint === null ? '' : `        ${hint}\n`}`)
  }
  return good
}
