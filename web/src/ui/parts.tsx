/** Small parts of pages. */

import type { AnchorHTMLAttributes, ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { wordsOf } from "../api/client.ts";
import { navigate } from "../app/router.ts";
import type { Loaded } from "../app/store.ts";
import { fingerprintWords } from "../trust/names.ts";
import { ago, dateTime } from "./format.ts";
import { Icon, type IconName } from "./icons.tsx";
import { toast } from "./toast.tsx";

type Children = { children?: ComponentChildren };
type Tone = "good" | "warn" | "bad" | "accent" | "plain";

/** A link inside the app. */
export function Link({ to, ...rest }: { to: string } & Omit<AnchorHTMLAttributes, "href">) {
    const follow = (event: MouseEvent) => {
        if (event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
            event.preventDefault();
            navigate(to);
        }
    };
    return <a href={to} onClick={follow} {...(rest as object)} />;
}

type ButtonLook = { look?: "primary" | "danger" | "quiet"; small?: boolean; block?: boolean; icon?: IconName };

function buttonClass({ look, small, block }: ButtonLook): string {
    return ["button", look, small && "small", block && "block"].filter(Boolean).join(" ");
}

/** A button. While its action runs it cannot be pressed again; what the action throws is shown. */
export function Button({
    act,
    look,
    small,
    block,
    icon,
    children,
    disabled = false,
    ...rest
}: ButtonLook & Children & { act?: (() => unknown) | undefined; disabled?: boolean } & Omit<
        ButtonHTMLAttributes,
        "icon" | "disabled"
    >) {
    const [busy, setBusy] = useState(false);
    const press = async () => {
        setBusy(true);
        try {
            await act?.();
        } catch (failure) {
            toast(wordsOf(failure), "bad");
        } finally {
            setBusy(false);
        }
    };
    return (
        <button
            type={act === undefined ? "submit" : "button"}
            class={buttonClass({ ...(look && { look }), ...(small && { small }), ...(block && { block }) })}
            disabled={disabled || busy}
            aria-busy={busy}
            {...(act === undefined ? {} : { onClick: press })}
            {...rest}
        >
            {icon && <Icon name={icon} size={16} />}
            {children}
        </button>
    );
}

/** A link that looks like a button. */
export function ButtonLink({ to, icon, children, ...look }: ButtonLook & Children & { to: string }) {
    return (
        <Link to={to} class={buttonClass(look)}>
            {icon && <Icon name={icon} size={16} />}
            {children}
        </Link>
    );
}

export function Badge({ tone = "plain", children }: Children & { tone?: Tone }) {
    return <span class={`badge ${tone}`}>{children}</span>;
}

const NOTE_ICONS: Record<Tone, IconName> = { good: "check", warn: "warn", bad: "warn", accent: "info", plain: "info" };

/** Something to know. One that says what went wrong is read out at once. */
export function Note({ tone = "accent", title, children }: Children & { tone?: Tone; title?: string }) {
    return (
        <div class={`note ${tone}`} role={tone === "bad" ? "alert" : undefined}>
            <Icon name={NOTE_ICONS[tone]} />
            <div>
                {title && <p class="strong">{title}</p>}
                {children}
            </div>
        </div>
    );
}

/** What went wrong, in words. */
export function Failure({ failure, retry }: { failure: unknown; retry?: () => void }) {
    if (failure === undefined || failure === null) {
        return null;
    }
    return (
        <Note tone="bad">
            <p>{wordsOf(failure)}</p>
            {retry && (
                <div>
                    <Button small act={retry} icon="rotate">
                        Try again
                    </Button>
                </div>
            )}
        </Note>
    );
}

/** A page of its own: where there is nothing yet, what this is for and how to begin. */
export function Empty({ icon, title, children, action }: Children & { icon: IconName; title: string; action?: ComponentChildren }) {
    return (
        <div class="empty">
            <Icon name={icon} size={24} />
            <h2>{title}</h2>
            {children}
            {action}
        </div>
    );
}

export function Loading() {
    return (
        <div class="loading" role="status" aria-label="Loading">
            <i />
            <i />
            <i />
        </div>
    );
}

/** What was loaded, or that it loads, or why it cannot be. */
export function Show<T>({ of, children }: { of: Loaded<T>; children: (data: T) => ComponentChildren }) {
    if (of.data !== undefined) {
        return (
            <>
                {of.failure !== undefined && <Failure failure={of.failure} retry={of.reload} />}
                {children(of.data)}
            </>
        );
    }
    return of.failure === undefined ? <Loading /> : <Failure failure={of.failure} retry={of.reload} />;
}

export function Card({ title, side, flush, children }: Children & { title?: ComponentChildren; side?: ComponentChildren; flush?: boolean }) {
    return (
        <section class={flush ? "card flush" : "card"}>
            {(title !== undefined || side !== undefined) && (
                <div class="card-head">
                    <h2>{title}</h2>
                    {side}
                </div>
            )}
            {children}
        </section>
    );
}

export function PageHead({ title, lead, children }: Children & { title: ComponentChildren; lead?: ComponentChildren }) {
    return (
        <header class="page-head">
            <div>
                <h1>{title}</h1>
                {lead && <p class="muted">{lead}</p>}
            </div>
            {children && <div class="row">{children}</div>}
        </header>
    );
}

/** A time, relative; the exact one is shown on hover and read out. */
export function When({ at, never = "never" }: { at: number | null | undefined; never?: string }) {
    return at === null || at === undefined ? (
        <span class="muted">{never}</span>
    ) : (
        <time class="nowrap" dateTime={new Date(at).toISOString()} title={dateTime(at)}>
            {ago(at)}
        </time>
    );
}

export async function copy(text: string, what: string): Promise<void> {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`);
}

export function CopyButton({ text, what, label = "Copy" }: { text: string; what: string; label?: string }) {
    return (
        <Button small look="quiet" icon="copy" act={() => copy(text, what)} aria-label={`${label}: ${what}`}>
            {label}
        </Button>
    );
}

/** Code to copy. */
export function Code({ text, what }: { text: string; what: string }) {
    return (
        <div class="stack tight">
            <pre tabIndex={0} aria-label={what}>
                {text}
            </pre>
            <div class="row end">
                <CopyButton text={text} what={what} />
            </div>
        </div>
    );
}

/** A fingerprint as twelve words, and in full for those who want all of it. */
export function Fingerprint({ value }: { value: string }) {
    return (
        <div class="stack tight">
            <ol class="words" aria-label="Fingerprint in words">
                {fingerprintWords(value).map((word, at) => (
                    <li key={at}>{word}</li>
                ))}
            </ol>
            <details class="small muted">
                <summary>The whole fingerprint</summary>
                <p class="mono break">{value}</p>
            </details>
        </div>
    );
}

/** Offer a text as a file. */
export function download(name: string, content: string, type = "text/plain"): void {
    const address = URL.createObjectURL(new Blob([content], { type }));
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
