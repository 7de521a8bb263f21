/** The frame around the pages of one organisation: its places, and who is signed in. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Organisation } from "../api/types.ts";
import { Icon, type IconName } from "../ui/icons.tsx";
import { Badge, Button, Link } from "../ui/parts.tsx";
import { usePlace } from "./router.ts";
import { homeOf, rememberHome, session, signOut } from "./session.ts";
import { useStore } from "./store.ts";
import { switchTheme, theme } from "./theme.ts";

type Item = readonly [path: string, label: string, icon: IconName];

const VENDOR: readonly (readonly [string, readonly Item[]])[] = [
    ["", [["", "Overview", "home"]]],
    [
        "Customers",
        [
            ["/tenants", "Tenants", "tenants"],
            ["/configs", "Shared KMS configs", "key"],
            ["/secrets", "Tenant secrets", "lock"],
        ],
    ],
    [
        "Running",
        [
            ["/fleet", "Fleet", "pulse"],
            ["/services", "Service accounts", "server"],
            ["/api-keys", "API keys", "ticket"],
        ],
    ],
    [
        "Organisation",
        [
            ["/people", "People", "people"],
            ["/audit", "Audit", "list"],
            ["/settings", "Settings", "cog"],
        ],
    ],
];

const TENANT: typeof VENDOR = [
    ["", [["", "Overview", "home"]]],
    [
        "Keys and logs",
        [
            ["/kms", "Your keys", "key"],
            ["/destinations", "Log destinations", "send"],
            ["/activity", "Activity", "pulse"],
        ],
    ],
    [
        "Organisation",
        [
            ["/people", "People", "people"],
            ["/approvals", "Approvals", "shield"],
            ["/audit", "Audit", "list"],
            ["/settings", "Settings", "cog"],
        ],
    ],
];

export function Frame({ of, children }: { of: Organisation | null; children: ComponentChildren }) {
    const [open, setOpen] = useState(false);
    const place = usePlace();
    useEffect(() => setOpen(false), [place.path]);
    useEffect(() => {
        if (of !== null) {
            rememberHome(homeOf(of));
        }
    }, [of]);
    return (
        <div class="frame">
            <a class="skip" href="#page" onClick={(event) => (event.preventDefault(), document.getElementById("page")?.focus())}>
                Skip to the page
            </a>
            <div class="top-bar">
                <Brand of={of} />
                <Button look="quiet" small icon="menu" act={() => setOpen(!open)} aria-expanded={open} aria-controls="places">
                    Menu
                </Button>
            </div>
            {open && <button type="button" class="veil" aria-label="Close the menu" onClick={() => setOpen(false)} />}
            <aside class={open ? "side open" : "side"} id="places">
                <Brand of={of} />
                {of !== null && <Places of={of} path={place.path} />}
                <Foot of={of} path={place.path} />
            </aside>
            <main class="page" id="page" tabIndex={-1}>
                {children}
            </main>
        </div>
    );
}

function Brand({ of }: { of: Organisation | null }) {
    return (
        <Link to={of === null ? "/" : homeOf(of)} class="brand">
            <img src="/icon.svg" alt="" />
            <span>{of === null ? "Configuration Broker" : (of.tenantName ?? of.vendorName)}</span>
        </Link>
    );
}

function Places({ of, path }: { of: Organisation; path: string }) {
    const home = homeOf(of);
    return (
        <nav class="nav" aria-label="Places">
            {(of.tenant === null ? VENDOR : TENANT).map(([title, items]) => (
                <div key={title} class="nav">
                    {title !== "" && <p class="nav-title">{title}</p>}
                    {items.map(([to, label, icon]) => (
                        <NavLink key={to} to={home + to} here={to === "" ? path === home : path.startsWith(home + to)} icon={icon}>
                            {label}
                        </NavLink>
                    ))}
                </div>
            ))}
        </nav>
    );
}

function NavLink({ to, here, icon, children }: { to: string; here: boolean; icon: IconName; children: ComponentChildren }) {
    return (
        <Link to={to} aria-current={here ? "page" : undefined}>
            <Icon name={icon} />
            {children}
        </Link>
    );
}

function Foot({ of, path }: { of: Organisation | null; path: string }) {
    const signedIn = useStore(session);
    const dark = useStore(theme) === "dark";
    if (!signedIn) {
        return null;
    }
    const others = signedIn.organisations.filter((each) => of === null || homeOf(each) !== homeOf(of));
    return (
        <div class="side-end">
            <nav class="nav" aria-label="You">
                {others.length > 0 && (
                    <NavLink to="/organisations" here={path === "/organisations"} icon="switch">
                        Switch organisation
                    </NavLink>
                )}
                <NavLink to="/api-docs" here={path === "/api-docs"} icon="book">
                    API documentation
                </NavLink>
                <NavLink to="/account" here={path === "/account"} icon="finger">
                    <span class="break">{signedIn.person.name || signedIn.person.email}</span>
                </NavLink>
            </nav>
            <div class="row between">
                {of !== null && <Badge>{of.role}</Badge>}
                <div class="row">
                    <Button look="quiet" small icon={dark ? "sun" : "moon"} act={switchTheme} aria-label={dark ? "Light colours" : "Dark colours"} />
                    <Button look="quiet" small icon="out" act={signOut} aria-label="Sign out" />
                </div>
            </div>
        </div>
    );
}

/** The frame of pages before somebody is signed in. */
export function Narrow({ children, wide }: { children: ComponentChildren; wide?: boolean }) {
    return (
        <main class={wide ? "narrow wide fade" : "narrow fade"}>
            <div class="brand">
                <img src="/icon.svg" alt="" />
                <span>Configuration Broker</span>
            </div>
            {children}
        </main>
    );
}
