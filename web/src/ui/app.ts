/** The one app of this page, for components. */
import { App, browser } from "../app";

export const app = new App(await browser());
/** What may be read and watched. */
export const model = app.state;
