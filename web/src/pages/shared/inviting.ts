/** Invitations that carry a proof: what is signed, and the link. */

import { api } from "../../api/client.ts";
import type { Role } from "../../api/types.ts";
import { myKeys } from "../../app/identity.tsx";
import type { Trust } from "../../app/trust.ts";
import { base64url } from "../../trust/bytes.ts";
import { signInvitation } from "../../trust/people.ts";
import { baseOf } from "./people.tsx";

export interface Inviting {
    vendor: string;
    tenant: string | null;
    email: string;
    role: Role;
    deliver: "link" | "mail";
    trust: Trust | null;
}

interface Answer {
    id: string;
    token: string | null;
    mailed: boolean;
}

/** Make an invitation. With a link and a key that counts, it proves who was invited. */
export async function makeInvitation(what: Inviting): Promise<{ link: string | null; mailed: boolean }> {
    const { vendor, tenant, email, role, deliver } = what;
    const proof = await proofFor(what);
    const answer = await api.post<Answer>(`${baseOf(vendor, tenant)}/invitations`, { email, role, deliver, ...(proof && { signed: proof.signed }) });
    return { link: answer.token === null ? null : linkOf(answer.token, what.trust, proof?.secret ?? null), mailed: answer.mailed };
}

/** Send an open invitation again; the old link is void. Without its secret the new link carries no proof. */
export async function resend(vendor: string, tenant: string | null, id: string, deliver: "link" | "mail", trust: Trust | null) {
    const answer = await api.post<Answer>(`${baseOf(vendor, tenant)}/invitations/${encodeURIComponent(id)}/resend`, { deliver });
    return { link: answer.token === null ? null : linkOf(answer.token, trust, null), mailed: answer.mailed };
}

async function proofFor({ vendor, tenant, email, role, deliver, trust }: Inviting) {
    if (deliver === "mail" || trust === null) {
        return null;
    }
    const { signing } = await myKeys();
    const counts = trust.chain.authors.get(signing.id)?.tenant === "" || tenant !== null;
    return counts ? signInvitation({ vendor, tenant: tenant ?? "", email, role }, signing) : null;
}

function linkOf(token: string, trust: Trust | null, secret: Uint8Array<ArrayBuffer> | null): string {
    const said = new URLSearchParams({ t: token });
    if (trust !== null) {
        said.set("r", trust.chain.rootFingerprint);
    }
    if (secret !== null) {
        said.set("s", base64url(secret));
    }
    return `${location.origin}/invitation#${said}`;
}

