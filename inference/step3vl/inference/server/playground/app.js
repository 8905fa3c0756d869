// The playground: what was asked and answered, and the wiring of the page.
import { ask, listModels } from "./client.js";
import { download } from "./marks.js";
import { allChats, loadSettings, removeChat, saveChat, saveSettings } from "./store.js";
import { element } from "./text.js";
import { seconds, thumbnail, TurnView } from "./view.js";

const $ = (id) => document.getElementById(id);
const IDEAS = {
  Describe: "Describe this picture.",
  "Read the text": "Read all of the text in this picture.",
  Point: 'Point to the main object. Answer as JSON: {"point_2d": [x, y], "label": …}',
  Box: 'Box every object. Answer as JSON: {"bbox_2d": [x1, y1, x2, y2], "label": …}',
  "Work it out": "Solve the problem in the picture, step by step.",
};
const THEMES = ["auto", "light", "dark"];

let settings = loadSettings();
let chat = newChat();
let attached = []; // data URLs of the question that is being written
let running = null; // what stops the reply that streams
let following = false; // whether the page scrolls with the reply; it stops when the reader scrolls

function newChat() {
  return { id: crypto.randomUUID?.() ?? String(Math.random()), title: "", updated: Date.now(), turns: [] };
}

// ---- the conversation

function showChat() {
  $("thread").replaceChildren(...chat.turns.map((turn, index) => viewOf(turn, index).root));
  $("thread").scrollTop = $("thread").scrollHeight;
  showRunning();
}

function viewOf(turn, index) {
  const pictures = chat.turns.slice(0, index + 1).findLast((one) => one.images.length)?.images ?? [];
  return new TurnView(turn, pictures, read, () => again(turn));
}

function messagesUntil(turn) {
  const messages = settings.system ? [{ role: "system", content: settings.system }] : [];
  for (const one of chat.turns) {
    const images = one.images.map((url) => ({ type: "image_url", image_url: { url } }));
    messages.push({ role: "user", content: [...images, { type: "text", text: one.question }] });
    if (one === turn) break;
    if (one.content) messages.push({ role: "assistant", content: one.content });
  }
  return messages;
}

function bodyOf(turn) {
  const body = { model: turn.level ? `${turn.model}-pacore-${turn.level}` : turn.model, messages: messagesUntil(turn) };
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) if (settings[name]) body[name] = Number(settings[name]);
  if (turn.level) body.pacore = { events: true };
  return body;
}

async function answer(turn) {
  Object.assign(turn, { rounds: [], reasoning: "", content: "", calls: [], usage: null, first: 0, elapsed: 0, error: "", finish: "", cost: null, done: false });
  const view = viewOf(turn, chat.turns.indexOf(turn));
  const old = $("thread").children[chat.turns.indexOf(turn)];
  old ? old.replaceWith(view.root) : $("thread").append(view.root);
  view.root.scrollIntoView({ block: "start" });
  following = true;
  const started = performance.now();
  const clock = setInterval(() => ((turn.elapsed = performance.now() - started), view.changed()), 250);
  running = new AbortController();
  showRunning();
  try {
    for await (const event of ask(bodyOf(turn), settings.key, running.signal)) {
      follow(turn, event, performance.now() - started);
      view.changed();
      follow.frame ||= requestAnimationFrame(() => ((follow.frame = 0), scrollTo(view)));
    }
  } catch (error) {
    turn.error = error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    clearInterval(clock);
    running = null;
    showRunning();
    Object.assign(turn, { done: true, elapsed: performance.now() - started, cost: costOf(turn.usage) });
    for (const round of turn.rounds) for (const one of round.hypotheses) one.finish ||= "cancelled";
    view.render();
    scrollTo(view);
    chat.updated = Date.now();
    await saveChat(chat).then(showHistory, () => notice("This browser keeps no history here."));
  }
}

// Brings the end of the answer into sight, but never its beginning out of it.
function scrollTo(view) {
  if (!following) return;
  const box = $("thread").getBoundingClientRect();
  const below = view.root.getBoundingClientRect().bottom - box.bottom;
  const above = view.answer.getBoundingClientRect().top - box.top - 12;
  if (Math.min(below, above) > 0) $("thread").scrollTop += Math.min(below, above);
}

function follow(turn, { choices, usage, pacore }, now) {
  if (usage) turn.usage = usage;
  if (pacore) followRounds(turn.rounds, pacore);
  for (const { delta, finish_reason: finish } of choices) {
    turn.content += delta.content ?? "";
    turn.calls.push(...(delta.tool_calls ?? []));
    if (!pacore) turn.reasoning += delta.reasoning_content ?? "";
    if (finish) turn.finish = finish;
  }
  if (turn.content || turn.reasoning || pacore?.type === "delta") turn.first ||= now;
}

const untold = () => ({ text: "", message: "", finish: "" });

function followRounds(rounds, event) {
  if (event.type === "round") {
    rounds[event.round] = { hypotheses: Array.from({ length: event.rollouts }, untold) };
  } else if (event.type === "usage") {
    rounds[event.round].usage = event.usage;
  } else if (event.type === "restarted") {
    for (const index of event.indices) Object.assign(rounds[event.round].hypotheses[index], untold());
  } else {
    const hypothesis = rounds[event.round].hypotheses[event.index];
    if (event.type === "delta") hypothesis.text += event.text;
    else Object.assign(hypothesis, { message: event.message, tokens: event.tokens, finish: event.finish_reason });
  }
}

function costOf(usage) {
  if (!usage || !(settings.price_in || settings.price_out)) return null;
  return (usage.prompt_tokens * (settings.price_in || 0) + usage.completion_tokens * (settings.price_out || 0)) / 1e6;
}

function showRunning() {
  $("send").hidden = Boolean(running);
  $("stop").hidden = !running;
  for (const id of ["export-markdown", "export-json"]) $(id).disabled = Boolean(running) || !chat.turns.length;
}

async function send() {
  const question = $("question").value.trim();
  if (running || !question) return;
  if (!$("model").value) return notice("There is no model to ask; see the settings if the server wants an API key.");
  const turn = { question, images: attached, level: new FormData($("composer")).get("level"), model: $("model").value };
  chat.turns.push(turn);
  chat.title ||= question.slice(0, 60);
  attached = [];
  $("question").value = "";
  fit();
  showAttached();
  await answer(turn);
}

async function again(turn) {
  if (running) return;
  const level = new FormData($("composer")).get("level");
  const later = chat.turns.indexOf(turn) + 1;
  chat.turns.splice(later);
  while ($("thread").children.length > later) $("thread").lastChild.remove();
  await answer(Object.assign(turn, { level, model: $("model").value || turn.model }));
}

// ---- pictures

async function attach(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) {
      notice(`${file.name} is no picture.`);
      continue;
    }
    const url = await new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(file);
    });
    attached.push(url);
  }
  showAttached();
  $("question").focus();
}

function showAttached() {
  const remove = (index) => () => (attached.splice(index, 1), showAttached());
  $("pictures").replaceChildren(...attached.map((url, index) => thumbnail(url, remove(index))));
}

// ---- history and export

async function showHistory() {
  const chats = await allChats().catch(() => []);
  $("history-empty").hidden = chats.length > 0;
  $("history").replaceChildren(
    ...chats.map((one) =>
      element(
        "li",
        { className: one.id === chat.id ? "current" : "" },
        element("button", { className: "open", title: new Date(one.updated).toLocaleString(), onclick: () => open(one) }, one.title),
        element("button", { className: "delete icon", ariaLabel: `Delete ${one.title}`, onclick: () => forget(one) }, "✕"),
      ),
    ),
  );
}

function open(other) {
  if (running) return notice("Stop the reply first.");
  chat = other;
  document.body.classList.remove("drawer");
  showChat();
  showHistory();
  $("question").focus();
}

async function forget(other) {
  if (running && other.id === chat.id) return notice("Stop the reply first.");
  await removeChat(other.id);
  other.id === chat.id ? open(newChat()) : showHistory();
}

const fileName = (ending) => `${(chat.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40)}.${ending}`;

function exportJson() {
  download(new Blob([JSON.stringify(chat, null, 1)], { type: "application/json" }), fileName("json"));
}

function exportMarkdown() {
  const parts = chat.turns.map((turn) => {
    const images = turn.images.map((url, index) => `![picture ${index + 1}](${url})`);
    const hypotheses = turn.rounds.flatMap((round, index) =>
      round.hypotheses.map((one, number) => `### Round ${index + 1}, hypothesis ${number + 1}\n\n${one.message || "(no answer)"}`),
    );
    const end = turn.error || `${turn.model}${turn.level ? `, PaCoRe ${turn.level}` : ""}, ${turn.usage?.completion_tokens ?? "?"} tokens, ${seconds(turn.elapsed)}`;
    return [`## ${turn.question}`, ...images, ...hypotheses, hypotheses.length ? "### Synthesis" : "### Answer", turn.content, `*${end}*`].filter(Boolean).join("\n\n");
  });
  download(new Blob([`# ${chat.title}\n\n${parts.join("\n\n")}\n`], { type: "text/markdown" }), fileName("md"));
}

// ---- the page

function notice(text) {
  $("notice").textContent = text;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => ($("notice").textContent = ""), 5000);
}

function read(title, { text, message }) {
  $("reader").querySelector("h2").textContent = title;
  $("reader").querySelector(".text").textContent = text || message || "Nothing yet.";
  $("reader").showModal();
}

function fit() {
  const area = $("question");
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

function setTheme(theme) {
  localStorage.setItem("step3vl.theme", theme);
  $("theme").textContent = `Theme: ${theme}`;
  document.documentElement.dataset.theme = theme;
}

async function showModels() {
  try {
    const models = (await listModels(settings.key)).filter((one) => !one.pacore);
    $("model").replaceChildren(...models.map((one) => element("option", { value: one.id }, one.id)));
    const context = models[0]?.max_model_len;
    $("server").textContent = context ? `${context.toLocaleString()} tokens fit` : "";
  } catch (error) {
    $("server").textContent = "not connected";
    if (error.status === 401) $("settings").showModal();
    notice(error.message);
  }
}

function wire() {
  $("composer").addEventListener("submit", (event) => (event.preventDefault(), send()));
  $("question").addEventListener("input", fit);
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", async () => (await attach($("files").files), ($("files").value = "")));
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) event.preventDefault();
    if (files.length) attach(files);
  });
  document.addEventListener("dragover", (event) => (event.preventDefault(), document.body.classList.add("dropping")));
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    attach(event.dataTransfer.files);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running && !document.querySelector("dialog[open]")) running.abort();
    if (event.altKey && event.code === "KeyN") (event.preventDefault(), open(newChat()));
    if (event.key === "/" && event.target === document.body) (event.preventDefault(), $("question").focus());
  });
  for (const kind of ["wheel", "touchmove", "pointerdown"]) $("thread").addEventListener(kind, () => (following = false), { passive: true });
  $("new-chat").addEventListener("click", () => open(newChat()));
  $("open-drawer").addEventListener("click", () => (document.body.classList.add("drawer"), $("close-drawer").focus()));
  $("close-drawer").addEventListener("click", () => document.body.classList.remove("drawer"));
  document.querySelector("main").addEventListener("click", (event) => {
    if (!event.target.closest("#open-drawer")) document.body.classList.remove("drawer");
  });
  $("export-json").addEventListener("click", exportJson);
  $("export-markdown").addEventListener("click", exportMarkdown);
  $("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  const form = $("settings").querySelector("form");
  for (const field of form.elements) if (field.name) field.value = settings[field.name] ?? "";
  $("settings").addEventListener("close", () => {
    settings = Object.fromEntries(new FormData(form));
    saveSettings(settings);
    showModels();
  });
  const take = (prompt) => (($("question").value = prompt), fit(), $("question").focus());
  const ideas = Object.entries(IDEAS).map(([name, prompt]) => element("button", { type: "button", title: prompt, onclick: () => take(prompt) }, name));
  $("ideas").append(...ideas.map((button) => element("li", {}, button)));
}

wire();
setTheme(localStorage.getItem("step3vl.theme") ?? "auto");
showChat();
showHistory();
showModels();
$("question").focus();
