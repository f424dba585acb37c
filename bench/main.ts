import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

// npm run bench -- <question> [options]: each question is a file beside this one.
const questions = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.ts') && name !== 'main.ts')
  .map((name) => name.slice(0, -'.ts'.length))

const [question, ...rest] = process.argv.slice(2)
if (!questions.includes(question)) {
  console.error(`usage: npm run bench -- <${questions.join(' | ')}> [--scale 0.1] [--profile]`)
  process.exit(2)
}
const child = spawn(process.execPath, [join(import.meta.dirname, `${question}.ts`), ...rest], { stdio: 'inherit' })
child.once('exit', (code) => process.exit(code ?? 1))
