import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { asDaemon } from './support/as-daemon.ts'

// npm run bench -- <question>… [options]: each question is a file beside this one; several are run one after the other.
const questions = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.ts') && name !== 'main.ts')
  .map((name) => name.slice(0, -'.ts'.length))

const asked = process.argv.slice(2)
const firstOption = asked.findIndex((word) => word.startsWith('-'))
const wanted = firstOption < 0 ? asked : asked.slice(0, firstOption)
const options = firstOption < 0 ? [] : asked.slice(firstOption)
const unknown = wanted.filter((name) => !questions.includes(name))
if (wanted.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`no such benchmark: ${unknown.join(', ')}`)
  console.error(`usage: npm run bench -- <${questions.join(' | ')}>… [--scale 0.1] [--profile]`)
  process.exit(2)
}
for (const name of wanted) {
  // It has its engines in its own process, for minutes: without this their memory is not what a daemon's is.
  const { flags, env } = name === 'health' ? asDaemon : { flags: [], env: {} }
  const file = join(import.meta.dirname, `${name}.ts`)
  const { status } = spawnSync(process.execPath, [...flags, file, ...options], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  if (status !== 0) process.exit(status ?? 1)
}
