/** Doing something on a click: says what went wrong, and asks for the password again where the server wants it. */
import { RefusedError } from "../../connection/ask";
import type { Refused } from "../../protocol/types";
import { sentence } from "./format";
import { toast } from "./toasts.svelte";

/** A question in a dialog of its own; answered by `resolve`. */
export interface Question {
  title: string;
  text: string;
  action: string;
  danger: boolean;
  resolve: (yes: boolean) => void;
}

export const questions = $state<{
  confirm: Question | undefined;
  password: ((done: boolean) => void) | undefined;
}>({
  confirm: undefined,
  password: undefined,
});

export function confirm(
  question: Omit<Question, "resolve" | "danger"> & { danger?: boolean },
): Promise<boolean> {
  return new Promise((resolve) => {
    questions.confirm = {
      danger: true,
      ...question,
      resolve: (yes) => {
        questions.confirm = undefined;
        resolve(yes);
      },
    };
  });
}

function provePassword(): Promise<boolean> {
  return new Promise((resolve) => {
    questions.password = (done) => {
      questions.password = undefined;
      resolve(done);
    };
  });
}

/** What the server said no to; anything else is a fault of ours and goes on. */
export function refusalOf(error: unknown): Refused {
  if (error instanceof RefusedError) return error.refused;
  throw error;
}

/** Runs it; where a fresh proof of the password is wanted, asks for it and runs it once more. */
export async function proved<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refused.code !== "confirm_password") throw error;
    if (!(await provePassword())) throw error;
    return await work();
  }
}

/** Runs it and shows a refusal as a toast. Answers whether it was done. */
export async function attempt(work: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await proved(work);
    if (done) toast(done);
    return true;
  } catch (error) {
    const refused = refusalOf(error);
    if (refused.code !== "confirm_password") toast(sentence(refused.message), { kind: "error" });
    return false;
  }
}

export async function copy(text: string, done: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    toast("The browser did not allow copying.", { kind: "error" });
  }
}
