import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..', '..')
const run = promisify(execFile)

test('TypeScript in the README and in docs compiles under the strictest settings', { timeout: 240_000 }, async () => {
  const pages = [
    'README.md',
    ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
  ]
  const examples = pages.flatMap((page) =>
    Array.from(readFileSync(join(root, page), 'utf8').matchAll(/^```ts\n(.*?)^```/gms), ([, code]) => ({ page, code })),
  )
  assert(examples.length >= 2, `only ${examples.length} were found`)
  // Within the project, so that its packages are found.
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'documented-'))
  try {
    for (const [i, { page, code }] of examples.entries()) {
      writeFileSync(join(folder, `${page.replaceAll(/\W/g, '-')}-${i}.ts`), code)
    }
    const paths = { frazil: [join(root, 'src/index.ts')], 'frazil/client': [join(root, 'src/client/index.ts')] }
    const compilerOptions = { ...strictest, paths }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const { stdout } = await run(process.execPath, [tsc, '-p', folder], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    )
    // What the project is made of is checked under its own settings.
    const files = readdirSync(folder)
    const isTheirs = (line: string): boolean => line.startsWith('error ') || files.includes(basename(line.split('(', 1)[0]))
    const wrong = stdout.split('\n').filter((line) => isTheirs(line))
    assert.deepEqual(wrong, [])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const strictest = {
  target: 'es2024',
  lib: ['es2024', 'esnext.disposable', 'esnext.array', 'esnext.collection'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  allowImportingTsExtensions: true,
  noEmit: true,
}
