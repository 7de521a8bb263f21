/** The people of a vendor or a tenant: who they are, what they may, whom one invites, and whose keys count. */

import { useState } from "preact/hooks";

import { api, path } from "../../api/client.ts";
import type { Invitation, PendingAuthor, Person, Role } from "../../api/types.ts";
import { useHere, WithTrust } from "../../app/org.tsx";
import { session } from "../../app/session.ts";
import { type Loaded, useLoad } from "../../app/store.ts";
import { ask, Dialog } from "../../ui/dialog.tsx";
import { Form, SelectField, TextField } from "../../ui/fields.tsx";
import { Badge, Button, Card, CopyButton, Note, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { makeInvitation } from "./inviting.ts";
import { Recovering } from "../vendor/recovering.tsx";
import { PendingKeys } from "./pending-keys.tsx";

export const ROLES: readonly (readonly [Role, string])[] = [
    ["owner", "Owner: everything, people and sign-in too"],
    ["admin", "Admin: keys, tenants and configs"],
    ["auditor", "Auditor: reads, changes nothing"],
];

/** Where an organisation's people are, in the API. */
export function baseOf(vendor: string, tenant: string | null): string {
    return tenant === null ? path`/api/1/vendors/${vendor}` : path`/api/1/vendors/${vendor}/tenants/${tenant}`;
}

export function PeoplePage() {
    const { of, isOwner, trust: trustOf } = useHere();
    const base = baseOf(of.vendor, of.tenant);
    const people = useLoad(() => api.get<Person[]>(`${base}/people`), [base]);
    const invitations = useLoad(() => api.get<Invitation[]>(`${base}/invitations`), [base]);
    const authors = useLoad(() => api.get<PendingAuthor[]>(`${base}/authors`), [base]);
    const [inviting, setInviting] = useState(false);
    const reload = () => [people, invitations, authors].forEach((each) => each.reload());
    return (
        <>
            <PageHead title="People" lead="Two owners or more, so that nobody is locked out when one loses a device.">
                {isOwner && (
                    <Button look="primary" icon="plus" act={() => setInviting(true)}>
                        Invite somebody
                    </Button>
                )}
            </PageHead>
            <WithTrust>
                {(trust) => (
                    <>
                        {of.tenant === null && isMinePending(authors.data) && (
                            <Recovering
                                trust={trust}
                                done={() => {
                                    trustOf.reload();
                                    reload();
                                }}
                            />
                        )}
                        <PendingKeys tenant={of.tenant} trust={trust} authors={authors} done={reload} />
                    </>
                )}
            </WithTrust>
            <Card flush title="Members">
                <Show of={people}>{(known) => <Members people={known} base={base} reload={reload} />}</Show>
            </Card>
            <Show of={invitations}>{(known) => <Invitations open={known.filter((each) => each.status === "open")} base={base} reload={reload} />}</Show>
            {inviting && (
                <Invite
                    tenant={of.tenant}
                    tenantName={of.tenantName}
                    close={() => {
                        setInviting(false);
                        reload();
                    }}
                />
            )}
        </>
    );
}

/** Whether my own key is among those that do not count. */
function isMinePending(authors: PendingAuthor[] | undefined): boolean {
    return authors?.some((each) => each.status === "pending" && each.person === session.value?.person.id) === true;
}

function Members({ people, base, reload }: { people: Person[]; base: string; reload: () => void }) {
    const { isOwner } = useHere();
    const me = session.value?.person.id;
    const update = async (person: Person, changed: { role?: Role; disabled?: boolean }) => {
        await api.patch(`${base}${path`/people/${person.person}`}`, changed);
        toast("Changed.");
        reload();
    };
    const remove = (person: Person) =>
        ask({
            title: `Remove ${person.name || person.email}?`,
            consequence: (
                <>
                    <p>They can no longer see or change anything here. What they signed stays as it is.</p>
                    <p>If they had a key, take it out of the authors as well: until then what they sign with it elsewhere would still be believed.</p>
                </>
            ),
            action: "Remove",
            danger: true,
            act: async () => {
                await api.delete(`${base}${path`/people/${person.person}`}`);
                reload();
            },
        });
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>Who</th>
                        <th>Role</th>
                        <th>Signs in with</th>
                        <th>Last here</th>
                        <th>
                            <span class="visually-hidden">Actions</span>
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {people.map((each) => (
                        <tr key={each.person}>
                            <td data-label="Who">
                                <div class="stack tight">
                                    <span class="strong">
                                        {each.name || each.email} {each.person === me && <Badge>you</Badge>} {each.disabled && <Badge tone="bad">disabled</Badge>}
                                    </span>
                                    <span class="muted small break">{each.email}</span>
                                </div>
                            </td>
                            <td data-label="Role">{each.role}</td>
                            <td data-label="Signs in with">{each.methods.join(", ")}</td>
                            <td data-label="Last here">
                                <When at={each.lastSeen} />
                            </td>
                            <td class="actions">
                                {isOwner && each.person !== me && (
                                    <div class="row end">
                                        <select
                                            class="input small"
                                            aria-label={`Role of ${each.name || each.email}`}
                                            value={each.role}
                                            onChange={(event) => {
                                                const select = event.currentTarget;
                                                update(each, { role: select.value as Role }).catch((failure: Error) => {
                                                    select.value = each.role;
                                                    toast(failure.message, "bad");
                                                });
                                            }}
                                        >
                                            {ROLES.map(([role]) => (
                                                <option key={role} value={role}>
                                                    {role}
                                                </option>
                                            ))}
                                        </select>
                                        <Button small look="quiet" act={() => update(each, { disabled: !each.disabled })}>
                                            {each.disabled ? "Enable" : "Disable"}
                                        </Button>
                                        <Button small look="quiet" icon="trash" aria-label={`Remove ${each.name || each.email}`} act={() => remove(each)} />
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

export function Invitations({ open, base, reload }: { open: Invitation[]; base: string; reload: () => void }) {
    const { isOwner } = useHere();
    if (open.length === 0) {
        return null;
    }
    return (
        <Card flush title="Open invitations">
            <div class="table-wrap">
                <table class="folds">
                    <tbody>
                        {open.map((each) => (
                            <tr key={each.id}>
                                <td class="break">{each.email}</td>
                                <td data-label="Role">{each.role}</td>
                                <td data-label="Until">
                                    <When at={each.expires} />
                                </td>
                                <td class="actions">
                                    {isOwner && (
                                        <Button
                                            small
                                            look="quiet"
                                            act={async () => {
                                                await api.delete(`${base}${path`/invitations/${each.id}`}`);
                                                toast("Withdrawn. The link is void.");
                                                reload();
                                            }}
                                        >
                                            Withdraw
                                        </Button>
                                    )}
                                </td>
                            </tr>
                        ))}
                    </tbody>
                </table>
            </div>
        </Card>
    );
}

/** Invite somebody: by mail, or with a link that is handed over in person. */
export function Invite({ tenant, tenantName, close, first = false }: { tenant: string | null; tenantName: string | null; close: () => void; first?: boolean }) {
    const { of, trust } = useHere();
    const [email, setEmail] = useState("");
    const [role, setRole] = useState<Role>(first ? "owner" : "admin");
    const [deliver, setDeliver] = useState<"link" | "mail">("link");
    const [link, setLink] = useState<string | null>(null);
    const send = async () => {
        const made = await makeInvitation({ vendor: of.vendor, tenant, email: email.trim(), role, deliver, trust: trust.data ?? null });
        if (made.link === null) {
            toast(made.mailed ? `Sent to ${email}.` : "The mail could not be handed over. The invitation stands: resend it.", made.mailed ? "good" : "bad");
            close();
        }
        setLink(made.link);
    };
    const whom = tenantName ?? of.vendorName;
    return (
        <Dialog title={`Invite somebody to ${whom}`} close={close}>
            {link === null ? (
                <Form
                    send={send}
                    action="Invite"
                    ready={/^\S+@\S+$/.test(email)}
                    extra={
                        <Button look="quiet" act={close}>
                            Cancel
                        </Button>
                    }
                >
                    <TextField label="E-mail address" type="email" name="email" value={email} set={setEmail} autofocus />
                    {!first && <SelectField label="Role" value={role} set={(value) => setRole(value as Role)} options={ROLES} />}
                    <SelectField
                        label="How it gets there"
                        hint="A link that you hand over carries a proof, so their key needs no second look. A mail by the broker cannot."
                        value={deliver}
                        set={(value) => setDeliver(value as "link" | "mail")}
                        options={[
                            ["link", "I hand over a link"],
                            ["mail", "The broker sends a mail"],
                        ]}
                    />
                </Form>
            ) : (
                <div class="stack">
                    <Note tone="good" title="Here is the link. It is shown once.">
                        <p>Bring it to {email} by a way that only they read: it lets whoever opens it first join.</p>
                    </Note>
                    <p class="mono break small" data-test="invitation-link">
                        {link}
                    </p>
                    <div class="row end">
                        <CopyButton text={link} what="Link" />
                        <Button look="primary" act={close}>
                            Done
                        </Button>
                    </div>
                </div>
            )}
        </Dialog>
    );
}

export type LoadedAuthors = Loaded<PendingAuthor[]>;
