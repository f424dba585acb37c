// Mirrors one table of a Postgres into a lake, as a library, and asks it something.
//
//   node examples/mirror.ts postgres://app@127.0.0.1:5432/shop public.orders ./lake
import { join } from 'node:path'
import { open } from '../src/index.ts' // in a project of your own: from 'frazil'

const [url, table, warehouse = './lake'] = process.argv.slice(2)
if (!url || !table) {
  console.error('usage: node examples/mirror.ts <postgres url> <schema.table> [folder of the lake]')
  process.exit(2)
}

await using engine = await open({
  warehouse,
  local: join(warehouse, '.local'),
  sources: { source: { type: 'postgres', url, tables: [table] } },
})

// `wait: 'now'` sees every row that was committed before the question was asked.
const name = table.replace(/^public\./, 'source.')
let ready = false
while (!ready) {
  ;({ ready } = await engine.status())
  await new Promise((resolve) => setTimeout(resolve, 50))
}
const { rows, positions } = await engine.query(`select count(*) from ${name}`, { wait: 'now' })
console.log(`${name} has ${String(Number(rows[0][0]))} rows at ${positions.source}`)

await engine.flush()
console.log(`and so has the Iceberg table under ${warehouse}`)
