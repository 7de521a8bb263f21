/** All tenants: found, told apart, made. */

import { useEffect, useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { Page, Tag, Tenant } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { navigate } from "../../app/router.ts";
import { useLoad } from "../../app/store.ts";
import { Dialog } from "../../ui/dialog.tsx";
import { CheckField, Form, TextField } from "../../ui/fields.tsx";
import { things } from "../../ui/format.ts";
import { Badge, Button, Card, Empty, Link, PageHead, Show, When } from "../../ui/parts.tsx";

const SIZE = 25;

export function StatusOf({ tenant }: { tenant: Tenant }) {
    if (tenant.accepted) {
        return <Badge tone="good">signed up</Badge>;
    }
    return tenant.invited ? <Badge tone="warn">invited</Badge> : <Badge>not invited</Badge>;
}

export function TenantsPage() {
    const { of, mayChange } = useHere();
    const [typed, setTyped] = useState("");
    const [query, setQuery] = useState("");
    const [status, setStatus] = useState("");
    const [page, setPage] = useState(1);
    const [making, setMaking] = useState(false);
    useEffect(() => {
        const later = setTimeout(() => {
            setQuery(typed.trim());
            setPage(1);
        }, 250);
        return () => clearTimeout(later);
    }, [typed]);
    const tenants = useLoad(
        () => api.get<Page<Tenant>>(withQuery(path`/api/1/vendors/${of.vendor}/tenants`, { page, pageSize: SIZE, query, status, sortColumn: "name", sortDirection: "asc" })),
        [of.vendor, page, query, status],
    );
    const isFiltered = query !== "" || status !== "";
    return (
        <>
            <PageHead title="Tenants" lead="Your customers. Each decides about its own keys once it has signed up.">
                {mayChange && (
                    <Button look="primary" icon="plus" act={() => setMaking(true)}>
                        Add a tenant
                    </Button>
                )}
            </PageHead>
            <Card flush>
                <div class="card-head">
                    <input type="search" class="input grow" placeholder="Search by name or id" aria-label="Search tenants" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
                    <select class="input" aria-label="Status" value={status} onChange={(event) => (setPage(1), setStatus(event.currentTarget.value))}>
                        <option value="">All</option>
                        <option value="accepted">Signed up</option>
                        <option value="not-accepted">Not signed up</option>
                    </select>
                </div>
                <Show of={tenants}>
                    {(found) =>
                        found.total === 0 ? (
                            isFiltered ? (
                                <Empty icon="tenants" title="No tenant is like that">
                                    <p>Search for a part of its name or id, or look at all of them.</p>
                                </Empty>
                            ) : (
                                <Empty
                                    icon="tenants"
                                    title="Add your first tenant"
                                    action={
                                        mayChange && (
                                            <Button look="primary" icon="plus" act={() => setMaking(true)}>
                                                Add a tenant
                                            </Button>
                                        )
                                    }
                                >
                                    <p>A tenant is one customer of yours, by the id that your application calls it. Invite whoever holds its keys, or give it one of yours to begin with.</p>
                                </Empty>
                            )
                        ) : (
                            <Table found={found} setPage={setPage} />
                        )
                    }
                </Show>
            </Card>
            {making && <NewTenant close={() => setMaking(false)} />}
        </>
    );
}

function Table({ found, setPage }: { found: Page<Tenant>; setPage: (page: number) => void }) {
    const { of, home } = useHere();
    const tags = useLoad(() => api.get<Page<Tag>>(withQuery(path`/api/1/vendors/${of.vendor}/tags`, { pageSize: 100 })), [of.vendor]);
    const texts = new Map(tags.data?.result.map((each) => [each.id, each.text]));
    return (
        <>
            <div class="table-wrap">
                <table class="folds">
                    <thead>
                        <tr>
                            <th>Tenant</th>
                            <th>Status</th>
                            <th>Keys</th>
                            <th>Tags</th>
                            <th>Changed</th>
                        </tr>
                    </thead>
                    <tbody>
                        {found.result.map((each) => (
                            <tr key={each.id}>
                                <td data-label="Tenant">
                                    <div class="stack tight">
                                        <Link to={`${home}/tenants/${encodeURIComponent(each.id)}`} class="strong break">
                                            {each.name}
                                        </Link>
                                        <span class="muted small mono break">{each.id}</span>
                                    </div>
                                </td>
                                <td data-label="Status">
                                    <StatusOf tenant={each} />
                                </td>
                                <td data-label="Keys">
                                    {each.primaryConfig === null ? (
                                        <Badge tone="warn">no primary</Badge>
                                    ) : each.ownConfigs > 0 ? (
                                        <Badge tone="good">{things(each.ownConfigs, "key")} of its own</Badge>
                                    ) : (
                                        <Badge tone="accent">yours</Badge>
                                    )}
                                </td>
                                <td data-label="Tags">
                                    <div class="row">
                                        {each.tags.map((tag) => (
                                            <Badge key={tag}>{texts.get(tag) ?? tag}</Badge>
                                        ))}
                                    </div>
                                </td>
                                <td data-label="Changed">
                                    <When at={each.updated} />
                                </td>
                            </tr>
                        ))}
                    </tbody>
                </table>
            </div>
            <Pager page={found.page} pages={found.totalPages} total={found.total} set={setPage} one="tenant" />
        </>
    );
}

export function Pager({ page, pages, total, set, one }: { page: number; pages: number; total: number; set: (page: number) => void; one: string }) {
    return (
        <div class="card-head">
            <span class="muted small">{things(total, one)}</span>
            {pages > 1 && (
                <div class="row">
                    <Button small look="quiet" act={() => set(page - 1)} disabled={page <= 1}>
                        Back
                    </Button>
                    <span class="small muted">
                        {page} of {pages}
                    </span>
                    <Button small look="quiet" act={() => set(page + 1)} disabled={page >= pages}>
                        On
                    </Button>
                </div>
            )}
        </div>
    );
}

function NewTenant({ close }: { close: () => void }) {
    const { of, home } = useHere();
    const tags = useLoad(() => api.get<Page<Tag>>(withQuery(path`/api/1/vendors/${of.vendor}/tags`, { pageSize: 100 })), [of.vendor]);
    const [name, setName] = useState("");
    const [id, setId] = useState("");
    const [leasing, setLeasing] = useState(false);
    const [chosen, setChosen] = useState<ReadonlySet<number> | null>(null);
    const known = tags.data?.result ?? [];
    const wanted = chosen ?? new Set(known.filter((each) => each.default).map((each) => each.id));
    const send = async () => {
        await api.post(path`/api/1/vendors/${of.vendor}/tenants`, { id: id.trim(), name: name.trim(), leasingRequired: leasing, ...(tags.data ? { tags: [...wanted] } : {}) });
        navigate(`${home}/tenants/${encodeURIComponent(id.trim())}`);
    };
    const toggle = (tag: number, on: boolean) => {
        const next = new Set(wanted);
        on ? next.add(tag) : next.delete(tag);
        setChosen(next);
    };
    return (
        <Dialog title="Add a tenant" close={close}>
            <Form
                send={send}
                action="Add"
                ready={name.trim() !== "" && id.trim() !== ""}
                extra={
                    <Button look="quiet" act={close}>
                        Cancel
                    </Button>
                }
            >
                <TextField label="Name" hint="Its people see it." name="name" value={name} set={setName} autofocus />
                <TextField label="Id" hint="What your application calls it in every call of the client. It never changes." name="id" value={id} set={setId} />
                {known.length > 1 && (
                    <fieldset class="field">
                        <legend class="strong">Tags</legend>
                        <p class="hint">Which of your proxies serve it.</p>
                        {known.map((each) => (
                            <CheckField key={each.id} label={each.text} value={wanted.has(each.id)} set={(on) => toggle(each.id, on)} />
                        ))}
                    </fieldset>
                )}
                <CheckField label="Every key must be leased" hint="For tenants with many operations." value={leasing} set={setLeasing} />
            </Form>
        </Dialog>
    );
}
