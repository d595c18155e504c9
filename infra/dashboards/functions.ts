import type { Board } from './dashboard.ts'
import { quantile, rate } from './promql.ts'

/** The processes: whether they are up, how much of their capacity is in use, and which version each one is. */
export const functions: Board = {
  title: 'Functions',
  name: 'functions',
  rows: [
    {
      title: 'Processes',
      of: '.+',
      panels: [
        {
          title: 'Processes that answer',
          unit: 'short',
          lines: { '{{service}}': 'sum by (service) (up{service!=""})' },
          help: '0: no process of that function can be scraped, docs/runbooks/function-down.md.',
        },
        {
          title: 'Starts in 10 minutes',
          unit: 'short',
          lines: { '{{service}}': 'sum by (service) (changes(process_start_time_seconds{service!=""}[10m])) > 0' },
          help: 'One a process is a deployment. More: docs/runbooks/function-crash-loop.md.',
          emptyUntil: 'no process was started anew',
        },
        {
          title: 'Cold start',
          unit: 's',
          lines: { '{{function}}': 'max by (function) (function_start_seconds)' },
          help: 'From the start of the process until it listens. Grows with the bundle: compare with the version before.',
          emptyUntil: 'no function has a process of its own',
        },
        {
          title: 'Versions',
          unit: 'short',
          lines: { '{{function}} {{version}}': 'count by (function, version) (function_info)' },
          help: 'Two of one function for longer than a deployment takes: it has stopped half-way.',
        },
      ],
    },
    {
      title: 'Saturation',
      of: '.+',
      panels: [
        {
          title: 'Requests in flight, of the limit',
          unit: 'percentunit',
          lines: {
            '{{function}}': 'max by (function) (function_in_flight / on (instance, function) function_in_flight_limit)',
          },
          help: 'At 100 % the function answers 503. Add processes if its event loop is busy; find what it waits for if not.',
        },
        {
          title: 'Event loop in use',
          unit: 'percentunit',
          lines: { '{{service}}': 'max by (service) (nodejs_eventloop_utilization_ratio)' },
          help: 'Near 100 % the process computes all the time and everything in it waits. Add processes of that function.',
        },
        {
          title: 'Event loop late, 99 %',
          unit: 's',
          lines: { '{{service}}': 'max by (service) (nodejs_eventloop_lag_p99_seconds)' },
          help: 'Above 100 ms something computes for long in one turn: a large body, a large answer, or garbage collection.',
        },
        {
          title: 'Processor',
          unit: 'percentunit',
          lines: { '{{service}}': 'max by (service) (rate(process_cpu_seconds_total{service!=""}[$__rate_interval]))' },
          help: 'Of one core. A container has one: at 100 % it is throttled.',
        },
        {
          title: 'Memory',
          unit: 'bytes',
          lines: { '{{service}}': 'max by (service) (process_resident_memory_bytes{service!=""})' },
          help: 'A container is killed at 384 MB. Grows without load: a leak; take a heap snapshot (node --heapsnapshot-signal) before the restart.',
        },
        {
          title: 'Garbage collection, 99 %',
          unit: 's',
          lines: { '{{kind}}': quantile(0.99, 'nodejs_gc_duration_seconds', 'kind') },
          help: 'minor ones are short and many. Long major ones: memory is near its limit.',
        },
      ],
    },
    {
      title: 'Logs and security',
      of: '.+',
      panels: [
        {
          title: 'Security events',
          unit: 'ops',
          lines: { '{{event}}': rate('security_events_total', 'event') },
          help: 'Wrong keys, missing scopes. From one address and many: someone guesses. docs/security.md says what bounds it.',
          emptyUntil: 'no request was refused for its key',
        },
        {
          title: 'Log lines dropped',
          unit: 'ops',
          lines: { lines: rate('log_lines_dropped_total') },
          help: 'What reads stdout does not keep up. The service goes on; the lines are gone.',
        },
      ],
    },
  ],
}
