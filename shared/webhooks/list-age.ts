/**
 * How long a process caches the types that webhooks subscribe to: four queries a second, however many events there are. The creation of a webhook
 * is answered after this time, when every process's cache has it.
 */
export const LIST_AGE_MAX_MS = 250
