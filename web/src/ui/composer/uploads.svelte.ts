/** Files that a composer is about to send: handed over to the server while one still writes. */

import { SvelteMap } from "svelte/reactivity";
import { RefusedError } from "../../connection/ask";
import { type Upload, upload } from "../../connection/files";
import type { Attachment, ConversationId, Seq } from "../../protocol/types";
import { newClientId } from "../../state/outbox";
import { sentence } from "../shared/format";

export const files_max = 20;
const bytes_max = 100 * 1024 * 1024;

export class Attaching {
  readonly id = newClientId();
  /** Between 0 and 1. */
  share = $state(0);
  attachment: Attachment | undefined = $state();
  /** Why it will not be there. */
  failed: string | undefined = $state();
  /** A picture to show while it is not sent. */
  readonly picture: string | undefined;
  #upload: Upload | undefined;

  constructor(
    private readonly file: File,
    readonly name: string,
  ) {
    this.picture = /^image\/(png|jpeg|gif|webp)$/.test(file.type) ? URL.createObjectURL(file) : undefined;
    void this.start();
  }

  get size(): number {
    return this.file.size;
  }

  async start(): Promise<void> {
    this.failed = undefined;
    this.share = 0;
    if (this.file.size > bytes_max) {
      this.failed = "Larger than 100 MiB.";
      return;
    }
    this.#upload = upload(this.file, this.name, (share) => {
      this.share = share;
    });
    try {
      this.attachment = await this.#upload.done;
    } catch (error) {
      this.failed = error instanceof RefusedError ? sentence(error.refused.message) : "Cancelled.";
    }
  }

  /** Ends it, and gives back what the browser keeps for the picture. */
  end(): void {
    this.#upload?.cancel();
    if (this.picture) URL.revokeObjectURL(this.picture);
  }
}

const all = new SvelteMap<string, Attaching[]>();

function key(conversation: ConversationId, thread?: Seq): string {
  return thread === undefined ? `${conversation}` : `${conversation}/${thread}`;
}

export const uploads = {
  of: (conversation: ConversationId, thread?: Seq): readonly Attaching[] =>
    all.get(key(conversation, thread)) ?? [],

  /** Takes files; answers how many there was no room for. */
  add(conversation: ConversationId, files: readonly File[], thread?: Seq): number {
    const now = this.of(conversation, thread);
    const taken = files.slice(0, Math.max(0, files_max - now.length));
    const more = taken.map((file) => new Attaching(file, nameOf(file)));
    all.set(key(conversation, thread), [...now, ...more]);
    return files.length - taken.length;
  },

  remove(conversation: ConversationId, one: Attaching, thread?: Seq) {
    one.end();
    const rest = this.of(conversation, thread).filter((other) => other !== one);
    if (rest.length > 0) all.set(key(conversation, thread), rest);
    else all.delete(key(conversation, thread));
  },

  /** They are sent. */
  clear(conversation: ConversationId, thread?: Seq) {
    for (const one of this.of(conversation, thread)) one.end();
    all.delete(key(conversation, thread));
  },
};

/** What is pasted has no name of its own worth keeping: all of them are called `image.png`. */
function nameOf(file: File): string {
  if (file.name !== "" && file.name !== "image.png") return file.name;
  const type = /^image\/(png|jpeg|gif|webp)$/.exec(file.type)?.[1];
  return `pasted ${new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll(":", "-")}${type ? `.${type}` : ""}`;
}
