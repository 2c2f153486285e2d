/** The one app of this page, for components. */
import { App } from "../app";
import { browser } from "../surroundings";

export const app = new App(await browser());
/** What may be read and watched. */
export const model = app.state;
