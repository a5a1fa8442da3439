// A document as the person saw it, at the passage that an answer names: PDF pages drawn, everything else as text.
import { address, api, headers } from "./api.js";
import { element as e, at } from "./dom.js";

export async function showDocument(id, passageId) {
  const found = await api(`/v1/documents/${id}`);
  at("viewer-title").textContent = found.name;
  at("viewer-file").hidden = !found.has_file;
  at("viewer-file").onclick = (event) => { event.preventDefault(); save(id, found.name); };
  at("viewer-body").replaceChildren();
  const wanted = found.passages.find((one) => one.id === passageId);
  if (found.has_file && found.name.toLowerCase().endsWith(".pdf")) await showPdf(id, wanted);
  else showText(found, wanted);
}

async function file(id) {
  const response = await fetch(address(`/v1/documents/${id}/file`), { headers: headers() });
  if (!response.ok) throw new Error((await response.json()).message);
  return response.arrayBuffer();
}

async function save(id, name) {
  const link = e("a", { href: URL.createObjectURL(new Blob([await file(id)])), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function showText(found, wanted) {
  let heading = null;
  for (const passage of found.passages) {
    if (passage.heading && passage.heading !== heading) {
      heading = passage.heading;
      at("viewer-body").append(e("h3", { textContent: heading }));
    }
    const text = passage.text.slice(headingEnd(passage.text));
    const section = e("section", { textContent: text });
    at("viewer-body").append(section);
    if (passage === wanted) {
      section.replaceChildren(e("mark", { textContent: text, id: "wanted" }));
      section.scrollIntoView({ block: "center", behavior: "instant" });
    }
  }
}

// The end of the Markdown heading that a passage begins with: its text is shown above it, or as its place.
export const headingEnd = (text) => (text.match(/^#{1,6} .*\n\s*(?=\S)/) ?? [""])[0].length;

async function showPdf(id, wanted) {
  const pdfjs = await import("./vendor/pdf.min.mjs");
  pdfjs.GlobalWorkerOptions.workerSrc = new URL("./vendor/pdf.worker.min.mjs", import.meta.url).href;
  const pdf = await pdfjs.getDocument({ data: await file(id), isEvalSupported: false }).promise;
  const words = wanted ? new Set(wordsOf(wanted.text)) : new Set();
  for (let number = 1; number <= pdf.numPages; number += 1) {
    const holder = e("div", { className: "page" });
    holder.setAttribute("aria-label", `Page ${number}`);
    holder.setAttribute("role", "img");
    at("viewer-body").append(holder);
    const page = await pdf.getPage(number);
    const size = page.getViewport({ scale: 1 });
    holder.style.aspectRatio = `${size.width} / ${size.height}`;
    const draw = () => drawPage(pdfjs, page, holder, wanted?.page === number ? words : new Set());
    if (wanted ? wanted.page === number : number === 1) {
      await draw();
      const [hit] = holder.getElementsByClassName("hit");
      (hit ?? holder).scrollIntoView({ block: hit ? "center" : "start", behavior: "instant" });
    } else whenSeen(holder, draw);
  }
}

// Pages are drawn when they come into view: a manual of a thousand pages opens at once.
function whenSeen(holder, draw) {
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((one) => one.isIntersecting)) return;
    seen.disconnect();
    draw();
  }, { root: at("viewer-body"), rootMargin: "400px" });
  seen.observe(holder);
}

async function drawPage(pdfjs, page, holder, words) {
  const width = holder.clientWidth || 600;
  const scale = width / page.getViewport({ scale: 1 }).width;
  const viewport = page.getViewport({ scale: scale * (window.devicePixelRatio || 1) });
  const canvas = e("canvas", { width: viewport.width, height: viewport.height });
  holder.append(canvas);
  await page.render({ canvas, canvasContext: canvas.getContext("2d"), viewport }).promise;
  if (!words.size) return;
  const shown = page.getViewport({ scale });
  const layer = e("div", { className: "text" });
  const { items } = await page.getTextContent();
  for (const item of items) {
    const own = wordsOf(item.str);
    if (!own.length || own.filter((word) => words.has(word)).length / own.length < 0.7) continue;
    const [, , , , x, y] = pdfjs.Util.transform(shown.transform, item.transform);
    const height = item.height * scale;
    const span = e("span", { className: "hit" });
    span.style.left = `${x}px`;
    span.style.top = `${y - height}px`;
    span.style.width = `${item.width * scale}px`;
    span.style.height = `${height * 1.15}px`;
    layer.append(span);
  }
  holder.append(layer);
}

const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
