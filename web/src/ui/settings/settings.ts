/** Changing one's settings: the server replaces all of them, so what is not named here stays as it is. */
import type { Settings } from "../../protocol/types";
import { app, model } from "../app";
import { attempt } from "../shared/ask.svelte";

export function change(part: Partial<Settings>): Promise<boolean> {
  return attempt(() => app.command({ change_settings: { ...model.session.settings, ...part } }));
}
