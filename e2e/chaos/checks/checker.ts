import type { Reservation } from '#stock/schema'
import { type Acknowledged, type Attempt, type Finding, isRefused, type Level, type TokenRead } from './history.ts'

/** A hold, as the answers describe it. */
interface Hold {
  key: string
  state: Reservation['state']
  expiresAt: number
  lines: Reservation['lines']
}

type StockRead = Extract<TokenRead, { of: 'stock' }>

/** The clocks of this process and of the servers may differ by this much, and the sweep runs once a second. */
export const CLOCK_MS = 5_000

/** Follows every answer, and derives the expected state from the answers alone. compare.ts compares that with the actual state. */
export class Checker {
  readonly findings: Finding[] = []
  readonly levels = new Map<string, Level>()
  readonly holds = new Map<string, Hold>()
  /** The idempotency keys of adjustments. */
  readonly adjustments = new Set<string>()
  /** The keys of writes without a decision. Each of them may have been done, but only once. */
  readonly undecided = new Set<string>()
  /** Reads of products that other clients write too. Only the ledger can judge them. */
  readonly sharedReads: Array<StockRead & Required<Pick<StockRead, 'after'>>> = []
  /** The ids of the events for each version of a product. */
  readonly told = new Map<string, Map<number, string>>()
  /** Products that only one client writes, one request after the other: each answer follows from the earlier ones. */
  readonly #own = new Set<string>()

  find(promise: Finding['promise'], what: string): void {
    this.findings.push({ promise, what, at: Date.now() })
  }

  attempt(attempt: Attempt, mayRefuse: boolean): void {
    const { operation, told, contradiction, endedAt, startedAt } = attempt
    const what = `${operation} was answered ${told} after ${((endedAt - startedAt) / 1_000).toFixed(1)} s`
    if (contradiction !== undefined) this.find('documented', contradiction)
    else if (told.startsWith('500')) this.find('documented', what)
    else if (isRefused(attempt) && !mayRefuse) this.find('not refused', what)
  }

  acknowledged(write: Acknowledged): void {
    switch (write.kind) {
      case 'create':
        this.levels.set(write.body.id, { onHand: write.body.stock.onHand, reserved: 0 })
        if (write.isOwn) this.#own.add(write.body.id)
        break
      case 'reserve':
        this.#hold(write.key, write.body)
        break
      case 'shortage':
        for (const line of write.lines) this.#requireShortage(line)
        break
      case 'extend': {
        const hold = this.holds.get(write.body.id)
        if (hold) hold.expiresAt = Date.parse(write.body.expiresAt)
        break
      }
      case 'end':
        this.end(write.body.id, write.body.state, write.body.lines)
        break
      case 'not held': {
        const isOverdue = write.at + CLOCK_MS >= (this.holds.get(write.id)?.expiresAt ?? 0)
        if (isOverdue) this.end(write.id, 'expired')
        else this.find('nothing lost', `${write.id} is ${write.code} long before its deadline`)
        break
      }
      case 'adjust':
        this.adjustments.add(write.key)
        this.#change(write.body.productId, write.body.onHandDelta, 0)
        break
      case 'count':
        for (const { productId, variance } of write.body.counts) this.#change(productId, variance, 0)
    }
  }

  neverDecided(key: string): void {
    this.undecided.add(key)
    this.find('recovery', `${key} has had no answer that says what was done`)
  }

  read(read: TokenRead): void {
    if (read.of === 'reservation') this.#readReservation(read.id, read.seen)
    else if (this.#own.has(read.productId)) this.#readOwn(read)
    else if (read.after) this.sharedReads.push({ ...read, after: read.after })
  }

  /** Records an event that arrived at the webhook. */
  delivered({ id, productId, version }: { id: string; productId: string; version: number }): void {
    const versions = this.told.get(productId) ?? new Map<number, string>()
    this.told.set(productId, versions)
    const before = versions.get(version) ?? id
    if (before !== id)
      this.find('nothing doubled', `version ${version} of ${productId} is two events: ${before} and ${id}`)
    versions.set(version, id)
  }

  /** Returns the versions of a product up to `last` for which no event was delivered. */
  untold(productId: string, last: number): number[] {
    const versions = this.told.get(productId)
    return Array.from({ length: last }, (_, index) => index + 1).filter((version) => !versions?.has(version))
  }

  /** Records the end of a hold. A confirmed hold removes the quantities in `lines` from stock. */
  end(id: string, state: Hold['state'], lines: Hold['lines'] = []): void {
    const hold = this.holds.get(id)
    if (!hold) this.find('nothing doubled', `${id} ended as ${state} and was never acknowledged`)
    if (!hold || hold.state === state) return
    if (hold.state !== 'held') this.find('nothing lost', `${id} ended as ${hold.state} and then as ${state}`)
    hold.state = state
    for (const [index, { productId, quantity }] of hold.lines.entries()) {
      this.#change(productId, -(lines[index]?.confirmedQuantity ?? 0), -quantity)
    }
  }

  requireNotOversold(productId: string, level: Level): void {
    if (!(0 <= level.reserved && level.reserved <= level.onHand))
      this.find('never oversold', `${productId} has ${say(level)}, by its answers`)
  }

  #hold(key: string, { id, state, lines, expiresAt }: Reservation): void {
    if (this.holds.has(id)) this.find('nothing doubled', `${id} was acknowledged under two keys`)
    this.holds.set(id, { key, state, lines, expiresAt: Date.parse(expiresAt) })
    for (const { productId, quantity } of lines) this.#change(productId, 0, quantity)
  }

  #change(productId: string, onHand: number, reserved: number): void {
    const level = this.levels.get(productId)
    if (!level) throw new Error(`an answer names the product ${productId}, which is not of this run`)
    level.onHand += onHand
    level.reserved += reserved
    // Answers to several clients come in any order, so a shared product is judged at the end.
    if (this.#own.has(productId)) this.requireNotOversold(productId, level)
  }

  #requireShortage({ productId, quantity }: { productId: string; quantity: number }): void {
    const { onHand, reserved } = this.levels.get(productId) ?? { onHand: 0, reserved: 0 }
    if (this.#own.has(productId) && onHand - reserved >= quantity)
      this.find('nothing lost', `${quantity} of ${productId} were refused, with ${onHand - reserved} available`)
  }

  #readOwn({ productId, seen }: StockRead): void {
    const level = this.levels.get(productId) ?? { onHand: 0, reserved: 0 }
    if (level.onHand !== seen.onHand || level.reserved !== seen.reserved)
      this.find('tokens', `${productId} has ${say(level)}, and a read with the token of that saw ${say(seen)}`)
  }

  #readReservation(id: string, seen: Reservation): void {
    const hold = this.holds.get(id)
    const isExpired = seen.state === 'expired' && (hold?.expiresAt ?? 0) <= Date.now() + CLOCK_MS
    if (seen.state !== hold?.state && !isExpired)
      this.find('tokens', `${id} is ${hold?.state}, and a read with its token saw ${seen.state ?? 'nothing'}`)
  }
}

export const say = ({ onHand, reserved }: Level) => `${onHand} on hand and ${reserved} reserved`
