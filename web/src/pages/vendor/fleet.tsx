/** Every proxy and logdriver that was heard of: version, age of its config, health, and what waits for delivery. */

import { api, path } from "../../api/client.ts";
import type { FleetInstance } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { BarChart } from "../../ui/chart.tsx";
import { span, things } from "../../ui/format.ts";
import { Badge, Button, ButtonLink, Card, Empty, PageHead, Show, When } from "../../ui/parts.tsx";
import { lagOf } from "../shared/activity.tsx";
import type { Fleet } from "./home.tsx";

const SILENT_MS = 180_000;

export function toneOf(instance: FleetInstance, now = instance.seen): "good" | "warn" | "bad" {
    if (instance.health === "DOWN") {
        return "bad";
    }
    return instance.health === "WARN" || now - instance.seen > SILENT_MS ? "warn" : "good";
}

export function FleetPage() {
    const { of, home } = useHere();
    const fleet = useLoad(() => api.get<Fleet>(path`/api/1/vendors/${of.vendor}/fleet`), [of.vendor]);
    return (
        <>
            <PageHead title="Fleet" lead="Proxies and logdrivers in their own words, once a minute. Nothing in here is signed, and nothing that is decided depends on it.">
                <Button icon="rotate" act={fleet.reload}>
                    Refresh
                </Button>
            </PageHead>
            <Show of={fleet}>
                {({ now, instances }) =>
                    instances.length === 0 ? (
                        <Card>
                            <Empty
                                icon="pulse"
                                title="Nothing has been heard of in a day"
                                action={
                                    <ButtonLink to={`${home}/services`} look="primary">
                                        Service accounts
                                    </ButtonLink>
                                }
                            >
                                <p>Make a service account, start a proxy or logdriver with its env file, and it appears here within a minute.</p>
                            </Empty>
                        </Card>
                    ) : (
                        <>
                            <Instances now={now} instances={instances} />
                            <Deliveries instances={instances} />
                        </>
                    )
                }
            </Show>
        </>
    );
}

function Instances({ now, instances }: { now: number; instances: FleetInstance[] }) {
    return (
        <Card flush title={things(instances.length, "process", "processes")}>
            <div class="table-wrap">
                <table class="folds">
                    <thead>
                        <tr>
                            <th>Service</th>
                            <th>Health</th>
                            <th>Version</th>
                            <th>Config read</th>
                            <th>Up for</th>
                            <th>Heard of</th>
                        </tr>
                    </thead>
                    <tbody>
                        {instances.map((each) => (
                            <tr key={`${each.service} ${each.instance}`}>
                                <td data-label="Service">
                                    <div class="stack tight">
                                        <span class="strong">{each.service}</span>
                                        <span class="muted small mono break">{each.instance}</span>
                                    </div>
                                </td>
                                <td data-label="Health">
                                    <div class="stack tight">
                                        <span>
                                            <Badge tone={toneOf(each, now)}>{now - each.seen > SILENT_MS ? "silent" : each.health === "UP" ? "well" : each.health.toLowerCase()}</Badge>
                                        </span>
                                        {each.reason !== "" && <span class="muted small">{each.reason}</span>}
                                        {each.quarantinedTenants > 0 && <span class="small">{things(each.quarantinedTenants, "tenant")} quarantined: their documents do not verify</span>}
                                    </div>
                                </td>
                                <td data-label="Version">{each.software}</td>
                                <td data-label="Config read">{span(each.snapshotAgeS)} ago</td>
                                <td data-label="Up for">{span(each.uptimeS)}</td>
                                <td data-label="Heard of">
                                    <When at={each.seen} />
                                </td>
                            </tr>
                        ))}
                    </tbody>
                </table>
            </div>
        </Card>
    );
}

function Deliveries({ instances }: { instances: FleetInstance[] }) {
    const lags = lagOf(instances);
    const failing = instances.flatMap((each) => each.deliveries).filter((each) => each.lastError !== "");
    if (lags.length === 0) {
        return null;
    }
    return (
        <div class="grid charts">
            <Card title="How far deliveries are behind">
                <BarChart title="Age of the oldest event that waits, by tenant" bars={lags.slice(0, 8)} write={span} />
            </Card>
            {failing.length > 0 && (
                <Card title="Deliveries that fail">
                    <dl class="facts">
                        {failing.map((each) => (
                            <>
                                <dt class="break">{each.tenant}</dt>
                                <dd>
                                    {each.lastError} <span class="muted">({things(each.waiting, "event")} wait)</span>
                                </dd>
                            </>
                        ))}
                    </dl>
                </Card>
            )}
        </div>
    );
}
