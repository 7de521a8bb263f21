/** *Test connection*: the vendor's own proxy or logdriver tries a config from where it will be used. */

import { useEffect, useState } from "preact/hooks";

import { api, path, withQuery, wordsOf } from "../../api/client.ts";
import type { ConfigTest } from "../../api/types.ts";
import { Button, Note } from "../../ui/parts.tsx";

interface Given {
    vendor: string;
    tenant: string;
    config: number;
    kind: "kms" | "sink";
    /** Begin at once. */
    now?: boolean;
    passed?: () => void;
}

const STEPS: Record<string, string> = {
    configuration: "The config opens and can be read",
    config: "The config opens and can be read",
    open: "The config opens and can be read",
    wrap: "A key of 32 bytes is wrapped",
    unwrap: "It is unwrapped again, and is the same",
    compare: "It is the same again",
    event: "A test event is made",
    delivery: "The destination takes it",
};

export function ConnectionTest({ vendor, tenant, config, kind, now, passed }: Given) {
    const [test, setTest] = useState<ConfigTest | null>(null);
    const [failure, setFailure] = useState<unknown>();
    const [busy, setBusy] = useState(false);
    const run = async () => {
        setBusy(true);
        setFailure(undefined);
        setTest(null);
        try {
            let found = await api.post<ConfigTest>(path`/api/1/vendors/${vendor}/tenants/${tenant}/configs/${config}/test`);
            while (found.state === "waiting" || found.state === "running") {
                setTest(found);
                found = await api.get(withQuery(path`/api/1/vendors/${vendor}/tenants/${tenant}/tests/${found.id}`, { wait: 20 }));
            }
            setTest(found);
            if (found.ok) {
                passed?.();
            }
        } catch (refusal) {
            setFailure(refusal);
        } finally {
            setBusy(false);
        }
    };
    useEffect(() => {
        if (now) {
            void run();
        }
    }, [config]);
    const who = kind === "kms" ? "proxy" : "logdriver";
    return (
        <div class="stack" aria-live="polite">
            <div class="row">
                <Button small icon="pulse" act={run} disabled={busy}>
                    {busy ? "Testing …" : kind === "kms" ? "Test connection" : "Send a test event"}
                </Button>
                {busy && <span class="small muted">One of the vendor's {who}s tries it now; at most a minute.</span>}
            </div>
            {failure !== undefined && <Note tone="bad">{wordsOf(failure)}</Note>}
            {test !== null && !busy && <Result test={test} who={who} />}
        </div>
    );
}

function Result({ test, who }: { test: ConfigTest; who: string }) {
    if (test.state === "expired") {
        return (
            <Note tone="warn" title={`No ${who} took the test within a minute.`}>
                <p>The config is stored. Check on the fleet page whether a {who} runs and serves this tenant, then test again.</p>
            </Note>
        );
    }
    const failed = test.checks.find((each) => !each.ok);
    return (
        <Note tone={test.ok ? "good" : "bad"} title={test.ok ? "It works." : "It does not work yet."}>
            {failed && <p>{failed.message}</p>}
            <ul class="small plain">
                {test.checks.map((check) => (
                    <li key={check.step}>
                        {check.ok ? "✓" : "✗"} {STEPS[check.step] ?? check.step}
                        {check.ok && check.milliseconds > 0 && <span class="muted"> · {Math.round(check.milliseconds)} ms</span>}
                        {check.ok && check.message && <div class="muted break">{check.message}</div>}
                    </li>
                ))}
            </ul>
            {test.service && (
                <p class="small muted">
                    Tried by {test.service} {test.software}.
                </p>
            )}
        </Note>
    );
}
