// Documents of the chosen collection: drop, upload, list, delete, and what became of each file.
import { api, eventsOf } from "./api.js";
import { element as e, at } from "./dom.js";

let watching = null;
let watched = "";  // the collection whose events are heard
let due = null;    // the timer of the next reading of the list
let shown = "";
let started = false;

export function startFiles(state, { list, show }) {
  if (started) return;
  started = true;
  at("show-files").onclick = () => toggle(at("files").hidden);
  at("close-files").onclick = () => toggle(false);
  at("pick").onchange = () => { upload(at("pick").files); at("pick").value = ""; };
  at("reindex").onclick = () => api(`${base()}/reindex`, { method: "POST" });
  at("drop").ondragover = (event) => { event.preventDefault(); at("drop").classList.add("over"); };
  at("drop").ondragleave = () => at("drop").classList.remove("over");
  at("drop").ondrop = (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    upload(event.dataTransfer.files);
  };
  at("make").onsubmit = async (event) => {
    event.preventDefault();
    const name = at("make-name").value;
    try {
      await api("/v1/collections", { method: "POST", body: { name } });
      at("make-name").value = "";
      await list(name);
    } catch (error) { pending([{ name, state: "failed", detail: error.message }]); }
  };
  at("drop-collection").onclick = async () => {
    if (!confirm(`Delete the collection “${state.collection}” and its uploads?`)) return;
    await api(base(), { method: "DELETE" });
    await list();
  };
  document.addEventListener("collection", () => { if (!at("files").hidden) refresh(); });

  const base = () => `/v1/collections/${encodeURIComponent(state.collection)}`;

  async function toggle(open) {
    at("viewer").hidden = true;
    at("files").hidden = !open;
    at("show-files").ariaExpanded = String(open);
    if (open) { await refresh(); at("pick").focus(); } else { watching?.abort(); watched = ""; at("show-files").focus(); }
  }

  async function refresh() {
    await documents();
    if (watched !== state.collection) watch();
  }

  // The server begins each stream with all it knows, and a hundred uploads end almost at once: one reading serves them all.
  function soon() {
    due ??= setTimeout(() => { due = null; list(state.collection); }, 200);
  }

  async function documents() {
    const found = await api(`${base()}/documents`);
    const here = state.collections.find((one) => one.name === state.collection);
    at("drop-collection").hidden = !here?.deletable;
    pending(found.pending);
    const now = JSON.stringify([state.collection, found.data]);
    if (now === shown) return;  // a button that is replaced loses the focus and the click
    shown = now;
    const items = found.data.map((one) => {
      const open = e("button", { textContent: one.name, title: one.path });
      open.onclick = () => show(one.id);
      const remove = e("button", { textContent: "✕", ariaLabel: `Remove ${one.name}` });
      remove.onclick = async () => {
        await api(`${base()}/documents/${one.id}`, { method: "DELETE" });
        await list(state.collection);
      };
      return e("li", {}, open, e("span", { className: "quiet", textContent: one.passages }), remove);
    });
    at("documents").replaceChildren(...items);
  }

  function pending(events) {
    for (const event of events) tell(event);
  }

  function tell(event) {
    const id = `file-${event.name}`;
    document.getElementById(id)?.remove();
    if (event.state === "indexed" || event.state === "removed") return;
    const text = event.detail ? `${event.state}: ${event.detail}` : event.state;
    const className = event.state === "failed" ? "error" : "quiet";
    at("pending").prepend(e("li", { id }, e("span", { textContent: event.name }),
      e("span", { className, textContent: text })));
  }

  async function upload(files) {
    for (const file of files) {
      tell({ name: file.name, state: "sending", detail: "" });
      const form = new FormData();
      form.append("files", file);
      try {
        const { files: taken } = await api(`${base()}/documents`, { method: "POST", body: form });
        document.getElementById(`file-${file.name}`)?.remove();
        pending(taken);
      } catch (error) { tell({ name: file.name, state: "failed", detail: error.message }); }
    }
  }

  async function watch() {
    watching?.abort();
    watching = new AbortController();
    watched = state.collection;
    const { signal } = watching;
    try {
      for await (const event of eventsOf(`${base()}/events`, undefined, signal)) {
        tell(event);
        if (event.state === "indexed" || event.state === "removed") soon();
      }
    } catch (error) { if (error.name !== "AbortError") setTimeout(() => !signal.aborted && watch(), 3000); }
  }
}
