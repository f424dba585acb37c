import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { FrazilError, asError } from '../base/index.ts'
import { encodeMetadata, parseMetadata } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'

/** Names and bytes of metadata files (specification, "Metastore Tables", Appendix F "Naming for GZIP compressed files"). */

const maxMetadataBytes = 1 << 30
const deflate = promisify(gzip)
const inflate = promisify(gunzip)

/** `<V:05d>-<uuid>.metadata.json` in `folder`, V one above the previous file's. */
export function nextMetadataPath(metadata: TableMetadata, folder: string, previous: string | null, uuid: string): string {
  const version = previous === null ? 0 : versionOf(previous) + 1
  const suffix = metadata.properties['write.metadata.compression-codec'] === 'gzip' ? '.gz.metadata.json' : '.metadata.json'
  return `${folder}/${String(version).padStart(5, '0')}-${uuid}${suffix}`
}

/** Where a table's manifests, lists and metadata are written in a store with this root. */
export function metadataFolder({ location, properties }: TableMetadata, root: string): string {
  const asked = properties['write.metadata.path']?.replace(/\/+$/, '') ?? ''
  const segments = asked.startsWith(`${root}/`) ? asked.slice(root.length + 1).split('/') : []
  // Others may ask for a place where we cannot write. They find these files by their whole paths, wherever they are.
  const isWithin = segments.length > 0 && segments.every((segment) => segment !== '' && !segment.startsWith('.'))
  return isWithin ? asked : `${location}/metadata`
}

function versionOf(path: string): number {
  const name = path.slice(path.lastIndexOf('/') + 1)
  // Ours and other catalogs' `00012-uuid`, and the `v12` of tables in a plain folder.
  const digits = /^(?:v(\d+)\.|(\d+)-)/.exec(name)
  return digits === null ? 0 : Number(digits[1] ?? digits[2])
}

function isCompressed(path: string): boolean {
  return path.endsWith('.gz.metadata.json') || path.endsWith('.metadata.json.gz')
}

export async function encodeTableFile(metadata: TableMetadata, path: string): Promise<Uint8Array> {
  const bytes = Buffer.from(encodeMetadata(metadata))
  return isCompressed(path) ? deflate(bytes) : bytes
}

export async function decodeTableFile(bytes: Uint8Array, path: string): Promise<TableMetadata> {
  if (!isCompressed(path)) return parseMetadata(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  let plain: Buffer
  try {
    plain = await inflate(bytes, { maxOutputLength: maxMetadataBytes })
  } catch (thrown) {
    throw new FrazilError('corrupt', 'bad-metadata', 'a compressed metadata file cannot be inflated', { cause: asError(thrown) })
  }
  return parseMetadata(plain.toString())
}
