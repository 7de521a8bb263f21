/**
 * Becoming somebody here, by an invitation or as a new broker's first owner: a way to sign in, then keys of one's own.
 *
 * The same steps twice: `SignUp` makes the account and hands over what opens the keys; `MakeKeys` makes them.
 */

import { useState } from "preact/hooks";
import { renderSVG } from "uqr";

import { api } from "../../api/client.ts";
import { makePasskey, passkeysWork } from "../../api/passkeys.ts";
import type { Session } from "../../api/types.ts";
import { session } from "../../app/session.ts";
import { hold, keepBundle } from "../../app/vault.ts";
import { type AdminKeys, lockKeys, newKeys, type Opener, stretch } from "../../trust/keys.ts";
import { drawWords } from "../../trust/names.ts";
import { signClaim } from "../../trust/people.ts";
import { Form, SecretField, TextField } from "../../ui/fields.tsx";
import { Button, Code, CopyButton, Note } from "../../ui/parts.tsx";

const SHORTEST = 12;

export interface Joined {
    session: Session;
    opener: Opener | null;
    recoveryCodes: string[];
}

interface Given {
    token: string;
    /** The invitation's address; null where the person says it. */
    email: string | null;
    done: (joined: Joined) => void;
}

export function SignUp({ token, email: invited, done }: Given) {
    const [name, setName] = useState("");
    const [typed, setTyped] = useState("");
    const [way, setWay] = useState<"passkey" | "passphrase">(passkeysWork() ? "passkey" : "passphrase");
    const email = invited ?? typed.trim();
    const about = { token, name: name.trim(), ...(invited === null ? { email } : {}) };
    const byPasskey = async () => {
        const begun = await api.post<{ ceremony: string; options: object }>(
            "/api/1/sign-up/begin",
            { ...about, with: "passkey" },
            { plain: true },
        );
        const { credential, opener } = await makePasskey(begun.options);
        const passkeyName = navigator.userAgent.includes("Mobile") ? "This phone" : "This computer";
        const answer = await api.post<{ session: Session; recoveryCodes: string[] }>(
            "/api/1/sign-up",
            { ceremony: begun.ceremony, token, credential, passkeyName },
            { plain: true },
        );
        done({ ...answer, opener });
    };
    const ready = name.trim() !== "" && email !== "";
    return (
        <div class="stack">
            <TextField label="Your name" hint="How others here see you." name="name" value={name} set={setName} autocomplete="name" autofocus />
            {invited === null && (
                <TextField label="Your e-mail address" type="email" name="email" value={typed} set={setTyped} autocomplete="email" />
            )}
            {way === "passkey" ? (
                <>
                    <Button look="primary" block icon="finger" act={byPasskey} disabled={!ready}>
                        Make a passkey
                    </Button>
                    <p class="small muted">
                        Your fingerprint, face or PIN signs you in, on this device or a security key. Nothing to remember, and
                        nothing that a false page could take from you.
                    </p>
                    <div>
                        <Button look="quiet" act={() => setWay("passphrase")}>
                            Use a passphrase and an authenticator app instead
                        </Button>
                    </div>
                </>
            ) : (
                <WithPassphrase about={about} email={email} ready={ready} done={done} />
            )}
        </div>
    );
}

function WithPassphrase({ about, email, ready, done }: { about: { token: string }; email: string; ready: boolean; done: (joined: Joined) => void }) {
    const [passphrase, setPassphrase] = useState("");
    const [code, setCode] = useState("");
    const [begun, setBegun] = useState<{ ceremony: string; totpSecret: string; totpUri: string } | null>(null);
    const begin = async () =>
        setBegun(await api.post("/api/1/sign-up/begin", { ...about, with: "passphrase" }, { plain: true }));
    const finish = async () => {
        const { signIn, opener } = await stretch(email, passphrase);
        const answer = await api.post<{ session: Session; recoveryCodes: string[] }>(
            "/api/1/sign-up",
            { ceremony: begun?.ceremony, token: about.token, passphrase: signIn, code: code.trim() },
            { plain: true },
        );
        done({ ...answer, opener });
    };
    if (begun === null) {
        return (
            <Form send={begin} action="Go on" ready={ready && passphrase.length >= SHORTEST}>
                <NewPassphrase value={passphrase} set={setPassphrase} />
            </Form>
        );
    }
    return (
        <Form send={finish} action="Sign up" ready={/^\d{6}$/.test(code.trim())}>
            <Authenticator secret={begun.totpSecret} uri={begun.totpUri} />
            <TextField label="The six digits that it shows" name="code" inputMode="numeric" value={code} set={setCode} autocomplete="one-time-code" autofocus />
        </Form>
    );
}

export function NewPassphrase({ value, set, label = "Passphrase" }: { value: string; set: (value: string) => void; label?: string }) {
    const wrong = value !== "" && value.length < SHORTEST ? `It needs ${SHORTEST} characters or more.` : null;
    return (
        <div class="stack tight">
            <SecretField
                label={label}
                name="passphrase"
                hint="It also locks your keys, so take one that nobody can guess. It never leaves this browser."
                value={value}
                set={set}
                wrong={wrong}
            />
            <div>
                <Button small look="quiet" icon="rotate" act={() => set(drawWords(5))}>
                    Draw five words
                </Button>
                {value.split("-").length === 5 && (
                    <p class="small">
                        <code>{value}</code> <CopyButton text={value} what="Passphrase" />
                    </p>
                )}
            </div>
        </div>
    );
}

/** A secret for an authenticator app, as a picture and as text. */
export function Authenticator({ secret, uri }: { secret: string; uri: string }) {
    return (
        <div class="row top">
            <img class="qr" alt="QR code for your authenticator app" src={`data:image/svg+xml;utf8,${encodeURIComponent(renderSVG(uri))}`} />
            <div class="stack tight grow">
                <p class="strong">Scan this with an authenticator app</p>
                <p class="small muted">Or type this secret into it:</p>
                <p class="mono break">{secret}</p>
            </div>
        </div>
    );
}

/** Recovery codes, shown once. */
export function RecoveryCodes({ codes, done }: { codes: string[]; done: () => void }) {
    return (
        <div class="stack">
            <h2>Your recovery codes</h2>
            <p>Each stands in for your authenticator once. Keep them where your passphrase is not; they are not shown again.</p>
            <Code text={codes.join("\n")} what="Recovery codes" />
            <Button look="primary" act={done}>
                I have kept them
            </Button>
        </div>
    );
}

/** Make the person's keys, locked with what they sign in with, or with a passphrase of their own where that cannot. */
export function MakeKeys({ opener, email, done }: { opener: Opener | null; email: string; done: (made: { keys: AdminKeys; claim: Awaited<ReturnType<typeof signClaim>> }) => Promise<void> }) {
    const [passphrase, setPassphrase] = useState("");
    const make = async () => {
        const keys = await newKeys();
        const lock = opener ?? (await stretch(email, passphrase)).opener;
        const claim = await signClaim(email, keys);
        await keepBundle(await lockKeys(keys, [lock]), claim, null);
        await hold(keys);
        if (session.value) {
            session.set({ ...session.value, hasKeys: true });
        }
        await done({ keys, claim });
    };
    return (
        <Form send={make} action="Make my keys" ready={opener !== null || passphrase.length >= SHORTEST}>
            <Note>
                <p>
                    You sign with a key of your own. It is made here, now, and stays in your hands: the broker keeps it only
                    encrypted, and cannot open it.
                </p>
            </Note>
            {opener === null && (
                <>
                    <p>Your passkey signs you in, but cannot lock keys. Choose a passphrase for that.</p>
                    <NewPassphrase value={passphrase} set={setPassphrase} label="Key passphrase" />
                </>
            )}
        </Form>
    );
}
