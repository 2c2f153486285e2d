/** The one `App` of this page. Importing it starts nothing: `main.ts` calls `app.start()`. */
import { App, browser } from "./client";

export type { App, NewConversation, PostOptions, State } from "./client";
export { RefusedError } from "./connection/ask";

export const app = new App(await browser());
