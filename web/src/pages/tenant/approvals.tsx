/** Two people for every change of keys: the rule, and what waits. */

import { api } from "../../api/client.ts";
import type { Approval } from "../../api/types.ts";
import { useHere } from "../../app/org.tsx";
import { session } from "../../app/session.ts";
import { useLoad } from "../../app/store.ts";
import { ask } from "../../ui/dialog.tsx";
import { Switch } from "../../ui/fields.tsx";
import { Badge, Button, Card, Empty, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { baseOf } from "../shared/people.tsx";

export function ApprovalsPage() {
    const { of, isOwner, mayChange } = useHere();
    const base = baseOf(of.vendor, of.tenant);
    const rule = useLoad(() => api.get<{ required: boolean }>(`${base}/approval-rule`), [base]);
    const approvals = useLoad(() => api.get<Approval[]>(`${base}/approvals`), [base]);
    const setRule = (required: boolean) =>
        ask({
            title: required ? "Ask for two people from now on?" : "Let one person be enough?",
            consequence: required ? (
                <p>Changes of keys, of what is used, and of who signs wait until somebody else approves them. A stolen device alone can then change nothing.</p>
            ) : (
                <p>Switching it off is such a change itself: it waits for a second person.</p>
            ),
            action: required ? "Ask for two" : "Hand in",
            act: async () => {
                const answer = await api.put<{ approval?: string } | undefined>(`${base}/approval-rule`, { required });
                toast(answer?.approval ? "Handed in. It waits for a second person." : "Saved.");
                rule.reload();
                approvals.reload();
            },
        });
    const decide = async (approval: Approval, how: "approve" | "refuse") => {
        await api.post(`${base}/approvals/${encodeURIComponent(approval.id)}/${how}`);
        toast(how === "approve" ? "Approved. It takes effect now." : "Refused. Nothing changes.");
        approvals.reload();
        rule.reload();
    };
    return (
        <>
            <PageHead title="Approvals" lead="Four eyes: what one person hands in, another one approves." />
            <Card>
                <Show of={rule}>
                    {({ required }) => (
                        <div class="row between">
                            <div class="stack tight grow">
                                <span class="strong">Two people for every change of keys</span>
                                <span class="muted small">Log destinations do not wait.</span>
                            </div>
                            <Switch label="Two people for every change of keys" value={required} set={setRule} disabled={!isOwner} />
                        </div>
                    )}
                </Show>
            </Card>
            <Card flush title="Handed in">
                <Show of={approvals}>
                    {(known) =>
                        known.length === 0 ? (
                            <Empty icon="shield" title="Nothing waits">
                                <p>Changes that need a second person appear here.</p>
                            </Empty>
                        ) : (
                            <Table known={known} mayDecide={mayChange} decide={decide} />
                        )
                    }
                </Show>
            </Card>
        </>
    );
}

const TONES = { waiting: "warn", approved: "good", refused: "bad", expired: "plain" } as const;

function summaryOf(approval: Approval): string {
    if (typeof approval.summary === "string") {
        return approval.summary;
    }
    if (Array.isArray(approval.summary)) {
        return approval.summary.map(String).join("; ");
    }
    return approval.kind === "rule" ? "The rule about two people" : "A change of keys";
}

function Table({ known, mayDecide, decide }: { known: Approval[]; mayDecide: boolean; decide: (approval: Approval, how: "approve" | "refuse") => Promise<void> }) {
    const me = session.value?.person.id;
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>What</th>
                        <th>By</th>
                        <th>When</th>
                        <th>State</th>
                        <th>
                            <span class="visually-hidden">Actions</span>
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {known.map((each) => (
                        <tr key={each.id}>
                            <td>{summaryOf(each)}</td>
                            <td data-label="By">{each.createdBy.name}</td>
                            <td data-label="When">
                                <When at={each.created} />
                            </td>
                            <td data-label="State">
                                <Badge tone={TONES[each.state]}>{each.state}</Badge>
                            </td>
                            <td class="actions">
                                {mayDecide && each.state === "waiting" && each.createdBy.id !== me && (
                                    <div class="row end">
                                        <Button small look="primary" act={() => decide(each, "approve")}>
                                            Approve
                                        </Button>
                                        <Button small look="quiet" act={() => decide(each, "refuse")}>
                                            Refuse
                                        </Button>
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
