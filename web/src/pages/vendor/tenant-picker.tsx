/** Choosing one tenant of many, by typing a part of its name or id. */

import { useEffect, useId, useState } from "preact/hooks";

import { api, path, withQuery } from "../../api/client.ts";
import type { Page, Tenant } from "../../api/types.ts";
import { Button } from "../../ui/parts.tsx";

const SHOWN = 10;
const WAIT_MS = 200;

interface Given {
    vendor: string;
    label: string;
    chosen: Tenant | null;
    choose: (tenant: Tenant | null) => void;
}

export function TenantPicker({ vendor, label, chosen, choose }: Given) {
    const id = useId();
    const [typed, setTyped] = useState("");
    const [found, setFound] = useState<Tenant[]>([]);
    useEffect(() => {
        const aborting = new AbortController();
        const later = setTimeout(() => {
            const asked = withQuery(path`/api/1/vendors/${vendor}/tenants`, { query: typed.trim(), pageSize: SHOWN, sortColumn: "name", sortDirection: "asc" });
            // A list that does not come offers nothing; what is typed stays.
            api.get<Page<Tenant>>(asked, { signal: aborting.signal }).then(
                ({ result }) => {
                    setFound(result);
                    const named = result.find((each) => each.id === typed.trim());
                    if (named !== undefined) {
                        choose(named);
                    }
                },
                () => undefined,
            );
        }, WAIT_MS);
        return () => {
            clearTimeout(later);
            aborting.abort();
        };
    }, [vendor, typed]);
    const type = (text: string) => {
        setTyped(text);
        choose(found.find((each) => each.id === text) ?? null);
    };
    return (
        <div class="picker">
            <input
                class="input"
                type="search"
                aria-label={label}
                placeholder={label}
                list={id}
                value={chosen?.id ?? typed}
                autocomplete="off"
                spellcheck={false}
                onInput={(event) => type(event.currentTarget.value)}
            />
            <datalist id={id}>
                {found.map((each) => (
                    <option key={each.id} value={each.id}>
                        {each.name}
                    </option>
                ))}
            </datalist>
            {chosen !== null && (
                <Button
                    small
                    look="quiet"
                    act={() => {
                        setTyped("");
                        choose(null);
                    }}
                >
                    All tenants
                </Button>
            )}
        </div>
    );
}
