import { LegendDisplayMode, LegendPlacement, VizLegendOptionsBuilder } from '@grafana/grafana-foundation-sdk/common'
import {
  type Dashboard,
  DashboardBuilder,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  RowBuilder,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder } from '@grafana/grafana-foundation-sdk/timeseries'

/** A graph. It links to the traces and logs of its row's functions, over the time range that is shown. */
export interface Panel {
  title: string
  /** Grafana's name of the unit; `none` is a plain ratio or count. */
  unit: 'none' | 'short' | 'reqps' | 'ops' | 's' | 'bytes' | 'Bps' | 'percentunit'
  /** The PromQL query of each line, by the line's legend. */
  lines: Readonly<Record<string, string>>
  /** What the graph shows, and what to do when it looks wrong. */
  help: string
  /** What has not happened yet if the graph is empty and all is well. Without this text, an empty graph means that a metric is missing. */
  emptyUntil?: string
}

export interface Row {
  title: string
  /** The functions of this row, as a regular expression that matches the `service.name` of their traces and logs. */
  of: string
  panels: readonly Panel[]
}

export interface Board {
  title: string
  /** The name of its file in docs/dashboards, and its address in Grafana. */
  name: string
  rows: readonly Row[]
}

/** The data sources. Each can be chosen at the top of a dashboard; at first, each is Grafana's default. */
const METRICS = { type: 'prometheus', uid: '$metrics' }
const TRACES = { type: 'tempo', uid: '$traces' }
const LOGS = { type: 'loki', uid: '$logs' }

/** Three graphs side by side: Grafana's grid is 24 wide. */
const SPAN = 8
const HEIGHT = 8

/** Builds the dashboard in the form that Grafana stores. */
export function dashboardOf({ title, name, rows }: Board): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(`stock-${name}`)
    .tags(['stock-management'])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .withVariable(new DatasourceVariableBuilder('metrics').label('Metrics').type(METRICS.type))
    .withVariable(new DatasourceVariableBuilder('traces').label('Traces').type(TRACES.type))
    .withVariable(new DatasourceVariableBuilder('logs').label('Logs').type(LOGS.type))
    .link(
      new DashboardLinkBuilder('Other dashboards')
        .type(DashboardLinkType.Dashboards)
        .tags(['stock-management'])
        .keepTime(true),
    )
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title))
    for (const panel of row.panels) builder.withPanel(graph(panel, row))
  }
  return builder.build()
}

function graph({ title, unit, help, lines, emptyUntil }: Panel, { of }: Row): PanelBuilder {
  const builder = new PanelBuilder()
    .title(title)
    .description(help)
    .unit(unit)
    .axisSoftMin(0)
    .datasource(METRICS)
    .span(SPAN)
    .height(HEIGHT)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true),
    )
    .links([
      explore('Slow and failed traces', TRACES, { queryType: 'traceql', query: slowTracesOf(of) }),
      explore('Logs', LOGS, { expr: logsOf(of) }),
    ])
  if (emptyUntil) builder.noValue(`None: ${emptyUntil}`)
  for (const [index, [legend, expr]] of Object.entries(lines).entries()) {
    builder.withTarget(
      new DataqueryBuilder()
        .refId(String.fromCharCode(65 + index))
        .datasource(METRICS)
        .expr(expr)
        .legendFormat(legend)
        // A dot for each traced request. It links to the trace.
        .exemplar(expr.includes('_bucket')),
    )
  }
  return builder
}

/** Returns TraceQL. Half a second is twice the limit of the latency objectives. */
export const slowTracesOf = (functions: string) =>
  `{ resource.service.name =~ "${functions}" && (status = error || duration > 500ms) }`

/** Returns LogQL. */
export const logsOf = (functions: string) => `{service_name=~"${functions}"}`

function explore(title: string, datasource: { type: string; uid: string }, query: object): DashboardLinkBuilder {
  const queries = [{ refId: 'A', datasource, ...query }]
  const pane = { datasource: datasource.uid, queries, range: { from: '$__from', to: '$__to' } }
  // Grafana replaces variables only if they are not URL-encoded.
  const panes = encodeURIComponent(JSON.stringify({ a: pane })).replaceAll('%24', '$')
  return new DashboardLinkBuilder(title)
    .type(DashboardLinkType.Link)
    .url(`/explore?schemaVersion=1&panes=${panes}`)
    .targetBlank(true)
}
