import type { FastifyInstance } from 'fastify'
import { FrazilError } from '../base/index.ts'
import { fieldsOf, keyOf, schemaOf } from '../engine/index.ts'
import type { Engine } from '../engine/index.ts'
import { avroColumns } from '../format/avro/index.ts'
import { createBody, dropBody, fromPostgresBody, tableName } from './api/index.ts'
import { checkBody } from './json-body.ts'

/** `POST` and `DELETE /tables/{name}`, `POST /tables/{name}/from_postgres`, `GET /schema/{database}/{table}`. */
export function definitionRoutes(app: FastifyInstance, engine: () => Engine): void {
  app.post<{ Params: { name: string } }>('/tables/:name', async (request) => {
    const ingest = request.params.name
    if (!tableName.safeParse(ingest).success)
      throw new FrazilError('request', 'bad-body', 'the name in the path cannot be one of a table')
    const { database, table, schema, avro_schema: avro, table_config: config } = checkBody(createBody, request.body)
    request.caller.demand('write', database, table)
    if (schema === undefined && avro === undefined) {
      throw new FrazilError('request', 'bad-body', 'schema, or avro_schema, has to say what the columns are')
    }
    const fields = schema ? fieldsOf(schema) : avroColumns(avro)
    const key = keyOf(config, fields)
    const evolves = config?.on_schema_change === 'evolve'
    await engine().createTable({ namespace: database, name: table, ingest, fields, key, evolves })
    return { database, table, lsn: 1 }
  })

  app.post('/tables/:name/from_postgres', async (request, reply) => {
    const { database, table, src_uri: uri, src_table_name: sourceName } = checkBody(fromPostgresBody, request.body)
    request.caller.demand('write', database, table)
    const { state } = await engine().addFromPostgres({ namespace: database, name: table, sourceName }, uri)
    return reply.code(state === 'streaming' ? 200 : 202).send({ database, table, lsn: 1, state })
  })

  app.delete('/tables/:name', async (request) => {
    const { database, table } = checkBody(dropBody, request.body)
    request.caller.demand('write', database, table)
    await engine().dropTable(database, table)
    return {}
  })

  app.get<{ Params: { database: string; table: string } }>('/schema/:database/:table', async (request) => {
    const { database, table } = request.params
    if (!request.caller.may('write', database, table)) request.caller.demand('read', database, table)
    const { ingest, fields, key, evolves } = await engine().describe(database, table)
    const onSchemaChange = evolves ? { on_schema_change: 'evolve' } : {}
    return { database, table, ingest, schema: schemaOf(fields), key, ...onSchemaChange }
  })
}
