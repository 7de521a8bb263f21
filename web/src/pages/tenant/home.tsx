/** A tenant's first page: what is left to do, and how its keys are used. */

import { api } from "../../api/client.ts";
import type { Person } from "../../api/types.ts";
import { useHere, WithTrust } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { readTenant, type TenantState } from "../../app/tenant-documents.ts";
import type { Trust } from "../../app/trust.ts";
import { kmsName } from "../../kms/index.ts";
import { Badge, Card, Fingerprint, Link, PageHead, Show } from "../../ui/parts.tsx";
import { Charts } from "../shared/activity.tsx";
import { baseOf } from "../shared/people.tsx";

export function TenantHome() {
    const { of } = useHere();
    return (
        <>
            <PageHead title={of.tenantName ?? of.tenant} lead={`Your data at ${of.vendorName} is encrypted with keys that you hold. Here you say which.`} />
            <WithTrust>{(trust) => <Overview trust={trust} />}</WithTrust>
            <Charts vendor={of.vendor} tenant={of.tenant} />
        </>
    );
}

function Overview({ trust }: { trust: Trust }) {
    const { of } = useHere();
    const tenant = of.tenant ?? "";
    const state = useLoad(() => readTenant(trust, tenant), [trust, tenant]);
    const people = useLoad(() => api.get<Person[]>(`${baseOf(of.vendor, tenant)}/people`), [tenant]);
    return (
        <Show of={state}>
            {(known) => (
                <div class="grid">
                    <Protection known={known} />
                    <Todo known={known} people={people.data ?? []} />
                    <Card title={`Who vouches for ${of.vendorName}`}>
                        <p class="muted small">This browser believes only what the key with this fingerprint stands behind.</p>
                        <Fingerprint value={trust.chain.rootFingerprint} />
                    </Card>
                </div>
            )}
        </Show>
    );
}

function Protection({ known }: { known: TenantState }) {
    const primary = known.assignments.find((each) => each.primary);
    const config = primary && known.configs.get(primary.config);
    return (
        <Card title="Protection">
            {primary === undefined ? (
                <p>
                    <Badge tone="warn">no key yet</Badge>
                </p>
            ) : (
                <div class="stat">
                    <span class="value">{config ? config.name || kmsName(config.type) : `Key ${primary.config}`}</span>
                    <span class="muted">encrypts everything new</span>
                </div>
            )}
            <dl class="facts">
                <dt>Keys in use</dt>
                <dd>{known.assignments.filter((each) => each.active).length}</dd>
                <dt>Leasing</dt>
                <dd>{known.leasingRequired ? "required" : primary?.leasing ? "on" : "off"}</dd>
                <dt>Log destinations</dt>
                <dd>{[...known.configs.values()].filter((each) => each.header.kind === "sink").length}</dd>
            </dl>
        </Card>
    );
}

export function TodoItem({ done, title, text, to }: { done: boolean; title: string; text: string; to: string }) {
    return (
        <li class={done ? "done" : ""}>
            <span class="dot" aria-hidden="true">
                {done ? "✓" : ""}
            </span>
            <div class="grow">
                {done ? (
                    <span class="muted">
                        {title} <span class="visually-hidden">(done)</span>
                    </span>
                ) : (
                    <Link to={to} class="strong">
                        {title}
                    </Link>
                )}
                {!done && <span class="muted small">{text}</span>}
            </div>
        </li>
    );
}

function Todo({ known, people }: { known: TenantState; people: Person[] }) {
    const { home } = useHere();
    const sinks = [...known.configs.values()].some((each) => each.header.kind === "sink");
    return (
        <Card title="To do">
            <ol class="todo">
                <TodoItem done={known.configs.size > 0 || known.assignments.length > 0} title="Add a KMS key" text="About five minutes, with a test at the end." to={`${home}/kms/new`} />
                <TodoItem done={known.assignments.some((each) => each.primary)} title="Make it primary" text="From then on new data is encrypted with it." to={`${home}/kms`} />
                <TodoItem done={sinks} title="Send events to your SIEM" text="See every use of your keys where nobody at the vendor can change it." to={`${home}/destinations/new`} />
                <TodoItem done={people.filter((each) => each.role === "owner" && !each.disabled).length > 1} title="Invite a second owner" text="So that you are not locked out when a device is lost." to={`${home}/people`} />
            </ol>
        </Card>
    );
}
