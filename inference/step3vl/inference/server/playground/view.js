// A turn of a conversation as elements that are updated while it streams.
import { findMarks, markedImage } from "./marks.js";
import { thumbnail } from "./images.js";
import { LEVELS } from "./levels.js";
import { prose } from "./markdown.js";
import { copyButton, element } from "./text.js";

const TAIL = 600; // characters of a growing hypothesis that its card shows
const MANY = 8; // with more hypotheses in a round their cards are small

export class TurnView {
  // `images` receive the marks: those of the turn, or else the latest before it.
  constructor(turn, images, showHypothesis, retry) {
    this.turn = turn;
    this.images = images;
    this.showHypothesis = showHypothesis;
    this.rounds = [];
    this.frame = 0;
    this.cost = 0; // milliseconds that the last rendering took
    const question = element("div", { className: "question" }, element("h2", { className: "hidden" }, "Question"));
    if (turn.images.length) question.append(element("div", { className: "thumbs" }, ...turn.images.map((url, index) => thumbnail(url, `Image ${index + 1}`))));
    question.append(element("div", { className: "words" }, turn.question));
    this.progress = element("div");
    this.answer = element("article", { className: "answer", ariaLabel: "Answer" });
    this.words = element("div");
    this.answer.append(element("h3", { className: "hidden" }, "Answer"), this.words);
    this.copy = copyButton("Copy answer", () => turn.content);
    this.again = element("button", { type: "button", className: "retry", onclick: retry }, "Ask again");
    this.figures = element("div", { className: "figures" });
    this.run = element("div", { className: "run" }, this.progress, this.answer, this.figures);
    this.root = element("div", {}, question, this.run);
    this.render();
  }

  // Changes within one frame are rendered once; a long answer, less often.
  changed() {
    this.frame ||= setTimeout(() => requestAnimationFrame(() => {
      this.frame = 0;
      const started = performance.now();
      this.render();
      this.cost = performance.now() - started;
    }), 4 * this.cost);
  }

  render() {
    const { turn } = this;
    turn.rounds.forEach((round, index) => (this.rounds[index] ??= this.newRound(round, index)).render());
    this.renderAnswer();
    const buttons = turn.done ? [...(turn.content ? [this.copy] : []), this.again] : [];
    this.figures.replaceChildren(...describe(turn), ...buttons);
    this.run.ariaBusy = String(!turn.done);
  }

  renderAnswer() {
    const { turn } = this;
    const parts = [];
    if (turn.reasoning) {
      this.reasoning ??= element("details", { className: "reasoning" }, element("summary"), element("div", { className: "text" }));
      const [summary, text] = this.reasoning.children;
      summary.textContent = turn.content || turn.done ? "Reasoning" : "Reasoning…";
      text.textContent = turn.reasoning;
      if (!turn.content && !turn.done) text.scrollTop = text.scrollHeight;
      parts.push(this.reasoning);
    }
    if (turn.content !== this.content) [this.content, this.prose] = [turn.content, prose(turn.content)];
    if (turn.content) parts.push(this.prose);
    for (const call of turn.calls) parts.push(element("pre", {}, `${call.function.name}(${call.function.arguments})`));
    if (turn.error) parts.push(element("p", { className: "error" }, turn.error));
    if (!turn.done && !turn.content && !turn.reasoning) parts.push(element("p", { className: "quiet waiting" }, waiting(turn)));
    if (turn.done && !turn.content && !turn.error) parts.push(element("p", { className: "quiet" }, "The reply ended before an answer began."));
    if (turn.finish === "length") parts.push(element("p", { className: "quiet" }, "Cut at the maximum length."));
    if (parts.some((part, index) => part !== this.words.childNodes[index]) || parts.length !== this.words.childNodes.length) this.words.replaceChildren(...parts);
    const marks = this.images.length ? findMarks(turn.content) : [];
    if (marks.length !== (this.markCount ?? 0)) {
      this.markCount = marks.length;
      this.figure?.remove();
      this.figure = marks.length ? markedImage(this.images, marks) : null;
      if (this.figure) this.answer.append(this.figure);
      this.answer.classList.toggle("marked", marks.length > 0);
    }
  }

  newRound(round, index) {
    const bar = element("progress", { max: round.hypotheses.length });
    const count = element("span");
    const title = element("h3", {}, index ? `Round ${index + 1}` : "Hypotheses");
    const grid = element("div", { className: "hypotheses" });
    grid.classList.toggle("many", round.hypotheses.length > MANY);
    this.progress.append(element("section", { className: "round" }, element("header", {}, title, count, bar), grid));
    const cards = round.hypotheses.map((hypothesis, number) => this.newCard(hypothesis, number));
    grid.append(...cards.map((card) => card.root));
    return {
      render: () => {
        const done = round.hypotheses.filter((hypothesis) => hypothesis.finish).length;
        bar.value = done;
        bar.hidden = done === bar.max;
        grid.classList.toggle("settled", done === bar.max);
        count.textContent = `${done} of ${bar.max}${round.usage ? ` · ${round.usage.completion_tokens.toLocaleString()} tokens` : ""}`;
        cards.forEach((card) => card.render());
      },
    };
  }

  newCard(hypothesis, number) {
    const state = element("span", { className: "state" });
    const text = element("span", { className: "text" });
    const name = element("b", {}, element("span", { className: "hidden" }, "Hypothesis "), String(number + 1));
    const header = element("span", { className: "head" }, name, state);
    const root = element("button", { type: "button", className: "hypothesis" }, header, text);
    root.addEventListener("click", () => this.showHypothesis(`Hypothesis ${number + 1}`, hypothesis));
    let renderedKey;
    const render = () => {
      const key = `${hypothesis.finish}${hypothesis.text.length}`;
      if (key === renderedKey) return;
      renderedKey = key;
      const { finish, conclusion } = hypothesis;
      root.className = `hypothesis ${finish ? (conclusion ? "done" : finish === "cancelled" ? "" : "failed") : hypothesis.text ? "live" : ""}`;
      state.textContent = stateOf(hypothesis);
      text.textContent = conclusion || hypothesis.text.slice(-TAIL).replace(/\s*<\/?think>\s*/g, "\n").trimStart();
    };
    return { root, render };
  }
}

function stateOf({ text, conclusion, tokens, finish }) {
  if (finish && !conclusion) return finish === "cancelled" ? "stopped" : "no answer";
  if (finish) return tokens ? `${tokens} tokens` : "done";
  if (!text) return "waiting";
  return text.includes("</think>") ? "answering" : "reasoning";
}

function waiting(turn) {
  if (!turn.level) return "Reading the question…";
  const round = turn.rounds.at(-1);
  if (!round) return "Starting the hypotheses…";
  return round.hypotheses.every((hypothesis) => hypothesis.finish) ? "Combining the conclusions…" : "Reasoning in parallel…";
}

export const seconds = (milliseconds) => (milliseconds < 60_000 ? `${(milliseconds / 1000).toFixed(1)} s` : `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`);

function describe({ model, level, usage, elapsed, first, cost, done }) {
  const words = [];
  if (done) words.push(`${model}, ${LEVELS[level].name}`);
  if (usage) {
    const reasoning = usage.completion_tokens_details?.reasoning_tokens;
    words.push(`${usage.prompt_tokens.toLocaleString()} prompt tokens`);
    words.push(`${usage.completion_tokens.toLocaleString()} reply tokens${reasoning ? `, ${reasoning.toLocaleString()} of them reasoning` : ""}`);
  }
  if (elapsed) words.push(seconds(elapsed));
  if (first) words.push(`first token after ${seconds(first)}`);
  if (usage && elapsed) words.push(`${(usage.completion_tokens / (elapsed / 1000)).toFixed(1)} tokens/s`);
  if (cost !== null && cost !== undefined) words.push(`costs ${cost.toPrecision(3)}`);
  return words.map((word) => element("span", {}, word));
}
