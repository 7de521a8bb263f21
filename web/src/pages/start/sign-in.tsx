/** Signing in: a passkey; an address with passphrase and code; or the organisation's single sign-on. */

import { useState } from "preact/hooks";

import { api } from "../../api/client.ts";
import { passkeysWork, usePasskey } from "../../api/passkeys.ts";
import type { Session } from "../../api/types.ts";
import { Narrow } from "../../app/frame.tsx";
import { navigate, usePlace } from "../../app/router.ts";
import { firstHome, session } from "../../app/session.ts";
import { goToSso } from "../../app/sso.ts";
import { unlock } from "../../app/vault.ts";
import { type Opener, stretch } from "../../trust/keys.ts";
import { Form, SecretField, TextField } from "../../ui/fields.tsx";
import { Button, Card, Note } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";

const PROBLEMS: Record<string, string> = {
    "session-ended": "Your session has ended, and your keys are closed. Sign in to go on where you were.",
    "sso-refused": "Your organisation's sign-on did not let you in. Ask whoever runs it whether you may use this, then try again.",
    "sso-failed": "Single sign-on did not work. Try again; if it keeps failing, ask an owner to check its settings.",
    "sso-not-a-member": "Your organisation's sign-on knows you, but nobody has invited you here. Ask an owner.",
    "sso-email": "Your organisation's sign-on did not vouch for your e-mail address, so we cannot tell who you are.",
    "sso-unreachable": "Your organisation's sign-on could not be reached. Try again in a minute.",
    "sso-expired": "That took too long. Begin again.",
};

/** After signing in: open the keys where that needs no further question, and go on. */
export async function enter(signedIn: Session, opener: Opener | null, next: string | null): Promise<void> {
    session.set(signedIn);
    if (signedIn.hasKeys && opener !== null) {
        await unlock(opener).catch(() => toast("Signed in. Your keys stay closed until they are needed."));
    }
    navigate(next?.startsWith("/") && !next.startsWith("//") ? next : firstHome(signedIn), "replace");
}

export function SignIn() {
    const { query } = usePlace();
    const problem = PROBLEMS[query.get("problem") ?? ""];
    const next = query.get("next") ?? "";
    const at = query.get("vendor") ?? "";
    return (
        <Narrow>
            <div class="stack tight">
                <h1>Sign in</h1>
                <p class="muted">Your keys, and your customers' keys, under their own control.</p>
            </div>
            {problem && <Note tone="bad">{problem}</Note>}
            <Card>
                <Ways key={at} next={next} at={at === "" ? null : { vendor: at, tenant: query.get("tenant") ?? "" }} done={(signedIn, opener) => enter(signedIn, opener, next)} />
            </Card>
            <p class="small muted">
                No account yet? You need an invitation: ask whoever runs your organisation here for its link.
            </p>
        </Narrow>
    );
}

type Done = (signedIn: Session, opener: Opener | null) => Promise<void>;

interface At {
    vendor: string;
    tenant: string;
}

/** The ways to sign in, one at a time. `at` is the organisation whose single sign-on comes first. */
export function Ways({ next, at = null, done }: { next: string | null; at?: At | null; done: Done }) {
    const own = passkeysWork() ? "passkey" : "passphrase";
    const [way, setWay] = useState<"passkey" | "passphrase" | "sso">(at === null ? own : "sso");
    const byPasskey = async () => {
        const begun = await api.post<{ ceremony: string; options: object }>("/api/1/sign-in/passkey/begin", {}, { plain: true });
        const { credential, opener } = await usePasskey(begun.options);
        const proof = { ceremony: begun.ceremony, credential };
        await done(await api.post<Session>("/api/1/sign-in/passkey", proof, { plain: true }), opener);
    };
    return (
        <div class="stack">
            {way === "passkey" && (
                <Button look="primary" block icon="finger" act={byPasskey}>
                    Sign in with a passkey
                </Button>
            )}
            {way === "passphrase" && <ByPassphrase done={done} />}
            {way === "sso" && <BySso next={next} at={at} />}
            <hr />
            <div class="row between">
                {way !== "passkey" && (
                    <Button look="quiet" act={() => setWay("passkey")}>
                        Use a passkey
                    </Button>
                )}
                {way !== "passphrase" && (
                    <Button look="quiet" act={() => setWay("passphrase")}>
                        Use a passphrase
                    </Button>
                )}
                {way !== "sso" && next !== null && (
                    <Button look="quiet" act={() => setWay("sso")}>
                        Single sign-on
                    </Button>
                )}
            </div>
        </div>
    );
}

function ByPassphrase({ done }: { done: Done }) {
    const [email, setEmail] = useState("");
    const [passphrase, setPassphrase] = useState("");
    const [code, setCode] = useState("");
    const send = async () => {
        const { signIn, opener } = await stretch(email, passphrase);
        const given = code.trim();
        const second = /^\d{6}$/.test(given) ? { code: given } : { recoveryCode: given };
        const answer = await api.post<Session>(
            "/api/1/sign-in/passphrase",
            { email: email.trim(), passphrase: signIn, ...second },
            { plain: true },
        );
        await done(answer, opener);
    };
    return (
        <Form send={send} action="Sign in" block ready={email !== "" && passphrase !== "" && code !== ""}>
            <TextField label="E-mail address" type="email" name="email" value={email} set={setEmail} autocomplete="username" autofocus />
            <SecretField label="Passphrase" name="passphrase" value={passphrase} set={setPassphrase} autocomplete="current-password" />
            <TextField
                label="Code"
                hint="Six digits from your authenticator, or a recovery code."
                name="code"
                value={code}
                set={setCode}
                autocomplete="one-time-code"
            />
        </Form>
    );
}

function BySso({ next, at }: { next: string | null; at: At | null }) {
    const [vendor, setVendor] = useState(at?.vendor ?? "");
    const [tenant, setTenant] = useState(at?.tenant ?? "");
    return (
        <Form send={() => goToSso(vendor.trim(), tenant.trim() || null, next ?? "/")} action="Go on to your organisation" block ready={vendor !== ""}>
            <TextField label="Vendor" hint="The vendor's id, as in your invitation." value={vendor} set={setVendor} autofocus />
            <TextField label="Tenant" hint="Your organisation's id at the vendor; nothing if you work for the vendor." optional value={tenant} set={setTenant} />
        </Form>
    );
}
