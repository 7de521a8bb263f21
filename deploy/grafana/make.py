"""Writes the dashboards: ``python deploy/grafana/make.py``. A test holds the files to this and to docs/metrics.md."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WIDTH = 12
HEIGHT = 8
BUILD_INFO = {"proxy": "tsp_build_info", "logdriver": "tsl_build_info", "broker": "tsb_build_info"}


def panel(title: str, *queries: tuple[str, str], unit: str = "short", kind: str = "timeseries") -> dict[str, Any]:
    """One panel. Each query is an expression and what its lines are called."""
    return {
        "title": title,
        "type": kind,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"expr": expression, "legendFormat": legend, "refId": chr(ord("A") + number)}
            for number, (expression, legend) in enumerate(queries)
        ],
    }


def dashboard(uid: str, title: str, *panels: dict[str, Any]) -> dict[str, Any]:
    """Panels in two columns."""
    for number, each in enumerate(panels):
        at = {"x": WIDTH * (number % 2), "y": HEIGHT * (number // 2), "w": WIDTH, "h": HEIGHT}
        each |= {"id": number + 1, "gridPos": at}
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"}
    instance = {
        "name": "instance",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "query": f"label_values({BUILD_INFO[uid.rpartition('-')[2]]}, instance)",
        "includeAll": True,
        "multi": True,
        "refresh": 2,
    }
    return {
        "uid": uid,
        "title": title,
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "tags": ["tenant-security"],
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source, instance]},
        "panels": list(panels),
    }


IN = '{instance=~"$instance"}'
FAST = '{instance=~"$instance",path="fast"}'


def quantile(metric: str, q: float, by: str = "") -> str:
    """A quantile of a histogram over five minutes."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{IN}[5m])))"


PROXY = dashboard(
    "tenant-security-proxy",
    "Tenant Security Proxy",
    panel("Requests", (f"sum by (route) (rate(tsp_requests_total{IN}[1m]))", "{{route}}"), unit="reqps"),
    panel(
        "Answers other than ok",
        ('sum by (code) (rate(tsp_requests_total{instance=~"$instance",code!="ok"}[1m]))', "{{code}}"),
        unit="reqps",
    ),
    panel(
        "Latency",
        (quantile("tsp_request_seconds", 0.5), "p50"),
        (quantile("tsp_request_seconds", 0.99), "p99"),
        unit="s",
    ),
    panel(
        "Answered on the hot path",
        (
            f"sum(rate(tsp_requests_total{FAST}[5m])) / sum(rate(tsp_requests_total{IN}[5m]))",
            "share",
        ),
        unit="percentunit",
    ),
    panel(
        "KMS calls",
        (f"sum by (provider, outcome) (rate(tsp_kms_calls_total{IN}[1m]))", "{{provider}} {{outcome}}"),
        unit="ops",
    ),
    panel("KMS latency, p99", (quantile("tsp_kms_call_seconds", 0.99, "provider"), "{{provider}}"), unit="s"),
    panel("Leased keys", (f"sum by (purpose) (tsp_leases{IN})", "{{purpose}}")),
    panel("Changes of leases", (f"sum by (change) (rate(tsp_lease_changes_total{IN}[5m]))", "{{change}}"), unit="ops"),
    panel("Age of the tenants' configs", (f"tsp_directory_age_seconds{IN}", "{{instance}}"), unit="s"),
    panel(
        "Tenants",
        (f"max(tsp_directory_tenants{IN})", "all"),
        (f"max(tsp_directory_quarantined_tenants{IN})", "quarantined"),
    ),
    panel(
        "Events waiting",
        (f"tsp_outbox_events{IN}", "{{instance}}"),
        (f"max(tsp_outbox_capacity_events{IN})", "capacity"),
    ),
    panel("Events", (f"sum by (kind, outcome) (rate(tsp_events_total{IN}[1m]))", "{{kind}} {{outcome}}"), unit="ops"),
    panel("Event loop late, p99", (quantile("tsp_event_loop_lag_seconds", 0.99, "instance"), "{{instance}}"), unit="s"),
    panel("Connections", (f"tsp_connections{IN}", "{{instance}}")),
)

LOGDRIVER = dashboard(
    "tenant-security-logdriver",
    "Tenant Security Logdriver",
    panel(
        "Events",
        (f"sum(rate(tsl_stored_events_total{IN}[1m]))", "stored"),
        (f"sum(rate(tsl_delivered_events_total{IN}[1m]))", "delivered"),
        unit="ops",
    ),
    panel("Delivered", (f"sum by (sink) (rate(tsl_delivered_events_total{IN}[1m]))", "{{sink}}"), unit="ops"),
    panel(
        "Oldest event that waits",
        (f"max(tsl_oldest_waiting_seconds{IN})", "all"),
        (f"topk(5, tsl_worst_waiting_seconds{IN})", "{{tenant}} {{sink}}"),
        unit="s",
    ),
    panel(
        "Tried again, refused, given up",
        (f"sum by (sink) (rate(tsl_retried_events_total{IN}[5m]))", "again {{sink}}"),
        (f"sum by (sink) (rate(tsl_refused_events_total{IN}[5m]))", "refused {{sink}}"),
        (f"sum(rate(tsl_shed_events_total{IN}[5m]))", "given up"),
        unit="ops",
    ),
    panel(
        "Spool",
        (f"tsl_spool_bytes{IN}", "{{instance}}"),
        (f"max(tsl_spool_capacity_bytes{IN})", "capacity"),
        unit="bytes",
    ),
    panel("Time of a batch, p99", (quantile("tsl_send_seconds", 0.99, "sink"), "{{sink}}"), unit="s"),
    panel(
        "Sinks",
        (f"sum(tsl_lanes{IN})", "all"),
        (f"sum(tsl_lanes_waiting{IN})", "with something waiting"),
        (f"sum(tsl_lanes_in_trouble{IN})", "in trouble"),
    ),
    panel("Proxies", (f"sum by (answers) (tsl_proxies{IN})", "answers: {{answers}}")),
    panel("Batches from proxies", (f"sum by (outcome) (rate(tsl_leases_total{IN}[1m]))", "{{outcome}}"), unit="ops"),
    panel("Event loop late, p99", (quantile("tsl_event_loop_lag_seconds", 0.99, "instance"), "{{instance}}"), unit="s"),
)

BROKER = dashboard(
    "tenant-security-broker",
    "Configuration Broker",
    panel("Ready", (f"tsb_ready{IN}", "{{instance}}"), (f"tsb_database_up{IN}", "database of {{instance}}")),
    panel("Snapshots", (f"sum by (answer) (rate(tsb_snapshots_total{IN}[1m]))", "{{answer}}"), unit="reqps"),
    panel("Services that wait for news", (f"sum(tsb_waiting_services{IN})", "all")),
    panel("Connections", (f"tsb_connections{IN}", "{{instance}}")),
    panel(
        "Connections refused",
        (f"sum by (reason) (rate(tsb_refused_connections_total{IN}[5m]))", "{{reason}}"),
        unit="ops",
    ),
    panel("Age of the proxies' configs", ("max by (instance) (tsp_directory_age_seconds)", "{{instance}}"), unit="s"),
)

DASHBOARDS = {"proxy.json": PROXY, "logdriver.json": LOGDRIVER, "broker.json": BROKER}


def written(name: str) -> str:
    """The text of a dashboard's file."""
    return json.dumps(DASHBOARDS[name], indent=1) + "\n"


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        (HERE / name).write_text(written(name))


if __name__ == "__main__":
    main()
