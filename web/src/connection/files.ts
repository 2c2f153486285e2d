/**
 * Files over plain HTTP: handed over before something takes them, and addressed through what shows them: a message, a
 * user, a conversation.
 */
import type { Attachment, ConversationId, FileId, Refused, Seq } from "../protocol/types";
import { RefusedError, unavailable } from "./ask";

/** Where a file of a message is. The address gives no right to it: the server asks who reads each time. */
export function fileAddress(conversation: ConversationId, seq: Seq, index: number): string {
  return `/api/files/${conversation}/${seq}/${index}`;
}

/** Where the picture of a user or a conversation is, if there is one. Another picture has another address. */
export function avatarAddress(of: "users" | "conversations", id: number, file?: FileId): string | undefined {
  return file && `/api/avatars/${of}/${id}/${file}`;
}

export interface Upload {
  done: Promise<Attachment>;
  cancel(): void;
}

/** Begins an upload; `progress` is told of shares between 0 and 1. Only the older interface of browsers tells it. */
export function upload(file: Blob, name: string, progress: (share: number) => void): Upload {
  const request = new XMLHttpRequest();
  const done = new Promise<Attachment>((resolve, reject) => {
    request.open("POST", `/api/files?name=${encodeURIComponent(name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 200 && answer) resolve(answer as Attachment);
      else reject(isRefused(answer) ? new RefusedError(answer) : unavailable("the upload was not answered"));
    };
    request.onerror = () => reject(unavailable("the connection was lost"));
    request.onabort = () => reject(new DOMException("the upload was cancelled", "AbortError"));
    request.send(file);
  });
  return { done, cancel: () => request.abort() };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRefused(value: unknown): value is Refused {
  return typeof value === "object" && value !== null && "kind" in value && "message" in value;
}
