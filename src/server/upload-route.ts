import { isAbsolute, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { FrazilError } from '../base/index.ts'
import type { Engine } from '../engine/index.ts'
import { uploadBody } from './api/index.ts'
import type { CheckedUpload } from './api/index.ts'
import { keyOf } from './ingest-route.ts'
import { checkBody } from './json-body.ts'

/** `POST /upload/{name}`: Parquet files of this machine for a table that was made with `POST /tables/{name}`. */
export function uploadRoute(app: FastifyInstance, engine: () => Engine): void {
  app.post<{ Params: { name: string } }>('/upload/:name', async (request, reply) => {
    const { caller, headers } = request
    const { name } = request.params
    const body = checkBody(uploadBody, request.body)
    const table = await engine().ingestTable(name)
    if (table === null || !caller.sees(table.namespace, table.name)) {
      throw new FrazilError('request', 'unknown-table', `there is no table ${name} that takes rows`)
    }
    caller.demand('write', table.namespace, table.name)
    const { operation, files } = body
    const receipt = await engine().upload({ ...table, operation, files: files.map(pathIn(body)), key: keyOf(headers) })
    if (receipt.replayed) reply.header('idempotency-replayed', 'true')
    const position = receipt.position ?? '0'
    return {
      table: name,
      operation,
      files: files.length,
      rows: receipt.rows,
      position,
      durability: 'committed',
      lsn: Number(position),
    }
  })
}

/** Absolute paths of files as they stand in a request. Throws `request`. */
function pathIn({ storage_config: storage }: CheckedUpload): (file: string) => string {
  const root = storage?.fs?.root_directory
  if (storage?.s3 !== undefined || storage?.gcs !== undefined) throw notHere()
  return (file) => {
    if (/^[a-z][a-z0-9+.-]+:\/\//i.test(file) && !file.startsWith('file:///')) throw notHere()
    const path = file.startsWith('file:///') ? file.slice('file://'.length) : file
    if (isAbsolute(path)) return path
    if (root !== undefined && isAbsolute(root)) return join(root, path)
    throw new FrazilError('request', 'bad-body', 'files have absolute paths, or ones below storage_config.fs.root_directory')
  }
}

function notHere(): FrazilError {
  const hint = 'Copy the files to this machine, into a folder of http.upload.'
  return new FrazilError('request', 'not-available-yet', 'files are taken from folders of this machine only in this version', {
    hint,
  })
}
