// Asking the server. The key stays in this tab's session and goes into a header, never into an address.
// Where the server's addresses begin: a proxy may show it under a path.
const root = new URL("..", import.meta.url).pathname;

export const address = (path) => root + path.slice(1);

let key = sessionStorage.getItem("key") ?? "";

export function setKey(value) {
  key = value;
  sessionStorage.setItem("key", value);
}

export const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

export async function api(path, { method = "GET", body } = {}) {
  const json = body !== undefined && !(body instanceof FormData);
  const response = await fetch(address(path), {
    method,
    headers: { ...headers(), ...(json ? { "Content-Type": "application/json" } : {}) },
    body: json ? JSON.stringify(body) : body,
  });
  await checked(response);
  return response.json();
}

async function checked(response) {
  if (response.ok) return;
  const found = await response.json().catch(() => ({}));
  const error = new Error(found.message ?? `the server answered with ${response.status}`);
  error.status = response.status;
  throw error;
}

// The JSON of each server-sent event of a response, until its end.
export async function* eventsOf(path, body, signal) {
  const response = await fetch(address(path), {
    method: body === undefined ? "GET" : "POST",
    headers: { ...headers(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  await checked(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const lines = held.split("\n");
    held = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6);
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}
