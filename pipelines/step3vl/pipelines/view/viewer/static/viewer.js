// Keys for what the pages' links and buttons do. Without this script everything works, by mouse or Tab.
const keys = {
  j: () => move(1),
  k: () => move(-1),
  n: () => follow("next"),
  p: () => follow("previous"),
  u: () => follow("list"),
  m: () => toggleMarks(),
  "/": () => document.getElementById("search")?.focus(),
  "?": () => document.getElementById("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

// Move the focus among the entries of a list; on the page of a sample, go to the next one or the one before.
function move(by) {
  const entries = [...document.querySelectorAll("[data-entry]")];
  if (!entries.length) return follow(by > 0 ? "next" : "previous");
  const current = entries.indexOf(document.activeElement);
  const target = current < 0 ? (by > 0 ? 0 : entries.length - 1) : current + by;
  if (target >= entries.length) return follow("next");
  if (target < 0) return follow("previous");
  entries[target].focus();
}

function follow(relation) {
  document.querySelector(`a[data-key="${relation}"]`)?.click();
}

function toggleMarks() {
  const hidden = document.body.classList.toggle("no-marks");
  document.getElementById("marks")?.setAttribute("aria-pressed", String(!hidden));
}

document.getElementById("marks")?.addEventListener("click", toggleMarks);
document.getElementById("open-keys")?.addEventListener("click", keys["?"]);
