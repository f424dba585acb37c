import type { Command } from 'commander'
import { FrazilError } from '../base/index.ts'
import type { EngineStatus } from '../engine/index.ts'
import { callDaemon, findDaemon } from './daemon.ts'
import { readSettingsOrDefaults } from './settings.ts'

export function addOptimizeCommand(program: Command): void {
  program
    .command('optimize')
    .description('has the running daemon rewrite data files now: dead rows are left out, small files merged')
    .argument('[tables...]', 'namespace.table; all tables unless given')
    .option('-c, --config <file>', 'configuration file (default: ./frazil.yaml)')
    .action(async (targets: readonly string[], options: { config?: string }) => {
      const config = readSettingsOrDefaults(options.config)
      const daemon = await findDaemon(config)
      if (!daemon) {
        throw new FrazilError('unavailable', 'no-daemon', `no daemon runs over the lake in ${config.warehouse}`, {
          hint: 'Start frazil run, which also rewrites files by itself, then run frazil optimize again.',
        })
      }
      const names = targets.length > 0 ? targets : await healthyTables(daemon)
      for (const name of names) {
        const dot = name.indexOf('.')
        if (dot <= 0) throw new FrazilError('request', 'table-name', `${name} is not namespace.table`)
        const [database, table] = [name.slice(0, dot), name.slice(dot + 1)]
        await callDaemon(daemon, `/tables/${encodeURIComponent(table)}/optimize`, { database, table })
        process.stdout.write(`${name} is rewritten\n`)
      }
    })
}

async function healthyTables(daemon: Parameters<typeof callDaemon>[0]): Promise<string[]> {
  const { tables } = (await (await callDaemon(daemon, '/tables')).json()) as EngineStatus
  return tables.filter(({ health }) => health === 'streaming').map(({ database, table }) => `${database}.${table}`)
}
