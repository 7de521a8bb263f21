/** A vendor's settings: name, defaults, sign-in, its root, segments, and who may sign manifests. */

import { useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { Page, Tag } from "../../api/types.ts";
import { myKeys } from "../../app/identity.tsx";
import { useHere, WithTrust } from "../../app/org.tsx";
import { useLoad } from "../../app/store.ts";
import { publish, type Trust } from "../../app/trust.ts";
import { nextManifest, nextRoot } from "../../trust/authoring.ts";
import { equal, hex, utf8 } from "../../trust/bytes.ts";
import { newestSegments } from "../../trust/chain.ts";
import { SHARED } from "../../trust/documents.ts";
import { openRecovery } from "../../trust/recovery.ts";
import { SigningKey } from "../../trust/signing.ts";
import { ask } from "../../ui/dialog.tsx";
import { CheckField, Form, TextField } from "../../ui/fields.tsx";
import { date } from "../../ui/format.ts";
import { Badge, Button, Card, CopyButton, download, Fingerprint, Note, PageHead, Show } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { SsoCard } from "../shared/sso.tsx";
import { RecoveryFields } from "./recovering.tsx";

interface Vendor {
    name: string;
    leasingRequiredDefault: boolean;
}

export function VendorSettings() {
    const { of, isOwner } = useHere();
    const base = path`/api/1/vendors/${of.vendor}`;
    const vendor = useLoad(() => api.get<Vendor>(base), [base]);
    return (
        <>
            <PageHead title="Settings" />
            <Card title="Your company">
                <Show of={vendor}>{(known) => <General known={known} base={base} mayChange={isOwner} />}</Show>
            </Card>
            <TagsCard />
            <SsoCard />
            <WithTrust>
                {(trust) => (
                    <>
                        <Root trust={trust} />
                        <Signers trust={trust} />
                    </>
                )}
            </WithTrust>
        </>
    );
}

function General({ known, base, mayChange }: { known: Vendor; base: string; mayChange: boolean }) {
    const [name, setName] = useState(known.name);
    const [leasing, setLeasing] = useState(known.leasingRequiredDefault);
    const save = async () => {
        await api.patch(base, { name: name.trim(), leasingRequiredDefault: leasing });
        toast("Saved.");
    };
    return (
        <Form send={save} action="Save" ready={mayChange && name.trim() !== ""}>
            <TextField label="Name" value={name} set={setName} disabled={!mayChange} />
            <CheckField label="New tenants must lease every key" hint="Each tenant can be set otherwise when it is added." value={leasing} set={setLeasing} disabled={!mayChange} />
        </Form>
    );
}

function TagsCard() {
    const { of, mayChange } = useHere();
    const base = path`/api/1/vendors/${of.vendor}/tags`;
    const [typed, setTyped] = useState("");
    const tags = useLoad(() => api.get<Page<Tag>>(withQuery(base, { pageSize: 100 })), [base]);
    const add = async () => {
        await api.post(base, { text: typed.trim() });
        setTyped("");
        tags.reload();
    };
    return (
        <Card title="Tags">
            <p class="muted">Words that tenants and segments share: a proxy serves the tenants whose tags its segment asks for.</p>
            <Show of={tags}>
                {({ result }) => (
                    <div class="row">
                        {result.map((each) => (
                            <Badge key={each.id} tone={each.default ? "accent" : "plain"}>
                                {each.text}
                                {each.default && " (default)"}
                            </Badge>
                        ))}
                    </div>
                )}
            </Show>
            {mayChange && (
                <Form send={add} action="Add the tag" ready={typed.trim() !== ""}>
                    <TextField label="New tag" placeholder="eu" value={typed} set={setTyped} />
                </Form>
            )}
        </Card>
    );
}

function Root({ trust }: { trust: Trust }) {
    const { root, manifest, rootFingerprint, rootSigned, manifestSigned } = trust.chain;
    const save = () =>
        download(
            `${manifest.vendor}-keys.json`,
            `${JSON.stringify({ format: "tenant-security-vendor", formatVersion: 1, root: rootSigned, manifest: manifestSigned, segmentWraps: trust.wraps }, (_name, value) => (value instanceof Uint8Array ? btoa(String.fromCharCode(...value)) : value), 2)}\n`,
            "application/json",
        );
    return (
        <Card title="Your root key">
            <p class="muted">Everything that your proxies and customers believe hangs on this fingerprint. Publish it where they can find it without this broker.</p>
            <Fingerprint value={rootFingerprint} />
            <dl class="facts">
                <dt>Root good until</dt>
                <dd>{date(root.expires * 1000)}</dd>
                <dt>Manifest</dt>
                <dd>
                    version {manifest.version}, good until {date(manifest.expires * 1000)}
                </dd>
                <dt>Segments</dt>
                <dd>
                    {newestSegments(manifest)
                        .map((each) => `${each.id} in epoch ${each.epoch}${each.tags.length > 0 ? ` (${each.tags.join(", ")})` : ""}`)
                        .join("; ")}
                </dd>
            </dl>
            <div class="row">
                <CopyButton text={rootFingerprint} what="Fingerprint" />
                <Button icon="download" act={save}>
                    Download the public documents
                </Button>
            </div>
        </Card>
    );
}

/** Authors, and who of them may sign the manifest. To let another one sign it, the root key must come out of its safe. */
function Signers({ trust }: { trust: Trust }) {
    const { isOwner, trust: loaded } = useHere();
    const { manifest, root } = trust.chain;
    const [opening, setOpening] = useState<RootKeys | null>(null);
    const left = root.keys.filter((key) => !manifest.authors.some((each) => equal(each.public, key.public)));
    const isService = (key: Uint8Array<ArrayBuffer>) => manifest.identities.some((each) => equal(each.signing, key));
    const authors = manifest.authors.filter((each) => each.tenant === SHARED);
    const signs = (key: Uint8Array<ArrayBuffer>) => root.keys.some((each) => equal(each.public, key));
    const renew = async () => {
        const { signing } = await myKeys();
        await publish(trust, { manifest: await nextManifest(manifest, {}, signing) });
        toast("Signed for another year.");
        loaded.reload();
    };
    const takeOut = (author: (typeof authors)[number]) =>
        ask({
            title: `Take ${author.name} out?`,
            consequence: (
                <>
                    <p>
                        <strong>What only this key has signed is not believed any more</strong>: tenants whose newest record or config it signed stop working until somebody else signs them again.
                    </p>
                    <p>Afterwards stop it from signing the manifest, here and with the recovery file: only the root can say that.</p>
                </>
            ),
            action: "Take out",
            danger: true,
            typed: author.name,
            act: async () => {
                const { signing } = await myKeys();
                const kept = manifest.authors.filter((each) => !equal(each.public, author.public));
                await publish(trust, { manifest: await nextManifest(manifest, { authors: kept }, signing) });
                loaded.reload();
            },
        });
    return (
        <Card title="Who signs for you">
            {authors.map((each) => (
                <div class="row between" key={each.name}>
                    <span>{each.name}</span>
                    <div class="row">
                        {isOwner && authors.length > 1 && !isService(each.public) && (
                            <Button small look="quiet" icon="trash" aria-label={`Take ${each.name} out`} act={() => takeOut(each)} />
                        )}
                        <Badge>tenants and configs</Badge>
                        {signs(each.public) ? (
                            <Badge tone="accent">service accounts and people</Badge>
                        ) : (
                            isOwner &&
                            !isService(each.public) && (
                                <Button small look="quiet" act={() => setOpening([...root.keys, { public: each.public, signs: ["manifest", "head"] }])}>
                                    Let them sign for service accounts too
                                </Button>
                            )
                        )}
                    </div>
                </div>
            ))}
            {left.map((key) => (
                <div class="row between" key={hex(key.public)}>
                    <span>
                        A key that was taken out <code class="muted">{hex(key.public).slice(0, 16)}…</code>
                    </span>
                    {isOwner && (
                        <Button small look="danger" act={() => setOpening(root.keys.filter((each) => each !== key))}>
                            Stop it from signing the manifest
                        </Button>
                    )}
                </div>
            ))}
            {isOwner && (
                <div>
                    <Button small icon="rotate" act={renew}>
                        Sign the manifest for another year
                    </Button>
                </div>
            )}
            {opening !== null && <WithRecovery trust={trust} keys={opening} close={() => setOpening(null)} />}
        </Card>
    );
}

type RootKeys = Trust["chain"]["root"]["keys"];

/** Sign a root with these keys, and the manifest again, so that both hold without a key that was taken out. */
function WithRecovery({ trust, keys, close }: { trust: Trust; keys: RootKeys; close: () => void }) {
    const { trust: loaded } = useHere();
    const [file, setFile] = useState("");
    const [words, setWords] = useState("");
    const send = async () => {
        const { seeds } = await openRecovery(utf8(file), words);
        const rootKey = await SigningKey.fromSeed(seeds.root);
        const { signing } = await myKeys();
        const root = await nextRoot(trust.chain.root, keys, rootKey);
        seeds.root.fill(0);
        await publish(trust, { root, manifest: await nextManifest(trust.chain.manifest, {}, signing) });
        toast("Signed with the root key.");
        close();
        loaded.reload();
    };
    return (
        <Form
            send={send}
            action="Sign with the root key"
            ready={file !== "" && words !== ""}
            extra={
                <Button look="quiet" act={close}>
                    Cancel
                </Button>
            }
        >
            <Note tone="warn" title="This needs your root key">
                <p>Only the root decides who may sign the manifest. Open the recovery file; it is used in this browser and sent nowhere.</p>
            </Note>
            <RecoveryFields file={file} setFile={setFile} words={words} setWords={setWords} />
        </Form>
    );
}
