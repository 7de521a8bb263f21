/** The organisation that the pages are about, and its vendor's keys as this browser believes them. */

import { type ComponentChildren, createContext } from "preact";
import { useContext } from "preact/hooks";

import type { Organisation } from "../api/types.ts";
import { TrustFailure } from "../pages/start/pinning.tsx";
import { Loading } from "../ui/parts.tsx";
import { homeOf } from "./session.ts";
import { type Loaded, useLoad } from "./store.ts";
import { readTrust, type Trust } from "./trust.ts";

interface Here {
    of: Organisation;
    home: string;
    trust: Loaded<Trust>;
    /** Whether the person may change things here. */
    mayChange: boolean;
    isOwner: boolean;
}

const Context = createContext<Here | null>(null);

export function InOrganisation({ of, children }: { of: Organisation; children: ComponentChildren }) {
    const trust = useLoad(() => readTrust(of), [of.vendor, of.tenant]);
    const here = { of, home: homeOf(of), trust, mayChange: of.role !== "auditor", isOwner: of.role === "owner" };
    return <Context.Provider value={here}>{children}</Context.Provider>;
}

export function useHere(): Here {
    const here = useContext(Context);
    if (here === null) {
        throw new Error("this page is of an organisation");
    }
    return here;
}

/** What needs the vendor's keys: shown once they are believed; what to do is shown where they are not. */
export function WithTrust({ children }: { children: (trust: Trust) => ComponentChildren }) {
    const { trust } = useHere();
    if (trust.data !== undefined && trust.failure === undefined) {
        return <>{children(trust.data)}</>;
    }
    return trust.failure === undefined ? <Loading /> : <TrustFailure of={trust} />;
}
