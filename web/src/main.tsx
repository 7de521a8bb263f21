/** Where the app begins. */

import { render } from "preact";

import { App } from "./app/app.tsx";
import { proveAgain } from "./app/identity.tsx";
import { installRefusals } from "./app/session.ts";
import { watchSession } from "./app/session-end.ts";
import { applyTheme } from "./app/theme.ts";
import "./style/base.css";
import "./style/layout.css";
import "./style/parts.css";

applyTheme();
installRefusals(proveAgain);
watchSession();
const place = document.getElementById("app");
if (place !== null) {
    render(<App />, place);
}
