/** API keys for automation: each with its role, two slots for a name, and its last use. */

import { useState } from "preact/hooks";

import { api, path } from "../../api/client.ts";
import type { ApiKey } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { ask, Dialog } from "../../ui/dialog.tsx";
import { Form, SelectField, TextField } from "../../ui/fields.tsx";
import { Badge, Button, Card, CopyButton, Empty, Note, PageHead, Show, When } from "../../ui/parts.tsx";

const DAY_MS = 86_400_000;

export function ApiKeysPage() {
    const { of, isOwner } = useHere();
    const base = path`/api/1/vendors/${of.vendor}/api-keys`;
    const [making, setMaking] = useState(false);
    const keys = useLoad(() => (isOwner ? api.get<ApiKey[]>(base) : Promise.resolve([])), [base, isOwner]);
    return (
        <>
            <PageHead title="API keys" lead="For scripts and pipelines. A name has two slots: make the second key, bring it to where it is used, then revoke the first.">
                {isOwner && (
                    <Button look="primary" icon="plus" act={() => setMaking(true)}>
                        Make a key
                    </Button>
                )}
            </PageHead>
            {!isOwner ? (
                <Note>Only owners see and make API keys.</Note>
            ) : (
                <Card flush>
                    <Show of={keys}>
                        {(known) =>
                            known.length === 0 ? (
                                <Empty icon="ticket" title="No keys for automation">
                                    <p>A key reads or manages tenants over the API. It can sign nothing: what proxies believe needs an author's key.</p>
                                </Empty>
                            ) : (
                                <Table known={known} base={base} reload={keys.reload} />
                            )
                        }
                    </Show>
                </Card>
            )}
            {making && (
                <Make
                    base={base}
                    close={() => {
                        setMaking(false);
                        keys.reload();
                    }}
                />
            )}
        </>
    );
}

function Table({ known, base, reload }: { known: ApiKey[]; base: string; reload: () => void }) {
    const revoke = (key: ApiKey) =>
        ask({
            title: `Revoke a key of ${key.name}?`,
            consequence: <p>Whatever still uses it is refused from now on.{key.used !== null && Date.now() - key.used < DAY_MS && <strong> It was used within the last day.</strong>}</p>,
            action: "Revoke",
            danger: true,
            act: async () => {
                await api.delete(`${base}/${encodeURIComponent(key.id)}`);
                reload();
            },
        });
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>Name</th>
                        <th>May</th>
                        <th>Last used</th>
                        <th>Ends</th>
                        <th>
                            <span class="visually-hidden">Actions</span>
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {known.map((each) => (
                        <tr key={each.id}>
                            <td data-label="Name">
                                <div class="stack tight">
                                    <span class="strong">{each.name}</span>
                                    <code class="muted">tsb_{each.id}_…</code>
                                </div>
                            </td>
                            <td data-label="May">{each.role === "admin" ? "manage" : "read"}</td>
                            <td data-label="Last used">
                                <When at={each.used} />
                            </td>
                            <td data-label="Ends">{each.revoked !== null ? <Badge tone="bad">revoked</Badge> : <When at={each.expires} />}</td>
                            <td class="actions">
                                {each.revoked === null && (
                                    <Button small look="quiet" act={() => revoke(each)}>
                                        Revoke
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

function Make({ base, close }: { base: string; close: () => void }) {
    const [name, setName] = useState("");
    const [role, setRole] = useState("auditor");
    const [days, setDays] = useState("365");
    const [key, setKey] = useState<string | null>(null);
    const make = async () => {
        const expires = days === "" ? {} : { expires: Date.now() + Number(days) * DAY_MS };
        const made = await api.post<{ key: string }>(base, { name: name.trim(), role, ...expires });
        setKey(made.key);
    };
    if (key !== null) {
        return (
            <Dialog title="Here is the key. It is shown once." close={close}>
                <p class="mono break">{key}</p>
                <p class="small muted">
                    Send it as <code>Authorization: Bearer tsb_…</code>
                </p>
                <div class="row end">
                    <CopyButton text={key} what="Key" />
                    <Button look="primary" act={close}>
                        I have kept it
                    </Button>
                </div>
            </Dialog>
        );
    }
    return (
        <Dialog title="Make an API key" close={close}>
            <Form
                send={make}
                action="Make"
                ready={name.trim() !== ""}
                extra={
                    <Button look="quiet" act={close}>
                        Cancel
                    </Button>
                }
            >
                <TextField label="Name" hint="What uses it." name="name" value={name} set={setName} autofocus />
                <SelectField
                    label="It may"
                    value={role}
                    set={setRole}
                    options={[
                        ["auditor", "Read everything that is not secret"],
                        ["admin", "Manage tenants, tags and configs"],
                    ]}
                />
                <SelectField
                    label="It ends"
                    value={days}
                    set={setDays}
                    options={[
                        ["30", "in 30 days"],
                        ["90", "in 90 days"],
                        ["365", "in a year"],
                        ["", "never"],
                    ]}
                />
            </Form>
        </Dialog>
    );
}
