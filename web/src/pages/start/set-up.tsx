/** A new broker's first owner: an account, keys, the vendor's root, and the file that brings it all back. */

import { useEffect, useState } from "preact/hooks";

import { api } from "../../api/client.ts";
import type { Session } from "../../api/types.ts";
import { Narrow } from "../../app/frame.tsx";
import { navigate, takeFragment } from "../../app/router.ts";
import { homeOf, loadSession, session } from "../../app/session.ts";
import { useStore } from "../../app/store.ts";
import { pin } from "../../app/trust.ts";
import { keys, rememberPin } from "../../app/vault.ts";
import { myKeys } from "../../app/identity.tsx";
import { createVendor, type NewVendor } from "../../trust/authoring.ts";
import { nowSeconds } from "../../trust/documents.ts";
import { drawWords, fingerprint } from "../../trust/names.ts";
import { writeRecovery } from "../../trust/recovery.ts";
import { CheckField, Form, TextField } from "../../ui/fields.tsx";
import { Button, Card, CopyButton, download, Fingerprint, Note } from "../../ui/parts.tsx";
import { type Joined, MakeKeys, RecoveryCodes, SignUp } from "./join.tsx";

const STEPS = ["You", "Your keys", "Your company", "Recovery file"];
const TAG = "default";

function idOf(name: string): string {
    return name
        .normalize("NFKD")
        .toLowerCase()
        .replaceAll(/[^a-z0-9]+/g, "-")
        .replaceAll(/^-+|-+$/g, "")
        .slice(0, 64);
}

export function SetUp() {
    const [token] = useState(takeFragment);
    const [joined, setJoined] = useState<Joined | null>(null);
    const [made, setMade] = useState<Made | null>(null);
    const signedIn = useStore(session);
    const opened = useStore(keys);
    useEffect(() => void loadSession(), []);
    const showCodes = joined !== null && joined.recoveryCodes.length > 0;
    const step = made !== null ? 3 : !signedIn || showCodes ? 0 : signedIn.hasKeys ? 2 : 1;
    return (
        <Narrow wide>
            <div class="stack tight">
                <h1>Set up your broker</h1>
                <p class="muted">Four steps, about three minutes. Everything secret is made in this browser and stays yours.</p>
            </div>
            <ol class="steps">
                {STEPS.map((name, at) => (
                    <li key={name} class={at < step ? "done" : ""} aria-current={at === step ? "step" : undefined}>
                        {name}
                    </li>
                ))}
            </ol>
            <Card>
                {token === "" && <Note tone="warn">The set-up link is incomplete. Copy it whole from where the broker printed it.</Note>}
                {step === 0 && !signedIn && signedIn !== undefined && (
                    <SignUp token={token} email={null} done={(each) => (setJoined(each), session.set(each.session))} />
                )}
                {step === 0 && signedIn && showCodes && (
                    <RecoveryCodes codes={joined.recoveryCodes} done={() => setJoined({ ...joined, recoveryCodes: [] })} />
                )}
                {step === 1 && signedIn && (
                    <MakeKeys opener={joined?.opener ?? null} email={signedIn.person.email} done={async () => undefined} />
                )}
                {step === 2 && signedIn && <Company token={token} signedIn={signedIn} done={setMade} keysOpen={opened !== null} />}
                {made !== null && <Recovery made={made} token={token} />}
            </Card>
        </Narrow>
    );
}

interface Made {
    id: string;
    name: string;
    vendor: NewVendor;
    root: string;
}

function Company({ signedIn, done, keysOpen }: { token: string; signedIn: Session; done: (made: Made) => void; keysOpen: boolean }) {
    const [name, setName] = useState("");
    const [id, setId] = useState("");
    const shownId = id || idOf(name);
    const isGood = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(shownId);
    const make = async () => {
        const vendor = await createVendor(shownId, signedIn.person.name || signedIn.person.email, await myKeys(), [TAG]);
        done({ id: shownId, name: name.trim(), vendor, root: await fingerprint(vendor.rootPublic) });
    };
    return (
        <Form send={make} action="Make the root key" ready={name.trim() !== "" && isGood}>
            <TextField label="Your company's name" hint="Your customers see it in their invitation." name="company" value={name} set={setName} autofocus />
            <TextField
                label="Id"
                hint="Stands in every signed document and never changes."
                name="id"
                value={shownId}
                set={setId}
                wrong={isGood || shownId === "" ? null : "Letters, digits, dots and dashes; it begins with a letter or digit."}
            />
            <Note>
                <p>
                    Next, this browser makes your company's <strong>root key</strong>. It decides who may sign for you, and
                    everything your proxies and customers believe hangs on its fingerprint. It goes into a recovery file and
                    nowhere else.
                </p>
            </Note>
            {!keysOpen && <p class="small muted">You will be asked to open your keys.</p>}
        </Form>
    );
}

function Recovery({ made, token }: { made: Made; token: string }) {
    const [words] = useState(() => drawWords(8));
    const [saved, setSaved] = useState(false);
    const [kept, setKept] = useState(false);
    const save = async () => {
        const seeds = { root: made.vendor.rootSeed, encryption: made.vendor.recoverySeed };
        const file = await writeRecovery(made.id, made.root, nowSeconds(), seeds, words);
        download(`${made.id}-recovery.json`, file, "application/json");
        setSaved(true);
    };
    const finish = async () => {
        const { root, manifest, segmentWraps } = made.vendor;
        await api.post(
            "/api/1/vendors",
            { name: made.name, documents: { root, manifest, segmentWraps }, defaultTag: TAG },
            { headers: { "Set-Up-Token": token } },
        );
        made.vendor.rootSeed.fill(0);
        made.vendor.recoverySeed.fill(0);
        pin(made.id, made.root);
        await rememberPin(made.id, made.root);
        await loadSession();
        navigate(homeOf({ vendor: made.id, tenant: null }), "replace");
    };
    return (
        <Form send={finish} action="Finish" ready={saved && kept}>
            <h2>Keep the recovery file</h2>
            <p>
                If every admin loses their keys, this file and its eight words bring {made.name} back. Without it your customers'
                settings could never be changed again. Whoever has both <strong>is</strong> {made.name}: keep the file offline, and
                the words somewhere else.
            </p>
            <div class="row">
                <Button icon="download" act={save} {...(saved ? {} : { look: "primary" })}>
                    Download the recovery file
                </Button>
            </div>
            <div class="field">
                <span class="label">Its words, to write down</span>
                <ol class="words" aria-label="Words of the recovery file">
                    {words.split("-").map((word, at) => (
                        <li key={at}>{word}</li>
                    ))}
                </ol>
                <div class="row end">
                    <CopyButton text={words} what="Words" />
                </div>
            </div>
            <CheckField label="I have the file and the words, in two safe places." value={kept} set={setKept} disabled={!saved} />
            <hr />
            <h3>Your root's fingerprint</h3>
            <p class="small muted">Your proxies pin it, and your customers compare these words when they accept your invitation. Publish it, for example on your website.</p>
            <Fingerprint value={made.root} />
        </Form>
    );
}
