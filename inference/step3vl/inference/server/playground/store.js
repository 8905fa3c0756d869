// Conversations and settings, stored in this browser only. Conversations hold images, for which localStorage is too small.

const SETTINGS = "step3vl.settings";
const KEY = "step3vl.key";
const CURRENT = "step3vl.current";
const MAX_CHATS = 50;
const MAX_CHARACTERS = 50_000_000; // of all conversations, most of them in images

function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("step3vl", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("chats", { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

async function request(mode, makeQuery) {
  const connection = await database();
  try {
    return await new Promise((resolve, reject) => {
      const query = makeQuery(connection.transaction("chats", mode).objectStore("chats"));
      query.onsuccess = () => resolve(query.result);
      query.onerror = () => reject(query.error);
    });
  } finally {
    connection.close();
  }
}

export const saveChat = (chat) => request("readwrite", (chats) => chats.put(structuredClone(chat)));
export const removeChat = (id) => request("readwrite", (chats) => chats.delete(id));
export const clearChats = () => request("readwrite", (chats) => chats.clear());

// All conversations, the latest first.
export async function allChats() {
  const chats = await request("readonly", (chats) => chats.getAll());
  for (const turn of chats.flatMap((chat) => chat.turns)) {
    const hypotheses = turn.rounds.flatMap((round) => round.hypotheses);
    for (const hypothesis of hypotheses) hypothesis.conclusion ??= hypothesis.message ?? ""; // its name in earlier versions
    if (turn.done) continue; // else the page was left while it streamed
    Object.assign(turn, { done: true, error: "The page was left before the reply ended." });
    for (const hypothesis of hypotheses) hypothesis.finish ||= "cancelled";
  }
  return chats.sort((left, right) => right.updated - left.updated);
}

// Removes the oldest conversations beyond the limits.
export async function trimChats() {
  let characters = 0;
  for (const [index, chat] of (await allChats()).entries()) {
    characters += JSON.stringify(chat).length;
    if (index && (index >= MAX_CHATS || characters > MAX_CHARACTERS)) await removeChat(chat.id);
  }
}

// The conversation that a reload opens again; null after "New conversation".
export const currentChat = () => localStorage.getItem(CURRENT);
export const setCurrentChat = (id) => (id ? localStorage.setItem(CURRENT, id) : localStorage.removeItem(CURRENT));

// The API key is kept for the session only.
export function loadSettings() {
  const stored = JSON.parse(localStorage.getItem(SETTINGS) ?? "{}");
  return { temperature: "1", top_p: "1", ...stored, key: sessionStorage.getItem(KEY) ?? "" };
}

export function saveSettings({ key, ...others }) {
  localStorage.setItem(SETTINGS, JSON.stringify(others));
  sessionStorage.setItem(KEY, key);
}
