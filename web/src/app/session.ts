/** Who is signed in, and which of their organisations the page is about. */

import { api, ApiError, onRefusal } from "../api/client.ts";
import type { Organisation, Session } from "../api/types.ts";
import { forget, resume } from "./vault.ts";
import { navigate } from "./router.ts";
import { Store } from "./store.ts";

/** undefined: not known yet; null: nobody. */
export const session = new Store<Session | null | undefined>(undefined);

let ended = false;

/** Ask the broker who is signed in. */
export async function loadSession(): Promise<void> {
    try {
        await resume();
        session.set(await api.get<Session>("/api/1/session", { plain: true }));
    } catch (failure) {
        if (failure instanceof ApiError && failure.status === 401) {
            sessionEnded();
            return;
        }
        throw failure;
    }
}

/** Nobody is signed in any more, without having asked for it. */
export function sessionEnded(): void {
    void forget();
    ended ||= Boolean(session.value);
    session.set(null);
}

/** Whether a session ended by itself since this was last asked. */
export function hasEnded(): boolean {
    const said = ended;
    ended = false;
    return said;
}

export async function signOut(): Promise<void> {
    await api.delete("/api/1/session", { plain: true }).catch(() => undefined);
    await forget();
    session.set(null);
    navigate("/sign-in");
}

export function installRefusals(proveAgain: () => Promise<boolean>): void {
    onRefusal({
        proveAgain,
        signedOut: sessionEnded,
    });
}

/** The path of an organisation's pages. */
export function homeOf(organisation: Pick<Organisation, "vendor" | "tenant">): string {
    const vendor = `/v/${encodeURIComponent(organisation.vendor)}`;
    return organisation.tenant === null ? vendor : `${vendor}/t/${encodeURIComponent(organisation.tenant)}`;
}

/** Where somebody goes after signing in: where they were last, or the first that they may see. */
export function firstHome(signedIn: Session): string {
    const last = localStorage.getItem("last-organisation");
    const open = signedIn.organisations.filter((each) => each.available);
    const found = open.find((each) => homeOf(each) === last) ?? open[0];
    if (found === undefined) {
        return signedIn.organisations.length > 0 ? "/organisations" : "/account";
    }
    return homeOf(found);
}

export function rememberHome(home: string): void {
    localStorage.setItem("last-organisation", home);
}
