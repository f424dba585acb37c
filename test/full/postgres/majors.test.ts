import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../../..')

/** What speaks to a server; the default tier runs it against 18. */
const files = [
  'test/source/postgres/**/*.test.ts',
  'test/differential/*.test.ts',
  'test/crash/server-restarts.test.ts',
  'test/full/source/**/*.test.ts',
]

// FRAZIL_MAJORS: others, with commas.
for (const major of (process.env['FRAZIL_MAJORS'] ?? '14,16').split(',')) {
  test(`Postgres ${major}: all tests of the source, the differential, a server that restarts`, { timeout: 780_000 }, async () => {
    const chosen: string[] = []
    for await (const file of glob(files, { cwd: root })) chosen.push(file)
    assert.ok(chosen.length > 5)
    const { code, output } = await runTests(chosen.sort(), { FRAZIL_POSTGRES: major })
    assert.equal(code, 0, output)
  })
}

function runTests(chosen: readonly string[], extra: NodeJS.ProcessEnv): Promise<{ code: number | null; output: string }> {
  const env: NodeJS.ProcessEnv = { ...process.env, FRAZIL_TEST_MINUTES: '5', ...extra }
  delete env['NODE_TEST_CONTEXT'] // else it reports to the runner of this file
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ['--test', '--import', './test/support/deadline.ts', '--test-reporter=dot', ...chosen],
      { cwd: root, env },
    )
    let output = ''
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-16_384)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}
