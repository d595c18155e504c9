import type { FunctionDefinition } from '#function'

type Tag = NonNullable<FunctionDefinition['tag']>

/** In the order of the API reference. */
const descriptions: Record<Tag, string> = {
  products: 'The catalogue: what there is to sell.',
  stock: 'How much of it there is, where, and how that came about.',
  reservations: 'Stock that is held for a shopper until it is paid for, given back, or its time is up.',
  locations: 'Places that stock can be at.',
  jobs: 'Work that takes longer than a request, and what has become of it.',
  webhooks: 'Events sent to a URL.',
  events: 'What has happened, and what could not be delivered of it.',
  'api-keys': 'Who may do what.',
  operations: 'Is it up, is it ready, what does it serve.',
}

export function tagObjects(): Array<{ name: string; description: string }> {
  return Object.entries(descriptions).map(([name, description]) => ({ name, description }))
}
