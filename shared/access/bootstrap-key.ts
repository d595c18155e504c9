import * as z from 'zod'

/** Known to everyone who reads this repository: good for the embedded database, which nobody but this machine reaches, and nothing else. */
export const DEVELOPMENT_KEY = 'dev-admin-key'

const OWN_KEY = 'must be an admin key of your own, of 16 to 512 visible ASCII characters'

/** A bootstrap key of one's own: long enough to keep out whoever guesses, and the development key. What it is made of fits into a header. */
export const ownKeySetting = z.string({ error: OWN_KEY }).regex(/^[\x21-\x7e]{16,512}$/, OWN_KEY)

/** On the embedded database, where a short one harms nobody. */
export const embeddedKeySetting = z
  .string()
  .regex(/^[\x21-\x7e]{1,512}$/, 'must be made of visible ASCII characters')
  .default(DEVELOPMENT_KEY)
