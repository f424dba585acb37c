/** One stored object. */
export interface ObjectInfo {
  /** Absolute URI as it stands in Iceberg metadata. */
  readonly uri: string
  readonly size: number
  readonly modifiedMs: number
  /** Changes whenever the content does. */
  readonly etag: string
}

export interface PutOptions {
  /** Fail with kind `conflict` when the object exists. */
  readonly ifAbsent?: boolean
  /** Fail with kind `conflict` unless the object exists with this etag. */
  readonly ifMatch?: string
  /**
   * Its content is durable when the promise resolves, its name only when a later put without this into the same folder has. For objects
   * that nobody refers to before: it saves a look at the disk for each.
   */
  readonly followed?: boolean
}

/** An object being written piece by piece; it does not exist for anybody before `close` has resolved. */
export interface ObjectWriter {
  readonly uri: string
  write(bytes: Uint8Array): Promise<void>
  /** Makes the object durable and visible. Resolves with its size. */
  close(): Promise<number>
  /** Throws the pieces away. */
  abort(): Promise<void>
}

/** An object that is open for reading. */
export interface ObjectReader {
  read(offset: number, length: number): Promise<Uint8Array>
  /** No read may be under way. */
  close(): Promise<void>
}

/**
 * Where files live. Objects are immutable and named once; all names are absolute URIs under `root`.
 *
 * Durable means durable: on local disk content and directory entry are fsynced before a promise resolves.
 * Errors are `FrazilError`: `unavailable` for what may go away (also a full disk, code `disk-full`), `conflict` for a failed
 * condition, `config` for missing rights, `corrupt` with code `object-missing` for an object that should be there.
 */
export interface ObjectStore {
  /** For example `file:///srv/lake` or `s3://bucket/prefix`, without a trailing slash. */
  readonly root: string
  /** Many reads of one object: what it takes to open it is done once. Throws as {@link get} does. */
  reader(uri: string): Promise<ObjectReader>

  /**
   * The whole object, or `length` bytes from `offset`; fewer than `length` is an error, `corrupt` code `object-truncated`.
   * A negative offset counts from the end and is clipped to the object: the last bytes, at most `length` of them.
   */
  get(uri: string, range?: { offset: number; length: number }): Promise<Uint8Array>
  head(uri: string): Promise<ObjectInfo | null>
  /**
   * Creates or replaces. An object kept by `ifMatch` must only be written by conditional puts: an unconditional one may be
   * lost between the comparison and the write.
   */
  put(uri: string, bytes: Uint8Array, options?: PutOptions): Promise<ObjectInfo>
  /** For large objects, with bounded memory. `close` replaces an existing object. */
  writer(uri: string): Promise<ObjectWriter>
  /**
   * All objects whose URI begins with `prefix` + `/` (`root` or a folder below it), in no particular order. Unfinished writes
   * are not among them; objects created or deleted meanwhile may or may not be.
   */
  list(prefix: string): AsyncIterable<ObjectInfo>
  /** Deletes what exists; missing objects are no error. One that cannot be deleted keeps none of the others. */
  delete(uris: readonly string[]): Promise<void>
}
