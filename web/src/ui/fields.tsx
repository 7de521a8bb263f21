/** Fields of forms: a label, a help text, and what is wrong as soon as it is known. */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";

import { wordsOf } from "../api/client.ts";
import { Button, Note } from "./parts.tsx";

interface Common {
    label: ComponentChildren;
    hint?: ComponentChildren;
    wrong?: string | null | undefined;
    optional?: boolean;
}

function Around({ id, label, hint, wrong, optional, children }: Common & { id: string; children: ComponentChildren }) {
    return (
        <div class="field">
            <label for={id}>
                {label}
                {optional && <span class="muted small"> (optional)</span>}
            </label>
            {hint && (
                <p class="hint" id={`${id}-hint`}>
                    {hint}
                </p>
            )}
            {children}
            {wrong && (
                <p class="wrong" id={`${id}-wrong`}>
                    {wrong}
                </p>
            )}
        </div>
    );
}

function described(id: string, { hint, wrong }: Common): object {
    const by = [hint && `${id}-hint`, wrong && `${id}-wrong`].filter(Boolean).join(" ");
    return { id, "aria-invalid": wrong ? "true" : "false", ...(by === "" ? {} : { "aria-describedby": by }) };
}

type Given = Common & {
    value: string;
    set: (value: string) => void;
    type?: string;
    lines?: boolean;
    placeholder?: string | undefined;
    autocomplete?: string;
    autofocus?: boolean;
    inputMode?: string;
    name?: string;
    disabled?: boolean;
};

/** A text. What is wrong is shown once the person has left the field, or has been told before. */
export function TextField(given: Given) {
    const { value, set, type = "text", lines, placeholder, autocomplete = "off", autofocus, inputMode, name, disabled } = given;
    const id = useId();
    const [left, setLeft] = useState(false);
    const shown: Common = { ...given, wrong: left ? given.wrong : null };
    const common = {
        ...described(id, shown),
        class: "input",
        value,
        placeholder,
        autocomplete,
        spellcheck: false,
        autoFocus: autofocus,
        disabled,
        name,
        onInput: (event: Event) => set((event.currentTarget as HTMLInputElement).value),
        onBlur: () => value !== "" && setLeft(true),
    } as object;
    return (
        <Around id={id} {...shown}>
            {lines ? (
                <textarea rows={5} {...common} />
            ) : (
                <input {...({ type, ...(inputMode ? { inputMode } : {}), ...common } as object)} />
            )}
        </Around>
    );
}

/** A secret: hidden unless the person asks to see it, and kept by no password manager. */
export function SecretField(given: Given) {
    const [open, setOpen] = useState(false);
    return (
        <div class="stack tight">
            <TextField {...given} type={open ? "text" : "password"} autocomplete={given.autocomplete ?? "new-password"} />
            {!given.lines && (
                <div>
                    <Button small look="quiet" act={() => setOpen(!open)}>
                        {open ? "Hide" : "Show"}
                    </Button>
                </div>
            )}
        </div>
    );
}

export function SelectField(given: Common & { value: string; set: (value: string) => void; options: readonly (readonly [string, string])[]; disabled?: boolean }) {
    const id = useId();
    return (
        <Around id={id} {...given}>
            <select
                {...described(id, given)}
                class="input"
                value={given.value}
                disabled={given.disabled}
                onChange={(event) => given.set(event.currentTarget.value)}
            >
                {given.options.map(([value, label]) => (
                    <option key={value} value={value}>
                        {label}
                    </option>
                ))}
            </select>
        </Around>
    );
}

export function CheckField({ label, hint, value, set, disabled }: { label: ComponentChildren; hint?: ComponentChildren; value: boolean; set: (value: boolean) => void; disabled?: boolean }) {
    const id = useId();
    return (
        <div class="check">
            <input
                type="checkbox"
                id={id}
                checked={value}
                disabled={disabled}
                aria-describedby={hint ? `${id}-hint` : undefined}
                onChange={(event) => set(event.currentTarget.checked)}
            />
            <div>
                <label for={id}>{label}</label>
                {hint && (
                    <p class="muted small" id={`${id}-hint`}>
                        {hint}
                    </p>
                )}
            </div>
        </div>
    );
}

/** A switch that acts at once. */
export function Switch({ label, value, set, disabled }: { label: string; value: boolean; set: (value: boolean) => void; disabled?: boolean }) {
    return (
        <input
            type="checkbox"
            role="switch"
            class="switch"
            aria-label={label}
            checked={value}
            disabled={disabled}
            onClick={(event) => {
                event.preventDefault();
                set(!value);
            }}
        />
    );
}

/** A form: sends on Enter, is busy while it does, and says what went wrong. */
export function Form({ send, action, ready = true, children, extra, block }: { send: () => Promise<unknown>; action: string; ready?: boolean; children: ComponentChildren; extra?: ComponentChildren; block?: boolean }) {
    const [busy, setBusy] = useState(false);
    const [failure, setFailure] = useState<unknown>();
    const submit = async (event: Event) => {
        event.preventDefault();
        if (busy || !ready) {
            return;
        }
        setBusy(true);
        setFailure(undefined);
        try {
            await send();
        } catch (refusal) {
            setFailure(refusal);
        } finally {
            setBusy(false);
        }
    };
    return (
        <form class="stack" onSubmit={submit} noValidate>
            {children}
            {failure !== undefined && <Note tone="bad">{wordsOf(failure)}</Note>}
            <div class={block ? "stack" : "row end"}>
                {extra}
                <Button look="primary" block={block ?? false} disabled={busy || !ready} aria-busy={busy}>
                    {busy ? "One moment …" : action}
                </Button>
            </div>
        </form>
    );
}
