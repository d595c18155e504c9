import * as z from 'zod'

/** Public, since it is in this repository. It works only on the embedded database, which only this machine can reach. */
export const DEVELOPMENT_KEY = 'dev-admin-key'

const OWN_KEY = 'must be an admin key of your own, of 16 to 512 visible ASCII characters'

/** An operator's own bootstrap key: its characters fit into a header, and it is too long to guess. The development key is too short. */
export const ownKeySetting = z.string({ error: OWN_KEY }).regex(/^[\x21-\x7e]{16,512}$/, OWN_KEY)

/** The key of the embedded database, where a short key does no harm. */
export const embeddedKeySetting = z
  .string()
  .regex(/^[\x21-\x7e]{1,512}$/, 'must be made of visible ASCII characters')
  .default(DEVELOPMENT_KEY)
