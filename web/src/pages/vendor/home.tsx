/** A vendor's first page: what is left to do, how the fleet is, how keys are used. */

import { useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { AuditEntry, FleetInstance, Page, Person, ServiceAccount, Tenant } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { RECOVERY } from "../../trust/authoring.ts";
import { count } from "../../ui/format.ts";
import { Badge, Card, Link, PageHead, Show } from "../../ui/parts.tsx";
import { Charts } from "../shared/activity.tsx";
import { Entries } from "../shared/audit.tsx";
import { TodoItem } from "../tenant/home.tsx";
import { toneOf } from "./fleet.tsx";
import { TenantPicker } from "./tenant-picker.tsx";

export interface Fleet {
    now: number;
    instances: FleetInstance[];
}

export function VendorHome() {
    const { of, home } = useHere();
    const vendor = of.vendor;
    const loaded = useLoad(async () => {
        const base = path`/api/1/vendors/${vendor}`;
        const [tenants, accepted, services, fleet, people, audit] = await Promise.all([
            api.get<Page<Tenant>>(withQuery(`${base}/tenants`, { pageSize: 1 })),
            api.get<Page<Tenant>>(withQuery(`${base}/tenants`, { pageSize: 1, status: "accepted" })),
            api.get<ServiceAccount[]>(`${base}/service-accounts`),
            api.get<Fleet>(`${base}/fleet`),
            api.get<Person[]>(`${base}/people`),
            api.get<AuditEntry[]>(withQuery(`${base}/audit`, { limit: 6 })),
        ]);
        return { tenants: tenants.total, accepted: accepted.total, services, fleet: fleet.instances, people, audit };
    }, [vendor]);
    return (
        <>
            <PageHead title={of.vendorName} lead="Your customers' keys stay theirs. Here you bring them, your proxies and your people together." />
            <Show of={loaded}>
                {({ tenants, accepted, services, fleet, people, audit }) => {
                    const own = services.filter((each) => each.id !== RECOVERY);
                    const active = own.filter((each) => each.status === "active");
                    const todo = [
                        { done: active.length > 0, title: "Make a service account for your first proxy", text: "Its keys are made here, in your browser; you take its env file to where it runs.", to: `${home}/services` },
                        { done: fleet.length > 0, title: "Start the proxy", text: "With that env file. It appears on the fleet page within a minute.", to: `${home}/fleet` },
                        { done: tenants > 0, title: "Add your first tenant", text: "And invite whoever holds its keys.", to: `${home}/tenants` },
                        { done: people.filter((each) => each.role === "owner" && !each.disabled).length > 1, title: "Invite a second owner", text: "So that nobody is locked out when a device is lost.", to: `${home}/people` },
                    ];
                    return (
                        <>
                            <div class="grid">
                                <Stat value={count(tenants)} label="Tenants" text={`${count(accepted)} of them signed up`} to={`${home}/tenants`} />
                                <Stat value={count(active.length)} label="Service accounts" text={`${count(own.length - active.length)} revoked or waiting`} to={`${home}/services`} />
                                <Health fleet={fleet} />
                            </div>
                            {todo.some((each) => !each.done) && (
                                <Card title="To do">
                                    <ol class="todo">
                                        {todo.map((each) => (
                                            <TodoItem key={each.title} {...each} />
                                        ))}
                                    </ol>
                                </Card>
                            )}
                            <Use vendor={vendor} />
                            <Card flush title="Lately" side={<Link to={`${home}/audit`}>All of it</Link>}>
                                <Entries entries={audit} />
                            </Card>
                        </>
                    );
                }}
            </Show>
        </>
    );
}

/** How keys are used: by all tenants together, or by one of them. */
function Use({ vendor }: { vendor: string }) {
    const [tenant, setTenant] = useState<Tenant | null>(null);
    return (
        <section class="stack" aria-label="Use of keys">
            <div class="row between">
                <h2>{tenant === null ? "All tenants together" : tenant.name}</h2>
                <TenantPicker vendor={vendor} label="Look at one tenant" chosen={tenant} choose={setTenant} />
            </div>
            <Charts key={tenant?.id ?? ""} vendor={vendor} tenant={tenant?.id ?? null} />
        </section>
    );
}

function Stat({ value, label, text, to }: { value: string; label: string; text: string; to: string }) {
    return (
        <Card>
            <div class="stat">
                <Link to={to} class="muted">
                    {label}
                </Link>
                <span class="value">{value}</span>
                <span class="muted small">{text}</span>
            </div>
        </Card>
    );
}

function Health({ fleet }: { fleet: FleetInstance[] }) {
    const { home } = useHere();
    const worst = fleet.find((each) => each.health === "DOWN") ?? fleet.find((each) => each.health === "WARN");
    return (
        <Card>
            <div class="stat">
                <Link to={`${home}/fleet`} class="muted">
                    Fleet
                </Link>
                <span class="value">{count(fleet.length)}</span>
                <span class="small">
                    {fleet.length === 0 ? <span class="muted">nothing heard of in a day</span> : worst === undefined ? <Badge tone="good">all well</Badge> : <Badge tone={toneOf(worst)}>{worst.reason || worst.health}</Badge>}
                </span>
            </div>
        </Card>
    );
}
