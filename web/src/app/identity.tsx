/**
 * Asks the person who they are, in one dialog: to prove it to the broker again, to open their keys, or both at once.
 *
 * With a passkey one touch does both. With a passphrase the same text does: what is sent and what opens the keys are
 * both made of it, and neither tells the other.
 */

import { useState } from "preact/hooks";

import { api } from "../api/client.ts";
import { passkeysWork, usePasskey } from "../api/passkeys.ts";
import type { Session } from "../api/types.ts";
import { type AdminKeys, stretch } from "../trust/keys.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Form, SecretField, TextField } from "../ui/fields.tsx";
import { Button } from "../ui/parts.tsx";
import { session } from "./session.ts";
import { goToSso } from "./sso.ts";
import { Store, useStore } from "./store.ts";
import { keys, unlock } from "./vault.ts";

interface Wanted {
    proof: boolean;
    keys: boolean;
    why: string;
    done: (given: boolean) => void;
}

const wanted = new Store<Wanted | null>(null);

function want(what: Omit<Wanted, "done">): Promise<boolean> {
    return new Promise((resolve) => {
        wanted.value?.done(false);
        wanted.set({
            ...what,
            done: (given) => {
                wanted.set(null);
                resolve(given);
            },
        });
    });
}

/** Prove again who is there. Resolves to whether they did. */
export function proveAgain(): Promise<boolean> {
    const openKeys = session.value?.hasKeys === true && keys.value === null;
    return want({ proof: true, keys: openKeys, why: "This change needs a fresh proof that it is you." });
}

/** The person turned the dialog down. */
export class DeclinedError extends Error {}

/** The person's keys, opened first where they are not. Throws DeclinedError. */
export async function myKeys(): Promise<AdminKeys> {
    if (keys.value === null) {
        const proof = (session.value?.provedUntil ?? 0) < Date.now() + 60_000;
        if (!(await want({ proof, keys: true, why: "Your keys are needed to sign and seal. They open in this browser only." }))) {
            throw new DeclinedError("Nothing was changed: your keys stayed closed.");
        }
    }
    if (keys.value === null) {
        throw new DeclinedError("Your keys could not be opened.");
    }
    return keys.value;
}

/** Go to the sign-on that this session came from. No organisation but that one is available to it. */
async function proveBySso(): Promise<void> {
    const from = session.value?.organisations.find((each) => each.available);
    if (from === undefined) {
        throw new Error("You belong to no organisation of this session any more. Sign out, then in again.");
    }
    await goToSso(from.vendor, from.tenant, location.pathname, true);
}

export function Identity() {
    const asked = useStore(wanted);
    const signedIn = useStore(session);
    return asked === null || !signedIn ? null : <Asking asked={asked} />;
}

function Asking({ asked }: { asked: Wanted }) {
    const email = session.value?.person.email ?? "";
    const bySso = session.value?.method === "sso";
    const [byText, setByText] = useState(session.value?.method === "passphrase" || !passkeysWork());
    const [passphrase, setPassphrase] = useState("");
    const [code, setCode] = useState("");

    const byPasskey = async () => {
        const begun = await api.post<{ ceremony: string; options: object }>("/api/1/session/proof/begin", {}, { plain: true });
        const { credential, opener } = await usePasskey(begun.options);
        if (asked.proof) {
            const proof = { ceremony: begun.ceremony, credential };
            session.set(await api.post<Session>("/api/1/session/proof", proof, { plain: true }));
        }
        if (asked.keys && opener === null) {
            setByText(true);
            throw new Error("This passkey cannot open your keys. Open them with your key passphrase.");
        }
        if (asked.keys && opener !== null) {
            await unlock(opener);
        }
        asked.done(true);
    };

    const byPassphrase = async () => {
        const { signIn, opener } = await stretch(email, passphrase);
        if (asked.proof && code !== "") {
            const second = code.trim().length === 6 ? { code: code.trim() } : { recoveryCode: code.trim() };
            const proof = { passphrase: signIn, ...second };
            session.set(await api.post<Session>("/api/1/session/proof", proof, { plain: true }));
        }
        if (asked.keys) {
            await unlock(opener);
        }
        asked.done(true);
    };

    return (
        <Dialog title="Confirm that it is you" close={() => asked.done(false)}>
            <p class="muted">{asked.why}</p>
            {bySso && asked.proof ? (
                <div class="stack">
                    <p class="small muted">You came by single sign-on, so it is your organisation's sign-on that proves it. You come back to this page; what you have typed into it is lost.</p>
                    <Button look="primary" block act={proveBySso}>
                        Confirm by single sign-on
                    </Button>
                    <div class="row end">
                        <Button look="quiet" act={() => asked.done(false)}>
                            Cancel
                        </Button>
                    </div>
                </div>
            ) : byText ? (
                <Form
                    send={byPassphrase}
                    action="Confirm"
                    ready={passphrase !== ""}
                    extra={
                        <Button look="quiet" act={() => asked.done(false)}>
                            Cancel
                        </Button>
                    }
                >
                    <SecretField
                        label="Passphrase"
                        hint="It never leaves this browser: a value made of it is sent."
                        value={passphrase}
                        set={setPassphrase}
                        autocomplete="current-password"
                        autofocus
                    />
                    {asked.proof && (
                        <TextField
                            label="Code from your authenticator"
                            hint="Or a recovery code."
                            value={code}
                            set={setCode}
                            autocomplete="one-time-code"
                        />
                    )}
                </Form>
            ) : (
                <div class="stack">
                    <Button look="primary" block icon="finger" act={byPasskey}>
                        Use your passkey
                    </Button>
                    <div class="row between">
                        <Button look="quiet" act={() => setByText(true)}>
                            Use a passphrase
                        </Button>
                        <Button look="quiet" act={() => asked.done(false)}>
                            Cancel
                        </Button>
                    </div>
                </div>
            )}
        </Dialog>
    );
}
