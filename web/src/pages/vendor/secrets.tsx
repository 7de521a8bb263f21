/** Tenant secrets: what deterministic encryption and search hang on, and their rotation. */

import { useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { Page, TenantSecret } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { ask } from "../../ui/dialog.tsx";
import { Badge, Button, Card, download, Empty, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { Pager } from "./tenants.tsx";

const SIZE = 25;

export function SecretsPage() {
    const { of, mayChange } = useHere();
    const [page, setPage] = useState(1);
    const [typed, setTyped] = useState("");
    const [rotation, setRotation] = useState("");
    const base = path`/api/1/vendors/${of.vendor}/secrets`;
    const loaded = useLoad(() => api.get<Page<TenantSecret>>(withQuery(base, { page, pageSize: SIZE, query: typed.trim(), rotation })), [base, page, typed, rotation]);
    const save = async () => {
        const all: TenantSecret[] = [];
        for (let at = 1, pages = 1; at <= pages; at += 1) {
            const found = await api.get<Page<TenantSecret>>(withQuery(base, { page: at, pageSize: 100 }));
            all.push(...found.result);
            pages = found.totalPages;
        }
        download(`secrets-${of.vendor}.json`, `${JSON.stringify(all, null, 1)}\n`, "application/json");
    };
    const again = async () => {
        await api.post(path`/api/1/vendors/${of.vendor}/secret-renewals`);
        toast("Your proxies try again within a minute.");
        loaded.reload();
    };
    return (
        <>
            <PageHead title="Tenant secrets" lead="Keys for deterministic encryption and search are derived from these. Each is wrapped with the tenant's own KMS key, so it is kept here and read only by your proxies.">
                <Button icon="download" act={save}>
                    Back them up
                </Button>
            </PageHead>
            <Card flush>
                <div class="card-head">
                    <input type="search" class="input grow" placeholder="Search by tenant or path" aria-label="Search secrets" value={typed} onInput={(event) => (setPage(1), setTyped(event.currentTarget.value))} />
                    <select class="input" aria-label="Rotation" value={rotation} onChange={(event) => (setPage(1), setRotation(event.currentTarget.value))}>
                        <option value="">All</option>
                        <option value="current">Current</option>
                        <option value="in-rotation">In rotation</option>
                        <option value="archived">Archived</option>
                    </select>
                </div>
                <Show of={loaded}>
                    {(found) =>
                        found.total === 0 ? (
                            <Empty icon="lock" title="No secrets">
                                <p>A proxy makes one the first time that your application encrypts deterministically or searches for a tenant.</p>
                            </Empty>
                        ) : (
                            <>
                                {mayChange && found.result.some((each) => each.trouble !== "") && (
                                    <div class="card-head">
                                        <p class="grow">Some secrets could not be wrapped with their tenant's new key. They stay readable with the old one and are tried again every ten minutes.</p>
                                        <Button act={again}>Try again now</Button>
                                    </div>
                                )}
                                <Table secrets={found.result} reload={loaded.reload} />
                                <Pager page={found.page} pages={found.totalPages} total={found.total} set={setPage} one="secret" />
                            </>
                        )
                    }
                </Show>
            </Card>
        </>
    );
}

function Table({ secrets, reload }: { secrets: TenantSecret[]; reload: () => void }) {
    const { of, mayChange } = useHere();
    const rotate = (secret: TenantSecret, step: "begin" | "commit") =>
        ask({
            title: step === "begin" ? "Begin a rotation?" : "Complete the rotation?",
            consequence:
                step === "begin" ? (
                    <p>A new secret is made at the next need. What was encrypted with the old one stays readable; encrypt your stored values anew with the new one, then complete the rotation.</p>
                ) : (
                    <p>
                        The old secret is archived. <strong>Searches no longer find what is still encrypted with it.</strong> Complete only once all stored values are encrypted anew.
                    </p>
                ),
            action: step === "begin" ? "Begin" : "Complete",
            danger: step === "commit",
            act: async () => {
                await api.post(path`/api/1/vendors/${of.vendor}/tenants/${secret.tenant}/secrets/${secret.id}/rotation/${step}`);
                toast(step === "begin" ? "The rotation has begun." : "The old secret is archived.");
                reload();
            },
        });
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>Tenant</th>
                        <th>Type</th>
                        <th>Path</th>
                        <th>State</th>
                        <th>Made</th>
                        <th>
                            <span class="visually-hidden">Actions</span>
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {secrets.map((each) => (
                        <tr key={each.id}>
                            <td data-label="Tenant" class="break">
                                {each.tenant}
                            </td>
                            <td data-label="Type">{each.type}</td>
                            <td data-label="Path" class="mono break">
                                {each.path}
                            </td>
                            <td data-label="State">
                                <div class="row">
                                    <Badge tone={each.rotation === "current" ? "good" : each.rotation === "archived" ? "plain" : "warn"}>{each.rotation}</Badge>
                                    {each.migration !== "current" && <Badge tone="warn">moves to the new key</Badge>}
                                    {!each.bound && each.rotation !== "archived" && <Badge tone="warn">not bound yet</Badge>}
                                </div>
                                {each.trouble !== "" && <p class="hint break">{each.trouble}</p>}
                            </td>
                            <td data-label="Made">
                                <When at={each.created} />
                            </td>
                            <td class="actions">
                                {mayChange && each.rotation === "current" && (
                                    <Button small look="quiet" icon="rotate" act={() => rotate(each, "begin")}>
                                        Rotate
                                    </Button>
                                )}
                                {mayChange && each.rotation === "in-rotation" && (
                                    <Button small act={() => rotate(each, "commit")}>
                                        Complete
                                    </Button>
                                )}
                            </td>
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}
