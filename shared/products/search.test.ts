import { expect, it } from 'vitest'
import { inRivalSession, sql } from '#testing'

/** Every character that both this Node and the server know: neither folds characters that it does not know. */
async function characters(): Promise<string[]> {
  const points = Array.from({ length: 0x11_0000 - 1 }, (_, index) => index + 1)
  const texts = points.filter((point) => point < 0xd800 || point > 0xdfff).map((point) => String.fromCodePoint(point))
  const cased = texts.filter((text) => text.toLowerCase() !== text.toUpperCase() || text.normalize('NFKD') !== text)
  const known = await sql<Array<{ text: string }>>`
    select text from unnest(${cased}::text[]) as text where unicode_assigned(text)`
  return known.map(({ text }) => text)
}

async function folds(texts: readonly string[]): Promise<string[]> {
  const rows = await sql<Array<{ fold: string }>>`
    select fold_text(text) as fold from unnest(${[...texts]}::text[]) with ordinality as given (text, at) order by at`
  return rows.map(({ fold }) => fold)
}

it('folds every character like its upper case, its lower case and its normal forms, and a fold to itself', async () => {
  const all = await characters()
  expect(all.length).toBeGreaterThan(5_000)
  const expected = await folds(all)
  const forms: Record<string, (text: string) => string> = {
    upper: (text) => text.toUpperCase(),
    lower: (text) => text.toLowerCase(),
    composed: (text) => text.normalize('NFC'),
    decomposed: (text) => text.normalize('NFD'),
    compatible: (text) => text.normalize('NFKD'),
  }
  for (const [name, form] of Object.entries(forms)) {
    const folded = await folds(all.map(form))
    const others = all.filter((_, index) => folded[index] !== expected[index])
    expect({ [name]: others }).toEqual({ [name]: [] })
  }
  expect(await folds(expected)).toEqual(expected)
})

it('folds a text of ASCII alone as it folds it within another', async () => {
  const ascii = Array.from({ length: 95 }, (_, index) => String.fromCodePoint(index + 32)).join('')
  const [alone, within] = await folds([ascii, `${ascii}é`])
  expect(within).toBe(`${alone}é`)
})

let filling: Promise<void> | undefined

/** Runs once, for the test that comes first, and for as long as it takes: the service allows a statement only a few seconds. */
function fillCatalogue(): Promise<void> {
  filling ??= inRivalSession(async (rival) => {
    await rival`set local statement_timeout = 0`
    await rival`
      insert into products (id, sku, name)
      select gen_random_uuid(), 'BULK-' || n, 'Κούπα καφές ' || n from generate_series(1, 20000) as n`
    await rival`analyze products`
    await rival`commit`
  })
  return filling
}

it('finds what others than the service have written, by its index', async () => {
  await fillCatalogue()
  const plan = await sql`
    explain select id from products
    where deleted_at is null and search_grams(search_text) @> search_grams(search_needle('ΚΑΦΈΣ 12345'))
      and strpos(search_text, search_needle('ΚΑΦΈΣ 12345')) > 0`
  expect(JSON.stringify(plan)).toContain('products_search')
  const found = await sql`select sku from products where strpos(search_text, search_needle('ΚΑΦΈΣ 12345')) > 0`
  expect(found).toEqual([{ sku: 'BULK-12345' }])
})

it.each(['καφές', 'bulk', 'b'])('reads no more than the page where nearly all match %s', async (search) => {
  await fillCatalogue()
  const plan = await sql`
    explain select id from products
    where deleted_at is null and search_grams(search_text) @> search_grams(search_needle(${search}))
      and strpos(search_text, search_needle(${search})) > 0
    order by created_at, id limit 50`
  expect(JSON.stringify(plan)).toContain('products_created_at')
})

it('folds whatever the search path is, as for a restore from a dump', async () => {
  const restored = await inRivalSession(async (rival) => {
    await rival`set local search_path = ''`
    return rival`
      insert into public.products (id, sku, name) values (gen_random_uuid(), 'RESTORED', 'Ärmel')
      returning search_text as text`
  })
  expect(restored).toEqual([{ text: '\n\nrestored\n\närmel' }])
})
