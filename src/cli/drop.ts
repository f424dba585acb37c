import type { Command } from 'commander'
import { FrazilError, nearest } from '../base/index.ts'
import { dropSource } from '../engine/index.ts'
import { findDaemon } from './daemon.ts'
import { readSettings } from './settings.ts'

export function addDropCommand(program: Command): void {
  program
    .command('drop')
    .description('removes what a source left at its server: replication slot and publication; the lake stays as it is')
    .argument('<source>', 'name of the source in the configuration')
    .option('-c, --config <file>', 'configuration file (default: ./frazil.yaml)')
    .action(async (name: string, options: { config?: string }) => {
      const { config } = readSettings(options.config)
      if (!Object.hasOwn(config.sources, name)) throw unknownSource(name, Object.keys(config.sources))
      const daemon = await findDaemon(config)
      if (daemon) {
        throw new FrazilError('request', 'daemon-running', `frazil runs over this lake (pid ${daemon.pid}) and uses the slot`, {
          hint: `stop it first: kill ${daemon.pid}`,
        })
      }
      const removed = await dropSource(config, name)
      for (const what of removed) process.stdout.write(`removed ${what}\n`)
      if (removed.length === 0) process.stdout.write('there was nothing to remove\n')
    })
}

function unknownSource(name: string, known: readonly string[]): FrazilError {
  const near = nearest(name, known)
  const hint = near !== null ? `did you mean ${near}?` : `the sources are: ${known.join(', ') || 'none'}`
  return new FrazilError('request', 'unknown-source', `there is no source ${name} in the configuration`, { hint })
}
