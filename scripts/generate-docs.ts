import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { docPages } from './doc-pages.ts'

const root = join(import.meta.dirname, '..')
for (const [name, text] of docPages(root)) writeFileSync(join(root, 'docs', name), text)
