import type { Allowance } from '../../base/index.ts'
import type { Exporters } from './exporters.ts'
import type { Receiver } from './receiver.ts'
import type { Traffic } from './traffic.ts'

/** What the endpoints of a source have in common. */
export interface EndpointParts {
  readonly receiver: Receiver
  readonly exporters: Exporters
  readonly traffic: Traffic
  /** For bodies. */
  readonly room: Allowance
  /** Gets errors that are bugs. */
  readonly failed: (error: unknown) => void
}
