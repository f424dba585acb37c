import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { suite, test } from 'node:test'

const root = join(import.meta.dirname, '..')
const sourceFiles = filesUnder('src').filter((file) => file.endsWith('.ts'))

/** What each folder of src may import, as ARCHITECTURE.md has it. */
const lower = ['base', 'observe', 'data', 'format']
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  access: ['base'],
  observe: ['base'],
  data: ['base'],
  format: ['base', 'data'],
  storage: ['base', 'observe'],
  source: [...lower, 'access'],
  iceberg: [...lower, 'storage'],
  table: [...lower, 'storage', 'iceberg', 'source'],
  query: [...lower, 'storage', 'iceberg', 'source', 'table'],
  engine: [...lower, 'access', 'storage', 'iceberg', 'source', 'table', 'query'],
  server: [...lower, 'access', 'iceberg', 'engine'],
  cli: ['base', 'access', 'observe', 'engine', 'server'],
  /** Types only: browsers run it. */
  client: ['server'],
  /** src/index.ts, the library. */
  '': ['base', 'observe', 'engine'],
}

/** Folders whose subfolders are implementations of one contract and know nothing of each other. */
const families = ['src/source', 'src/storage', 'src/iceberg/catalog']
/** Folders in them that are no implementation: what some of those have in common. */
const rooms = ['src/source/push']

/** Files that may be longer than {@link longest} lines, and why. */
const long: Readonly<Record<string, string>> = {}
const longest = 600

interface Import {
  readonly from: string
  readonly to: string
}

const imports: readonly Import[] = sourceFiles.flatMap((from) => importsOf(from))

suite('tidy', () => {
  test('folders import only what the table allows', () => {
    const wrong = imports.filter(({ from, to }) => {
      const [own, other] = [topFolder(from), topFolder(to)]
      return own !== other && !mayImport[own]?.includes(other)
    })
    assert.deepEqual(wrong, [])
  })

  test('inside format only puffin uses roaring, and all may use compression and JSON', () => {
    const wrong = imports.filter(({ from, to }) => {
      const [own, other] = [from.split('/')[2], to.split('/')[2]]
      if (topFolder(from) !== 'format' || topFolder(to) !== 'format' || own === other) return false
      return other !== 'compression' && other !== 'json' && !(own === 'puffin' && other === 'roaring')
    })
    assert.deepEqual(wrong, [])
  })

  test('implementations of one contract do not import each other', () => {
    const member = (file: string, family: string): string | null => {
      const rest = file.startsWith(`${family}/`) ? file.slice(family.length + 1).split('/') : []
      return rest.length > 1 ? rest[0] : null
    }
    const wrong = imports.filter(({ from, to }) =>
      families.some((family) => {
        const [own, other] = [member(from, family), member(to, family)]
        return own !== null && other !== null && own !== other && !rooms.includes(`${family}/${other}`)
      }),
    )
    assert.deepEqual(wrong, [])
  })

  test('another folder is entered by its index.ts', () => {
    const wrong = imports.filter(({ from, to }) => {
      const inside = `${dirname(from)}/`.startsWith(`${dirname(to)}/`) && dirname(to) !== 'src'
      return basename(to) !== 'index.ts' && !inside
    })
    assert.deepEqual(wrong, [])
  })

  test('the client for browsers has nothing of the server but types, and nothing of Node', () => {
    for (const file of sourceFiles.filter((name) => name.startsWith('src/client/'))) {
      const values = read(file).match(/^(?:import|export) (?!type )[^;']* from '(?!\.\/)[^']*'/gm) ?? []
      assert.deepEqual(values, [], file)
    }
  })

  test('there are no cycles', () => {
    const next = new Map<string, string[]>()
    for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to])
    const done = new Set<string>()
    const walk = (file: string, path: readonly string[]): void => {
      assert(!path.includes(file), `a cycle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
      if (done.has(file)) return
      for (const other of next.get(file) ?? []) walk(other, [...path, file])
      done.add(file)
    }
    for (const file of sourceFiles) walk(file, [])
  })

  test('an index.ts only names what others may use', () => {
    for (const file of sourceFiles.filter((name) => basename(name) === 'index.ts')) {
      const rest = read(file)
        .replaceAll(/^export (?:type )?\{[^}]*\} from '[^']+'$/gm, '')
        .replaceAll(/\/\*\*[\s\S]*?\*\//g, '')
      assert.equal(rest.trim(), '', `${file} has code in it`)
    }
  })

  test('engines of tests are those whose lake is checked', () => {
    const own = 'test/support/engine.ts'
    const opening =
      /^import (?:\* as \w+|\{[^}]*\bopen(?:Engine)?\b[^}]*\}) from '[./]+\/src\/(?:engine\/)?(?:index|engine|library)\.ts'/m
    assert.match(read(own), opening)
    const wrong = filesUnder('test').filter((file) => file.endsWith('.ts') && file !== own && opening.test(read(file)))
    assert.deepEqual(wrong, [], `open and openEngine are imported from ${own}`)
  })

  test('no file or folder has a name that says nothing', () => {
    const empty = /^(?:utils?|common|helpers?|misc|shared|lib|stuff)(?:\.\w+)*$/
    const wrong = [...filesUnder('src'), ...filesUnder('test'), ...filesUnder('scripts')].filter((file) =>
      file.split('/').some((part) => empty.test(part)),
    )
    assert.deepEqual(wrong, [])
  })

  test('files are short, or say why they are not', () => {
    for (const file of sourceFiles) {
      const lines = read(file).split('\n').length - 1
      assert(lines <= longest || long[file], `${file} has ${lines} lines`)
      assert(lines > longest || !long[file], `${file} is short now: take it off the list`)
    }
  })

  test('nothing names a path of the machine it was written on', () => {
    const own = new RegExp(['/wo', 'rk/(?:main|sha', 'red)|\\.\\./sha', 'red/'].join(''))
    const files = ['src', 'test', 'scripts', 'docs', 'bin', 'bench', 'examples', '.ci'].flatMap(filesUnder)
    for (const file of [...files, 'README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'package.json']) {
      assert(!own.test(read(file)), file)
    }
  })
})

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function filesUnder(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => !file.includes('node_modules'))
    .sort()
}

/** Imports of our own files, whether of values, of types, dynamic, or of a worker by its URL. */
function importsOf(from: string): Import[] {
  const text = read(from)
  const pattern = /(?:\bfrom|\bimport|\bimport\(|\bnew URL\()\s*'(\.[^']*\.ts)'/g
  return [...text.matchAll(pattern)].map(([, path]) => ({ from, to: join(dirname(from), path) }))
}

function topFolder(file: string): string {
  const parts = file.split('/')
  return parts.length > 2 ? parts[1] : ''
}
