"use strict";
// The browser of questions. Foreign text is only ever put in place as text (textContent), never as markup.
const $ = (id) => document.getElementById(id);
const el = (tag, className, ...children) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};
const data = JSON.parse($("index").textContent);
const [SET, SYSTEM, ID, TEXT, OUTCOME] = [0, 1, 2, 3, 4];
const ROW = 52;

// Chunks are parsed when something in them is looked at.
const parsed = new Map();
const chunk = (name) => {
  if (!parsed.has(name)) parsed.set(name, JSON.parse($(name)?.textContent ?? "[]"));
  return parsed.get(name);
};
const nth = (name, place, size) => chunk(`${name}.${Math.floor(place / size)}`)[place % size];
const passage = (set, place) => nth(`p${set}`, place, data.chunk.passages);
const starts = new Map(); // where the rows of a set and system begin
data.rows.forEach((row, i) => { const key = `${row[SET]}.${row[SYSTEM]}`; if (!starts.has(key)) starts.set(key, i); });
const start = (row) => starts.get(`${row[SET]}.${row[SYSTEM]}`);
const detail = (i) => nth(`q${data.rows[i][SET]}.${data.rows[i][SYSTEM]}`, i - start(data.rows[i]), data.chunk.questions);

let shown = [];  // places in data.rows that pass the filters
let at = -1;     // the chosen one, a place in `shown`

const option = (value, text) => { const made = el("option", "", text); made.value = value; return made; };
const fill = (id, all, names) => $(id).append(option("", all), ...names.map((name, i) => option(String(i), name)));
const used = new Set(data.rows.map((row) => row[OUTCOME]));
fill("set", "all sets", data.sets);
fill("system", "all systems", data.systems);
$("outcome").append(option("", "all outcomes"), option("wrong", "all but right"),
  ...data.outcomes.map(([kind], i) => [kind, i]).filter(([, i]) => used.has(i)).map(([kind, i]) => option(String(i), kind)));
$("total").textContent = data.rows.length.toLocaleString("en");

function filter(keep) {
  const kept = keep ?? shown[at];
  const [set, system, outcome] = ["set", "system", "outcome"].map((id) => $(id).value);
  const wanted = $("search").value.trim().toLowerCase();
  shown = [];
  data.rows.forEach((row, i) => {
    if (set !== "" && row[SET] !== +set) return;
    if (system !== "" && row[SYSTEM] !== +system) return;
    if (outcome === "wrong" ? row[OUTCOME] === 0 : outcome !== "" && row[OUTCOME] !== +outcome) return;
    if (wanted && !row[TEXT].toLowerCase().includes(wanted) && !row[ID].toLowerCase().includes(wanted)) return;
    shown.push(i);
  });
  $("count").textContent = `${shown.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} questions`;
  $("space").style.height = `${shown.length * ROW}px`;
  choose(Math.max(shown.indexOf(kept), 0));
}

// Only the rows in view are in the document.
function draw() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 16);
  const rows = [];
  for (let i = first; i < last; i++) {
    const of = data.rows[shown[i]];
    const row = el("div", "row", el("div", "", of[TEXT]), el("div", "",
      el("span", `swatch b${of[OUTCOME]}`), el("small", "", `${data.outcomes[of[OUTCOME]][0]} · ${data.systems[of[SYSTEM]]} · ${data.sets[of[SET]]}`)));
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(i === at));
    row.onclick = () => choose(i);
    rows.push(row);
  }
  $("window").style.transform = `translateY(${first * ROW}px)`;
  $("window").replaceChildren(...rows);
}

function choose(place) {
  at = shown.length ? Math.min(Math.max(place, 0), shown.length - 1) : -1;
  const list = $("list");
  if (at >= 0 && !$("questions").hidden) {
    if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
    if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
  }
  draw();
  if ($("questions").hidden) return;
  if (at < 0) { $("detail").replaceChildren(el("p", "empty", "No question passes these filters.")); return; }
  const row = data.rows[shown[at]];
  history.replaceState(null, "", `#${[row[SET], row[SYSTEM], row[ID]].map(encodeURIComponent).join("/")}`);
  show(shown[at]);
}

const percent = (p) => p.toFixed(2);
const chip = (name, value) => el("span", "chip", `${name} `, el("b", "", value));

function show(i) {
  if (document.readyState === "loading") { // the chunks stand behind this script
    document.addEventListener("DOMContentLoaded", () => choose(at), { once: true });
    return;
  }
  const row = data.rows[i];
  const of = detail(i);
  const gold = new Set(of.g ?? []);
  const retrieved = of.r ?? [];
  const reranked = of.o ?? retrieved;
  const k = data.k[row[SET]][row[SYSTEM]];
  const parts = [
    el("div", "", el("span", `badge b${row[OUTCOME]}`, data.outcomes[row[OUTCOME]][0]),
      el("span", "meta", `${data.outcomes[row[OUTCOME]][1]}`)),
    of.h ? el("div", "turns", of.h.join("\n")) : null,
    el("h2", "", row[TEXT]),
    el("div", "others", ...same(row).map((j) => other(j, i))),
    of.e ? el("p", "card", of.e) : null,
    el("div", "pair", card("Answer", of.a ?? (of.m?.refused === undefined ? "(this system ranks only)" : "(withheld)")),
      card("Gold", (of.ga ?? []).join("\n") || (gold.size ? "(gold passages are marked ★)" : "(no answer)"))),
    el("div", "chips", ...Object.entries(of.m ?? {}).map(([name, value]) =>
      chip(name, of.f?.[name] === undefined || !of.o ? value.toFixed(2) : `${of.f[name].toFixed(2)} → ${value.toFixed(2)}`)),
      ...["t1", "t2", "t3"].map((name, j) => of.t?.[j] == null ? null : chip(name, `${(of.t[j] * 1000).toFixed(0)} ms`))),
    retrieved.length ? road(row, of, retrieved, reranked, gold, k) : el("p", "meta", "Closed book: nothing was retrieved."),
    ...reranked.map((place, rank) => text(row, of, place, rank, gold, k)),
    ...[...gold].filter((place) => !retrieved.includes(place)).map((place) => text(row, of, place, null, gold, k)),
  ];
  $("detail").replaceChildren(...parts.filter(Boolean));
  $("detail").scrollTop = 0;
}

const same = (row) => data.systems.map((_, system) => {
  const begin = starts.get(`${row[SET]}.${system}`);
  const mine = start(row);
  const place = data.rows.indexOf(row) - mine; // all systems get the same questions in the same order
  return begin === undefined ? null : begin + place;
}).filter((j) => j !== null);

function other(j, i) {
  const row = data.rows[j];
  const made = el("button", "", el("span", `swatch b${row[OUTCOME]}`), `${data.systems[row[SYSTEM]]}: ${detail(j).a ?? data.outcomes[row[OUTCOME]][0]}`);
  if (j === i) made.setAttribute("aria-current", "true");
  made.onclick = () => {
    if ($("system").value !== "") $("system").value = String(row[SYSTEM]);
    if (!["", String(row[OUTCOME])].includes($("outcome").value)) $("outcome").value = "";
    filter(j);
  };
  return made;
}

const card = (name, body) => el("div", "card", el("h3", "", name), el("p", "", body));
const title = (set, place) => { // passages of one document share its title, so their first words stand beside it
  const [id, name, body] = passage(set, place);
  return name ? [name, el("small", "", ` ${body.slice(0, 120)}`)] : [body.slice(0, 120) || id];
};

function road(row, of, retrieved, reranked, gold, k) {
  const step = (place, rank, p, cut) => {
    const made = el("button", `step${gold.has(place) ? " gold" : ""}${cut ? " cut" : ""}`, el("span", "n", String(rank + 1)),
      el("span", "t", gold.has(place) ? "★ " : "", ...title(row[SET], place)),
      p == null ? null : el("span", "bar", Object.assign(el("i"), { style: `width:${p * 100}%` })),
      p == null ? null : el("span", "p", percent(p)));
    made.title = passage(row[SET], place)[2].slice(0, 300);
    made.onclick = () => { const to = $(`passage-${place}`); to.scrollIntoView({ block: "center" }); to.classList.add("flash"); setTimeout(() => to.classList.remove("flash"), 900); };
    return made;
  };
  const left = el("div", "", el("h3", "", "Retrieved"), ...retrieved.map((place, rank) => step(place, rank, null, !of.o && rank === k - 1)));
  if (!of.o) return el("div", "road", left);
  const right = el("div", "", el("h3", "", of.p ? "Reranked, with P(True)" : "Reranked"), ...reranked.map((place, rank) => step(place, rank, of.p?.[rank], rank === k - 1)));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const y = (rank) => 26 + rank * 28 + 14;
  [...retrieved].sort((a, b) => gold.has(a) - gold.has(b)).forEach((place) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const [from, to] = [y(retrieved.indexOf(place)), y(reranked.indexOf(place))];
    path.setAttribute("d", `M0 ${from} C 35 ${from}, 35 ${to}, 70 ${to}`);
    if (gold.has(place)) path.setAttribute("class", "gold");
    svg.append(path);
  });
  svg.setAttribute("viewBox", `0 0 70 ${26 + retrieved.length * 28}`);
  svg.setAttribute("preserveAspectRatio", "none");
  return el("div", "road", left, svg, right);
}

function text(row, of, place, rank, gold, k) {
  const [id, name, body] = passage(row[SET], place);
  const read = rank === null ? "not retrieved" : rank < k && data.rows.length ? `${rank + 1}, read` : `${rank + 1}, not read`;
  const p = rank === null ? null : of.p?.[rank];
  const made = el("div", `card passage${gold.has(place) ? " gold" : ""}`,
    el("h3", "", `${gold.has(place) ? "★ " : ""}${name || id}`, el("small", "", [read, p == null ? null : `P(True) ${percent(p)}`, name ? id : null].filter(Boolean).join(" · "))),
    el("p", "", ...marked(body, of.ga ?? [])));
  made.id = `passage-${place}`;
  return made;
}

function marked(body, answers) {
  const words = answers.filter((a) => a.length > 1).map((a) => a.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!words.length) return [body];
  return body.split(new RegExp(`(${words.join("|")})`, "i")).map((piece, i) => (i % 2 ? el("mark", "", piece) : piece));
}

function tab(name) {
  for (const of of ["overview", "questions"]) {
    $(of).hidden = of !== name;
    if (of === name) $(`tab-${of}`).setAttribute("aria-current", "page"); else $(`tab-${of}`).removeAttribute("aria-current");
  }
  if (name === "questions") { choose(Math.max(at, 0)); $("list").focus({ preventScroll: true }); } else history.replaceState(null, "", "#");
}

const cycle = (id, by) => { const s = $(id); s.selectedIndex = (s.selectedIndex + by + s.options.length) % s.options.length; filter(); };
function theme(dark) { document.documentElement.classList.toggle("dark", dark); }
const keys = {
  j: () => choose(at + 1), ArrowDown: () => choose(at + 1), k: () => choose(at - 1), ArrowUp: () => choose(at - 1),
  PageDown: () => choose(at + 10), PageUp: () => choose(at - 10), Home: () => choose(0), End: () => choose(shown.length - 1),
  s: () => cycle("system", 1), S: () => cycle("system", -1), o: () => cycle("outcome", 1), O: () => cycle("outcome", -1),
  d: () => cycle("set", 1), D: () => cycle("set", -1), "/": () => $("search").focus(),
  Escape: () => { $("filters").reset(); filter(); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === $("search")) { $("search").value = ""; filter(); $("list").focus(); return; }
  if (["INPUT", "SELECT"].includes(event.target.tagName)) { if (event.key === "Enter") { event.preventDefault(); $("list").focus(); } return; }
  if (event.key === "t") { theme(!document.documentElement.classList.contains("dark")); return; }
  if (event.key === "q") { tab($("questions").hidden ? "questions" : "overview"); return; }
  if ($("questions").hidden || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
$("filters").onsubmit = (event) => event.preventDefault();
$("filters").oninput = () => filter();
$("list").onscroll = draw;
window.onresize = draw;
$("theme").onclick = () => theme(!document.documentElement.classList.contains("dark"));
$("tab-overview").onclick = () => tab("overview");
$("tab-questions").onclick = () => tab("questions");

theme(matchMedia("(prefers-color-scheme: dark)").matches);
const [set, system, id] = location.hash.slice(1).split("/").map(decodeURIComponent);
const linked = data.rows.findIndex((row) => String(row[SET]) === set && String(row[SYSTEM]) === system && row[ID] === id);
tab(linked >= 0 ? "questions" : "overview");
filter(linked >= 0 ? linked : undefined);
document.documentElement.dataset.ready = String(Math.round(performance.now()));
