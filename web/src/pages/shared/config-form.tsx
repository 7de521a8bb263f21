/** Setting up a KMS or a log destination: what to do on the other side, the fields, and what is wrong as it is typed. */

import { useState } from "preact/hooks";

import { asked, complete, configOf, type FieldAsked, type Provider, type Values, wrongWith } from "../../kms/model.ts";
import { freshLocalKey } from "../../kms/own.ts";
import { freshSigningSecret } from "../../sinks/index.ts";
import { Form, SecretField, SelectField, TextField } from "../../ui/fields.tsx";
import { Button, Card, Code, CopyButton } from "../../ui/parts.tsx";

/** Which kind. */
export function ChooseProvider({ from, choose }: { from: readonly Provider[]; choose: (provider: Provider) => void }) {
    return (
        <div class="choices">
            {from.map((each) => (
                <button type="button" class="choice" key={each.type} onClick={() => choose(each)}>
                    <span class="mark" aria-hidden="true">
                        {each.mark}
                    </span>
                    <span class="stack tight">
                        <span class="strong">{each.name}</span>
                        <span class="small muted">{each.what}</span>
                    </span>
                </button>
            ))}
        </div>
    );
}

interface Given {
    provider: Provider;
    /** Values to begin with; a name makes it a change of a config that exists. */
    begin?: Values;
    name?: string;
    fixedPath?: boolean;
    action: string;
    save: (name: string, config: object, values: Values) => Promise<unknown>;
    cancel: () => void;
}

export function ConfigForm({ provider, begin = {}, name: named, action, save, cancel }: Given) {
    const [values, setValues] = useState<Values>(() => ({ ...firstChoices(provider), ...begin }));
    const [name, setName] = useState(named ?? provider.name);
    const set = (at: string) => (value: string) => setValues((old) => ({ ...old, [at]: value }));
    const fields = asked(provider, values);
    const [usual, more] = [fields.filter((each) => !each.advanced), fields.filter((each) => each.advanced)];
    return (
        <div class="stack">
            {provider.steps.length > 0 && (
                <Card title="On your side">
                    <ol class="stack">
                        {provider.steps.map((step) => (
                            <li key={step.title}>
                                <div class="stack tight">
                                    <h3>{step.title}</h3>
                                    <p class="muted">{step.text}</p>
                                    {step.code && <Code what={step.code.what} text={step.code.text(values)} />}
                                </div>
                            </li>
                        ))}
                    </ol>
                </Card>
            )}
            <Card title={provider.name}>
                <Form
                    send={() => save(name.trim() || provider.name, configOf(provider, values), values)}
                    action={action}
                    ready={complete(provider, values)}
                    extra={
                        <Button look="quiet" act={cancel}>
                            Cancel
                        </Button>
                    }
                >
                    <TextField label="Name" hint="How it is called in lists. Everybody here can read it." name="name" value={name} set={setName} />
                    {provider.paste && <Paste of={provider.paste} take={(read) => setValues((old) => ({ ...old, ...read }))} />}
                    {usual.map((field) => (
                        <Asked key={field.at} field={field} value={values[field.at] ?? ""} set={set(field.at)} provider={provider} />
                    ))}
                    {more.length > 0 && (
                        <details>
                            <summary>More</summary>
                            <div class="stack">
                                {more.map((field) => (
                                    <Asked key={field.at} field={field} value={values[field.at] ?? ""} set={set(field.at)} provider={provider} />
                                ))}
                            </div>
                        </details>
                    )}
                </Form>
            </Card>
        </div>
    );
}

function firstChoices(provider: Provider): Values {
    const needed = provider.fields.filter((each) => each.choices !== undefined && !each.optional);
    return Object.fromEntries(needed.map((each) => [each.at, each.choices?.[0]?.[0] ?? ""]));
}

function Asked({ field, value, set, provider }: { field: FieldAsked; value: string; set: (value: string) => void; provider: Provider }) {
    const { label, hint, placeholder, lines, optional = false } = field;
    const common = { label, hint, optional, value, set, wrong: wrongWith(field, value), name: field.at };
    if (field.choices !== undefined) {
        return <SelectField {...common} wrong={null} options={field.choices} optional={false} />;
    }
    if (!field.secret) {
        return <TextField {...common} placeholder={placeholder} {...(lines ? { lines } : {})} />;
    }
    const fresh = provider.type === "LOCAL" ? freshLocalKey : field.at === "signingSecret" ? freshSigningSecret : null;
    return (
        <div class="stack tight">
            <SecretField {...common} placeholder={placeholder} {...(lines ? { lines } : {})} />
            {fresh && (
                <div class="row">
                    <Button small icon="rotate" act={() => set(fresh())}>
                        Make one
                    </Button>
                    {value !== "" && <CopyButton text={value} what={label} />}
                </div>
            )}
        </div>
    );
}

function Paste({ of, take }: { of: NonNullable<Provider["paste"]>; take: (values: Values) => void }) {
    const [text, setText] = useState("");
    const [wrong, setWrong] = useState<string | null>(null);
    const paste = (typed: string) => {
        const read = of.read(typed);
        setWrong(typed === "" || read !== null ? null : "That is not such a file.");
        setText(read === null ? typed : "");
        if (read !== null) {
            take(read);
        }
    };
    return <TextField label={of.label} hint={of.hint} optional lines value={text} set={paste} wrong={wrong} />;
}
