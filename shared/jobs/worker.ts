export interface Worker {
  /** Takes no more jobs, gives those in flight 5 s, and hands the rest back. */
  stop: () => Promise<void>
}
