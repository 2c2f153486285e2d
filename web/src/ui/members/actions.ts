/** What one may do to a member, after the rules of the server: never to an equal or higher role. */
import Ban from "@lucide/svelte/icons/ban";
import Crown from "@lucide/svelte/icons/crown";
import MessageCircle from "@lucide/svelte/icons/message-circle";
import ShieldMinus from "@lucide/svelte/icons/shield-minus";
import ShieldPlus from "@lucide/svelte/icons/shield-plus";
import UserMinus from "@lucide/svelte/icons/user-minus";
import type { ConversationView, MemberView, Role, UserId } from "../../protocol/types";
import { app } from "../app";
import { open } from "../router.svelte";
import { attempt, confirm } from "../shared/ask.svelte";
import type { MenuItem } from "../shared/Menu.svelte";

const rank: Record<Role, number> = { member: 0, admin: 1, owner: 2 };

export function memberActions(view: ConversationView, member: MemberView, me: UserId): MenuItem[] {
  const user = member.profile.id;
  const name = member.profile.name;
  const mine = view.mine?.role ?? "member";
  if (user === me) return [];
  const above = view.kind !== "direct" && !view.closed && rank[mine] > rank[member.role];
  const owner = mine === "owner" && !view.closed;
  const list: (MenuItem | false)[] = [
    { label: "Write to", icon: MessageCircle, run: () => void writeTo(user) },
    owner &&
      member.role === "member" && {
        label: "Make admin",
        icon: ShieldPlus,
        run: () => void setRole(view, user, "admin"),
      },
    owner &&
      member.role === "admin" && {
        label: "No longer admin",
        icon: ShieldMinus,
        run: () => void setRole(view, user, "member"),
      },
    owner && { label: "Make owner", icon: Crown, run: () => void transfer(view, user, name) },
    above && {
      label: "Remove",
      icon: UserMinus,
      danger: true,
      run: () => void remove(view, user, name, false),
    },
    above && {
      label: "Remove and ban",
      icon: Ban,
      danger: true,
      run: () => void remove(view, user, name, true),
    },
  ];
  return list.filter((one) => one !== false);
}

export async function writeTo(user: UserId): Promise<void> {
  await attempt(async () => open(await app.openDirect(user)));
}

function setRole(view: ConversationView, user: UserId, role: Role): Promise<boolean> {
  return attempt(() => app.command({ set_role: { conversation: view.id, user, role } }));
}

async function transfer(view: ConversationView, user: UserId, name: string): Promise<void> {
  const sure = await confirm({
    title: `Make ${name} the owner?`,
    text: "You will be an admin afterwards, and only the new owner can give it back.",
    action: "Make owner",
  });
  if (sure) await setRole(view, user, "owner");
}

async function remove(view: ConversationView, user: UserId, name: string, ban: boolean): Promise<void> {
  const sure = await confirm({
    title: ban ? `Remove and ban ${name}?` : `Remove ${name}?`,
    text: ban
      ? "They cannot come back until the ban is lifted, not even by an invitation."
      : view.public
        ? "They can join again, since this conversation is public."
        : "They can come back only if somebody adds or invites them.",
    action: ban ? "Remove and ban" : "Remove",
  });
  if (sure) await attempt(() => app.command({ remove_member: { conversation: view.id, user, ban } }));
}
