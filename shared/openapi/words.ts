import type { Json } from './schemas.ts'

/**
 * What members mean that mean the same wherever they are. What is special to one place is told there, with `.describe`. They are here
 * and not with the schemas since those are in the functions' bundles, which nobody reads.
 */
const words: Record<string, string> = {
  actor: 'Who did it: an API key, as `api-key:<id>`, or a function, as `function:<name>`.',
  adjustments: 'What to change, all of it or nothing.',
  at: 'The moment that the balances are of.',
  attempts: 'How often it was tried.',
  attributes: 'Whatever else the shop keeps of the product: any JSON, 16 KiB in all.',
  available: 'What is free to be held: `onHand` less `reserved`.',
  before: 'What was on hand before.',
  cause: 'The event that gave rise to it.',
  changes: 'What has changed.',
  checkedProducts: 'How many products were checked.',
  code: 'Its name, for programs.',
  confirmedQuantity: 'How much of it was taken out of stock.',
  conflicts: 'Every balance that is another than was expected.',
  consistent: 'Whether every balance is what ledger and reservations say.',
  counted: 'What was counted.',
  counts: 'What was counted, product by product and location by location.',
  createdAt: 'When it was made.',
  currency: 'By its code in ISO 4217.',
  data: 'What the event tells.',
  description: 'Text for people, in lines.',
  diedAt: 'When it was given up.',
  disabledReason: 'Why it gets no events: null where it does, or where somebody wanted so.',
  done: 'How many steps are done.',
  enabled: 'Whether it gets events.',
  error: 'Why it failed.',
  eventId: 'The id of the event.',
  events: 'The types of events that are sent to it.',
  expected: 'What was expected to be on hand.',
  expectedOnHand: 'Refuse the change where another quantity is on hand.',
  actual: 'What is on hand.',
  expiresAt: 'Until when it is valid; null is for ever.',
  fulfillable: 'Whether one location has all that was asked for.',
  group: 'The consumer group that refused it; null where the log itself did.',
  heldReserved: 'What held reservations add up to.',
  holder: 'Who it is held for, such as a shopper.',
  id: 'Its id.',
  ids: 'Which ones; all without it.',
  items: 'In their order.',
  jobId: 'The id of the job.',
  key: 'The key itself. It is told this once.',
  ledgerOnHand: 'What the ledger adds up to.',
  ledgerReserved: 'What the ledger adds up to.',
  limit: 'Which limit it is.',
  lines: 'What is held, product by product.',
  location: 'Where: the code of a location.',
  locations: 'The same at each location that the product has been at.',
  lowStockThreshold: '`stock.low` is told where no more than this is available; null: never.',
  max: 'The most that may be held.',
  message: 'What to do about it, for people.',
  name: 'What people call it.',
  nextCursor: 'Where the next page begins; null where there is none.',
  notFound: 'The ids and skus that name no product, as they were asked for.',
  note: 'Text for people, in lines.',
  occurredAt: 'When it happened.',
  onHand: 'What is there, held or not.',
  onHandAfter: 'What was on hand after it.',
  onHandDelta: 'By how much what is on hand changed.',
  path: 'Where it is in the input, such as `lines.0.quantity`.',
  payload: 'What the job is to work on.',
  perHolder: 'The most that one holder may hold at a time; null: no limit.',
  perReservation: 'The most that one reservation may hold; null: no limit.',
  price: 'What one costs.',
  priority: 'The lower, the earlier it serves a line that names no location.',
  productId: 'The id of the product.',
  progress: 'How far it is.',
  quantity: 'How many.',
  reason: 'Why.',
  redriven: 'How many are tried again.',
  reference: 'What the caller knows it by, such as a cart or an order.',
  requested: 'How many were asked for.',
  reservationId: 'The id of the reservation that it belongs to.',
  reserved: 'What is held for reservations.',
  reservedAfter: 'What was held after it.',
  reservedDelta: 'By how much what is held changed.',
  result: 'What came of it.',
  scopes: 'What the key may do.',
  secret: 'What its events are signed with. It is told this once.',
  sku: 'The code that the shop knows the product by.',
  sort: 'The order; `-` in front turns it round.',
  state: 'Where it stands.',
  status: 'Whether it is sold: an archived product can’t be reserved.',
  stock: 'How much of it there is, over all locations.',
  time: 'When it happened.',
  topic: 'The topic of the event.',
  total: 'How many there are in all.',
  ttlSeconds: 'The hold ends so many seconds from now.',
  type: 'What kind it is.',
  updatedAt: 'When it last changed.',
  url: 'Where events are sent to.',
  variance: 'What was counted less what was on hand before.',
  version: 'Counts the changes of it; +1 each time.',
}

/** What a member of that name means; undefined for one that has no entry. */
export const meaningOf = (name: string): string | undefined => (Object.hasOwn(words, name) ? words[name] : undefined)

/** Gives every member that says nothing of itself the meaning of its name. */
export function explainMembers(json: unknown): void {
  if (typeof json !== 'object' || json === null) return
  const { properties } = json as { properties?: Record<string, Json> }
  for (const [name, member] of Object.entries(properties ?? {})) {
    const meaning = meaningOf(name)
    if (typeof member === 'object' && meaning !== undefined) member.description ??= meaning
  }
  for (const value of Object.values(json)) explainMembers(value)
}
