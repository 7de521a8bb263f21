"""The Helm chart renders what Kubernetes' own schemas accept; rules and dashboards name metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.conformance.toolchains import missing
from tests.deploy.dockerfile import image

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/tenant-security"
KUBERNETES = ("1.27", "1.34")


def helm() -> str:
    found = shutil.which("helm") or shutil.which("helm", path=str(Path.home() / "go/bin"))
    if found is None:
        missing("Helm; install it with: go install helm.sh/helm/v3/cmd/helm@v3.18.4")
    return found


def rendered(*values: str, version: str = KUBERNETES[-1]) -> list[dict[str, Any]]:
    command = [helm(), "template", "rel", str(CHART), "--kube-version", f"{version}.0"]
    for value in values:
        command += ["--set", value]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


CHOICES = [
    (),
    ("bridge.enabled=true", "broker.publicUrl=https://broker.example.com"),
    ("broker.enabled=false", "brokerUrl=https://broker.example.com", "eventTransport=nats://nats:4222"),
    ("proxy.autoscaling.enabled=false", "proxy.workers=4", "logdriver.replicas=3", "networkPolicy.enabled=false"),
    ("proxy.autoscaling.targetInFlight=200", "proxy.env.RUST_LOG=debug", "logdriver.storage.className=fast"),
    (
        "bridge.enabled=true",
        "brokerCaSecret=broker-ca",
        "logdriver.eventTlsSecret=logdriver-tls",
        *(f"{each}.tls.secret={each}-tls" for each in ("proxy", "broker", "bridge")),
        "proxy.tls.clientCertificates=true",
    ),
    ("serviceMonitor.enabled=true", "prometheusRule.enabled=true", "image.registry=registry.example.com/ts"),
]


@pytest.mark.toolchain
@pytest.mark.parametrize("values", CHOICES, ids=lambda each: each[0] if each else "defaults")
@pytest.mark.parametrize("version", KUBERNETES)
def test_what_is_rendered_is_what_kubernetes_takes(values: tuple[str, ...], version: str) -> None:
    documents = rendered(*values, version=version)
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(set(names)) == len(names)
    for each in documents:
        if not each["apiVersion"].startswith("monitoring.coreos.com"):
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.toolchain
def test_helm_has_nothing_to_say_against_the_chart() -> None:
    command = [helm(), "lint", "--strict", "--quiet", str(CHART)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.toolchain
def test_the_notes_name_the_secrets_that_must_be_there(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    notes = (CHART / "templates/NOTES.txt").read_text()
    lines = "\n".join(f"    {line}" if not line.startswith("{{-") else line for line in notes.splitlines())
    (chart / "templates/notes.yaml").write_text(f"notes: |\n{lines}\n")
    command = [helm(), "template", "rel", str(chart), "--kube-version", "1.34.0", "--show-only", "templates/notes.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said = yaml.safe_load(done.stdout)["notes"]
    assert "http://rel-proxy:7777" in said
    for secret in ("tenant-security-proxy", "tenant-security-broker", "tenant-security-broker-key"):
        assert f"{secret}   (" in said
    assert "tenant-security-bridge" not in said, "it is off by default"


@pytest.mark.toolchain
def test_no_pod_may_do_more_than_it_needs() -> None:
    pods = [each for each in rendered("bridge.enabled=true") if each["kind"] in ("Deployment", "StatefulSet")]
    assert len(pods) == 4
    for each in pods:
        spec = each["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
            written = json.dumps(container["env"])
            assert not re.search(r"API_KEY|PRIVATE_KEY|PASSWORD", written), "secrets are referred to, never written"


@pytest.mark.toolchain
def test_a_logdriver_keeps_its_spool_and_only_logdrivers_reach_the_events() -> None:
    documents = rendered()
    spool = next(each for each in documents if each["kind"] == "StatefulSet")
    assert spool["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "spool"
    policy = next(
        each
        for each in documents
        if each["kind"] == "NetworkPolicy" and each["metadata"]["labels"]["app.kubernetes.io/component"] == "proxy"
    )
    events = next(rule for rule in policy["spec"]["ingress"] if rule["ports"] == [{"port": "events"}])
    assert events["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "logdriver"
    assert "169.254.169.254/32" in json.dumps(policy["spec"]["egress"])


@pytest.mark.toolchain
@pytest.mark.parametrize("values", [CHOICES[1], next(each for each in CHOICES if "brokerCaSecret=broker-ca" in each)])
def test_every_file_that_a_pod_is_told_of_is_mounted_there_and_every_volume_of_its_image_too(
    values: tuple[str, ...],
) -> None:
    for each in rendered(*values):
        if each["kind"] not in ("Deployment", "StatefulSet"):
            continue
        spec = each["spec"]["template"]["spec"]
        container = spec["containers"][0]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        files = {e["value"] for e in container["env"] if e["name"].endswith(("_FILE", "_DIR", "_DIRECTORY"))}
        assert {file.rpartition("/")[0] for file in files} <= mounted
        assert set(image(container["args"][0]).volumes) <= mounted
        claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in spec["volumes"]} | claims
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        ports = {port["name"] for port in container["ports"]}
        assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} <= ports


@pytest.mark.toolchain
def test_with_certificates_everybody_asks_by_tls() -> None:
    secure = next(each for each in CHOICES if "brokerCaSecret=broker-ca" in each)
    pods = {
        each["spec"]["template"]["spec"]["containers"][0]["name"]: each["spec"]["template"]["spec"]["containers"][0]
        for each in rendered(*secure)
        if each["kind"] in ("Deployment", "StatefulSet")
    }
    environ = {name: {each["name"]: each["value"] for each in pod["env"]} for name, pod in pods.items()}
    for name in ("proxy", "logdriver", "bridge"):
        assert environ[name]["CONFIG_BROKER_URL"] == "https://rel-broker:8080"
    assert environ["logdriver"]["LOGDRIVER_EVENT_PRODUCER_URL"] == "https://rel-proxy-events:5555"
    assert environ["proxy"]["TSP_TLS_CLIENT_CA_FILE"] == "/tls/ca.crt"
    assert pods["bridge"]["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert "scheme" not in pods["proxy"]["livenessProbe"]["httpGet"]


@pytest.mark.toolchain
def test_a_release_without_a_broker_says_that_it_needs_an_address() -> None:
    command = [helm(), "template", "rel", str(CHART), "--kube-version", "1.34.0", "--set", "broker.enabled=false"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode != 0
    assert "brokerUrl is needed" in refused.stderr


def metrics_in(text: str) -> set[str]:
    named = set(re.findall(r"\bts[plb]_[a-z_]+\b", text))
    return {re.sub(r"_(bucket|sum|count)$", "", each) for each in named}


def test_rules_and_dashboards_name_only_metrics_that_are_documented() -> None:
    documented = set(re.findall(r"`(ts[plb]_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text()))
    alerts = (CHART / "alerts.yaml").read_text()
    for path in (ROOT / "deploy/grafana").glob("*.json"):
        alerts += path.read_text()
    assert metrics_in(alerts) - documented == set()


def test_promtool_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool; on Debian: apt-get install prometheus")
    done = subprocess.run(
        [promtool, "check", "rules", str(CHART / "alerts.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


SCENES = {
    # name of the alert: (series, values a minute apart, minutes, whether it fires)
    "ProxyNotReady": [('tsp_ready{instance="a"}', "0x10", 7, True), ('tsp_ready{instance="a"}', "1x10", 7, False)],
    "EventsDropped": [
        ('tsp_events_total{instance="a",kind="DEK_WRAP",outcome="dropped"}', "0+5x20", 15, True),
        ('tsp_events_total{instance="a",kind="DEK_WRAP",outcome="queued"}', "0+5x20", 15, False),
    ],
    "SiemAway": [
        ('tsl_oldest_waiting_seconds{instance="a"}', "1000+60x20", 10, True),
        ('tsl_oldest_waiting_seconds{instance="a"}', "10x20", 10, False),
    ],
    "SpoolFilling": [
        ('tsl_spool_bytes{instance="a"}', "90x20", 10, True),
        ('tsl_spool_bytes{instance="a"}', "9x20", 10, False),
    ],
    "WorkersDying": [
        ('tsp_worker_restarts_total{instance="a",reason="died"}', "0+1x20", 15, True),
        ('tsp_worker_restarts_total{instance="a",reason="asked"}', "0+1x20", 15, False),
    ],
    "TenantSecretsRefused": [('tsp_tenant_secret_refusals_total{instance="a",what="stale"}', "0+1x20", 15, True)],
    "BrokerNotReady": [
        ('tsb_ready{instance="a"}', "0x10", 7, True),
        ('tsb_ready{instance="a"}', "1 0 1 0x1 1x9", 7, False),
    ],
    "BrokerDatabaseAway": [('tsb_database_up{instance="a"}', "0x10", 5, True)],
}


def test_rules_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool; on Debian: apt-get install prometheus")
    tests = []
    for alert, scenes in SCENES.items():
        for series, values, minutes, fires in scenes:
            also = {"series": 'tsl_spool_capacity_bytes{instance="a"}', "values": "100x30"}
            shown = {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'}
            expected = {**shown, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
            written = {"interval": "1m", "input_series": [{"series": series, "values": values}, also]}
            tests.append({**written, "promql_expr_test": [expected], "name": f"{alert} {series}"})
    rules = tmp_path / "rules.yaml"
    rules.write_text((CHART / "alerts.yaml").read_text())
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_leads_to_a_page_that_exists() -> None:
    rules = [rule for group in yaml.safe_load((CHART / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    assert rules
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in (ROOT / "docs/runbooks.md").read_text().splitlines()
        if line.startswith("#")
    }
    for rule in rules:
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page).exists()
        assert heading in headings, rule["alert"]
        assert {"summary", "description"} <= set(rule["annotations"])


def test_the_dashboards_are_as_they_are_made() -> None:
    made = subprocess.run(
        ["python3", "-c", "import make, json; print(json.dumps({n: make.written(n) for n in make.DASHBOARDS}))"],
        cwd=ROOT / "deploy/grafana",
        capture_output=True,
        text=True,
        check=True,
    )
    for name, text in json.loads(made.stdout).items():
        assert (ROOT / "deploy/grafana" / name).read_text() == text
