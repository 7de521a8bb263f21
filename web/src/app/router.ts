/** Which page: the path of the address. */

import { useEffect, useState } from "preact/hooks";

type Listener = () => void;
const listeners = new Set<Listener>();

addEventListener("popstate", () => listeners.forEach((listener) => listener()));

/** Go to a path of the app. */
export function navigate(to: string, how: "push" | "replace" = "push"): void {
    if (how === "push") {
        history.pushState(null, "", to);
    } else {
        history.replaceState(null, "", to);
    }
    listeners.forEach((listener) => listener());
    scrollTo(0, 0);
}

export interface Place {
    path: string;
    query: URLSearchParams;
}

function here(): Place {
    return { path: location.pathname, query: new URLSearchParams(location.search) };
}

/** Where we are, and again whenever that changes. */
export function usePlace(): Place {
    const [place, setPlace] = useState(here);
    useEffect(() => {
        const listener = () => setPlace(here());
        listeners.add(listener);
        return () => void listeners.delete(listener);
    }, []);
    return place;
}

/**
 * Match a path against a pattern such as `/v/:vendor/tenants/:tenant`; a last part `*` takes the rest.
 * Returns the named parts, or null.
 */
export function match(pattern: string, path: string): Record<string, string> | null {
    const wanted = pattern.split("/");
    const given = path.replace(/\/+$/, "").split("/");
    const open = wanted.at(-1) === "*";
    if (open ? given.length < wanted.length - 1 : given.length !== wanted.length) {
        return null;
    }
    const found: Record<string, string> = {};
    for (const [at, part] of wanted.entries()) {
        if (part === "*") {
            found["rest"] = given.slice(at).join("/");
        } else if (part.startsWith(":")) {
            try {
                found[part.slice(1)] = decodeURIComponent(given[at] ?? "");
            } catch {
                return null;
            }
        } else if (part !== given[at]) {
            return null;
        }
    }
    return found;
}

/** The secrets of a link: what stands behind `#`. It is taken out of the address, so that it does not stay there. */
export function takeFragment(): string {
    const fragment = location.hash.slice(1);
    if (fragment !== "") {
        history.replaceState(null, "", location.pathname + location.search);
    }
    return fragment;
}
