/** What is a person's own: ways to sign in, keys, sessions. */

import { useState } from "preact/hooks";

import { api, path } from "../../api/client.ts";
import { makePasskey } from "../../api/passkeys.ts";
import type { Account, SessionEntry } from "../../api/types.ts";
import { DeclinedError, myKeys } from "../../app/identity.tsx";
import { loadSession, session, signOut } from "../../app/session.ts";
import { useLoad, useStore } from "../../app/store.ts";
import { keepBundle, keys, readKept } from "../../app/vault.ts";
import { type Opener, stretch, withLock, withoutLock } from "../../trust/keys.ts";
import { fingerprint } from "../../trust/names.ts";
import { ask, Dialog } from "../../ui/dialog.tsx";
import { Form, TextField } from "../../ui/fields.tsx";
import { Badge, Button, Card, Empty, Fingerprint, Note, PageHead, Show, When } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { Authenticator, MakeKeys, NewPassphrase, RecoveryCodes } from "../start/join.tsx";

export function AccountPage() {
    const account = useLoad(() => api.get<Account>("/api/1/account"), []);
    return (
        <>
            <PageHead title="Your account" lead="How you sign in, and the keys that sign in your name." />
            <Show of={account}>
                {(known) => (
                    <>
                        <Name known={known} reload={account.reload} />
                        <YourKeys email={known.email} />
                        <Passkeys known={known} reload={account.reload} />
                        <Passphrase known={known} reload={account.reload} />
                        <Sessions />
                    </>
                )}
            </Show>
        </>
    );
}

function Name({ known, reload }: { known: Account; reload: () => void }) {
    const [name, setName] = useState(known.name);
    const save = async () => {
        await api.patch("/api/1/account", { name: name.trim() });
        await loadSession();
        toast("Saved.");
        reload();
    };
    return (
        <Card title={known.email}>
            <Form send={save} action="Save" ready={name.trim() !== "" && name.trim() !== known.name}>
                <TextField label="Your name" value={name} set={setName} autocomplete="name" />
            </Form>
        </Card>
    );
}

function YourKeys({ email }: { email: string }) {
    const open = useStore(keys);
    const kept = useLoad(readKept, [open?.signing.id]);
    const whole = useLoad(async () => (kept.data ? fingerprint(kept.data.bundle.signing) : null), [kept.data]);
    return (
        <Card title="Your keys" side={open ? <Badge tone="good">open in this tab</Badge> : <Badge>closed</Badge>}>
            <Show of={kept}>
                {(known) =>
                    known === null ? (
                        <MakeKeys opener={null} email={email} done={async () => kept.reload()} />
                    ) : (
                        <>
                            <p class="muted">Who lets your key in compares these words with you. They open with {known.bundle.locks.map((each) => (each.kind === "passkey" ? "a passkey" : "your passphrase")).join(" or ")}.</p>
                            {whole.data && <Fingerprint value={whole.data} />}
                        </>
                    )
                }
            </Show>
            {open === null && kept.data && (
                <div>
                    <Button act={() => myKeys().catch((failure: unknown) => (failure instanceof DeclinedError ? undefined : Promise.reject(failure)))}>Open them</Button>
                </div>
            )}
        </Card>
    );
}

/** Lock the keys with one more opener, where the person has keys. */
async function lockWith(opener: Opener | null): Promise<boolean> {
    const kept = await readKept();
    if (kept === null || opener === null) {
        return kept === null;
    }
    await keepBundle(await withLock(kept.bundle, await myKeys(), opener), kept.claim, kept.keyId);
    return true;
}

function Passkeys({ known, reload }: { known: Account; reload: () => void }) {
    const add = async () => {
        if (session.value?.hasKeys) {
            await myKeys();
        }
        const begun = await api.post<{ ceremony: string; options: object }>("/api/1/account/passkeys/begin");
        const { credential, opener } = await makePasskey(begun.options);
        await api.post("/api/1/account/passkeys", { ceremony: begun.ceremony, credential, name: `Passkey ${known.passkeys.length + 1}` });
        const opens = await lockWith(opener);
        toast(opens ? "Your new passkey signs you in, and opens your keys." : "Your new passkey signs you in. It cannot open keys.");
        reload();
    };
    const remove = (each: Account["passkeys"][number]) =>
        ask({
            title: `Remove ${each.name}?`,
            consequence: <p>It no longer signs you in, and no longer opens your keys. Have another way first.</p>,
            action: "Remove",
            danger: true,
            act: async () => {
                await api.delete(path`/api/1/account/passkeys/${each.id}`);
                const kept = await readKept();
                if (kept !== null && kept.bundle.locks.length > 1) {
                    await keepBundle(withoutLock(kept.bundle, { kind: "passkey", id: each.id }), kept.claim, kept.keyId);
                }
                reload();
            },
        });
    return (
        <Card
            title="Passkeys"
            side={
                <Button small icon="plus" act={add}>
                    Add a passkey
                </Button>
            }
        >
            {known.passkeys.length === 0 ? (
                <Empty icon="finger" title="No passkey yet">
                    <p>Sign in with your fingerprint, face or PIN. Nothing that a false page could take from you.</p>
                </Empty>
            ) : (
                known.passkeys.map((each) => (
                    <div class="row between" key={each.id}>
                        <div class="stack tight grow">
                            <span class="strong">{each.name}</span>
                            <span class="muted small">
                                made <When at={each.created} />, used <When at={each.used} />
                            </span>
                        </div>
                        <Button small look="quiet" icon="trash" aria-label={`Remove ${each.name}`} act={() => remove(each)} />
                    </div>
                ))
            )}
        </Card>
    );
}

function Passphrase({ known, reload }: { known: Account; reload: () => void }) {
    const [begun, setBegun] = useState<{ ceremony: string; totpSecret: string; totpUri: string } | null>(null);
    const [passphrase, setPassphrase] = useState("");
    const [code, setCode] = useState("");
    const [codes, setCodes] = useState<string[]>([]);
    const begin = async () => {
        if (session.value?.hasKeys) {
            await myKeys();
        }
        setBegun(await api.post("/api/1/account/passphrase/begin"));
    };
    const finish = async () => {
        const { signIn, opener } = await stretch(known.email, passphrase);
        const answer = await api.put<{ recoveryCodes: string[] }>("/api/1/account/passphrase", { ceremony: begun?.ceremony, passphrase: signIn, code: code.trim() });
        await lockWith(opener);
        setCodes(answer.recoveryCodes);
        setBegun(null);
        setPassphrase("");
    };
    const newCodes = async () => setCodes((await api.post<{ recoveryCodes: string[] }>("/api/1/account/recovery-codes")).recoveryCodes);
    return (
        <Card title="Passphrase and authenticator" side={known.passphrase ? <Badge tone="good">on</Badge> : <Badge>off</Badge>}>
            <p class="muted">{known.passphrase ? `${known.recoveryCodesLeft} recovery codes are left.` : "A second way in, for devices without your passkey."}</p>
            <div class="row">
                <Button act={begin}>{known.passphrase ? "Change" : "Set up"}</Button>
                {known.passphrase && (
                    <Button look="quiet" act={newCodes}>
                        New recovery codes
                    </Button>
                )}
            </div>
            {begun !== null && (
                <Dialog title="Passphrase and authenticator" close={() => setBegun(null)}>
                    <Form
                        send={finish}
                        action="Set it"
                        ready={passphrase.length >= 12 && /^\d{6}$/.test(code.trim())}
                        extra={
                            <Button look="quiet" act={() => setBegun(null)}>
                                Cancel
                            </Button>
                        }
                    >
                        <NewPassphrase value={passphrase} set={setPassphrase} />
                        <Authenticator secret={begun.totpSecret} uri={begun.totpUri} />
                        <TextField label="The six digits that it shows" inputMode="numeric" value={code} set={setCode} />
                        <Note tone="warn">Your other sessions end.</Note>
                    </Form>
                </Dialog>
            )}
            {codes.length > 0 && (
                <Dialog title="Recovery codes" close={() => undefined}>
                    <RecoveryCodes
                        codes={codes}
                        done={() => {
                            setCodes([]);
                            reload();
                        }}
                    />
                </Dialog>
            )}
        </Card>
    );
}

function Sessions() {
    const sessions = useLoad(() => api.get<SessionEntry[]>("/api/1/sessions"), []);
    const end = async (each: SessionEntry) => {
        if (each.current) {
            await signOut();
            return;
        }
        await api.delete(path`/api/1/sessions/${each.id}`);
        sessions.reload();
    };
    const endOthers = async () => {
        await api.delete("/api/1/sessions");
        toast("All other sessions have ended.");
        sessions.reload();
    };
    return (
        <Card
            title="Where you are signed in"
            side={
                <Button small look="quiet" act={endOthers}>
                    End all others
                </Button>
            }
        >
            <Show of={sessions}>
                {(known) => (
                    <>
                        {known.map((each) => (
                            <div class="row between" key={each.id}>
                                <div class="stack tight grow">
                                    <span>
                                        {browserOf(each.agent)} {each.current && <Badge tone="accent">this one</Badge>}
                                    </span>
                                    <span class="muted small">
                                        {each.address} · by {each.method} · last used <When at={each.seen} />
                                    </span>
                                </div>
                                <Button small look="quiet" act={() => end(each)}>
                                    End
                                </Button>
                            </div>
                        ))}
                    </>
                )}
            </Show>
        </Card>
    );
}

function browserOf(agent: string): string {
    const browser = /(Firefox|Edg|OPR|Chrome|Safari)\/\d+/.exec(agent)?.[1] ?? "Browser";
    const system = /(Windows|Mac OS X|Android|iPhone|iPad|Linux)/.exec(agent)?.[1];
    const names: Record<string, string> = { Edg: "Edge", OPR: "Opera" };
    return system ? `${names[browser] ?? browser} on ${system.replace("Mac OS X", "macOS")}` : (names[browser] ?? browser);
}
