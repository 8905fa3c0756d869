// What the apps share: the view, random numbers, translation, elements, dialogs, list boxes and tasks.
// A recorder sets window.VIEW; whoever opens an app by hand gets a view of its address: shop.html?seed=3&language=zh.
'use strict';
const query = new URLSearchParams(location.search);
const VIEW_ = Object.assign({seed: 1, language: 'en', theme: 'light', font: 'DejaVu Sans', font_size: 15,
  accent: '#0b57d0', radius: 6, density: 1}, Object.fromEntries(query), window.VIEW);
const ZH = VIEW_.language === 'zh';
const t = (en, zh) => ZH ? zh : en;

document.documentElement.lang = VIEW_.language;
const COLOURS = VIEW_.theme === 'dark'
  ? {paper: '#16181d', bar: '#20232a', ink: '#e9e9ea', quiet: '#a9adb6', line: '#454a55', field: '#2a2e37',
    link: `color-mix(in srgb, ${VIEW_.accent} 45%, white)`}
  : {paper: '#ffffff', bar: '#f5f6f8', ink: '#1c1d21', quiet: '#5d626d', line: '#c9cdd5', field: '#ffffff', link: VIEW_.accent};
for (const [name, value] of Object.entries({...COLOURS, accent: VIEW_.accent, 'on-accent': '#ffffff',
  radius: `${VIEW_.radius}px`, gap: `${Math.round(10 * VIEW_.density)}px`, size: `${VIEW_.font_size}px`,
  font: `"${VIEW_.font}"`})) document.documentElement.style.setProperty(`--${name}`, value);

// Random numbers of their own, so that an app holds the same whoever opens it.
let randomState = Number(VIEW_.seed) >>> 0;
const random = () => {
  randomState = (randomState + 0x6d2b79f5) | 0;
  let x = Math.imul(randomState ^ (randomState >>> 15), 1 | randomState);
  x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
  return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
};
const int = (low, high) => low + Math.floor(random() * (high - low + 1));
const pick = list => list[int(0, list.length - 1)];
const shuffle = list => {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) { const j = int(0, i); [result[i], result[j]] = [result[j], result[i]]; }
  return result;
};

const h = (tag, props = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value' || key === 'checked' || key === 'srcdoc') element[key] = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
};
const PATHS = {
  cart: 'M3 4h2l2.4 11h10l2-8H6M9 20h.01M17 20h.01', heart: 'M12 20s-8-5-8-11a4.5 4.5 0 0 1 8-2.8A4.5 4.5 0 0 1 20 9c0 6-8 11-8 11z',
  plus: 'M12 5v14M5 12h14', minus: 'M5 12h14', trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13', left: 'M15 5l-7 7 7 7', right: 'M9 5l7 7-7 7',
  close: 'M6 6l12 12M18 6L6 18', search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5', folder: 'M3 6h6l2 3h10v10H3z', file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  star: 'M12 3l2.7 5.8 6.3.8-4.6 4.3 1.2 6.2L12 17l-5.6 3.1 1.2-6.2L3 9.6l6.3-.8z', edit: 'M4 20h4L19 9l-4-4L4 16z', down: 'M6 9l6 6 6-6',
  more: 'M5 12h.01M12 12h.01M19 12h.01', grid: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z', list: 'M4 6h16M4 12h16M4 18h16',
};
const icon = name => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), path = document.createElementNS(svg.namespaceURI, 'path');
  svg.setAttribute('viewBox', '0 0 24 24'); svg.setAttribute('aria-hidden', 'true'); path.setAttribute('d', PATHS[name]); svg.append(path);
  return svg;
};
const button = (text, onclick, props = {}) => h('button', {type: 'button', onclick, ...props}, text);
const iconButton = (name, label, onclick, props = {}) => h('button', {type: 'button', 'aria-label': label, class: 'plain', onclick, ...props}, icon(name));
const field = (label, props = {}) => h('label', {class: 'field'}, h('span', {}, label), h('input', {type: 'text', ...props}));

// A page is made again after each change of the state; the focus stays with the element of the same name.
let makePage = () => [];
const render = () => {
  const active = document.activeElement, name = active && (active.id || active.getAttribute('aria-label') || active.textContent);
  document.getElementById('app').replaceChildren(...makePage());
  const again = name && [...document.querySelectorAll('#app button, #app input, #app a')].find(
    element => (element.id || element.getAttribute('aria-label') || element.textContent) === name);
  if (again && active.closest('#app') === null && active !== document.body) again.focus({preventScroll: true});
};
const start = make => {
  makePage = make;
  document.body.append(h('div', {id: 'app'}), h('div', {role: 'status'}));
  addEventListener('hashchange', () => { openPopup = ''; scrollTo(0, 0); render(); });
  document.addEventListener('click', event => {
    if (openPopup && !event.target.closest('.popup')) { openPopup = ''; render(); }
  });
  addEventListener('keydown', event => { if (event.key === 'Escape' && openPopup) { openPopup = ''; render(); } });
  render();
};

let toastTimer = 0;
const toast = text => {
  document.querySelector('body > [role=status]').textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { document.querySelector('body > [role=status]').textContent = ''; }, 3000);
};
// A dialog with fields; `done` gets their values by label and returns a text if something is wrong.
const ask = (title, fields, action, done) => {
  const inputs = fields.map(([label, value]) => [label, h('input', {type: 'text', value, 'aria-label': label})]);
  const wrong = h('p', {role: 'alert'});
  const dialog = h('dialog', {'aria-label': title}, h('h2', {}, title),
    ...inputs.map(([label, input]) => h('label', {class: 'field'}, h('span', {}, label), input)), inputs.length ? wrong : null,
    h('div', {class: 'end'}, button(t('Cancel', '取消'), () => dialog.close()), button(action, () => {
      const problem = done(Object.fromEntries(inputs.map(([label, input]) => [label, input.value.trim()])));
      if (problem) wrong.textContent = problem; else dialog.close();
    }, {class: 'main'})));
  dialog.addEventListener('close', () => { dialog.remove(); render(); });
  document.body.append(dialog);
  dialog.showModal();
};

// List boxes and menus: their choices are part of the page, not windows of the system that no screenshot shows.
let openPopup = '';
const popup = (name, trigger, list) => h('div', {class: 'popup'}, trigger(openPopup === name, event => {
  event.stopPropagation();
  openPopup = openPopup === name ? '' : name;
  render();
}), openPopup === name ? list() : null);
const choose = (label, options, value, onchange) => popup(label,
  (open, toggle) => h('button', {type: 'button', role: 'combobox', 'aria-label': label, 'aria-haspopup': 'listbox', 'aria-expanded': String(open), onclick: toggle},
    options.find(([key]) => key === value)[1], icon('down')),
  () => h('div', {role: 'listbox', 'aria-label': label}, options.map(([key, text]) => h('div', {role: 'option', tabindex: '-1', 'aria-selected': String(key === value),
    onclick: () => { openPopup = ''; onchange(key); render(); }}, text))));
const menu = (label, items) => popup(label,
  (open, toggle) => iconButton('more', label, toggle, {'aria-haspopup': 'menu', 'aria-expanded': String(open)}),
  () => h('div', {role: 'menu', 'aria-label': label}, items.map(([text, act]) => h('div', {role: 'menuitem', tabindex: '-1', onclick: () => { openPopup = ''; render(); act(); }}, text))));

// Tasks: what can be done here, how, and how the app tells that it is done.
//   goal: {en, zh}; steps: [{do, role, name, text}]; done: () => whether the state is the one that is asked for;
//   answer: of a question, which has no `done`.
const tasks = [];
window.app = {
  tasks: () => tasks.map(({goal, steps, answer}) => ({goal, steps, answer: answer ?? ''})),
  done: number => tasks[number].done ? Boolean(tasks[number].done()) : true,
};
const click = (role, name) => ({do: 'click', role, name});
const doubleClick = (role, name) => ({do: 'double_click', role, name});
const type = (role, name, text) => ({do: 'type', role, name, text});
const press = text => ({do: 'hot_key', role: '', name: '', text});
const drag = (name, text) => ({do: 'slide', role: 'slider', name, text});
const see = (role, name) => ({do: 'see', role, name});
