/** A new KMS config, step by step, and new credentials for one that exists. */

import { useState } from "preact/hooks";

import { useHere, WithTrust } from "../../app/org.tsx";
import { navigate } from "../../app/router.ts";
import { myKeys } from "../../app/identity.tsx";
import { useLoad, useStore } from "../../app/store.ts";
import { changeTenant, numberOf, readTenant, rememberSealed, sealFor } from "../../app/tenant-documents.ts";
import type { Trust } from "../../app/trust.ts";
import { keys } from "../../app/vault.ts";
import { KMS, kmsName } from "../../kms/index.ts";
import type { Provider } from "../../kms/model.ts";
import { formOf } from "../../trust/keys.ts";
import { Button, ButtonLink, Card, Note, PageHead, Show } from "../../ui/parts.tsx";
import { ChooseProvider, ConfigForm } from "../shared/config-form.tsx";
import { ConnectionTest } from "../shared/connection-test.tsx";

const STEPS = ["Which KMS", "Set it up", "Test it"];

function Steps({ at }: { at: number }) {
    return (
        <ol class="steps">
            {STEPS.map((name, number) => (
                <li key={name} class={number < at ? "done" : ""} aria-current={number === at ? "step" : undefined}>
                    {name}
                </li>
            ))}
        </ol>
    );
}

export function NewKmsPage() {
    return <WithTrust>{(trust) => <NewKms trust={trust} />}</WithTrust>;
}

function NewKms({ trust }: { trust: Trust }) {
    const { of, home } = useHere();
    const tenant = of.tenant ?? "";
    const [provider, setProvider] = useState<Provider | null>(null);
    const [stored, setStored] = useState<{ number: number; waits: boolean } | null>(null);
    const save = async (name: string, config: object) => {
        if (provider === null) {
            return;
        }
        const state = await readTenant(trust, tenant);
        const sealed = await sealFor(trust, tenant, null, {
            kind: "kms",
            type: provider.type,
            name,
            config,
            leasingAllowed: true,
            follows: null,
        });
        const number = numberOf(sealed);
        const assignments = [...state.assignments, { config: number, active: true, primary: false, leasing: false }];
        const outcome = await changeTenant(trust, state, { assignments, configs: [sealed] });
        await rememberSealed(of.vendor, tenant, sealed, provider, config);
        setStored({ number, waits: outcome === "waits" });
    };
    if (stored !== null) {
        return (
            <>
                <PageHead title="Test the connection" />
                <Steps at={2} />
                {stored.waits ? (
                    <Note title="It waits for a second person">
                        <p>Your organisation asks for two people to change keys. Once somebody else has approved it, come back and test the connection.</p>
                    </Note>
                ) : (
                    <Tested trust={trust} number={stored.number} />
                )}
            </>
        );
    }
    return (
        <>
            <PageHead title="Add a KMS key" lead="What you type is sealed in this browser, for the vendor's proxies alone. The broker stores it and cannot read it." />
            <Steps at={provider === null ? 0 : 1} />
            {provider === null ? (
                <ChooseProvider from={KMS} choose={setProvider} />
            ) : (
                <ConfigForm key={provider.type} provider={provider} action="Seal and store" save={save} cancel={() => setProvider(null)} />
            )}
            {provider === null && (
                <div>
                    <ButtonLink to={`${home}/kms`} look="quiet">
                        Cancel
                    </ButtonLink>
                </div>
            )}
        </>
    );
}

function Tested({ trust, number }: { trust: Trust; number: number }) {
    const { of, home } = useHere();
    const tenant = of.tenant ?? "";
    const [passed, setPassed] = useState(false);
    const makePrimary = async () => {
        const state = await readTenant(trust, tenant);
        const assignments = state.assignments.map((each) => ({ ...each, primary: each.config === number }));
        await changeTenant(trust, state, { assignments });
        navigate(`${home}/kms`);
    };
    return (
        <Card title="Stored. Does it work?">
            <p class="muted">It is sealed, signed and assigned, and encrypts nothing yet. A proxy tries it the way it will use it: it wraps 32 bytes and unwraps them.</p>
            <ConnectionTest vendor={of.vendor} tenant={tenant} config={number} kind="kms" now passed={() => setPassed(true)} />
            <hr />
            <div class="row between">
                <ButtonLink to={`${home}/kms/${number}/credentials`} look="quiet">
                    Type it again
                </ButtonLink>
                <div class="row">
                    <ButtonLink to={`${home}/kms`} look="quiet">
                        Later
                    </ButtonLink>
                    <Button {...(passed ? { look: "primary" } : {})} act={makePrimary}>
                        {passed ? "Encrypt new data with it" : "Make it primary without a test"}
                    </Button>
                </div>
            </div>
        </Card>
    );
}

export function RotateKmsPage({ number }: { number: number }) {
    return <WithTrust>{(trust) => <Rotate trust={trust} number={number} />}</WithTrust>;
}

function Rotate({ trust, number }: { trust: Trust; number: number }) {
    const { of, home } = useHere();
    const tenant = of.tenant ?? "";
    const state = useLoad(() => readTenant(trust, tenant), [trust, tenant]);
    const [done, setDone] = useState(false);
    const mine = useStore(keys);
    return (
        <Show of={state}>
            {(known) => {
                const old = known.configs.get(number);
                const provider = KMS.find((each) => each.type === old?.type);
                if (old === undefined || provider === undefined) {
                    return <Note tone="bad">There is no config {number} of yours.</Note>;
                }
                const typed = mine === null ? null : formOf(mine.forms, of.vendor, tenant, number, old.header.version);
                const save = async (name: string, config: object) => {
                    const sealed = await sealFor(trust, tenant, null, {
                        kind: "kms",
                        type: old.type,
                        name,
                        config,
                        leasingAllowed: old.leasingAllowed,
                        follows: { number, version: old.header.version },
                    });
                    await changeTenant(trust, known, { configs: [sealed] });
                    await rememberSealed(of.vendor, tenant, sealed, provider, config);
                    setDone(true);
                };
                return (
                    <>
                        <PageHead title={`New credentials for ${old.name || kmsName(old.type)}`} />
                        {done ? (
                            <Card title="Stored. Do the new credentials work?">
                                <p class="muted">Withdraw the old credentials only after this test has passed.</p>
                                <ConnectionTest vendor={of.vendor} tenant={tenant} config={number} kind="kms" now />
                                <div class="row end">
                                    <ButtonLink to={`${home}/kms`}>Back to your keys</ButtonLink>
                                </div>
                            </Card>
                        ) : (
                            <>
                                <Note tone="warn" title="Name the same key as before">
                                    {typed !== null ? (
                                        <p>What is no secret is filled in as you typed it, from your own key bundle. The secrets are not: nobody but the proxy can read what was sealed.</p>
                                    ) : (
                                        <p>Nobody but the proxy can read what was sealed, not even this page, so type all of it again.</p>
                                    )}
                                    <p>The credentials change; the key must stay: with another key, data that the old one encrypted would be lost. For another key, add a new config instead.</p>
                                    {mine === null && (
                                        <p>
                                            <Button small act={myKeys}>
                                                Open my keys to fill in what I typed
                                            </Button>
                                        </p>
                                    )}
                                </Note>
                                <ConfigForm
                                    key={typed === null ? "empty" : "filled"}
                                    provider={provider}
                                    name={old.name}
                                    begin={typed ?? {}}
                                    action="Seal and store"
                                    save={save}
                                    cancel={() => navigate(`${home}/kms`)}
                                />
                            </>
                        )}
                    </>
                );
            }}
        </Show>
    );
}
