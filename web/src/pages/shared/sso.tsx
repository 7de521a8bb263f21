/** An organisation's single sign-on. */

import { useState } from "preact/hooks";

import { api, ApiError } from "../../api/client.ts";
import { useHere } from "../../app/org.tsx";
import { ssoAddress } from "../../app/sso.ts";
import { useLoad } from "../../app/store.ts";
import { httpsAddress } from "../../kms/model.ts";
import { ask } from "../../ui/dialog.tsx";
import { CheckField, Form, SecretField, TextField } from "../../ui/fields.tsx";
import { Button, Card, CopyButton, Show } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import { baseOf } from "./people.tsx";

interface Settings {
    issuer: string;
    clientId: string;
    required: boolean;
    redirectUri: string;
}

async function readSettings(base: string): Promise<Settings | null> {
    try {
        return await api.get<Settings>(`${base}/sso`);
    } catch (failure) {
        if (failure instanceof ApiError && failure.status === 404) {
            return null;
        }
        throw failure;
    }
}

export function SsoCard() {
    const { of, isOwner } = useHere();
    const base = baseOf(of.vendor, of.tenant);
    const settings = useLoad(() => readSettings(base), [base]);
    return (
        <Card title="Single sign-on">
            <p class="muted">
                Let people sign in with your own identity provider (OpenID Connect). Their keys stay their own: a provider can let somebody in, and sign nothing in their name.
            </p>
            <Show of={settings}>{(known) => (isOwner ? <Edit key={known?.issuer} known={known} base={base} at={ssoAddress(of.vendor, of.tenant)} reload={settings.reload} /> : <p>{known ? `On, with ${known.issuer}.` : "Off."}</p>)}</Show>
        </Card>
    );
}

function Edit({ known, base, at, reload }: { known: Settings | null; base: string; at: string; reload: () => void }) {
    const [issuer, setIssuer] = useState(known?.issuer ?? "");
    const [clientId, setClientId] = useState(known?.clientId ?? "");
    const [secret, setSecret] = useState("");
    const [required, setRequired] = useState(known?.required ?? false);
    const redirect = known?.redirectUri ?? `${location.origin}/api/1/sign-in/sso/return`;
    const save = async () => {
        await api.put(`${base}/sso`, { issuer: issuer.trim(), clientId: clientId.trim(), required, ...(secret === "" ? {} : { clientSecret: secret }) });
        toast("Saved.");
        reload();
    };
    const remove = () =>
        ask({
            title: "Switch single sign-on off?",
            consequence: <p>People who have neither a passkey nor a passphrase of their own cannot sign in any more.</p>,
            action: "Switch off",
            danger: true,
            act: async () => {
                await api.delete(`${base}/sso`);
                reload();
            },
        });
    return (
        <Form
            send={save}
            action="Save"
            ready={httpsAddress(issuer) === null && clientId.trim() !== "" && (known !== null || secret !== "")}
            extra={
                known && (
                    <Button look="quiet" act={remove}>
                        Switch off
                    </Button>
                )
            }
        >
            <div class="field">
                <span class="label">Redirect address, for your provider</span>
                <div class="row">
                    <code class="break">{redirect}</code> <CopyButton text={redirect} what="Redirect address" />
                </div>
            </div>
            {known !== null && (
                <div class="field">
                    <span class="label">Where your people sign in, for a bookmark or your portal</span>
                    <div class="row">
                        <code class="break">{at}</code> <CopyButton text={at} what="Address" />
                    </div>
                </div>
            )}
            <TextField label="Issuer" hint="Its metadata is fetched before anything is kept." placeholder="https://login.acme.example" value={issuer} set={setIssuer} wrong={issuer === "" ? null : httpsAddress(issuer)} />
            <TextField label="Client id" value={clientId} set={setClientId} />
            <SecretField label="Client secret" hint={known ? "The stored one stays when this is left empty." : undefined} value={secret} set={setSecret} />
            <CheckField label="Everybody must use it" hint="Owners can still come in another way; that is audited." value={required} set={setRequired} />
        </Form>
    );
}
