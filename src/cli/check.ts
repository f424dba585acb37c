import type { Command } from 'commander'
import { Option } from 'commander'
import { FrazilError } from '../base/index.ts'
import { checkKeyPair, checkListenHost, isLoopback } from '../access/index.ts'
import { checkConfig } from '../engine/index.ts'
import type { CheckReport, Config, Finding } from '../engine/index.ts'
import { checkPort } from '../server/index.ts'
import { findDaemon } from './daemon.ts'
import type { Daemon } from './daemon.ts'
import { exitCodes } from './exit.ts'
import { readSettings } from './settings.ts'

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description(
      'validates the configuration, connects to the sources, and says what would be done, what is wrong and how to mend it',
    )
    .argument('[file]', 'configuration file (default: ./frazil.yaml)')
    .option('-c, --config <file>', 'the same')
    .addOption(new Option('-f, --format <format>', 'how to print what was found').choices(['text', 'json']).default('text'))
    .action(async (file: string | undefined, options: { config?: string; format: 'text' | 'json' }) => {
      const settings = readSettings(file ?? options.config)
      const report = await check(settings.config)
      const good = findingsOf(report).every(({ level }) => level !== 'error')
      if (options.format === 'json') {
        process.stdout.write(`${JSON.stringify({ configuration: settings.file, ok: good, ...report })}\n`)
      } else {
        process.stdout.write(`${line('ok', `${settings.file} is valid`, null)}${reportText(report)}`)
      }
      if (!good) process.exitCode = exitCodes.refused
    })
}

async function check(config: Config): Promise<CheckReport> {
  const own: Finding[] = []
  checkListenHost(config.listen.host, config.auth.tokens.length > 0, '"listen"')
  if (config.tls) await checkKeyPair(config.tls)
  else if (!isLoopback(config.listen.host)) {
    const message = 'other machines send tokens and rows in the clear'
    own.push({ level: 'warning', code: 'no-tls', message, hint: 'set "tls", or put a server in front that has it' })
  }
  const daemon = await findDaemon(config)
  if (daemon) {
    const message = `a daemon runs over this lake: ${daemon.url}, pid ${daemon.pid}`
    own.push({ level: 'ok', code: 'daemon', message, hint: null })
  }
  own.push(...(await checkListen(config, daemon)))
  if (Object.keys(config.sources).length === 0) {
    own.push({ level: 'note', code: 'no-sources', message: 'there are no sources in it', hint: 'frazil init postgres://…' })
  }
  const report = await checkConfig(config, daemon !== null)
  return { ...report, lake: [...own, ...report.lake] }
}

/** What would keep a start from listening; a daemon of this lake that has the port already is not in its way. */
async function checkListen({ listen }: Config, daemon: Daemon | null): Promise<Finding[]> {
  if (daemon && Number(new URL(daemon.url).port) === listen.port) return []
  try {
    await checkPort(listen)
    return []
  } catch (error) {
    if (!(error instanceof FrazilError)) throw error
    return [{ level: 'error', code: error.code, message: error.message, hint: error.hint ?? null }]
  }
}

function findingsOf(report: CheckReport): readonly Finding[] {
  return [...report.lake, ...report.sources.flatMap(({ findings }) => findings)]
}

/** What was found out, a line each; under each table its columns. */
function reportText(report: CheckReport): string {
  let text = report.lake.map(({ level, message, hint }) => line(level, message, hint)).join('')
  for (const { name, findings, tables } of report.sources) {
    for (const { level, code, message, hint, table } of findings) {
      text += line(level, `${name}: ${message}`, hint)
      const checked = code === 'table' ? tables.find(({ sourceName }) => sourceName === table) : undefined
      if (checked) text += `        ${checked.columns.map(columnText).join(', ')}\n`
    }
  }
  const all = findingsOf(report)
  const count = (level: Finding['level'], what: string): string => {
    const number = all.filter((finding) => finding.level === level).length
    return `${number} ${what}${number === 1 ? '' : 's'}`
  }
  return `${text}\n${count('error', 'error')}, ${count('warning', 'warning')}\n`
}

function columnText({ name, type, iceberg }: { name: string; type: string; iceberg: string | null }): string {
  return `${name} ${type}${iceberg === null ? ' (not mirrored)' : iceberg === type ? '' : ` → ${iceberg}`}`
}

function line(level: Finding['level'], message: string, hint: string | null): string {
  return `${level.padEnd(7)} ${message}\n${hint === null ? '' : `        ${hint}\n`}`
}
