// Conversations and settings, kept in this browser alone.

const SETTINGS = "step3vl.settings";
const KEY = "step3vl.key";

function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("step3vl", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("chats", { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

async function request(mode, make) {
  const connection = await database();
  try {
    return await new Promise((resolve, reject) => {
      const asked = make(connection.transaction("chats", mode).objectStore("chats"));
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
  } finally {
    connection.close();
  }
}

export const saveChat = (chat) => request("readwrite", (chats) => chats.put(structuredClone(chat)));
export const removeChat = (id) => request("readwrite", (chats) => chats.delete(id));
export const allChats = async () =>
  (await request("readonly", (chats) => chats.getAll())).sort((one, other) => other.updated - one.updated);

// The key lives as long as the tab; everything else stays.
export function loadSettings() {
  const kept = JSON.parse(localStorage.getItem(SETTINGS) ?? "{}");
  return { temperature: "1", top_p: "1", ...kept, key: sessionStorage.getItem(KEY) ?? "" };
}

export function saveSettings({ key, ...others }) {
  localStorage.setItem(SETTINGS, JSON.stringify(others));
  sessionStorage.setItem(KEY, key);
}
