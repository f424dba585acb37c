import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..', '..', '..')
const bin = join(root, 'node_modules', '.bin')
const execute = promisify(execFile)

/** Runs with the project's tools first in PATH. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, NODE_TEST_CONTEXT: undefined }
  const { stdout } = await execute(command, [...args], { cwd, env, maxBuffer: 64 << 20 })
  return stdout
}

suite('the package, installed elsewhere', () => {
  let folder: string
  let archive: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'frazil-package-'))
    const [packed] = JSON.parse(await run('npm', ['pack', '--json', '--silent', '--pack-destination', folder], root)) as {
      filename: string
      files: { path: string }[]
    }[]
    archive = join(folder, packed.filename)
    writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}\n')
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', archive], folder)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  test('the command runs', async () => {
    const command = join(folder, 'node_modules', '.bin', 'frazil')
    assert.match(await run(command, ['--help'], folder), /^Usage: frazil/)
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    assert.equal(await run(command, ['--version'], folder), `${version}\n`)
  })

  test('the library opens a lake and answers', async () => {
    writeFileSync(
      join(folder, 'use.mjs'),
      `import { open } from 'frazil'
const engine = await open({ warehouse: './lake' })
const { rows } = await engine.query('select 6 * 7')
await engine.close()
console.log(JSON.stringify(rows))\n`,
    )
    assert.equal(await run('node', ['use.mjs'], folder), '[[42]]\n')
  })

  test('the client is there, with types and without the rest of the library', async () => {
    writeFileSync(
      join(folder, 'client.mjs'),
      `import { FrazilClient } from 'frazil/client'
const client = new FrazilClient({ url: 'http://127.0.0.1:1', attempts: 1 })
const { code } = await client.tables().catch((error) => error)
const loaded = process.moduleLoadList.some((name) => name.endsWith('sqlite'))
console.log(code, loaded)\n`,
    )
    assert.equal(await run('node', ['client.mjs'], folder), 'no-answer false\n')
  })

  test('its types resolve and are right', async () => {
    writeFileSync(
      join(folder, 'use.ts'),
      `import { open } from 'frazil'
import type { Frazil, QueryResult } from 'frazil'
import { FrazilClient } from 'frazil/client'
const { rows } = await new FrazilClient({ url: 'http://127.0.0.1:3030' }).ingest('users', [{ id: 1 }], { request_mode: 'sync' })
export const stored: number = rows
const engine: Frazil = await open({ warehouse: './lake', sources: { shop: { type: 'postgres', url: 'x', tables: ['a'] } } })
export const answer: QueryResult = await engine.query('select 1')
// @ts-expect-error an unknown key is refused by the types too
await open({ warehous: './lake' })\n`,
    )
    const flags = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--lib',
      'es2024,esnext.disposable',
      '--types',
      'node',
    ]
    await run('tsc', [...flags, '--typeRoots', join(root, 'node_modules', '@types'), 'use.ts'], folder)
  })

  test('publint has nothing to say', async () => {
    const printed = await run('publint', ['--strict', archive], folder)
    assert.doesNotMatch(printed, /error|warning|suggestion/i)
  })
})
