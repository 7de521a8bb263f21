/** The vendor's own KMS configs, for tenants that bring none. */

import { useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { Config, Page, SealedConfigJson } from "../../api/types.ts";
import { useHere, WithTrust } from "../../app/org.tsx";
import { navigate } from "../../app/router.ts";
import { useLoad } from "../../app/store.ts";
import { knownConfig, sealFor } from "../../app/tenant-documents.ts";
import { mySeeds, type Trust } from "../../app/trust.ts";
import { KMS, kmsName } from "../../kms/index.ts";
import { type Provider, type Values, valuesOf } from "../../kms/model.ts";
import { openConfig } from "../../trust/authoring.ts";
import { text } from "../../trust/bytes.ts";
import { newestSegments } from "../../trust/chain.ts";
import { SHARED } from "../../trust/documents.ts";
import { ask } from "../../ui/dialog.tsx";
import { Switch } from "../../ui/fields.tsx";
import { things } from "../../ui/format.ts";
import { Badge, Button, ButtonLink, Card, Empty, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { ChooseProvider, ConfigForm } from "../shared/config-form.tsx";

const base = (vendor: string) => path`/api/1/vendors/${vendor}/configs`;

export function ConfigsPage() {
    const { of, home, mayChange } = useHere();
    const configs = useLoad(() => api.get<Page<Config>>(withQuery(base(of.vendor), { pageSize: 100 })), [of.vendor]);
    const add = mayChange && (
        <ButtonLink to={`${home}/configs/new`} look="primary" icon="plus">
            Add a KMS config
        </ButtonLink>
    );
    return (
        <>
            <PageHead title="Shared KMS configs" lead="Keys of your own that you lend to tenants who do not bring theirs. You can assign one to as many as you like.">
                {add}
            </PageHead>
            <Card flush>
                <Show of={configs}>
                    {({ result }) =>
                        result.length === 0 ? (
                            <Empty icon="key" title="No keys of your own yet" action={add}>
                                <p>With one, tenants can begin before they have a KMS. They can bring their own key at any time, and what was encrypted with yours stays readable for as long as you let it.</p>
                            </Empty>
                        ) : (
                            <Table configs={result} reload={configs.reload} />
                        )
                    }
                </Show>
            </Card>
        </>
    );
}

function Table({ configs, reload }: { configs: Config[]; reload: () => void }) {
    const { of, home, mayChange } = useHere();
    const lease = async (config: Config, leasingAllowed: boolean) => {
        await api.patch(`${base(of.vendor)}/${config.id}`, { leasingAllowed });
        toast("Saved.");
        reload();
    };
    const remove = (config: Config) =>
        ask({
            title: `Remove ${config.name || kmsName(config.type)}?`,
            consequence: (
                <>
                    <p>
                        <strong>What was encrypted with it can never be read again</strong> through it: its credentials are deleted here.
                    </p>
                    {config.secretCount > 0 && <p>{things(config.secretCount, "tenant secret")} are wrapped with it and would be lost. Migrate them first.</p>}
                </>
            ),
            action: "Remove for good",
            danger: true,
            typed: String(config.id),
            act: async () => {
                await api.delete(`${base(of.vendor)}/${config.id}`);
                reload();
            },
        });
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>Config</th>
                        <th>Used by</th>
                        <th>Leasing allowed</th>
                        <th>Changed</th>
                        <th>
                            <span class="visually-hidden">Actions</span>
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {configs.map((each) => (
                        <tr key={each.id}>
                            <td data-label="Config">
                                <div class="row">
                                    <span class="strong">{each.name || kmsName(each.type)}</span>
                                    <Badge>{kmsName(each.type)}</Badge>
                                    <span class="muted small">{each.id}</span>
                                </div>
                            </td>
                            <td data-label="Used by">{things(each.assignmentCount, "tenant")}</td>
                            <td data-label="Leasing allowed">
                                <Switch label={`Leasing allowed for ${each.name || each.id}`} value={each.leasingAllowed} disabled={!mayChange} set={(on) => void lease(each, on).catch((failure: Error) => toast(failure.message, "bad"))} />
                            </td>
                            <td data-label="Changed">
                                <When at={each.updated} />
                            </td>
                            <td class="actions">
                                {mayChange && (
                                    <div class="row end">
                                        <ButtonLink to={`${home}/configs/${each.id}`} small icon="rotate">
                                            Credentials
                                        </ButtonLink>
                                        <Button small look="quiet" icon="trash" aria-label={`Remove ${each.name || each.id}`} act={() => remove(each)} disabled={each.assignmentCount > 0} title={each.assignmentCount > 0 ? "Take it away from its tenants first" : undefined} />
                                    </div>
                                )}
                            </td>
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}

export function NewConfigPage() {
    return <WithTrust>{(trust) => <NewConfig trust={trust} />}</WithTrust>;
}

function NewConfig({ trust }: { trust: Trust }) {
    const { home } = useHere();
    const [provider, setProvider] = useState<Provider | null>(null);
    const save = async (name: string, config: object) => {
        await store(trust, { type: provider?.type ?? "", name, config, leasingAllowed: false, follows: null });
        toast("Sealed and stored. Assign it on a tenant's page.");
        navigate(`${home}/configs`);
    };
    return (
        <>
            <PageHead title="Add a KMS config" lead="Its credentials are sealed in this browser, for your proxies alone." />
            {provider === null ? <ChooseProvider from={KMS} choose={setProvider} /> : <ConfigForm key={provider.type} provider={provider} action="Seal and store" save={save} cancel={() => setProvider(null)} />}
        </>
    );
}

type ToStore = Omit<Parameters<typeof sealFor>[3], "kind">;

async function store(trust: Trust, what: ToStore): Promise<void> {
    const { manifest } = trust.chain;
    const sealed = await sealFor({ ...trust, segments: newestSegments(manifest) }, null, null, { kind: "kms", ...what });
    await api.put(base(manifest.vendor), sealed);
}

export function EditConfigPage({ number }: { number: number }) {
    return <WithTrust>{(trust) => <EditConfig trust={trust} number={number} />}</WithTrust>;
}

/** New credentials for a config of the vendor's. Its key path is opened, so that it need not be typed again. */
function EditConfig({ trust, number }: { trust: Trust; number: number }) {
    const { of, home } = useHere();
    const loaded = useLoad(async () => {
        const said = await api.get<SealedConfigJson>(path`/api/1/vendors/${of.vendor}/configs/${number}/sealed`);
        const known = await knownConfig(trust.chain, trust.chain.authors, SHARED, said);
        const provider = KMS.find((each) => each.type === known.type);
        if (provider === undefined) {
            throw new Error(`Configs of type ${known.type} cannot be changed here.`);
        }
        const opened = JSON.parse(text(await openConfig(known.sealed, await mySeeds(trust)))) as Record<string, unknown>;
        const values: Values = valuesOf(provider, opened);
        return { known, provider, values };
    }, [trust, number]);
    return (
        <Show of={loaded}>
            {({ known, provider, values }) => (
                <>
                    <PageHead title={`New credentials for ${known.name || kmsName(known.type)}`} lead="What is not secret is filled in. Leave the key as it is: with another key, what this one encrypted would be lost." />
                    <ConfigForm
                        provider={provider}
                        begin={values}
                        name={known.name}
                        action="Seal and store"
                        cancel={() => navigate(`${home}/configs`)}
                        save={async (name, config) => {
                            await store(trust, { type: known.type, name, config, leasingAllowed: known.leasingAllowed, follows: { number, version: known.header.version } });
                            toast("Stored. Test the connection on a tenant's page before you withdraw the old credentials.");
                            navigate(`${home}/configs`);
                        }}
                    />
                </>
            )}
        </Show>
    );
}
