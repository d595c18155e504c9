export interface Worker {
  /** Takes no more jobs, gives those in hand 5 s, and hands the others back. */
  stop: () => Promise<void>
}
