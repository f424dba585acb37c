import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'

/** One measured figure. `mark` says what it should reach: `>= 2.5` or `<= 400`; it informs and never fails anything. */
export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly mark?: { readonly at: 'least' | 'most'; readonly value: number }
  readonly remark?: string
}

export interface Report {
  readonly question: string
  readonly surroundings: Readonly<Record<string, string | number>>
  readonly figures: readonly Figure[]
}

/** Machine, versions and the commit that was measured. */
export function surroundings(): Record<string, string | number> {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
  const dirty = git('status', '--porcelain', '--untracked-files=no') !== ''
  return {
    time: new Date().toISOString(),
    commit: `${git('rev-parse', 'HEAD')}${dirty ? ' (changed)' : ''}`,
    cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  }
}

function shown(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits })
}

export function markdown(report: Report): string {
  const about = Object.entries(report.surroundings).map(([name, value]) => `${name}: ${value}`)
  const rows = report.figures.map(({ name, value, unit, mark, remark }) => {
    const met = mark && (mark.at === 'least' ? value >= mark.value : value <= mark.value)
    const wanted = mark ? `${mark.at === 'least' ? '≥' : '≤'} ${mark.value} ${met ? '✓' : '✗'}` : ''
    return `| ${name} | ${shown(value)} ${unit} | ${wanted} | ${remark ?? ''} |`
  })
  return [
    `# ${report.question}`,
    '',
    ...about.map((line) => `- ${line}`),
    '',
    '| | measured | mark | |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

/** Prints the table; a `complete` run is kept as `bench/results/<question>-<time>.json` and `<question>.md`. */
export function publish(report: Report, complete: boolean): void {
  const table = markdown(report)
  console.log(table)
  if (!complete) return
  const folder = join(import.meta.dirname, '../results')
  mkdirSync(folder, { recursive: true })
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '')
  writeFileSync(join(folder, `${report.question}-${stamp}.json`), `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(join(folder, `${report.question}.md`), table)
}
