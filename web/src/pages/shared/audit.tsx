/** What was done here, by whom: with filters, and as a file. */

import { useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { AuditEntry } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { SelectField, TextField } from "../../ui/fields.tsx";
import { Button, Card, download, Empty, Note, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";

const PORTION = 100;
const MOST = 100_000;

const ACTIONS: readonly (readonly [string, string])[] = [
    ["", "Everything"],
    ["tenant.record", "Tenants' records"],
    ["config.create", "New configs"],
    ["config.update", "Changed configs"],
    ["config.remove", "Removed configs"],
    ["assignment.change", "Assignments"],
    ["config.test", "Connection tests"],
    ["vendor.documents", "Vendor's keys"],
    ["service-account.add", "New service accounts"],
    ["service-account.revoked", "Revoked service accounts"],
];

/** Say in words what an action's name says in dots. */
export function actionInWords(action: string): string {
    const words = action.replaceAll(/[.-]/g, " ");
    return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What an entry is about, by the name that people know it by. */
function targetOf({ actor, detail, target }: AuditEntry): string {
    const named = ["email", "text", "name", "person"].map((member) => detail[member]).find((value) => typeof value === "string" && value !== "");
    return typeof named === "string" ? named : target === actor.id ? "themselves" : target.replace(/^([0-9a-f]{8})-[0-9a-f-]{27}$/, "$1…");
}

interface Filter {
    action: string;
    tenant: string;
}

export function AuditPage() {
    const { of } = useHere();
    const [filter, setFilter] = useState<Filter>({ action: "", tenant: of.tenant ?? "" });
    const [older, setOlder] = useState<AuditEntry[]>([]);
    const [atEnd, setAtEnd] = useState(false);
    const page = (before: number | null, limit = PORTION) =>
        api.get<AuditEntry[]>(withQuery(path`/api/1/vendors/${of.vendor}/audit`, { ...filter, before, limit }));
    const newest = useLoad(() => page(null), [of.vendor, filter.action, filter.tenant]);
    const set = (changed: Partial<Filter>) => {
        setOlder([]);
        setAtEnd(false);
        setFilter({ ...filter, ...changed });
    };
    const more = async (shown: AuditEntry[]) => {
        const next = await page(shown.at(-1)?.seq ?? null);
        setOlder([...older, ...next]);
        setAtEnd(next.length < PORTION);
    };
    const save = async () => {
        const all: AuditEntry[] = [];
        for (let portion = await page(null, 1000); portion.length > 0 && all.length < MOST; ) {
            all.push(...portion);
            portion = portion.length < 1000 ? [] : await page(portion.at(-1)?.seq ?? null, 1000);
        }
        download(`audit-${of.vendor}.jsonl`, all.map((each) => `${JSON.stringify(each)}\n`).join(""), "application/jsonl");
        toast(`${all.length} entries saved.`);
    };
    return (
        <>
            <PageHead title="Audit" lead="Every change, who made it and when. Each entry holds the hash of the one before, so nothing can be taken out unseen.">
                <Button icon="download" act={save}>
                    Save as a file
                </Button>
            </PageHead>
            {of.tenant === null && <Verification vendor={of.vendor} />}
            <Card flush>
                <div class="card-head">
                    <div class="row grow">
                        <div class="grow">
                            <SelectField label="What" value={filter.action} set={(action) => set({ action })} options={ACTIONS} />
                        </div>
                        {of.tenant === null && (
                            <div class="grow">
                                <TextField label="Tenant" placeholder="A tenant's id" value={filter.tenant} set={(tenant) => set({ tenant })} />
                            </div>
                        )}
                    </div>
                </div>
                <Show of={newest}>
                    {(first) => {
                        const shown = [...first, ...older];
                        if (shown.length === 0) {
                            return (
                                <Empty icon="list" title="Nothing like that was done">
                                    <p>Choose another kind of change, or clear the filter.</p>
                                </Empty>
                            );
                        }
                        return (
                            <>
                                <Entries entries={shown} />
                                {!atEnd && first.length === PORTION && (
                                    <div class="card-head">
                                        <Button look="quiet" act={() => more(shown)}>
                                            Show older ones
                                        </Button>
                                    </div>
                                )}
                            </>
                        );
                    }}
                </Show>
            </Card>
        </>
    );
}

export function Entries({ entries }: { entries: AuditEntry[] }) {
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>What</th>
                        <th>Of what</th>
                        <th>Who</th>
                        <th>When</th>
                    </tr>
                </thead>
                <tbody>
                    {entries.map((each) => (
                        <tr key={each.seq}>
                            <td data-label="What" title={JSON.stringify(each.detail)}>
                                {actionInWords(each.action)}
                            </td>
                            <td data-label="Of what" class="break">
                                {each.tenant !== "" && each.tenant !== each.target && <span class="muted">{each.tenant} · </span>}
                                {targetOf(each)}
                            </td>
                            <td data-label="Who">
                                {each.actor.name || each.actor.id} <span class="muted small">{each.actor.type}</span>
                            </td>
                            <td data-label="When">
                                <When at={each.at} />
                            </td>
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}

interface Verified {
    whole: boolean;
    brokenAt: number | null;
    why: string | null;
    rows: number;
    newestHash: string;
}

function Verification({ vendor }: { vendor: string }) {
    const [found, setFound] = useState<Verified | null>(null);
    const verify = async () => setFound(await api.get<Verified>(path`/api/1/vendors/${vendor}/audit/verification`));
    if (found === null) {
        return (
            <div>
                <Button small icon="shield" act={verify}>
                    Verify the whole chain
                </Button>
            </div>
        );
    }
    return found.whole ? (
        <Note tone="good" title={`All ${found.rows} entries are whole.`}>
            <p class="small break">
                Newest hash <code>{found.newestHash}</code>. Note it elsewhere: it proves later that nothing before it was changed.
            </p>
        </Note>
    ) : (
        <Note tone="bad" title={`The chain is broken at entry ${found.brokenAt}.`}>
            <p>{found.why}</p>
        </Note>
    );
}
