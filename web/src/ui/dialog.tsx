/** Dialogs: the browser's own, which keeps the focus inside and closes with Escape. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { wordsOf } from "../api/client.ts";
import { Store, useStore } from "../app/store.ts";
import { Button, Note } from "./parts.tsx";

interface DialogGiven {
    title: string;
    close: () => void;
    wide?: boolean;
    children: ComponentChildren;
}

export function Dialog({ title, close, wide, children }: DialogGiven) {
    const dialog = useRef<HTMLDialogElement>(null);
    const named = useId();
    useEffect(() => {
        const shown = dialog.current;
        shown?.showModal();
        return () => shown?.close();
    }, []);
    return (
        <dialog
            ref={dialog}
            class={wide ? "wide" : undefined}
            aria-labelledby={named}
            onCancel={(event) => {
                event.preventDefault();
                close();
            }}
        >
            <div class="stack">
                <h2 id={named}>{title}</h2>
                {children}
            </div>
        </dialog>
    );
}

/** What is asked before something that cannot be taken back. `typed` must be typed to go on. */
export interface Question {
    title: string;
    consequence: ComponentChildren;
    action: string;
    danger?: boolean;
    typed?: string;
    act: () => Promise<unknown>;
}

const question = new Store<Question | null>(null);

/** Ask before doing something; what goes wrong is shown in the dialog. */
export function ask(asked: Question): void {
    question.set(asked);
}

export function Questions() {
    const asked = useStore(question);
    return asked === null ? null : <Asked key={asked.title} asked={asked} />;
}

function Asked({ asked }: { asked: Question }) {
    const [typed, setTyped] = useState("");
    const [failure, setFailure] = useState<unknown>();
    const close = () => question.set(null);
    const act = async () => {
        try {
            await asked.act();
            close();
        } catch (refusal) {
            setFailure(refusal);
        }
    };
    return (
        <Dialog title={asked.title} close={close}>
            <div class="stack tight">{asked.consequence}</div>
            {asked.typed !== undefined && (
                <div class="field">
                    <label for="typed">
                        Type <code>{asked.typed}</code> to go on
                    </label>
                    <input
                        id="typed"
                        class="input"
                        autocomplete="off"
                        value={typed}
                        onInput={(event) => setTyped(event.currentTarget.value)}
                    />
                </div>
            )}
            {failure !== undefined && <Note tone="bad">{wordsOf(failure)}</Note>}
            <div class="row end">
                <Button look="quiet" act={close}>
                    Cancel
                </Button>
                <Button
                    look={asked.danger ? "danger" : "primary"}
                    act={act}
                    disabled={asked.typed !== undefined && typed !== asked.typed}
                >
                    {asked.action}
                </Button>
            </div>
        </Dialog>
    );
}
