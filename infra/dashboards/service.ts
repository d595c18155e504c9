import type { Board } from './dashboard.ts'
import { quantile, rate } from './promql.ts'

/** The service that clients get, as the router sees it: rate, errors, duration, and how much of the objectives' error budget is left. */
export const service: Board = {
  title: 'Service',
  name: 'service',
  rows: [
    {
      title: 'Objectives',
      of: 'router|reserve-stock|confirm-reservation|get-product',
      panels: [
        {
          title: 'Error budget left, 30 days',
          unit: 'percentunit',
          lines: { '{{slo}}': '1 - slo:burn_rate30d' },
          help: 'What is left of what an objective allows to fail in 30 days. Below a quarter, put changes off that could cost more of it. Below zero the promise is broken: docs/slos.md.',
        },
        {
          title: 'Burn rate, 1 hour',
          unit: 'none',
          lines: { '{{slo}}': 'slo:burn_rate1h' },
          help: 'How many times as fast as allowed the budget is spent. 1 uses it up in 30 days, 14.4 in two days, which pages: docs/runbooks/error-budget.md.',
        },
        {
          title: 'Alerts',
          unit: 'none',
          lines: { '{{alertname}} {{slo}}': 'sum by (alertname, slo) (ALERTS{alertstate="firing"})' },
          help: 'What fires. Each alert names its page in docs/runbooks.',
          emptyUntil: 'no alert fires',
        },
      ],
    },
    {
      title: 'Requests',
      of: '.+',
      panels: [
        {
          title: 'Requests by function',
          unit: 'reqps',
          lines: { '{{function}}': rate('router_duration_seconds_count', 'function') },
          help: 'What clients ask for. A sudden fall to zero is an outage in front of the router, or of the router itself: docs/runbooks/function-down.md. `none` is what has no route.',
        },
        {
          title: 'Answers by status',
          unit: 'reqps',
          lines: { '{{status}}': rate('router_duration_seconds_count', 'status') },
          help: '4xx are clients’ own, 409 mostly a lack of stock. 429 is the rate limit of a key, 502 a process that died in a request, 503 too much at once or an engine that is away, 504 a process that is silent: docs/errors.md.',
        },
        {
          title: 'Share of failed answers',
          unit: 'percentunit',
          lines: {
            '{{function}}': `${rate('router_duration_seconds_count{status=~"5.."}', 'function')} / ${rate('router_duration_seconds_count', 'function')}`,
          },
          help: 'Answers of 500 and above. One function: its process or its last deployment. All that write: the primary, docs/runbooks/primary-down.md.',
          emptyUntil: 'no answer has failed',
        },
        {
          title: 'Time to answer, median',
          unit: 's',
          lines: { '{{function}}': quantile(0.5, 'router_duration_seconds', 'function') },
          help: 'Half of the requests are faster. If it rises in all functions at once, look at the event loops and at the engines (dashboards Functions and Data).',
        },
        {
          title: 'Time to answer, 99 %',
          unit: 's',
          lines: { '{{function}}': quantile(0.99, 'router_duration_seconds', 'function') },
          help: 'One request in a hundred is slower. The dots are traced requests: click one to see where its time went. docs/runbooks/latency-burn.md.',
        },
        {
          title: 'Problems by code',
          unit: 'reqps',
          lines: { '{{function}} {{code}}': rate('function_problems_total', 'function, code') },
          help: 'Errors that functions answered, by the code of docs/errors.md, which says what each means and what a client does about it.',
        },
      ],
    },
    {
      title: 'Router',
      of: 'router',
      panels: [
        {
          title: 'Requests in flight',
          unit: 'short',
          lines: { 'in the router': 'sum(router_in_flight)' },
          help: 'Grows while the rate does not: something hangs. Which function, the next graph says.',
        },
        {
          title: 'Requests in flight by function',
          unit: 'short',
          lines: { '{{upstream}}': 'sum by (upstream) (router_upstream_in_flight) > 0' },
          help: 'Past 1,024 at each address of a function the router answers 503. If the number grows and the rate does not, the function hangs: look at its traces.',
          emptyUntil: 'no router is in front of other processes',
        },
        {
          title: 'Addresses that are skipped',
          unit: 'short',
          lines: { '{{upstream}}': 'sum by (upstream) (router_upstream_addresses{state="skipped"})' },
          help: 'Processes that refuse, are silent or only fail. Short during a deployment; longer, see docs/runbooks/function-down.md.',
          emptyUntil: 'no router is in front of other processes',
        },
        {
          title: 'Requests sent to another replica',
          unit: 'reqps',
          lines: { '{{function}}': rate('router_repeats_total', 'function') },
          help: 'A replica did not take a request, or died in it. Some during a deployment; steadily, a process restarts over and over: docs/runbooks/function-crash-loop.md.',
          emptyUntil: 'no replica has failed',
        },
      ],
    },
  ],
}
