// The page of `rankrag serve`: a conversation on the left, the document that an answer names on the right.
import { address, api, eventsOf, setKey } from "./api.js";
import { headingEnd, showDocument } from "./viewer.js";
import { startFiles } from "./files.js";
import { element as e, at } from "./dom.js";

const state = { turns: [], collection: "", model: "rankrag", running: null };

await start();

async function start() {
  theme(localStorage.getItem("theme"));
  at("theme").onclick = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  at("ask").onsubmit = (event) => { event.preventDefault(); ask(); };
  at("stop").onclick = () => state.running?.abort();
  at("question").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask(); }
  };
  at("question").oninput = grow;
  at("new-chat").onclick = newChat;
  at("export").onclick = exportMarkdown;
  at("close-viewer").onclick = closeViewer;
  at("collection").onchange = () => { choose(at("collection").value); newChat(); };
  document.onkeydown = (event) => {
    if (event.key === "Escape" && !at("viewer").hidden) closeViewer();
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault(); at("question").focus();
    }
  };
  at("key-form").onsubmit = () => { setKey(at("key").value); open(); };
  await open();
  at("question").focus();
}

async function open() {
  const ready = await fetch(address("/ready"));
  if (!ready.ok) {
    at("status").textContent = `Not ready: ${(await ready.json()).status}`;
    setTimeout(open, 2000);
    return;
  }
  try {
    await listCollections();
  } catch (error) {
    if (error.status === 401) { at("key").value = ""; at("key-dialog").showModal(); return; }
    at("status").textContent = error.message;
    return;
  }
  startFiles(state, { list: listCollections, show: openDocument });
  const wanted = location.pathname.match(/\/documents\/([0-9a-f]+)$/);
  if (wanted) openDocument(wanted[1], new URLSearchParams(location.search).get("passage"));
}

async function listCollections(chosen) {
  const found = await api("/v1/collections");
  state.collections = found.data;
  state.model = found.model;
  const names = found.data.map((one) => one.name);
  const name = [chosen, state.collection, localStorage.getItem("collection")].find((one) => names.includes(one));
  at("collection").replaceChildren(...names.map((one) => e("option", { value: one, textContent: one })));
  choose(name ?? found.default);
}

function choose(name) {
  state.collection = name;
  at("collection").value = name;
  localStorage.setItem("collection", name);
  const one = state.collections.find((each) => each.name === name);
  at("status").textContent = one.documents
    ? `${one.documents} documents, ${one.passages} passages.`
    : "This collection is empty. Open “Documents” and drop some files.";
  document.dispatchEvent(new CustomEvent("collection"));
}

async function ask() {
  const text = at("question").value.trim();
  if (!text || state.running) return;
  at("question").value = "";
  grow();
  at("welcome").hidden = true;
  const turn = { question: text, answer: "", details: null };
  const view = turnView(turn);
  at("turns").append(view.root);
  view.root.scrollIntoView({ block: "start" });
  busy(new AbortController());
  const messages = state.turns.flatMap(pair);
  const model = `${state.model}:${state.collection}`;
  const body = { model, messages: [...messages, { role: "user", content: text }], stream: true };
  try {
    const started = performance.now();
    for await (const chunk of eventsOf("/v1/chat/completions", body, state.running.signal)) {
      if (chunk.error) throw new Error(chunk.error.message);
      const delta = chunk.choices?.[0]?.delta ?? {};
      if (delta.content && !chunk.rankrag) { turn.answer += delta.content; view.show(turn.answer); }
      else if (!turn.answer) view.wait("Writing…");
      if (chunk.rankrag) { turn.details = chunk.rankrag; turn.answer = chunk.rankrag.text; }
    }
    turn.seconds = (performance.now() - started) / 1000;
    state.turns.push(turn);
    view.finish();
  } catch (error) {
    view.fail(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    busy(null);
    at("export").disabled = !state.turns.length;
    at("question").focus();
  }
}

const pair = (turn) => [
  { role: "user", content: turn.question }, { role: "assistant", content: turn.answer },
];

function turnView(turn) {
  const answer = e("div", { className: "answer waiting", textContent: "Ranking passages…" });
  const rest = e("div");
  const root = e("article", {}, e("h2", { textContent: turn.question }), answer, rest);
  const wait = (step) => { answer.textContent = step; };
  const show = (text) => { answer.classList.remove("waiting"); answer.textContent = text; };
  const finish = () => {
    const { details } = turn;
    answer.classList.remove("waiting");
    answer.replaceChildren(...marked(turn));
    answer.classList.toggle("refused", details.abstained);
    rest.append(tools(turn), evidence(turn));
  };
  const fail = (message) => {
    if (answer.classList.contains("waiting")) answer.remove();
    rest.append(e("p", { className: "error", role: "alert", textContent: message }));
  };
  return { root, wait, show, finish, fail };
}

function marked(turn) {
  const { text, citations, passages } = turn.details;
  const parts = [];
  let end = 0;
  for (const cited of [...citations].sort((a, b) => a.end - b.end)) {
    parts.push(codePoints(text, end, cited.end));
    const passage = passages[cited.passage];
    const label = `Source ${cited.passage + 1}: ${passage.place || passage.title || passage.id}`;
    const button = e("button", { className: "cite", textContent: `[${cited.passage + 1}]`, title: label });
    button.setAttribute("aria-label", label);
    button.onclick = () => openPassage(passage);
    parts.push(button);
    end = cited.end;
  }
  return [...parts, codePoints(text, end)];
}

// Offsets of the server count code points; JavaScript's strings count UTF-16 units.
function codePoints(text, start, end) { return [...text].slice(start, end).join(""); }

function tools(turn) {
  const { seconds } = turn.details;
  const times = Object.entries(seconds).map(([step, time]) => `${step} ${time.toFixed(1)} s`).join(" · ");
  const good = e("button", { textContent: "Helpful", ariaPressed: "false" });
  const bad = e("button", { textContent: "Not helpful", ariaPressed: "false" });
  const judge = (button, value) => async () => {
    const cited = new Set(turn.details.citations.map((one) => one.passage));
    const passages = turn.details.passages.flatMap(({ id, title, text, used }, place) => (
      used ? [{ id, title, text, cited: cited.has(place) }] : []));
    const before = state.turns.slice(0, state.turns.indexOf(turn));
    const history = before.flatMap(pair);
    const body = { question: turn.question, answer: turn.answer, good: value, passages, history, collection: state.collection };
    await api("/v1/feedback", { method: "POST", body });
    for (const one of [good, bad]) one.ariaPressed = String(one === button);
  };
  good.onclick = judge(good, true);
  bad.onclick = judge(bad, false);
  const copy = e("button", { textContent: "Copy" });
  copy.onclick = async () => {
    await navigator.clipboard.writeText(turn.answer);
    copy.textContent = "Copied";
  };
  return e("div", { className: "tools" }, good, bad, copy, e("span", { className: "quiet", textContent: times }));
}

function evidence(turn) {
  const { passages, abstained, settled } = turn.details;
  const used = passages.filter((one) => one.used).length;
  const title = abstained
    ? "No passage seems to hold the answer. The nearest ones are:"
    : `${used} of ${passages.length} passages used`;
  const items = passages.map((passage, place) => passageView(turn, passage, place));
  const all = e("details", { open: abstained }, e("summary", { textContent: title }),
    e("ol", { className: "passages" }, ...items));
  const note = settled ? [e("p", { className: "quiet", textContent: "The deadline ended ranking early." })] : [];
  return e("div", {}, ...note, all);
}

function passageView(turn, passage, place) {
  const open = e("button", { className: "place", textContent: passage.place || passage.title || passage.id });
  open.onclick = () => openPassage(passage);
  const score = passage.score;
  const bar = score === null
    ? [e("span", { className: "quiet", textContent: "not judged" })]
    : [e("meter", { min: 0, max: 1, value: score, ariaLabel: "Relevance" }), e("span", { textContent: score.toFixed(2) })];
  const moved = e("span", { className: "quiet", textContent: `place ${passage.was} → ${passage.rank}` });
  const text = e("p", { textContent: passage.text.slice(headingEnd(passage.text)), tabIndex: 0 });
  const why = e("button", { textContent: "Why?", ariaLabel: `Why passage ${place + 1}` });
  why.onclick = () => highlight(turn.question, passage, text, why);
  const top = e("div", { className: "top" }, e("strong", { textContent: place + 1 }), open, ...bar, moved, why);
  return e("li", { className: passage.used ? "passage used" : "passage" }, top, text);
}

async function highlight(query, passage, text, button) {
  button.disabled = true;
  const wanted = { query, documents: [passage.text], relevant_spans: { mode: "enabled", threshold: 0, max_spans: 1 } };
  const { results } = await api("/v1/rerank", { method: "POST", body: wanted });
  const span = results[0].relevant_spans[0];
  if (!span) return;
  const { start, end, score } = span;
  const mark = e("mark", { textContent: codePoints(passage.text, start, end), title: `P(True) ${score.toFixed(2)}` });
  const begin = Math.min(start, [...passage.text.slice(0, headingEnd(passage.text))].length);
  text.replaceChildren(codePoints(passage.text, begin, start), mark, codePoints(passage.text, end));
}

function openPassage(passage) {
  const link = passage.url && new URL(passage.url, location.href);
  const found = link?.pathname.match(/\/documents\/([0-9a-f]+)$/);
  if (found) openDocument(found[1], link.searchParams.get("passage"));
  else if (link && /^https?:$/.test(link.protocol)) window.open(link, "_blank", "noopener");
}

async function openDocument(id, passage) {
  at("files").hidden = true;
  at("show-files").ariaExpanded = "false";
  at("viewer").hidden = false;
  try {
    await showDocument(id, passage);
  } catch (error) {
    at("viewer-title").textContent = "Not found";
    at("viewer-body").replaceChildren(e("p", { className: "error", textContent: error.message }));
  }
  at("viewer-body").focus({ preventScroll: true });
}

function closeViewer() {
  at("viewer").hidden = true;
  at("question").focus();
}

function newChat() {
  state.running?.abort();
  state.turns = [];
  at("turns").replaceChildren();
  at("welcome").hidden = false;
  at("export").disabled = true;
}

function exportMarkdown() {
  const text = state.turns.map((turn) => {
    const { passages, citations } = turn.details;
    const cited = [...new Set(citations.map((one) => one.passage))];
    const sources = cited.map((n) => `[${n + 1}] ${passages[n].place || passages[n].title}`).join("\n");
    const answer = marked(turn).map((part) => (typeof part === "string" ? part : ` ${part.textContent}`)).join("");
    return `## ${turn.question}\n\n${answer}\n\n${sources}`;
  }).join("\n\n");
  const link = e("a", { href: URL.createObjectURL(new Blob([text], { type: "text/markdown" })), download: "chat.md" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function busy(running) {
  state.running = running;
  at("send").hidden = Boolean(running);
  at("stop").hidden = !running;
}

function grow() {
  const box = at("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

function theme(name) {
  if (!name) return;
  document.documentElement.dataset.theme = name;
  localStorage.setItem("theme", name);
}
