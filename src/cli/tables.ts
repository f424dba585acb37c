import type { Command } from 'commander'
import type { EngineStatus, TableStatus } from '../engine/index.ts'
import { accessLake } from './lake-access.ts'
import { readSettingsOrDefaults } from './settings.ts'
import { textTable } from './text-table.ts'

export function addTablesCommand(program: Command): void {
  program
    .command('tables')
    .description('positions, lag, hot, staged and cold rows, files, deletes and health of each table')
    .option('-c, --config <file>', 'configuration file (default: ./frazil.yaml)')
    .option('--json', 'print JSON')
    .action(async (options: { config?: string; json?: boolean }) => {
      const lake = await accessLake(readSettingsOrDefaults(options.config))
      try {
        const { tables, sources } = await lake.status()
        if (options.json) process.stdout.write(`${JSON.stringify({ tables, sources })}\n`)
        else process.stdout.write(tablesText({ tables, sources }, process.stdout.isTTY ? process.stdout.columns : undefined))
      } finally {
        await lake.close()
      }
    })
}

/** Tables and sources for people, with a line for each reason that something stands still. */
export function tablesText(status: Pick<EngineStatus, 'tables' | 'sources'>, width?: number): string {
  if (status.tables.length === 0) return `no tables yet\n${reasonLines(status)}`
  const lagOf = new Map(status.sources.map(({ name, lagMs, lagBytes }) => [name, lagText(lagMs, lagBytes)]))
  const left = (name: string) => ({ name, align: 'left' as const })
  const right = (name: string) => ({ name, align: 'right' as const })
  const columns = [
    left('table'),
    left('health'),
    right('hot'),
    right('staged'),
    right('cold'),
    right('files'),
    right('deleted'),
    right('lag'),
    left('visible'),
    left('committed'),
  ]
  const rows = status.tables.map((table) => [
    `${table.database}.${table.table}`,
    table.copy === null ? table.health : `copying ${progress(table.copy)}`,
    count(table.hotRows),
    count(table.stagedRows),
    count(table.coldRows),
    count(table.dataFiles),
    count(table.deletedRows),
    lagOf.get(table.source) ?? '',
    table.visible ?? '',
    table.committed ?? '',
  ])
  return textTable(columns, rows, width) + reasonLines(status)
}

function reasonLines({ tables, sources }: Pick<EngineStatus, 'tables' | 'sources'>): string {
  const stopped = tables
    .filter(({ reason }) => reason !== null)
    .map(({ database, table, reason }) => `${database}.${table}: ${reason}\n`)
  const failed = sources.filter(({ reason }) => reason !== null).map(({ name, reason }) => `source ${name}: ${reason}\n`)
  return [...failed, ...stopped].join('')
}

function progress({ rows, estimated, leftMs }: NonNullable<TableStatus['copy']>): string {
  if (estimated === null || estimated === 0) return count(rows)
  const part = `${Math.min(99, Math.floor((rows / estimated) * 100))}%`
  return leftMs === null ? part : `${part}, ${timeLeft(leftMs)} left`
}

function timeLeft(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
}

/** Age of what is visible, and what the source is ahead when that is more than a moment's work. */
function lagText(ms: number | null, bytes: number | null): string {
  const time = ms === null ? [] : [ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`]
  const size = bytes === null || bytes < 1e6 ? [] : [`${count(Math.round(bytes / 1e6))} MB`]
  return [...time, ...size].join(', ')
}

function count(rows: number): string {
  return rows.toLocaleString('en-US')
}
