/** Comparing a vendor's fingerprint, in a browser that does not know it yet. */

import { useState } from "preact/hooks";

import { wordsOf } from "../../api/client.ts";
import { myKeys } from "../../app/identity.tsx";
import type { Loaded } from "../../app/store.ts";
import { NotPinnedError, pin, pinOf, type Trust } from "../../app/trust.ts";
import { keys, rememberPin } from "../../app/vault.ts";
import { UntrustedError } from "../../trust/chain.ts";
import { CheckField, Form } from "../../ui/fields.tsx";
import { Button, Card, Failure, Fingerprint, Note } from "../../ui/parts.tsx";

/** Why a vendor's keys are not believed, and what to do about it. */
export function TrustFailure({ of }: { of: Loaded<Trust> }) {
    if (of.failure instanceof NotPinnedError) {
        return <Pinning {...of.failure} done={of.reload} />;
    }
    if (of.failure instanceof UntrustedError) {
        return (
            <Note tone="bad" title="This browser does not believe what the broker sent.">
                <p>{wordsOf(of.failure)}</p>
                <p>Change nothing for now. Ask the vendor, by another way than this page, whether its keys were changed.</p>
            </Note>
        );
    }
    return <Failure failure={of.failure} retry={of.reload} />;
}

function Pinning({ vendor, offered, done }: { vendor: string; offered: string; done: () => void }) {
    const [said, setSaid] = useState(false);
    const open = async () => {
        await myKeys();
        const known = pinOf(vendor);
        if (known !== null) {
            done();
        }
    };
    const believe = async () => {
        pin(vendor, offered);
        if (keys.value !== null) {
            await rememberPin(vendor, offered);
        }
        done();
    };
    return (
        <Card title="Compare the fingerprint once">
            <p>
                This browser does not know yet whom to believe for <strong>{vendor}</strong>. Your keys remember what you compared
                before; or compare these words with what the vendor published.
            </p>
            {keys.value === null && (
                <div>
                    <Button look="primary" act={open}>
                        Open my keys
                    </Button>
                </div>
            )}
            <Form send={believe} action="Believe this key" ready={said}>
                <Fingerprint value={offered} />
                <CheckField label="I compared the words, and they are the same." value={said} set={setSaid} />
            </Form>
        </Card>
    );
}
