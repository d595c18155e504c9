/** The part of Newman that is used here. The package has no types. */
declare module 'newman' {
  import type { EventEmitter } from 'node:events'

  interface Variable {
    key: string
    value: string
  }

  interface RunOptions {
    collection: object
    /** The name of the one folder to run. */
    folder?: string
    /** Takes precedence over the collection's own variables. */
    envVar: Variable[]
    reporters: string[]
    /** The time limits of the whole run, a request and a script, in milliseconds. */
    timeout: number
    timeoutRequest: number
    timeoutScript: number
  }

  interface Item {
    id: string
    name: string
    parent(): { name?: string } | undefined
  }

  interface Request {
    method: string
    headers: { toObject(): Record<string, string> }
    url: { getPath(): string }
  }

  interface Response {
    code: number
    headers: { toObject(): Record<string, string> }
    text(): string
  }

  interface ItemEvent {
    item: Item
  }

  interface RequestEvent extends ItemEvent {
    request: Request
    response?: Response
  }

  interface AssertionEvent extends ItemEvent {
    assertion: string
    skipped: boolean
  }

  interface Emitter extends EventEmitter {
    on(event: 'beforeItem', listener: (error: Error | null, event: ItemEvent) => void): this
    on(event: 'request', listener: (error: Error | null, event: RequestEvent) => void): this
    on(event: 'assertion', listener: (error: Error | null, event: AssertionEvent) => void): this
    on(event: 'script', listener: (error: Error | null, event: ItemEvent) => void): this
  }

  export function run(options: RunOptions, done: (error: Error | null) => void): Emitter
}
