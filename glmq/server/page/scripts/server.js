// Requests to the server that the page comes from.
import { preference } from "./preferences.js";

const LOST = "The server cannot be reached. Does glmq serve still run?";

/** What the server refuses or what goes wrong on the way. status: of HTTP, 0 without an answer. */
export class ServerError extends Error {
  constructor(message, { status = 0, code = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

/** The model's name, context and recommended settings. Raises ServerError. */
export async function fetchModel() {
  const properties = await (await request("/props")).json();
  const settings = properties.default_generation_settings ?? {};
  return {
    name: properties.model_alias ?? "model",
    nContext: settings.n_ctx ?? 0,
    recommended: settings.params ?? {},
    canSwitchThinking: (properties.chat_template ?? "").includes("enable_thinking"),
  };
}

/** The chunks of an answer as they come. Raises ServerError, or AbortError where `signal` ends it. */
export async function* streamChat(body, signal) {
  const response = await request("/v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  for await (const data of eventsOf(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw errorOf(chunk.error, chunk.error.code === "shutting_down" ? 503 : 500);
    yield chunk;
  }
  throw new ServerError("The connection was lost before the answer was complete.");
}

async function request(path, options = {}) {
  const headers = { "Content-Type": "application/json" };
  const key = preference("key", null);
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : new ServerError(LOST);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw errorOf(body.error ?? {}, response.status, Number(response.headers.get("Retry-After")) || null);
}

function errorOf(error, status, retryAfter = null) {
  const message = error.message ?? `The server answered with status ${status}.`;
  return new ServerError(message, { status, code: error.code, retryAfter });
}

/** The data of server-sent events. Comments are passed over. */
async function* eventsOf(stream) {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const bytes of chunksOf(stream)) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  } catch (error) {
    if (error instanceof TypeError) throw new ServerError("The connection was lost before the answer was complete.");
    throw error;
  }
}

/** As a stream's own iterator, which not every browser has. */
async function* chunksOf(stream) {
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}
