// The playground: the conversation, and the event handlers of the page.
import { announce, announceAnswer, announceHypothesis } from "./announcer.js";
import { ask, listModels } from "./client.js";
import { readImage, thumbnail } from "./images.js";
import { LEVELS } from "./levels.js";
import { prose } from "./markdown.js";
import { download } from "./marks.js";
import { allChats, clearChats, currentChat, loadSettings, removeChat, saveChat, saveSettings, setCurrentChat, trimChats } from "./store.js";
import { copyButton, element } from "./text.js";
import { seconds, TurnView } from "./view.js";

const $ = (id) => document.getElementById(id);
const SUGGESTIONS = {
  Describe: "Describe this image.",
  "Read the text": "Read all of the text in this image.",
  Point: 'Point to the main object. Answer as JSON: {"point_2d": [x, y], "label": …}',
  Box: 'Box every object. Answer as JSON: {"bbox_2d": [x1, y1, x2, y2], "label": …}',
  "Work it out": "Solve the problem in the image, step by step.",
};
const THEMES = ["auto", "light", "dark"];
const SAVE_EVERY = 3000; // milliseconds, while a reply streams

let settings = loadSettings();
let chat = newChat();
let attached = []; // data URLs of the question that is being written
let reading = Promise.resolve(); // the files that are being read and checked
let models = [];
let running = null; // aborts the reply that streams
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
  const images = chat.turns.slice(0, index + 1).findLast((earlier) => earlier.images.length)?.images ?? [];
  return new TurnView(turn, images, showHypothesis, () => retry(turn));
}

function messagesUntil(turn) {
  const messages = settings.system ? [{ role: "system", content: settings.system }] : [];
  for (const earlier of chat.turns) {
    const images = earlier.images.map((url) => ({ type: "image_url", image_url: { url } }));
    messages.push({ role: "user", content: [...images, { type: "text", text: earlier.question }] });
    if (earlier === turn) break;
    if (earlier.content) messages.push({ role: "assistant", content: earlier.content });
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
  running = new AbortController();
  showRunning();
  announce("The question is sent.");
  setCurrentChat(chat.id);
  chat.updated = Date.now();
  keep();
  const started = performance.now();
  let saved = started;
  const clock = setInterval(() => ((turn.elapsed = performance.now() - started), view.changed()), 250);
  try {
    for await (const event of ask(bodyOf(turn), settings.key, running.signal)) {
      follow(turn, event, performance.now() - started);
      view.changed();
      if (performance.now() - saved > SAVE_EVERY) (saved = performance.now()), keep();
      follow.frame ||= requestAnimationFrame(() => ((follow.frame = 0), scrollTo(view)));
    }
  } catch (error) {
    turn.error = error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    clearInterval(clock);
    running = null;
    showRunning();
    Object.assign(turn, { done: true, elapsed: performance.now() - started, cost: costOf(turn.usage) });
    for (const round of turn.rounds) for (const hypothesis of round.hypotheses) hypothesis.finish ||= "cancelled";
    view.render();
    scrollTo(view);
    if (turn.content) announceAnswer(view.prose);
    if (!turn.content || turn.error) announce(turn.error || "The reply ended before an answer began.");
    chat.updated = Date.now();
    await keep();
    await trimChats().then(showHistory, () => {});
  }
}

async function keep() {
  await saveChat(chat).catch(() => notice("This browser keeps no history here."));
}

// Scrolls the end of the answer into view, but never its beginning out of it.
function scrollTo(view) {
  if (!following) return;
  const box = $("thread").getBoundingClientRect();
  const below = view.root.getBoundingClientRect().bottom - box.bottom;
  const above = view.answer.getBoundingClientRect().top - box.top - 12;
  if (Math.min(below, above) > 0) $("thread").scrollTop += Math.min(below, above);
}

function follow(turn, { choices = [], usage, pacore }, now) {
  if (usage) turn.usage = usage;
  if (pacore) followRounds(turn.rounds, pacore);
  for (const { delta, finish_reason: finish } of choices) {
    if (delta.content && !turn.content) announce("The answer is being written.", "answer");
    turn.content += delta.content ?? "";
    turn.calls.push(...(delta.tool_calls ?? []));
    if (!pacore) turn.reasoning += delta.reasoning_content ?? delta.reasoning ?? "";
    if (!turn.reasoning && turn.content.includes("</think>")) splitReasoning(turn); // of a server behind a gateway that does not
    if (finish) turn.finish = finish;
  }
  if (turn.content || turn.reasoning || pacore?.type === "delta") turn.first ||= now;
}

function splitReasoning(turn) {
  const end = turn.content.indexOf("</think>");
  turn.reasoning += turn.content.slice(0, end).replace(/^\s*<think>/, "");
  turn.content = turn.content.slice(end + "</think>".length).trimStart();
}

const emptyHypothesis = () => ({ text: "", conclusion: "", finish: "" });

function followRounds(rounds, event) {
  if (event.type === "round") {
    rounds[event.round] = { hypotheses: Array.from({ length: event.rollouts }, emptyHypothesis) };
    announce(`${event.rollouts} hypotheses are being written.`);
  } else if (event.type === "usage") {
    rounds[event.round].usage = event.usage;
  } else if (event.type === "restarted") {
    for (const index of event.indices) Object.assign(rounds[event.round].hypotheses[index], emptyHypothesis());
  } else {
    const hypothesis = rounds[event.round].hypotheses[event.index];
    if (event.type === "delta") hypothesis.text += event.text;
    else {
      Object.assign(hypothesis, { conclusion: event.conclusion, tokens: event.tokens, finish: event.finish_reason });
      announceHypothesis(event.round, rounds[event.round].hypotheses, event.index);
    }
  }
}

function costOf(usage) {
  if (!usage || !(settings.price_in || settings.price_out)) return null;
  return (usage.prompt_tokens * (settings.price_in || 0) + usage.completion_tokens * (settings.price_out || 0)) / 1e6;
}

function showRunning() {
  $("send").hidden = Boolean(running);
  $("stop").hidden = !running;
  $("export").disabled = Boolean(running) || !chat.turns.length;
}

async function send() {
  await reading;
  const question = $("question").value.trim();
  if (running || !question) return;
  if (!$("model").value) return notice("No model is available; if the server needs an API key, enter it in the settings.");
  const turn = { question, images: attached, level: new FormData($("composer")).get("level"), model: $("model").value };
  chat.turns.push(turn);
  chat.title ||= question.slice(0, 60);
  attached = [];
  $("question").value = "";
  fit();
  showAttached();
  await answer(turn);
}

async function retry(turn) {
  if (running) return;
  const level = new FormData($("composer")).get("level");
  const later = chat.turns.indexOf(turn) + 1;
  chat.turns.splice(later);
  while ($("thread").children.length > later) $("thread").lastChild.remove();
  await answer(Object.assign(turn, { level, model: $("model").value || turn.model }));
}

// ---- images

function attach(files) {
  reading = attachAll(reading, [...files]);
}

async function attachAll(earlier, files) {
  await earlier;
  const problems = [];
  for (const file of files) {
    try {
      attached.push(await readImage(file));
    } catch (error) {
      problems.push(`${file.name || "The image"} ${error.message}.`);
    }
  }
  if (problems.length) notice(problems.join(" "));
  showAttached();
  focusQuestion();
}

function showAttached() {
  const remove = (index) => () => (attached.splice(index, 1), showAttached());
  $("images").replaceChildren(...attached.map((url, index) => thumbnail(url, `image ${index + 1}`, remove(index))));
}

// ---- history and export

async function showHistory() {
  const chats = await allChats().catch(() => []);
  $("clear").hidden = chats.length === 0;
  $("history").replaceChildren(
    ...chats.map((entry) =>
      element(
        "li",
        { className: entry.id === chat.id ? "current" : "" },
        element("button", { className: "open", title: new Date(entry.updated).toLocaleString(), onclick: () => open(entry) }, entry.title),
        element("button", { className: "delete icon", ariaLabel: `Delete ${entry.title}`, onclick: () => forget(entry) }, "✕"),
      ),
    ),
  );
}

function open(other) {
  if (running) return notice("Stop the reply first.");
  chat = other;
  setCurrentChat(chat.turns.length ? chat.id : null);
  document.body.classList.remove("drawer");
  showChat();
  showHistory();
  focusQuestion();
}

async function clearHistory() {
  if (running) return notice("Stop the reply first.");
  if (!confirm("Delete all conversations that are stored in this browser?")) return;
  await clearChats();
  open(newChat());
}

// The history, and after a reload the conversation that was open.
async function restore() {
  const last = (await allChats().catch(() => [])).find(({ id }) => id === currentChat());
  last && !running && !chat.turns.length ? open(last) : showHistory();
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
    const images = turn.images.map((url, index) => `![image ${index + 1}](${url})`);
    const hypotheses = turn.rounds.flatMap((round, index) =>
      round.hypotheses.map(({ conclusion }, number) => `### Round ${index + 1}, hypothesis ${number + 1}\n\n${conclusion || "(no answer)"}`),
    );
    const end = turn.error || `${turn.model}, ${LEVELS[turn.level].name}, ${turn.usage?.completion_tokens ?? "?"} tokens, ${seconds(turn.elapsed)}`;
    return [`## ${turn.question}`, ...images, ...hypotheses, hypotheses.length ? "### Synthesis" : "### Answer", turn.content, `*${end}*`].filter(Boolean).join("\n\n");
  });
  download(new Blob([`# ${chat.title}\n\n${parts.join("\n\n")}\n`], { type: "text/markdown" }), fileName("md"));
}

// ---- the page

function notice(text) {
  $("notice").textContent = text;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => ($("notice").textContent = ""), 5000 + 40 * text.length);
}

function showHypothesis(title, { text, conclusion }) {
  $("reader").querySelector("h2").textContent = title;
  const reasoning = conclusion ? text.split("</think>")[0] : text;
  const parts = [element("p", { className: "reasoning-text" }, reasoning.trim() || "Nothing yet.")];
  if (conclusion) parts.push(element("h3", {}, "Conclusion"), prose(conclusion));
  $("reader").querySelector(".text").replaceChildren(...parts);
  $("reader-copy").replaceChildren(copyButton("Copy", () => text || conclusion));
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
    models = (await listModels(settings.key)).filter((model) => !model.pacore);
    $("model").replaceChildren(...models.map(({ id }) => element("option", { value: id }, id)));
    $("model").hidden = models.length === 1;
    $("model-name").hidden = models.length !== 1;
    $("model-name").textContent = models[0]?.id ?? "";
    showContext();
  } catch (error) {
    $("server").textContent = "not connected";
    if (error.status === 401) $("settings").showModal();
    notice(error.message);
  }
}

function showContext() {
  const context = models.find(({ id }) => id === $("model").value)?.max_model_len;
  $("model").title = $("model").value;
  $("server").textContent = context ? `reads and writes up to ${context.toLocaleString()} tokens` : "";
  $("context").textContent = context
    ? `Images, conversation and reply share ${context.toLocaleString()} tokens, about ${(Math.round((context * 0.75) / 100) * 100).toLocaleString()} English words.`
    : "";
}

function showHint() {
  $("hint").textContent = LEVELS[new FormData($("composer")).get("level")].hint;
}

// Not on a phone, whose keyboard it would open.
function focusQuestion() {
  if (matchMedia("(pointer: fine)").matches) $("question").focus();
}

function closeDrawer() {
  document.body.classList.remove("drawer");
  $("open-drawer").focus();
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
  $("composer").addEventListener("change", showHint);
  $("model").addEventListener("change", showContext);
  $("clear").addEventListener("click", clearHistory);
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => (attach($("files").files), ($("files").value = "")));
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
    const inFront = document.querySelector("dialog[open], :popover-open");
    if (event.key === "Escape" && !inFront && document.body.classList.contains("drawer")) closeDrawer();
    else if (event.key === "Escape" && !inFront) running?.abort();
    if (event.altKey && event.code === "KeyN") (event.preventDefault(), open(newChat()));
    if (event.key === "/" && event.target === document.body) (event.preventDefault(), $("question").focus());
  });
  for (const kind of ["wheel", "touchmove", "pointerdown"]) $("thread").addEventListener(kind, () => (following = false), { passive: true });
  $("new-chat").addEventListener("click", () => open(newChat()));
  $("open-drawer").addEventListener("click", () => (document.body.classList.add("drawer"), $("close-drawer").focus()));
  $("close-drawer").addEventListener("click", closeDrawer);
  document.querySelector("main").addEventListener("click", (event) => {
    if (!event.target.closest("#open-drawer")) document.body.classList.remove("drawer");
  });
  $("export-json").addEventListener("click", () => ($("export-menu").hidePopover(), exportJson()));
  $("export-markdown").addEventListener("click", () => ($("export-menu").hidePopover(), exportMarkdown()));
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
  const suggestions = Object.entries(SUGGESTIONS).map(([name, prompt]) => element("button", { type: "button", title: prompt, onclick: () => take(prompt) }, name));
  $("ideas").append(...suggestions.map((button) => element("li", {}, button)));
}

wire();
setTheme(localStorage.getItem("step3vl.theme") ?? "auto");
showHint();
showChat();
showModels();
restore();
focusQuestion();
