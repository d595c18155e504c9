import { invalid } from '#errors'
import { quoted, wholeNumberOf } from './imports/numbers.ts'

/** A price such as `19.99` in a currency's minor units. Trailing zeros are allowed. Throws `validation_failed` under `path`. */
export function minorUnitsOf(price: string, currency: string, path: string): number {
  const [, whole, fraction = ''] = /^(\d+)(?:\.(\d*))?$/.exec(price.trim()) ?? []
  if (whole === undefined) throw invalid(path, `must be a decimal number such as 19.99, not ${quoted(price)}`)
  const places = decimalPlacesOf(currency)
  // A pattern for the trailing zeros would be tried at every zero.
  let end = fraction.length
  while (fraction[end - 1] === '0') end--
  const used = fraction.slice(0, end)
  if (used.length > places) {
    throw invalid(path, `must not have more than the ${places} decimal places of ${currency}, as ${quoted(price)} has`)
  }
  return wholeNumberOf(whole + used.padEnd(places, '0'), path)
}

/**
 * The currencies of ISO 4217 whose minor unit is not a hundredth. `Intl.NumberFormat` does not know them: it follows custom (CLDR), and has 0 for
 * HUF, IDR, PKR and 14 others, while the standard and payment providers have 2 (or 3, for IQD).
 */
const currenciesByPlaces = new Map([
  [0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'.split(' ')],
  [3, 'BHD IQD JOD KWD LYD OMR TND'.split(' ')],
  [4, 'CLF UYW'.split(' ')],
])

function decimalPlacesOf(currency: string): number {
  const [places] = [...currenciesByPlaces].find(([, currencies]) => currencies.includes(currency)) ?? [2]
  return places
}

/** Whether ISO 4217 has, or had, the currency. Node's own data has all the other currencies. */
export function isCurrency(code: string): boolean {
  return [...currenciesByPlaces.values()].flat().includes(code) || Intl.supportedValuesOf('currency').includes(code)
}
