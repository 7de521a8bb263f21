/** Accepting an invitation: who invites, whose fingerprint is it, who are you, and your keys. */

import { useEffect, useState } from "preact/hooks";

import { api, path } from "../../api/client.ts";
import type { Session } from "../../api/types.ts";
import { Narrow } from "../../app/frame.tsx";
import { navigate, takeFragment } from "../../app/router.ts";
import { homeOf, loadSession, session } from "../../app/session.ts";
import { useLoad, useStore } from "../../app/store.ts";
import { pin, pinOf } from "../../app/trust.ts";
import { keys, readKept, rememberPin, unlock } from "../../app/vault.ts";
import { fromBase64url } from "../../trust/bytes.ts";
import * as documents from "../../trust/documents.ts";
import type { Signed } from "../../trust/documents.ts";
import { parseFingerprint } from "../../trust/names.ts";
import { proveEnrolment } from "../../trust/people.ts";
import { CheckField, Form } from "../../ui/fields.tsx";
import { date } from "../../ui/format.ts";
import { Button, Card, Failure, Fingerprint, Loading, Note } from "../../ui/parts.tsx";
import { Ways } from "./sign-in.tsx";
import { type Joined, MakeKeys, RecoveryCodes, SignUp } from "./join.tsx";

interface Look {
    id: string;
    vendor: string;
    vendorName: string;
    rootFingerprint: string;
    tenant: string | null;
    tenantName: string | null;
    email: string;
    role: string;
    expires: number;
}

/** What the link's fragment says: the token, the root's fingerprint, and the secret that proves who was invited. */
function readLink(): { token: string; root: string | null; secret: string | null } {
    const said = new URLSearchParams(takeFragment());
    let root: string | null = null;
    try {
        root = parseFingerprint(said.get("r") ?? "");
    } catch {
        root = null;
    }
    return { token: said.get("t") ?? "", root, secret: said.get("s") };
}

export function InvitationPage() {
    const [link] = useState(readLink);
    const look = useLoad(() => api.post<Look>("/api/1/invitations/look", { token: link.token }, { plain: true }), []);
    useEffect(() => void loadSession(), []);
    return (
        <Narrow wide>
            {look.data === undefined ? (
                <Card>
                    <h1>Your invitation</h1>
                    {look.failure === undefined ? (
                        <Loading />
                    ) : (
                        <>
                            <Failure failure={look.failure} />
                            <p class="muted">Invitations are good for seven days and once. Ask whoever invited you to send another.</p>
                        </>
                    )}
                </Card>
            ) : (
                <Accepting look={look.data} {...link} />
            )}
        </Narrow>
    );
}

type Link = ReturnType<typeof readLink>;

function Accepting({ look, token, root, secret }: { look: Look } & Link) {
    const [compared, setCompared] = useState(false);
    const [joined, setJoined] = useState<Joined | null>(null);
    const [accepted, setAccepted] = useState(false);
    const signedIn = useStore(session);
    const given = root ?? look.rootFingerprint;
    const differs = root !== null && root !== parseFingerprint(look.rootFingerprint);
    const showCodes = joined !== null && joined.recoveryCodes.length > 0;
    const prove = async (claim: Signed) => {
        if (secret !== null) {
            const proof = await proveEnrolment(claim, fromBase64url(secret));
            await api.put(path`/api/1/invitations/${look.id}/proof`, { proof });
        }
    };
    const finish = async () => {
        pin(look.vendor, given);
        if (keys.value !== null) {
            await rememberPin(look.vendor, given);
        }
        await loadSession();
        navigate(homeOf(look), "replace");
    };
    const accept = async () => {
        session.set(await api.post<Session>("/api/1/invitations/accept", { token }));
        const kept = await readKept();
        if (kept !== null) {
            await prove(documents.signed(kept.claim, "claim"));
            await finish();
        } else {
            setAccepted(true);
        }
    };
    if (differs) {
        return (
            <Note tone="bad" title="Stop: this broker shows another vendor than your invitation.">
                <p>The fingerprint in your link is not the one that the broker names. Tell {look.vendorName}, by another way than e-mail.</p>
            </Note>
        );
    }
    const isIn = joined !== null || accepted;
    return (
        <>
            <div class="stack tight">
                <h1>
                    {look.vendorName} invites you{look.tenantName ? ` for ${look.tenantName}` : ""}
                </h1>
                <p class="muted">
                    {look.email}, as {look.role}. Good until {date(look.expires)}.
                </p>
            </div>
            {!compared ? (
                <Compare known={pinOf(look.vendor) === given} look={look} given={given} fromLink={root !== null} done={() => setCompared(true)} />
            ) : (
                <Card>
                    {!isIn && signedIn && (
                        <div class="stack">
                            <p>
                                You are signed in as <strong>{signedIn.person.email}</strong>.
                            </p>
                            <Button look="primary" act={accept}>
                                Accept the invitation
                            </Button>
                        </div>
                    )}
                    {!isIn && signedIn === null && (
                        <>
                            <SignUp token={token} email={look.email} done={(each) => (setJoined(each), session.set(each.session))} />
                            <details class="small">
                                <summary>Have an account already?</summary>
                                <Ways
                                    next={null}
                                    done={async (each, opener) => {
                                        session.set(each);
                                        if (each.hasKeys && opener !== null) {
                                            await unlock(opener).catch(() => undefined);
                                        }
                                    }}
                                />
                            </details>
                        </>
                    )}
                    {showCodes && <RecoveryCodes codes={joined.recoveryCodes} done={() => setJoined({ ...joined, recoveryCodes: [] })} />}
                    {isIn && !showCodes && (
                        <MakeKeys opener={joined?.opener ?? null} email={look.email} done={async ({ claim }) => (await prove(claim), await finish())} />
                    )}
                </Card>
            )}
        </>
    );
}

function Compare({ look, given, fromLink, known, done }: { look: Look; given: string; fromLink: boolean; known: boolean; done: () => void }) {
    const [said, setSaid] = useState(known);
    return (
        <Card title={`Is this really ${look.vendorName}?`}>
            <Form send={async () => done()} action="Go on" ready={said}>
                <p>
                    These words stand for the key that vouches for {look.vendorName}. Compare them with what {look.vendorName} published, or
                    ask a person there whom you know, over the phone. This browser then believes nothing that this key does not
                    vouch for, whatever the broker says.
                </p>
                <Fingerprint value={given} />
                {!fromLink && (
                    <Note tone="warn">
                        <p>Your link did not carry the fingerprint, so this one is what the broker says. Comparing it matters all the more.</p>
                    </Note>
                )}
                <CheckField label="I compared the words, and they are the same." value={said} set={setSaid} />
            </Form>
        </Card>
    );
}
