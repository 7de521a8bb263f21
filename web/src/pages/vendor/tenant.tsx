/** One tenant, as the vendor sees it. */

import { useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { Config, Invitation, Page, PendingAuthor, Person, Tag, Tenant } from "../../api/types.ts";
import { useHere, WithTrust } from "../../app/org.tsx";
import { navigate } from "../../app/router.ts";
import { useLoad } from "../../app/store.ts";
import { changeTenant, readTenant, type TenantState } from "../../app/tenant-documents.ts";
import type { Trust } from "../../app/trust.ts";
import { kmsName } from "../../kms/index.ts";
import { ask } from "../../ui/dialog.tsx";
import { SelectField, Switch } from "../../ui/fields.tsx";
import { Badge, Button, Card, CopyButton, Empty, Note, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { Charts } from "../shared/activity.tsx";
import { ConnectionTest } from "../shared/connection-test.tsx";
import { resend } from "../shared/inviting.ts";
import { baseOf, Invite } from "../shared/people.tsx";
import { PendingKeys } from "../shared/pending-keys.tsx";
import { State } from "../tenant/kms.tsx";
import { StatusOf } from "./tenants.tsx";

export function TenantPage({ tenant }: { tenant: string }) {
    const { of } = useHere();
    const base = baseOf(of.vendor, tenant);
    const loaded = useLoad(() => api.get<Tenant>(base), [base]);
    const people = useLoad(() => api.get<Person[]>(`${base}/people`), [base]);
    const invitations = useLoad(() => api.get<Invitation[]>(`${base}/invitations`), [base]);
    const authors = useLoad(() => api.get<PendingAuthor[]>(`${base}/authors`), [base]);
    const reload = () => [loaded, people, invitations, authors].forEach((each) => each.reload());
    return (
        <Show of={loaded}>
            {(known) => (
                <>
                    <PageHead title={known.name} lead={<span class="mono small">{known.id}</span>}>
                        <StatusOf tenant={known} />
                        <Actions tenant={known} />
                    </PageHead>
                    <WithTrust>
                        {(trust) => (
                            <>
                                <PendingKeys tenant={tenant} trust={trust} authors={authors} done={reload} />
                                <Keys tenant={known} trust={trust} reload={loaded.reload} />
                            </>
                        )}
                    </WithTrust>
                    <PeopleOf tenant={known} people={people.data ?? []} open={(invitations.data ?? []).filter((each) => each.status === "open")} reload={reload} />
                    <Tags tenant={known} reload={loaded.reload} />
                    <Charts vendor={of.vendor} tenant={tenant} />
                </>
            )}
        </Show>
    );
}

function Actions({ tenant }: { tenant: Tenant }) {
    const { of, home, mayChange } = useHere();
    const remove = () =>
        ask({
            title: `Remove ${tenant.name}?`,
            consequence: (
                <>
                    <p>
                        <strong>Its data can no longer be decrypted through your proxies</strong>, from the moment they read the change. What it signed and sealed here is deleted.
                    </p>
                    <p>It must have no KMS config of its own any more, for 36 hours.</p>
                </>
            ),
            action: "Remove for good",
            danger: true,
            typed: tenant.id,
            act: async () => {
                await api.delete(path`/api/1/vendors/${of.vendor}/tenants/${tenant.id}`);
                toast(`${tenant.name} was removed.`);
                navigate(`${home}/tenants`);
            },
        });
    return mayChange ? (
        <Button look="quiet" icon="trash" act={remove}>
            Remove
        </Button>
    ) : null;
}

/** What the tenant is assigned. While it has keys of its own, only its own people change that. */
function Keys({ tenant, trust, reload }: { tenant: Tenant; trust: Trust; reload: () => void }) {
    const { of, mayChange } = useHere();
    const base = path`/api/1/vendors/${of.vendor}`;
    const loaded = useLoad(
        async () => ({ state: await readTenant(trust, tenant.id), shared: (await api.get<Page<Config>>(withQuery(`${base}/configs`, { pageSize: 100 }))).result }),
        [trust, tenant.id],
    );
    return (
        <Card title="Keys">
            <Show of={loaded}>
                {({ state, shared }) => {
                    const mine = mayChange && tenant.ownConfigs === 0;
                    const again = () => {
                        loaded.reload();
                        reload();
                    };
                    return (
                        <>
                            {tenant.ownConfigs > 0 && <Note>{tenant.name} has keys of its own, so its own people decide what is used.</Note>}
                            {state.assignments.length === 0 && <p class="muted">None yet. Invite {tenant.name} to bring its own, or assign one of yours to begin with.</p>}
                            {state.assignments.map((assignment) => {
                                const own = state.configs.get(assignment.config);
                                const lent = shared.find((each) => each.id === assignment.config);
                                return (
                                    <div class="stack tight" key={assignment.config}>
                                        <div class="row between">
                                            <div class="row">
                                                <span class="strong">{own?.name || lent?.name || `Config ${assignment.config}`}</span>
                                                <Badge>{kmsName(own?.type ?? lent?.type ?? "")}</Badge>
                                                <State assignment={assignment} spares={state.spares} />
                                            </div>
                                            {mine && <AssignmentControls number={assignment.config} state={state} trust={trust} again={again} canLease={lent?.leasingAllowed ?? false} />}
                                        </div>
                                        {mayChange && <ConnectionTest vendor={of.vendor} tenant={tenant.id} config={assignment.config} kind="kms" />}
                                    </div>
                                );
                            })}
                            {mine && <AssignShared shared={shared.filter((each) => each.kind === "kms" && !state.assignments.some((one) => one.config === each.id))} state={state} trust={trust} again={again} />}
                        </>
                    );
                }}
            </Show>
        </Card>
    );
}

interface Changing {
    state: TenantState;
    trust: Trust;
    again: () => void;
}

async function apply({ state, trust, again }: Changing, assignments: TenantState["assignments"], done: string): Promise<void> {
    await changeTenant(trust, state, { assignments });
    toast(done);
    again();
}

function AssignmentControls({ number, canLease, ...changing }: { number: number; canLease: boolean } & Changing) {
    const { assignments } = changing.state;
    const mine = assignments.find((each) => each.config === number);
    if (mine === undefined) {
        return null;
    }
    const set = (changed: Partial<typeof mine>, done: string) =>
        apply(changing, assignments.map((each) => (each.config === number ? { ...each, ...changed } : changed.primary ? { ...each, primary: false } : each)), done);
    const disable = () =>
        ask({
            title: "Disable this key for the tenant?",
            consequence: <p>All of the tenant's data that was encrypted with it becomes unreadable at once, until you enable it again. Nothing is deleted.</p>,
            action: "Disable",
            danger: true,
            act: () => set({ active: false, primary: false, leasing: false }, "Disabled."),
        });
    const takeAway = () =>
        ask({
            title: "Take this key away from the tenant?",
            consequence: <p>Its data that was encrypted with this key becomes unreadable, until the key is assigned again.</p>,
            action: "Take away",
            danger: true,
            act: () => apply(changing, assignments.filter((each) => each.config !== number), "Taken away."),
        });
    return (
        <div class="row">
            {canLease && mine.active && (
                <>
                    <span class="small">Leasing</span>
                    <Switch label="Leasing" value={mine.leasing} set={(leasing) => void set({ leasing }, "Saved.").catch((failure: Error) => toast(failure.message, "bad"))} />
                </>
            )}
            {mine.active && !mine.primary && (
                <Button small look="primary" act={() => set({ primary: true }, "Primary now.")}>
                    Make primary
                </Button>
            )}
            {mine.active ? (
                <Button small look="quiet" act={disable}>
                    Disable
                </Button>
            ) : (
                <Button small act={() => set({ active: true }, "Enabled.")}>
                    Enable
                </Button>
            )}
            <Button small look="quiet" icon="trash" aria-label="Take away" act={takeAway} />
        </div>
    );
}

function AssignShared({ shared, ...changing }: { shared: Config[] } & Changing) {
    const [chosen, setChosen] = useState("");
    if (shared.length === 0) {
        return null;
    }
    const number = Number(chosen || shared[0]?.id);
    const assign = () => {
        const primary = !changing.state.assignments.some((each) => each.primary);
        return apply(changing, [...changing.state.assignments, { config: number, active: true, primary, leasing: false }], "Assigned.");
    };
    return (
        <div class="row">
            <div class="grow">
                <SelectField label="Assign one of your keys" value={String(number)} set={setChosen} options={shared.map((each) => [String(each.id), `${each.name || kmsName(each.type)} (${each.id})`] as const)} />
            </div>
            <Button act={assign}>Assign</Button>
        </div>
    );
}

function PeopleOf({ tenant, people, open, reload }: { tenant: Tenant; people: Person[]; open: Invitation[]; reload: () => void }) {
    const { of, trust, mayChange } = useHere();
    const [inviting, setInviting] = useState(false);
    const [link, setLink] = useState<string | null>(null);
    const again = async (invitation: Invitation) => {
        const made = await resend(of.vendor, tenant.id, invitation.id, invitation.mailed ? "mail" : "link", trust.data ?? null);
        setLink(made.link);
        toast(made.link === null ? "Sent again. The old link is void." : "Here is the new link. The old one is void.");
    };
    return (
        <Card title="Its people">
            {people.length === 0 && open.length === 0 && (
                <Empty
                    icon="people"
                    title="Nobody yet"
                    action={
                        mayChange && (
                            <Button look="primary" icon="plus" act={() => setInviting(true)}>
                                Invite its first owner
                            </Button>
                        )
                    }
                >
                    <p>Invite whoever holds {tenant.name}'s keys. They sign up, compare your fingerprint, and set their own KMS up.</p>
                </Empty>
            )}
            {people.map((each) => (
                <div class="row between" key={each.person}>
                    <span>
                        {each.name} <span class="muted small break">{each.email}</span>
                    </span>
                    <Badge>{each.role}</Badge>
                </div>
            ))}
            {open.map((each) => (
                <div class="row between" key={each.id}>
                    <span>
                        <span class="break">{each.email}</span> <Badge tone="warn">invited</Badge> <span class="muted small">until</span> <When at={each.expires} />
                    </span>
                    {mayChange && (
                        <Button small look="quiet" icon="send" act={() => again(each)}>
                            Send again
                        </Button>
                    )}
                </div>
            ))}
            {link !== null && (
                <Note tone="good">
                    <p class="mono small break">{link}</p>
                    <CopyButton text={link} what="Link" />
                </Note>
            )}
            {inviting && (
                <Invite
                    tenant={tenant.id}
                    tenantName={tenant.name}
                    first
                    close={() => {
                        setInviting(false);
                        reload();
                    }}
                />
            )}
        </Card>
    );
}

function Tags({ tenant, reload }: { tenant: Tenant; reload: () => void }) {
    const { of, mayChange } = useHere();
    const tags = useLoad(() => api.get<Page<Tag>>(withQuery(path`/api/1/vendors/${of.vendor}/tags`, { pageSize: 100 })), [of.vendor]);
    const set = async (tag: Tag, on: boolean) => {
        await api.patch(path`/api/1/vendors/${of.vendor}/tenants/${tenant.id}`, on ? { tagAdditions: [tag.id] } : { tagRemovals: [tag.id] });
        toast("Saved.");
        reload();
    };
    const change = (tag: Tag, on: boolean) =>
        ask({
            title: on ? `Add the tag ${tag.text}?` : `Take the tag ${tag.text} away?`,
            consequence: <p>Tags decide which of your proxies serve this tenant. Its configs must be sealed to their segment too; where they are not, those proxies cannot open them.</p>,
            action: on ? "Add" : "Take away",
            act: () => set(tag, on),
        });
    return (
        <Card title="Tags">
            <Show of={tags}>
                {({ result }) => (
                    <div class="row">
                        {result.map((each) => {
                            const on = tenant.tags.includes(each.id);
                            return mayChange ? (
                                <Button key={each.id} small {...(on ? { look: "primary" } : {})} act={() => change(each, !on)} aria-pressed={on}>
                                    {each.text}
                                </Button>
                            ) : (
                                on && <Badge key={each.id}>{each.text}</Badge>
                            );
                        })}
                    </div>
                )}
            </Show>
        </Card>
    );
}
