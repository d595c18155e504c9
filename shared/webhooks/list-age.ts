/**
 * How old the list may be of what webhooks ask for: four queries a second, however many events there are. Whoever makes a
 * webhook waits this long before the answer, so by then nobody goes by a list that lacks it.
 */
export const LIST_AGE_MAX_MS = 250
