/** Light or dark: as the system says, or as the person chose. */

import { Store } from "./store.ts";

export type Theme = "light" | "dark";

const PLACE = "theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme {
    const kept = localStorage.getItem(PLACE);
    return kept === "light" || kept === "dark" ? kept : system.matches ? "dark" : "light";
}

export const theme = new Store<Theme>(chosen());

export function applyTheme(): void {
    document.documentElement.dataset["theme"] = theme.value;
}

export function switchTheme(): void {
    const other = theme.value === "dark" ? "light" : "dark";
    localStorage.setItem(PLACE, other);
    theme.set(other);
    applyTheme();
}

system.addEventListener("change", () => {
    theme.set(chosen());
    applyTheme();
});
