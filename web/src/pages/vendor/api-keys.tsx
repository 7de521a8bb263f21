/** API keys for automation: what each may and for whom, two slots for a name, and its last use. */

import { useState } from "preact/hooks";

import { api, path } from "../../api/client.ts";
import type { ApiKey } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { CHANGING, READING, roleFor, type Scope } from "../../app/scopes.ts";
import { useLoad } from "../../app/store.ts";
import { ask, Dialog } from "../../ui/dialog.tsx";
import { CheckField, Form, SelectField, TextField } from "../../ui/fields.tsx";
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
                            <td data-label="May">
                                <May of={each} />
                            </td>
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

/** What a key may, and for whom, in a few words. */
function May({ of: { role, scopes, tenants } }: { of: ApiKey }) {
    return (
        <div class="stack tight">
            {scopes === null ? <span>{role === "admin" ? "manage" : "read"}</span> : <code>{scopes.join(" ")}</code>}
            {tenants !== null && <span class="muted small break">for {tenants.join(", ")}</span>}
        </div>
    );
}

function Make({ base, close }: { base: string; close: () => void }) {
    const [name, setName] = useState("");
    const [may, setMay] = useState("auditor");
    const [scopes, setScopes] = useState<ReadonlySet<string>>(new Set());
    const [reach, setReach] = useState("every");
    const [tenants, setTenants] = useState("");
    const [days, setDays] = useState("365");
    const [key, setKey] = useState<string | null>(null);
    const named = tenants.split(/[\s,]+/).filter((each) => each !== "");
    const chosen = may === "chosen";
    const some = reach === "some";
    const make = async () => {
        const made = await api.post<{ key: string }>(base, {
            name: name.trim(),
            role: chosen ? roleFor(scopes) : may,
            ...(chosen ? { scopes: [...scopes] } : {}),
            ...(some ? { tenants: named } : {}),
            ...(days === "" ? {} : { expires: Date.now() + Number(days) * DAY_MS }),
        });
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
        <Dialog title="Make an API key" close={close} wide={chosen}>
            <Form
                send={make}
                action="Make"
                ready={name.trim() !== "" && (!chosen || scopes.size > 0) && (!some || named.length > 0)}
                extra={
                    <Button look="quiet" act={close}>
                        Cancel
                    </Button>
                }
            >
                <TextField label="Name" hint="What uses it." name="name" value={name} set={setName} autofocus />
                <SelectField
                    label="It may"
                    value={may}
                    set={setMay}
                    options={[
                        ["auditor", "Read everything that is not secret"],
                        ["admin", "Read, and manage tenants, tags and configs"],
                        ["chosen", "Only what I choose"],
                    ]}
                />
                {chosen && (
                    <>
                        <Choice title="Read" of={READING} chosen={scopes} set={setScopes} />
                        <Choice title="Change" of={CHANGING} chosen={scopes} set={setScopes} />
                    </>
                )}
                <SelectField
                    label="For"
                    value={reach}
                    set={setReach}
                    options={[
                        ["every", "Every tenant, and the vendor as a whole"],
                        ["some", "Some tenants only"],
                    ]}
                />
                {some && (
                    <TextField
                        label="Tenants"
                        hint="Their ids, or beginnings of ids with a star, such as eu-*. Lists of all tenants are not for this key."
                        value={tenants}
                        set={setTenants}
                        lines
                    />
                )}
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

function Choice({ title, of, chosen, set }: { title: string; of: readonly Scope[]; chosen: ReadonlySet<string>; set: (to: ReadonlySet<string>) => void }) {
    const turn = (name: string, on: boolean) => set(new Set(on ? [...chosen, name] : [...chosen].filter((each) => each !== name)));
    return (
        <fieldset class="field">
            <legend class="strong">{title}</legend>
            <div class="choices">
                {of.map((each) => (
                    <CheckField key={each.name} label={<code>{each.name}</code>} hint={each.opens} value={chosen.has(each.name)} set={(on) => turn(each.name, on)} />
                ))}
            </div>
        </fieldset>
    );
}
