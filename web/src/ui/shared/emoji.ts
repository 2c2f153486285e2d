/** A list of our own of common emoji with the words they are found by: the first word is the one after a colon. */

export interface Emoji {
  emoji: string;
  words: string[];
}

export interface EmojiGroup {
  name: string;
  list: Emoji[];
}

const lists: [string, string][] = [
  [
    "Smileys",
    "😀 grinning happy|😃 smiley|😄 smile|😁 grin|😆 laughing|😅 sweat_smile relief|🤣 rofl|😂 joy tears laugh|🙂 slight_smile|🙃 upside_down|😉 wink|😊 blush|😇 innocent angel|🥰 smiling_hearts love|😍 heart_eyes love|🤩 star_struck|😘 kiss|😋 yum tasty|😛 tongue|😜 crazy_tongue|🤪 zany|🤑 money_mouth|🤗 hug|🤭 giggle|🤫 shush quiet|🤔 thinking hmm|🤐 zipper|🤨 raised_eyebrow|😐 neutral|😑 expressionless|😶 no_mouth|😏 smirk|😒 unamused|🙄 eye_roll|😬 grimace|🤥 lying|😌 relieved|😔 pensive sad|😪 sleepy|🤤 drooling|😴 sleeping|😷 mask|🤒 thermometer ill|🤕 bandage hurt|🤢 nauseated|🤮 vomit|🤧 sneeze|🥵 hot|🥶 cold|🥴 woozy|😵 dizzy|🤯 mind_blown|🤠 cowboy|🥳 party|😎 cool sunglasses|🤓 nerd|🧐 monocle|😕 confused|😟 worried|🙁 frown|😮 open_mouth wow|😲 astonished|😳 flushed|🥺 pleading|😨 fearful|😰 anxious|😢 cry|😭 sob|😱 scream|😖 confounded|😞 disappointed|😓 sweat|😩 weary|😫 tired|🥱 yawn|😤 triumph|😡 rage|😠 angry|🤬 swearing|😈 devil|💀 skull dead|💩 poop|🤡 clown|👻 ghost|👽 alien|🤖 robot|😺 cat_smile|🙈 see_no_evil|🙉 hear_no_evil|🙊 speak_no_evil",
  ],
  [
    "People",
    "👋 wave hello bye|🤚 raised_back|✋ hand stop|🖖 vulcan|👌 ok|🤌 pinched|🤏 pinch small|✌️ victory peace|🤞 crossed_fingers luck|🤟 love_you|🤘 rock|🤙 call_me|👈 left|👉 right|👆 up|👇 down|👍 thumbsup yes +1|👎 thumbsdown no -1|✊ fist|👊 punch|👏 clap bravo|🙌 hooray|👐 open_hands|🤲 palms|🤝 handshake deal|🙏 pray thanks please|✍️ writing|💅 nails|💪 muscle strong|🧠 brain|👀 eyes look|👂 ear|👶 baby|🧒 child|🧑 person|👩 woman|👨 man|🧓 older|🙋 raising_hand|🤦 facepalm|🤷 shrug|🙇 bow|💁 tipping_hand|🕵️ detective|👷 builder|🧑‍💻 coder|🧑‍🍳 cook|🧑‍🎓 student|🧑‍🏫 teacher|🏃 running|💃 dancing|🕺 disco|🧘 meditate",
  ],
  [
    "Nature",
    "🐶 dog|🐱 cat|🐭 mouse|🐹 hamster|🐰 rabbit|🦊 fox|🐻 bear|🐼 panda|🐨 koala|🐯 tiger|🦁 lion|🐮 cow|🐷 pig|🐸 frog|🐵 monkey|🐔 chicken|🐧 penguin|🐦 bird|🦆 duck|🦉 owl|🐺 wolf|🐴 horse|🦄 unicorn|🐝 bee|🐛 bug|🦋 butterfly|🐌 snail|🐢 turtle|🐍 snake|🐙 octopus|🦀 crab|🐠 fish|🐬 dolphin|🐳 whale|🦔 hedgehog|🌵 cactus|🌲 tree|🌱 seedling|🍀 clover luck|🌷 tulip|🌹 rose|🌻 sunflower|🍁 maple|🍄 mushroom|🌍 earth|🌙 moon|⭐ star|✨ sparkles|⚡ lightning|🔥 fire|🌈 rainbow|☀️ sun|⛅ cloudy|🌧️ rain|❄️ snow|💧 drop|🌊 ocean",
  ],
  [
    "Food",
    "🍏 apple|🍌 banana|🍉 watermelon|🍇 grapes|🍓 strawberry|🍒 cherry|🍑 peach|🥭 mango|🍍 pineapple|🥑 avocado|🍅 tomato|🥕 carrot|🌽 corn|🥔 potato|🍞 bread|🥐 croissant|🧀 cheese|🥚 egg|🥞 pancakes|🍔 burger|🍟 fries|🍕 pizza|🌭 hotdog|🌮 taco|🥗 salad|🍝 pasta|🍜 noodles|🍣 sushi|🍚 rice|🍦 icecream|🍩 donut|🍪 cookie|🎂 birthday cake|🍰 shortcake|🍫 chocolate|🍿 popcorn|☕ coffee|🍵 tea|🥛 milk|🍺 beer|🍻 cheers|🍷 wine|🥂 champagne toast|🧃 juice",
  ],
  [
    "Things",
    "⚽ football|🏀 basketball|🎾 tennis|🏓 pingpong|🏆 trophy|🥇 gold first|🎮 game|🎲 dice|🧩 puzzle|🎨 art|🎬 film|🎤 microphone|🎧 headphones|🎵 music|🎸 guitar|🎹 piano|🚗 car|🚌 bus|🚲 bike|✈️ plane|🚀 rocket ship|🚂 train|⛵ boat|🏠 house home|🏢 office|🏖️ beach|⛰️ mountain|⏰ alarm|⌛ hourglass|📅 calendar|📌 pin|📎 paperclip|✏️ pencil|📝 memo note|📚 books|📖 book|💻 laptop|🖥️ computer|📱 phone|📷 camera|🔋 battery|💡 idea bulb|🔧 wrench|🔨 hammer|⚙️ gear|🔑 key|🔒 lock|📦 package|✉️ mail|📢 announce|🔔 bell|💰 money|🎁 gift|🎈 balloon|🎉 tada party|🎊 confetti|🛒 cart|🗑️ trash|🧪 test_tube|🩹 plaster",
  ],
  [
    "Signs",
    "❤️ heart love|🧡 orange_heart|💛 yellow_heart|💚 green_heart|💙 blue_heart|💜 purple_heart|🖤 black_heart|🤍 white_heart|💔 broken_heart|💯 hundred|✅ check done|☑️ ballot|✔️ tick|❌ cross no|❗ exclamation|❓ question|⚠️ warning|⛔ stop|🚫 forbidden|🆗 ok_sign|🆕 new|🆘 sos|🔴 red|🟠 orange|🟡 yellow|🟢 green|🔵 blue|🟣 purple|⚪ white|⚫ black|➕ plus|➖ minus|🔁 repeat|⏩ fast|⏸️ pause|▶️ play|⬆️ arrow_up|⬇️ arrow_down|⬅️ arrow_left|➡️ arrow_right|🔍 search|💬 speech|💭 thought|🗯️ shout|🏁 finish|🚩 flag",
  ],
];

export const emojiGroups: EmojiGroup[] = lists.map(([name, text]) => ({
  name,
  list: text.split("|").map((entry) => {
    const [emoji = "", ...words] = entry.split(" ");
    return { emoji, words };
  }),
}));

const all = emojiGroups.flatMap((group) => group.list);

/** Those found by a word, best first: the name begins with it, then any word does, then any contains it. */
export function findEmoji(text: string, limit: number): Emoji[] {
  const wanted = text.toLowerCase().replaceAll(" ", "_");
  if (wanted === "") return all.slice(0, limit);
  const rank = (one: Emoji) => {
    if (one.words[0]?.startsWith(wanted)) return 0;
    if (one.words.some((word) => word.startsWith(wanted))) return 1;
    return one.words.some((word) => word.includes(wanted)) ? 2 : 3;
  };
  return all
    .map((one) => ({ one, rank: rank(one) }))
    .filter((found) => found.rank < 3)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, limit)
    .map((found) => found.one);
}

export function wordsOf(emoji: string): string {
  return all.find((one) => one.emoji === emoji)?.words[0]?.replaceAll("_", " ") ?? emoji;
}

const quick = ["👍", "❤️", "😂", "🎉", "👀", "🙏"];
const kept_max = 18;
const storage = "chinwag.emoji";

/** Those used last; before any was used, the usual ones. */
export function recentEmoji(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(storage) ?? "[]");
    const mine = Array.isArray(kept) ? kept.filter((one): one is string => typeof one === "string") : [];
    return [...new Set([...mine, ...quick])].slice(0, kept_max);
  } catch {
    return quick;
  }
}

export function useEmoji(emoji: string): void {
  const next = [emoji, ...recentEmoji().filter((one) => one !== emoji)].slice(0, kept_max);
  try {
    localStorage.setItem(storage, JSON.stringify(next));
  } catch {
    // Without storage the usual ones are shown.
  }
}
