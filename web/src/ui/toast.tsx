/** Short messages in the corner, which screen readers say. */

import { Store, useStore } from "../app/store.ts";
import { Icon } from "./icons.tsx";

interface Toast {
    id: number;
    text: string;
    tone: "good" | "bad";
}

const toasts = new Store<Toast[]>([]);
let last = 0;

export function toast(text: string, tone: "good" | "bad" = "good"): void {
    last += 1;
    const id = last;
    toasts.set([...toasts.value.slice(-2), { id, text, tone }]);
    setTimeout(() => dismiss(id), tone === "bad" ? 12_000 : 5_000);
}

function dismiss(id: number): void {
    toasts.set(toasts.value.filter((each) => each.id !== id));
}

export function Toasts() {
    return (
        <div class="toasts" aria-live="polite">
            {useStore(toasts).map((each) => (
                <div class="toast fade" key={each.id} role={each.tone === "bad" ? "alert" : "status"}>
                    <Icon name={each.tone === "bad" ? "warn" : "check"} />
                    <span>{each.text}</span>
                </div>
            ))}
        </div>
    );
}
