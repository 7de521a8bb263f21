/** Going to an organisation's own sign-on and coming back. */

import { api } from "../api/client.ts";

/** Leave for the organisation's provider. `next` is where to go on afterwards; `again` proves who is signed in already. */
export async function goToSso(vendor: string, tenant: string | null, next: string, again = false): Promise<void> {
    const said = { vendor, tenant, next: next || "/", again };
    const { location: to } = await api.post<{ location: string }>("/api/1/sign-in/sso", said, { plain: true });
    if (!to.startsWith("https://")) {
        throw new Error("The broker named no address of a provider. Tell who runs it.");
    }
    location.assign(to);
}

/** The address by which an organisation's people sign in, for a portal or a bookmark. */
export function ssoAddress(vendor: string, tenant: string | null): string {
    const query = new URLSearchParams({ vendor, ...(tenant === null ? {} : { tenant }) });
    return `${location.origin}/sign-in?${query.toString()}`;
}
