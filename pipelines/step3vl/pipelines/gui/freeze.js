// Runs in every document before its own scripts: the page gets the view, seeded random numbers and nothing that moves.
// The clock is frozen by Playwright.
((view, epoch) => {
  let state = view.seed >>> 0;
  Math.random = () => {  // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  performance.now = () => Date.now() - epoch;
  window.VIEW = Object.freeze(view);
  const still = new CSSStyleSheet();
  still.replaceSync(`*, *::before, *::after { animation: none !important; transition: none !important;
    caret-color: transparent !important; scroll-behavior: auto !important; }`);
  document.adoptedStyleSheets = [still];
  // Set before the click that leaves the document returns, so that whoever clicked knows that another one comes.
  navigation.addEventListener('navigate', event => {
    const comes = event.downloadRequest === null && /^(https?|about|blob|data):/.test(event.destination.url);
    if (comes && !event.destination.sameDocument) window.__step3vl.leaving = true;
  });
})
