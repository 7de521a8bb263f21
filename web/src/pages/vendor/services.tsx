/** Service accounts: made here or let in, and revoked, with what they could read. */

import { useState } from "preact/hooks";

import { api, path } from "../../api/client.ts";
import type { ServiceAccount } from "../../api/types.ts";
import { myKeys } from "../../app/identity.tsx";
import { useHere, WithTrust } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { mySeeds, publish, type Trust } from "../../app/trust.ts";
import { BRIDGE_TAG, entitled, envFile, LOGDRIVER_TAG, newIdentity, nextManifest, RECOVERY, wrapsFor } from "../../trust/authoring.ts";
import { base64, concat, random, utf8 } from "../../trust/bytes.ts";
import { newestSegments } from "../../trust/chain.ts";
import type { Identity, Manifest } from "../../trust/documents.ts";
import { fingerprint } from "../../trust/names.ts";
import * as read from "../../trust/reading.ts";
import { ask, Dialog } from "../../ui/dialog.tsx";
import { Form, SelectField, TextField } from "../../ui/fields.tsx";
import { Badge, Button, Card, CopyButton, download, Empty, Fingerprint, Note, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { revokeService, readableBy } from "./revoking.ts";

export function ServicesPage() {
    const { mayChange, of, trust } = useHere();
    const [dialog, setDialog] = useState<"make" | "let-in" | null>(null);
    const accounts = useLoad(() => api.get<ServiceAccount[]>(path`/api/1/vendors/${of.vendor}/service-accounts`), [of.vendor]);
    const close = () => {
        setDialog(null);
        trust.reload();
        accounts.reload();
    };
    return (
        <>
            <PageHead title="Service accounts" lead="Who your proxies and logdrivers are. One for each place where they run, so that one can be revoked alone.">
                {mayChange && (
                    <>
                        <Button act={() => setDialog("let-in")}>Let one in</Button>
                        <Button look="primary" icon="plus" act={() => setDialog("make")}>
                            Make one
                        </Button>
                    </>
                )}
            </PageHead>
            <WithTrust>
                {(known) => (
                    <Card flush>
                        <Show of={accounts}>{(found) => <Accounts accounts={found} trust={known} make={() => setDialog("make")} reload={close} />}</Show>
                        {dialog === "make" && <Make trust={known} close={close} />}
                        {dialog === "let-in" && <LetIn trust={known} close={close} />}
                    </Card>
                )}
            </WithTrust>
        </>
    );
}

function Accounts({ accounts, trust, make, reload }: { accounts: ServiceAccount[]; trust: Trust; make: () => void; reload: () => void }) {
    const { mayChange } = useHere();
    if (accounts.every((each) => each.id === RECOVERY)) {
        return (
            <Empty
                icon="server"
                title="No proxy can read anything yet"
                action={
                    mayChange && (
                        <Button look="primary" icon="plus" act={make}>
                            Make the first service account
                        </Button>
                    )
                }
            >
                <p>A service account has keys of its own, made in your browser or where it runs. You let it in by signing for it, and it gets the keys of the segments that it serves.</p>
            </Empty>
        );
    }
    return (
        <div class="table-wrap">
            <table class="folds">
                <thead>
                    <tr>
                        <th>Name</th>
                        <th>Status</th>
                        <th>Serves</th>
                        <th>Heard of</th>
                        <th>
                            <span class="visually-hidden">Actions</span>
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {accounts.map((each) => {
                        const identity = trust.chain.manifest.identities.find((one) => one.id === each.id);
                        return (
                            <tr key={each.id}>
                                <td data-label="Name">
                                    <div class="stack tight">
                                        <span class="strong">{each.id}</span>
                                        <span class="muted small">
                                            {each.id === RECOVERY ? "your recovery file" : each.kind} · number {each.config} {each.seenVersion && `· version ${each.seenVersion}`}
                                        </span>
                                    </div>
                                </td>
                                <td data-label="Status">
                                    <StatusBadge identity={identity} />
                                </td>
                                <td data-label="Serves">{identity && servedBy(trust.chain.manifest, identity)}</td>
                                <td data-label="Heard of">
                                    <When at={each.seen} />
                                </td>
                                <td class="actions">{mayChange && identity?.status === "active" && each.id !== RECOVERY && <Revoke identity={identity} trust={trust} done={reload} />}</td>
                            </tr>
                        );
                    })}
                </tbody>
            </table>
        </div>
    );
}

function StatusBadge({ identity }: { identity: Identity | undefined }) {
    if (identity === undefined) {
        return <Badge tone="bad">not signed for</Badge>;
    }
    return identity.status === "active" ? <Badge tone="good">active</Badge> : <Badge tone="bad">revoked</Badge>;
}

export function servedBy(manifest: Manifest, identity: Identity): string {
    const served = newestSegments(manifest).filter((segment) => entitled(identity, segment));
    return served.map((segment) => `segment ${segment.id}${segment.tags.length > 0 ? ` (${segment.tags.join(", ")})` : ""}`).join(", ") || "nothing";
}

function segmentChoices(manifest: Manifest): (readonly [string, string])[] {
    const served = newestSegments(manifest).filter((each) => !each.tags.includes(BRIDGE_TAG));
    return served.map((each) => [String(each.id), each.tags.length > 0 ? `Segment ${each.id}: ${each.tags.join(", ")}` : `Segment ${each.id}: every tenant`] as const);
}

function nextNumber(manifest: Manifest): number {
    return Math.max(0, ...manifest.identities.map((each) => each.config)) + 1;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

function wrongName(manifest: Manifest, name: string): string | null {
    if (manifest.identities.some((each) => each.id === name)) {
        return "There is one of this name. Revoked ones keep theirs.";
    }
    return name === "" || NAME.test(name) ? null : "Letters, digits, dots and dashes; it begins with a letter or digit.";
}

async function letIn(trust: Trust, identity: Identity): Promise<void> {
    const { chain, wraps } = trust;
    const { signing } = await myKeys();
    const added = await wrapsFor(chain.manifest, identity, await mySeeds(trust));
    const manifest = await nextManifest(chain.manifest, { identities: [...chain.manifest.identities, identity] }, signing);
    await publish(trust, { manifest, wraps: [...wraps, ...added] });
}

function Make({ trust, close }: { trust: Trust; close: () => void }) {
    const { manifest, rootFingerprint } = trust.chain;
    const [name, setName] = useState("");
    const [kind, setKind] = useState<"proxy" | "logdriver">("proxy");
    const [segment, setSegment] = useState(segmentChoices(manifest)[0]?.[0] ?? "");
    const [apiKey, setApiKey] = useState(() => base64(random(32)).replaceAll(/[+/=]/g, ""));
    const [file, setFile] = useState<string | null>(null);
    const [saved, setSaved] = useState(false);
    const make = async () => {
        const tags = newestSegments(manifest).find((each) => String(each.id) === segment)?.tags ?? [];
        const made = await newIdentity(name.trim(), nextNumber(manifest), kind === "proxy" ? tags : [...tags, LOGDRIVER_TAG]);
        await letIn(trust, made.identity);
        setFile(envFile(made, Number(segment), rootFingerprint, apiKey, location.origin));
        made.encryptionSeed.fill(0);
        made.signingSeed.fill(0);
    };
    const save = () => {
        download(`${name.trim()}.env`, file ?? "");
        setSaved(true);
    };
    if (file !== null) {
        return (
            <Dialog title={`${name} is let in`} close={() => saved && close()} wide>
                <Note tone="warn" title="Download its env file now. It is not shown again.">
                    <p>It holds the account's private keys, which exist nowhere else. Bring it to where the proxy runs as you bring other secrets there, and delete the download.</p>
                </Note>
                <pre tabIndex={0} aria-label="The env file, its secrets covered">
                    {file.replaceAll(/^((?:SERVICE_\w+_PRIVATE_KEY|API_KEY)=).*$/gm, "$1••••••••")}
                </pre>
                <div class="row end">
                    <Button icon="download" act={save} {...(saved ? {} : { look: "primary" })}>
                        Download the env file
                    </Button>
                    <Button act={close} disabled={!saved} {...(saved ? { look: "primary" } : {})}>
                        Done
                    </Button>
                </div>
            </Dialog>
        );
    }
    return (
        <Dialog title="Make a service account" close={close}>
            <Form
                send={make}
                action="Make its keys"
                ready={NAME.test(name) && wrongName(manifest, name) === null && apiKey.length >= 16}
                extra={
                    <Button look="quiet" act={close}>
                        Cancel
                    </Button>
                }
            >
                <TextField label="Name" hint="Where it runs, such as production-eu." name="name" value={name} set={setName} wrong={wrongName(manifest, name)} autofocus />
                <SelectField
                    label="What it is"
                    value={kind}
                    set={(value) => setKind(value as typeof kind)}
                    options={[
                        ["proxy", "A proxy: encrypts and decrypts"],
                        ["logdriver", "A logdriver: delivers events to your tenants' SIEMs"],
                    ]}
                />
                <SelectField label="Serves" hint="Whose configs it can open." value={segment} set={setSegment} options={segmentChoices(manifest)} />
                <TextField label="API key of the proxy" hint="What your application presents to this proxy. This one was drawn by lot." name="api-key" value={apiKey} set={setApiKey} />
                <p class="small muted">Its private keys are made in this browser. Would you rather make them where it runs? Use “Let one in”.</p>
            </Form>
        </Dialog>
    );
}

const request = read.object({
    id: read.string(NAME),
    config: read.integer(1, 2 ** 31 - 1),
    suite: read.oneOf(1, 2),
    encryption: read.bytes(),
    signing: read.bytes(32),
    tags: read.optional(read.array(read.string(/^.{1,120}$/u)), []),
});

function LetIn({ trust, close }: { trust: Trust; close: () => void }) {
    const [text, setText] = useState("");
    const [asked, setAsked] = useState<{ identity: Identity; fingerprint: string } | null>(null);
    const look = async () => {
        const said = read.decode(request, utf8(text.trim()), "the request");
        const taken = trust.chain.manifest.identities.find((each) => each.id === said.id || each.config === said.config);
        if (taken !== undefined) {
            throw new Error(`An account named ${said.id} or numbered ${said.config} exists. Make the request again with another name or number.`);
        }
        setAsked({ identity: { ...said, status: "active" }, fingerprint: await fingerprint(concat(said.encryption, said.signing)) });
    };
    const approve = async () => {
        if (asked !== null) {
            await letIn(trust, asked.identity);
            toast(`${asked.identity.id} is let in.`);
            close();
        }
    };
    const cancel = (
        <Button look="quiet" act={close}>
            Cancel
        </Button>
    );
    return (
        <Dialog title="Let a service in that made its own keys" close={close} wide>
            {asked === null ? (
                <Form send={look} action="Look at it" ready={text.trim() !== ""} extra={cancel}>
                    <p>
                        Run <code>tenant-security identity request</code> where the service will run. It keeps the private keys there and prints a request. Paste that.
                    </p>
                    <TextField label="Request" lines value={text} set={setText} />
                </Form>
            ) : (
                <Form send={approve} action="The words are the same: let it in" extra={cancel}>
                    <p>
                        <strong>{asked.identity.id}</strong> will serve {servedBy(trust.chain.manifest, asked.identity)}, and can then read the credentials sealed to that. Compare this fingerprint with what the command printed.
                    </p>
                    <Fingerprint value={asked.fingerprint} />
                    <CopyButton text={asked.fingerprint} what="Fingerprint" />
                </Form>
            )}
        </Dialog>
    );
}

function Revoke({ identity, trust, done }: { identity: Identity; trust: Trust; done: () => void }) {
    const begin = async () => {
        const readable = await readableBy(trust, identity);
        ask({
            title: `Revoke ${identity.id}?`,
            consequence: (
                <>
                    <p>It is told nothing more, and its segments get new keys, to which everything is sealed anew. A proxy that runs with this account stops at its next look.</p>
                    <p>
                        <strong>What it could read, it may have kept.</strong> These credentials should be rotated at the KMS:
                    </p>
                    {readable.length === 0 ? (
                        <p class="muted">None: no config was sealed to it.</p>
                    ) : (
                        <ul class="small">
                            {readable.map((each) => (
                                <li key={each}>{each}</li>
                            ))}
                        </ul>
                    )}
                    <CopyButton text={readable.join("\n")} what="List" />
                </>
            ),
            action: "Revoke",
            danger: true,
            typed: identity.id,
            act: async () => {
                const rewrapped = await revokeService(trust, identity);
                toast(`${identity.id} is revoked; ${rewrapped} configs were sealed anew.`);
                done();
            },
        });
    };
    return (
        <Button small look="danger" act={begin}>
            Revoke
        </Button>
    );
}
