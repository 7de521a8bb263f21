/** A tenant's settings: sign-in, whether all keys must be leased, and what it may take along. */

import { api, path } from "../../api/client.ts";
import { useHere, WithTrust } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { readTenant } from "../../app/tenant-documents.ts";
import { CheckField } from "../../ui/fields.tsx";
import { Button, Card, download, Fingerprint, PageHead, Show } from "../../ui/parts.tsx";
import { SsoCard } from "../shared/sso.tsx";
import { change } from "./kms.tsx";

export function TenantSettings() {
    const { of, mayChange } = useHere();
    const tenant = of.tenant ?? "";
    const saveAll = async () => {
        const [documents, trust] = await Promise.all([
            api.get<object>(path`/api/1/vendors/${of.vendor}/tenants/${tenant}/documents`),
            api.get<object>(path`/api/1/vendors/${of.vendor}/tenants/${tenant}/trust`),
        ]);
        const file = { format: "tenant-security-tenant", formatVersion: 1, vendor: of.vendor, tenant, trust, documents };
        download(`${tenant}-documents.json`, `${JSON.stringify(file, null, 2)}\n`, "application/json");
    };
    return (
        <>
            <PageHead title="Settings" />
            <SsoCard />
            <WithTrust>
                {(trust) => {
                    return <Leasing key={trust.chain.manifest.version} trust={trust} mayChange={mayChange} />;
                }}
            </WithTrust>
            <Card title="Take a copy">
                <p class="muted">
                    All that was sealed and signed for you, as one file: records, configs, who may sign, and {of.vendorName}'s keys. It is sealed as before, so it gives nobody your credentials; with it, your settings can be restored at another broker.
                </p>
                <div>
                    <Button icon="download" act={saveAll}>
                        Download the recovery file
                    </Button>
                </div>
            </Card>
            <WithTrust>
                {(trust) => (
                    <Card title={`${of.vendorName}'s fingerprint`}>
                        <p class="muted">Compare these words with what {of.vendorName} publishes, whenever you like.</p>
                        <Fingerprint value={trust.chain.rootFingerprint} />
                    </Card>
                )}
            </WithTrust>
        </>
    );
}

function Leasing({ trust, mayChange }: { trust: Parameters<typeof readTenant>[0]; mayChange: boolean }) {
    const { of } = useHere();
    const tenant = of.tenant ?? "";
    const state = useLoad(() => readTenant(trust, tenant), [trust, tenant]);
    return (
        <Card title="Leasing">
            <Show of={state}>
                {(known) => (
                    <CheckField
                        label="Every key must be leased"
                        hint="Operations that cannot use a leased key are refused. Faster and kinder to your KMS; a permission that you take back takes effect within ten minutes instead of at once."
                        value={known.leasingRequired}
                        disabled={!mayChange}
                        set={(leasingRequired) => void change({ trust, known, reload: state.reload }, { leasingRequired }, "Saved.")}
                    />
                )}
            </Show>
        </Card>
    );
}
