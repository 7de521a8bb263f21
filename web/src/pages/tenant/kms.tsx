/** A tenant's KMS configs: what is used for what, and changing that. */


import { useHere, WithTrust } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { changeTenant, type KnownConfig, readTenant, type TenantChange, type TenantState } from "../../app/tenant-documents.ts";
import type { Trust } from "../../app/trust.ts";
import { kmsName } from "../../kms/index.ts";
import type { Assignment } from "../../trust/documents.ts";
import { wrongSpares } from "../../trust/spares.ts";
import { ask } from "../../ui/dialog.tsx";
import { Switch } from "../../ui/fields.tsx";
import { Badge, Button, ButtonLink, Card, Empty, Note, PageHead, Show, When } from "../../ui/parts.tsx";
import { things } from "../../ui/format.ts";
import { toast } from "../../ui/toast.tsx";
import { ConnectionTest } from "../shared/connection-test.tsx";

export function KmsPage() {
    const { home, mayChange } = useHere();
    return (
        <>
            <PageHead title="Your keys" lead="Which of your KMS keys protect your data here. You hold them; switching one off in your own KMS takes effect, whatever anybody here says.">
                {mayChange && (
                    <ButtonLink to={`${home}/kms/new`} look="primary" icon="plus">
                        Add a KMS key
                    </ButtonLink>
                )}
            </PageHead>
            <WithTrust>{(trust) => <Configs trust={trust} />}</WithTrust>
        </>
    );
}

function Configs({ trust }: { trust: Trust }) {
    const { of, home, mayChange } = useHere();
    const tenant = of.tenant ?? "";
    const state = useLoad(() => readTenant(trust, tenant), [trust, tenant]);
    return (
        <Show of={state}>
            {(known) => {
                const own = [...known.configs.values()].filter((each) => each.header.kind === "kms");
                const shared = known.assignments.filter((each) => !known.configs.has(each.config));
                if (own.length === 0 && shared.length === 0) {
                    return (
                        <Card>
                            <Empty
                                icon="key"
                                title="Protect your data with a key of your own"
                                action={
                                    mayChange && (
                                        <ButtonLink to={`${home}/kms/new`} look="primary" icon="plus">
                                            Add your first KMS key
                                        </ButtonLink>
                                    )
                                }
                            >
                                <p>
                                    Have a key in AWS, Azure, Google Cloud, Vault or CipherTrust. About five minutes: allow two operations on one key,
                                    type what identifies it, and have it tested.
                                </p>
                            </Empty>
                        </Card>
                    );
                }
                return (
                    <div class="stack">
                        {!known.assignments.some((each) => each.primary) && (
                            <Note tone="warn" title="No key is primary yet">
                                <p>Until one is, nothing new can be encrypted for you. Make one primary once its test has passed.</p>
                            </Note>
                        )}
                        {own.map((config) => (
                            <ConfigCard key={config.header.config} config={config} known={known} trust={trust} reload={state.reload} />
                        ))}
                        {shared.map((assignment) => (
                            <SharedCard key={assignment.config} assignment={assignment} known={known} trust={trust} reload={state.reload} />
                        ))}
                    </div>
                );
            }}
        </Show>
    );
}

interface Shared {
    known: TenantState;
    trust: Trust;
    reload: () => void;
}

/** Change what is signed, say so, and show it. */
export async function change(given: Shared, what: TenantChange, done: string): Promise<void> {
    const outcome = await changeTenant(given.trust, given.known, what);
    toast(outcome === "done" ? done : "Handed in. It takes effect when a second person approves it.");
    given.reload();
}

export function ConfigCard({ config, ...shared }: { config: KnownConfig } & Shared) {
    const { of, home, mayChange } = useHere();
    const { known } = shared;
    const number = config.header.config;
    const assignment = known.assignments.find((each) => each.config === number);
    return (
        <Card
            title={config.name || kmsName(config.type)}
            side={
                <div class="row">
                    <Badge>{kmsName(config.type)}</Badge>
                    <State assignment={assignment} spares={known.spares} />
                </div>
            }
        >
            <dl class="facts">
                <dt>Number</dt>
                <dd>{number}</dd>
                <dt>Sealed and signed</dt>
                <dd>
                    <When at={config.header.created * 1000} /> by {config.signedBy}
                </dd>
                <StandsIn number={number} known={known} />
            </dl>
            {mayChange && <Controls assignment={assignment} number={number} {...shared} />}
            {mayChange && (
                <div class="row between top">
                    {assignment ? <ConnectionTest vendor={of.vendor} tenant={known.tenant} config={number} kind="kms" /> : <span />}
                    <div class="row">
                        <ButtonLink to={`${home}/kms/${number}/credentials`} small icon="rotate">
                            Rotate credentials
                        </ButtonLink>
                        <Remove config={config} assignment={assignment} {...shared} />
                    </div>
                </div>
            )}
        </Card>
    );
}

/** Which config a spare stands in for, and which ones stand in for the primary. */
function StandsIn({ number, known: { assignments, spares, configs } }: { number: number; known: TenantState }) {
    const { of } = useHere();
    const nameOf = (config: number) => configs.get(config)?.name || `config ${config}${configs.has(config) ? "" : ` of ${of.vendorName}`}`;
    const primary = assignments.find((each) => each.primary)?.config;
    if (primary === undefined || spares.length === 0 || (number !== primary && !spares.includes(number))) {
        return null;
    }
    return number === primary ? (
        <>
            <dt>Spares</dt>
            <dd>{spares.map(nameOf).join(", then ")}: each wraps every new key too, and opens it when this KMS does not</dd>
        </>
    ) : (
        <>
            <dt>Stands in for</dt>
            <dd>{nameOf(primary)}: it wraps every new key too, so whoever may use it can read that data</dd>
        </>
    );
}

function SharedCard({ assignment, ...shared }: { assignment: Assignment } & Shared) {
    const { of, mayChange } = useHere();
    return (
        <Card
            title={`${of.vendorName}'s own key`}
            side={
                <div class="row">
                    <Badge>from {of.vendorName}</Badge>
                    <State assignment={assignment} spares={shared.known.spares} />
                </div>
            }
        >
            <p class="muted">
                This KMS key is {of.vendorName}'s, not yours. Data that it protects stays readable for as long as it is active here.
            </p>
            {shared.known.spares.length > 0 && (
                <dl class="facts">
                    <StandsIn number={assignment.config} known={shared.known} />
                </dl>
            )}
            {mayChange && <Controls assignment={assignment} number={assignment.config} {...shared} />}
        </Card>
    );
}

export function State({ assignment, spares }: { assignment: Assignment | undefined; spares: readonly number[] }) {
    if (assignment === undefined) {
        return <Badge tone="warn">not assigned</Badge>;
    }
    if (!assignment.active) {
        return <Badge tone="bad">disabled</Badge>;
    }
    return (
        <>
            {assignment.primary ? <Badge tone="good">primary</Badge> : <Badge tone="accent">active</Badge>}
            {spares.includes(assignment.config) && <Badge tone="accent">spare {spares.indexOf(assignment.config) + 1}</Badge>}
            {assignment.leasing && <Badge tone="accent">leasing</Badge>}
        </>
    );
}

function Controls({ assignment, number, ...shared }: { assignment: Assignment | undefined; number: number } & Shared) {
    const { known } = shared;
    const set = (changed: Partial<Assignment>, done: string) => {
        const others = known.assignments.filter((each) => each.config !== number);
        const mine = { config: number, active: true, primary: false, leasing: false, ...assignment, ...changed };
        const rest = mine.primary ? others.map((each) => ({ ...each, primary: false })) : others;
        return change(shared, { assignments: [...rest, mine].sort((one, other) => one.config - other.config) }, done);
    };
    // Those that hold what this one holds: a spare and the primary stand in for each other.
    const together = [...known.spares, ...known.assignments.filter((each) => each.primary).map((each) => each.config)];
    const beside = known.spares.length > 0 && together.includes(number) ? together.filter((each) => each !== number && known.assignments.some((other) => other.config === each && other.active)) : [];
    if (assignment === undefined) {
        return (
            <div class="row">
                <Button small act={() => set({}, "Assigned.")}>
                    Assign
                </Button>
                <span class="small muted">It is stored, and used for nothing.</span>
            </div>
        );
    }
    const makePrimary = () =>
        ask({
            title: "Encrypt new data with this key?",
            consequence: (
                <>
                    <p>From now on everything new is encrypted with this key. What was encrypted before still needs the key it was encrypted with: keep that one active.</p>
                    <p class="muted">Test the connection first, if you have not.</p>
                </>
            ),
            action: "Make primary",
            act: () => set({ primary: true, active: true }, "This key is primary now."),
        });
    const disable = () =>
        ask({
            title: "Disable this key?",
            consequence: (
                <>
                    {beside.length === 0 ? (
                        <p>
                            <strong>All data that was encrypted with it becomes unreadable at once</strong>, for the application and for you, until you enable it again. Nothing is deleted.
                        </p>
                    ) : (
                        <p>
                            <strong>This alone does not make your data unreadable.</strong> What was encrypted while there were spares is wrapped by {things(beside.length, "other config")} too, and stays readable
                            through {beside.length === 1 ? "it" : "them"}. To take all access away, disable {beside.length === 1 ? "that one" : "those"} as well. What this key alone wrapped becomes unreadable at once.
                        </p>
                    )}
                    {assignment.primary && <p>It is your primary key: nothing new can be encrypted either, until another one is primary.</p>}
                </>
            ),
            action: "Disable",
            danger: true,
            act: () => set({ active: false, primary: false, leasing: false }, "Disabled. Its data is unreadable until you enable it again."),
        });
    const primary = known.assignments.find((each) => each.primary);
    const isSpare = known.spares.includes(number);
    const maySpare = primary !== undefined && wrongSpares(known.assignments, [...known.spares, number]) === null;
    const spare = () =>
        ask({
            title: isSpare ? "Let it be no spare any more?" : "Wrap every new key with this KMS too?",
            consequence: isSpare ? (
                <p>New keys are not wrapped by it any more. What it wrapped until now it still opens, for as long as it is active.</p>
            ) : (
                <>
                    <p>New data stays readable when the primary key is lost or its KMS does not answer. What is encrypted already stays as it is.</p>
                    <p>
                        <strong>The price: whoever may use either key can read that data</strong>, and to take access away you must disable both.
                    </p>
                </>
            ),
            action: isSpare ? "No spare" : "Make it a spare",
            act: () => change(shared, { spares: isSpare ? known.spares.filter((each) => each !== number) : [...known.spares, number] }, isSpare ? "It is no spare any more." : "It wraps every new key too."),
        });
    const lease = (leasing: boolean) =>
        ask({
            title: leasing ? "Turn leasing on?" : "Turn leasing off?",
            consequence: leasing ? (
                <p>
                    The proxy keeps a leased key in memory for ten minutes, so your KMS is asked far less often and everything is faster. The price: after you take the permission back in your KMS, a lease may still be
                    used until it ends.
                </p>
            ) : (
                <p>Every operation asks your KMS from now on. What was encrypted with leased keys stays readable.</p>
            ),
            action: leasing ? "Turn on" : "Turn off",
            act: () => set({ leasing }, leasing ? "Leasing is on." : "Leasing is off."),
        });
    return (
        <div class="row between">
            <div class="row">
                {assignment.active && !assignment.primary && (
                    <Button small look="primary" act={makePrimary}>
                        Make primary
                    </Button>
                )}
                {assignment.active && (isSpare || maySpare) && (
                    <Button small act={spare}>
                        {isSpare ? "No spare any more" : "Make it a spare"}
                    </Button>
                )}
                {assignment.active ? (
                    <Button small look="danger" act={disable}>
                        Disable
                    </Button>
                ) : (
                    <Button small act={() => set({ active: true }, "Enabled.")}>
                        Enable
                    </Button>
                )}
            </div>
            {assignment.active && (
                <div class="row">
                    <span class="small">Leasing</span>
                    <Switch label="Leasing" value={assignment.leasing} set={lease} />
                </div>
            )}
        </div>
    );
}

function Remove({ config, assignment, ...shared }: { config: KnownConfig; assignment: Assignment | undefined } & Shared) {
    const number = config.header.config;
    const name = config.name || kmsName(config.type);
    const remove = () =>
        change(
            shared,
            { assignments: shared.known.assignments.filter((each) => each.config !== number), removed: [number] },
            `${name} was removed.`,
        );
    const begin = () =>
        ask({
            title: `Remove ${name}?`,
            consequence: (
                <>
                    <p>
                        <strong>Data that was encrypted with it can never be read again</strong> through this config: the credentials are deleted here, and nobody else has them. Your KMS key itself stays where it is.
                    </p>
                    <p>To only stop its use, disable it instead.</p>
                </>
            ),
            action: "Remove for good",
            danger: true,
            typed: name,
            act: remove,
        });
    return (
        <Button small look="quiet" icon="trash" act={begin} disabled={assignment?.primary === true} title={assignment?.primary ? "Make another key primary first" : undefined}>
            Remove
        </Button>
    );
}
