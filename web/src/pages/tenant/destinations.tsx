/** Where a tenant's events go. */

import { useState } from "preact/hooks";

import { useHere, WithTrust } from "../../app/org.tsx";
import { navigate } from "../../app/router.ts";
import { useLoad } from "../../app/store.ts";
import { changeTenant, type KnownConfig, numberOf, readTenant, sealFor, type TenantState } from "../../app/tenant-documents.ts";
import type { Trust } from "../../app/trust.ts";
import type { Provider } from "../../kms/model.ts";
import { sinkName, SINKS } from "../../sinks/index.ts";
import { ask } from "../../ui/dialog.tsx";
import { Badge, Button, ButtonLink, Card, Empty, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { ChooseProvider, ConfigForm } from "../shared/config-form.tsx";
import { ConnectionTest } from "../shared/connection-test.tsx";
import { change } from "./kms.tsx";

export function DestinationsPage() {
    const { home, mayChange } = useHere();
    return (
        <>
            <PageHead title="Log destinations" lead="Every use of your keys is an event. Have them sent to your own SIEM, where nobody at the vendor can change them.">
                {mayChange && (
                    <ButtonLink to={`${home}/destinations/new`} look="primary" icon="plus">
                        Add a destination
                    </ButtonLink>
                )}
            </PageHead>
            <WithTrust>{(trust) => <Destinations trust={trust} />}</WithTrust>
        </>
    );
}

function Destinations({ trust }: { trust: Trust }) {
    const { of, home, mayChange } = useHere();
    const tenant = of.tenant ?? "";
    const state = useLoad(() => readTenant(trust, tenant), [trust, tenant]);
    return (
        <Show of={state}>
            {(known) => {
                const sinks = [...known.configs.values()].filter((each) => each.header.kind === "sink");
                if (sinks.length === 0) {
                    return (
                        <Card>
                            <Empty
                                icon="send"
                                title="See every use of your keys"
                                action={
                                    mayChange && (
                                        <ButtonLink to={`${home}/destinations/new`} look="primary" icon="plus">
                                            Add your first destination
                                        </ButtonLink>
                                    )
                                }
                            >
                                <p>Splunk, Elastic, Sentinel, Datadog and others. The logdriver delivers each event at least once and keeps it until your side has taken it.</p>
                            </Empty>
                        </Card>
                    );
                }
                return (
                    <div class="stack">
                        {sinks.map((sink) => (
                            <SinkCard key={sink.header.config} sink={sink} known={known} trust={trust} reload={state.reload} />
                        ))}
                    </div>
                );
            }}
        </Show>
    );
}

function SinkCard({ sink, ...shared }: { sink: KnownConfig; known: TenantState; trust: Trust; reload: () => void }) {
    const { of, mayChange } = useHere();
    const number = sink.header.config;
    const name = sink.name || sinkName(sink.type);
    const remove = () =>
        ask({
            title: `Remove ${name}?`,
            consequence: <p>Events that were not delivered yet are not sent there any more, and new ones neither. What your side already has stays there.</p>,
            action: "Remove",
            danger: true,
            act: () => change(shared, { removed: [number] }, `${name} was removed.`),
        });
    return (
        <Card title={name} side={<Badge>{sinkName(sink.type)}</Badge>}>
            <p class="muted">
                Sealed and signed <When at={sink.header.created * 1000} /> by {sink.signedBy}.
            </p>
            {mayChange && (
                <div class="row between top">
                    <ConnectionTest vendor={of.vendor} tenant={shared.known.tenant} config={number} kind="sink" />
                    <Button small look="quiet" icon="trash" act={remove}>
                        Remove
                    </Button>
                </div>
            )}
        </Card>
    );
}

export function NewDestinationPage() {
    return <WithTrust>{(trust) => <NewDestination trust={trust} />}</WithTrust>;
}

function NewDestination({ trust }: { trust: Trust }) {
    const { of, home } = useHere();
    const tenant = of.tenant ?? "";
    const [provider, setProvider] = useState<Provider | null>(null);
    const [number, setNumber] = useState<number | null>(null);
    const save = async (name: string, config: object) => {
        if (provider === null) {
            return;
        }
        const state = await readTenant(trust, tenant);
        const sealed = await sealFor(trust, tenant, null, { kind: "sink", type: provider.type, name, config, leasingAllowed: false, follows: null });
        await changeTenant(trust, state, { configs: [sealed] });
        toast("Sealed and stored.");
        setNumber(numberOf(sealed));
    };
    const takeBack = async () => {
        if (number !== null) {
            await changeTenant(trust, await readTenant(trust, tenant), { removed: [number] });
            setNumber(null);
        }
    };
    return (
        <>
            <PageHead title="Add a log destination" lead="Its credentials are sealed in this browser, for the vendor's logdriver alone." />
            {number !== null ? (
                <Card title="Stored. Does it arrive?">
                    <p class="muted">The logdriver sends one test event. Look for it on your side.</p>
                    <ConnectionTest vendor={of.vendor} tenant={tenant} config={number} kind="sink" now />
                    <div class="row end">
                        <Button look="quiet" act={takeBack}>
                            Remove it and type it again
                        </Button>
                        <Button look="primary" act={() => navigate(`${home}/destinations`)}>
                            Done
                        </Button>
                    </div>
                </Card>
            ) : provider === null ? (
                <ChooseProvider from={SINKS} choose={setProvider} />
            ) : (
                <ConfigForm key={provider.type} provider={provider} action="Seal and store" save={save} cancel={() => setProvider(null)} />
            )}
        </>
    );
}
