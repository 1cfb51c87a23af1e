/*
 * Behaviour of the built-in chat page: sending a message, following the request's event stream
 * across reloads and connection breaks, and drawing messages and events.
 * Not here: structure (index.html), looks (style.css), and any knowledge of what a flow does; the
 * page knows the public HTTP and SSE surface only. All text enters the page as text nodes.
 */

const API = "/api/flows";
const KIND = "hello-chat";
const ACTION = "chat";
const TERMINAL = new Set(["request.completed", "request.failed", "request.incomplete"]);

const PAGE_SIZE = 100;
const BACKOFF_FIRST_MS = 250;
const BACKOFF_LIMIT_MS = 5000;
/** The server sends a keep-alive comment every 15 s, so a longer silence is a dead connection. */
const SILENCE_LIMIT_MS = 45_000;
/** Browsers refuse `keepalive` bodies above 64 KiB; a UTF-16 unit takes at most 3 bytes. */
const KEEPALIVE_LIMIT = 16_000;

const element = (id) => document.getElementById(id);
const dom = {
  log: element("log"), messages: element("messages"), empty: element("empty"),
  notice: element("notice"), alert: element("alert"), dismiss: element("dismiss"),
  composer: element("composer"), message: element("message"), send: element("send"),
  status: element("status"), announcer: element("announcer"),
  sessionId: element("session-id"), turns: element("turns"), newSession: element("new-session"),
  requestId: element("request-id"), eventScroll: element("event-scroll"), events: element("event-list"),
};

// ---------------------------------------------------------------- memory across reloads

/** Storage can be forbidden by the browser; the page then works, but cannot survive a reload. */
function stored(area, key) {
  try { return window[area].getItem(`flowstate.${key}`); } catch { return null; }
}
function store(area, key, value) {
  try {
    if (value === null) window[area].removeItem(`flowstate.${key}`);
    else window[area].setItem(`flowstate.${key}`, value);
  } catch { /* nothing to remember it in */ }
}

function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `${prefix}_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function rememberedUser() {
  const known = stored("localStorage", "user");
  if (known) return known;
  const fresh = newId("user");
  store("localStorage", "user", fresh);
  return fresh;
}

/** A tab keeps its own session; a new tab opens the last one used. "" means: none, on purpose. */
const rememberedSession = () => stored("sessionStorage", "session") ?? stored("localStorage", "session") ?? "";
function rememberSession(id) {
  store("sessionStorage", "session", id);
  store("localStorage", "session", id || null);
}

/** The request this tab waits for. `accepted`: the server is known to have it. */
function rememberedPending() {
  try { return JSON.parse(stored("sessionStorage", "pending")); } catch { return null; }
}
function rememberPending({ requestId, message, accepted }) {
  store("sessionStorage", "pending", JSON.stringify({ requestId, message, accepted }));
}
const forgetPending = () => store("sessionStorage", "pending", null);

// ---------------------------------------------------------------- HTTP

class HttpError extends Error {
  constructor(status, body) {
    super(`HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
  static async from(response) {
    const text = await response.text().catch(() => "");
    let body;
    try { body = JSON.parse(text); } catch { body = { error: text.slice(0, 300) }; }
    return new HttpError(response.status, body ?? {});
  }
  /** A refusal that a later try cannot change. */
  get permanent() { return this.status < 500 && this.status !== 429; }
}

const route = (...parts) => [API, ...parts.map(encodeURIComponent)].join("/");

async function json(url, options = {}) {
  const response = await fetch(url, {
    cache: "no-store",
    ...options,
    headers: { accept: "application/json", ...options.headers },
  });
  if (!response.ok) throw await HttpError.from(response);
  return response.json();
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal.removeEventListener("abort", stop); resolve(); }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}

function backoff(attempt, signal) {
  const full = Math.min(BACKOFF_LIMIT_MS, BACKOFF_FIRST_MS * 2 ** attempt);
  return pause(full * (0.5 + Math.random() / 2), signal);
}

/** GET that waits for the server to come back; throws only on a permanent refusal or an abort. */
async function patientGet(url, signal) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await json(url, { signal });
    } catch (error) {
      if (signal.aborted || (error instanceof HttpError && error.permanent)) throw error;
      setStatus("Connection lost. Reconnecting…");
      await backoff(attempt, signal);
    }
  }
}

// ---------------------------------------------------------------- event stream

/**
 * Yields the data of each complete SSE frame. Lines end in LF or CRLF; comments and other fields
 * are skipped. A frame cut off by the end of the body is dropped: the cursor asks for it again.
 */
async function* frames(body, onBytes) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      buffer += decoder.decode(value, { stream: true });
      let start = 0;
      for (let end; (end = buffer.indexOf("\n", start)) >= 0; start = end + 1) {
        const line = buffer.slice(start, buffer[end - 1] === "\r" && end > start ? end - 1 : end);
        if (line === "") {
          if (data.length > 0) yield data.join("\n");
          data = [];
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        }
      }
      buffer = buffer.slice(start);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Follows one request from its first event to its terminal event, over as many connections as it
 * takes. `onEvent` gets each event once, in order of its sequence number; gaps are normal. A server
 * that says "finished, nothing after your cursor" though no terminal event was seen has another
 * record than this page: the request is then replayed from event 1, which starts its drawing anew.
 * Throws HttpError when the server refuses for good, or the abort reason of `signal`.
 */
async function follow(requestId, signal, onEvent) {
  let last = 0;
  for (let attempt = 0; ; attempt += 1) {
    const connection = new AbortController();
    const hangUp = () => connection.abort();
    signal.addEventListener("abort", hangUp);
    const cursor = last;
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(hangUp, SILENCE_LIMIT_MS);
    };
    try {
      signal.throwIfAborted();
      alive();
      const query = cursor > 0 ? `?starting_after=${cursor}` : "";
      const response = await fetch(route(KIND, "requests", requestId, "stream") + query, {
        cache: "no-store",
        headers: { accept: "text/event-stream" },
        signal: connection.signal,
      });
      if (!response.ok) throw await HttpError.from(response);
      for await (const data of frames(response.body, alive)) {
        signal.throwIfAborted(); // a frame may already wait in the buffer when the view is left
        const event = JSON.parse(data);
        if (!(event.sequence_number > last)) continue;
        last = event.sequence_number;
        attempt = 0;
        onEvent(event);
        if (TERMINAL.has(event.type)) return;
      }
      if (last === cursor) last = 0;
    } catch (error) {
      if (signal.aborted || (error instanceof HttpError && error.permanent)) throw error;
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener("abort", hangUp);
    }
    setStatus("Connection lost. Reconnecting…");
    await backoff(attempt, signal);
  }
}

// ---------------------------------------------------------------- drawing

/** Keeps a scroll box at its end while the reader has not scrolled away from it. */
function stickToEnd(box) {
  let atEnd = true;
  let planned = false;
  let top = 0;
  box.addEventListener("scroll", () => {
    // Only an upward move leaves the end: the box may have grown since its own scroll to the end.
    if (box.scrollHeight - box.scrollTop - box.clientHeight < 24) atEnd = true;
    else if (box.scrollTop < top) atEnd = false;
    top = box.scrollTop;
  });
  const keep = (force = false) => {
    atEnd ||= force;
    if (planned || !atEnd) return;
    planned = true;
    requestAnimationFrame(() => { planned = false; box.scrollTop = box.scrollHeight; });
  };
  new ResizeObserver(() => keep()).observe(box);
  return keep;
}
const keepLogAtEnd = stickToEnd(dom.log);
const keepEventsAtEnd = stickToEnd(dom.eventScroll);

function make(tag, className, text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function setStatus(text) {
  if (dom.status.textContent !== text) dom.status.textContent = text;
}

function showNotice(title, lines = []) {
  dom.notice.hidden = false;
  const list = make("ul");
  list.append(...lines.map((line) => make("li", "", line)));
  dom.alert.replaceChildren(make("p", "", title), ...(lines.length > 0 ? [list] : []));
}
function clearNotice() {
  dom.notice.hidden = true;
  dom.alert.replaceChildren();
}
function showError(error) {
  if (!(error instanceof HttpError)) {
    showNotice(`Something went wrong: ${error.message}`);
    return;
  }
  const { error: text, message, code, details } = error.body;
  const label = [error.status, code].filter(Boolean).join(" ");
  showNotice(
    `${message || text || "The server refused the request."} (${label})`,
    (Array.isArray(details) ? details : []).map((d) => (d.path ? `${d.path}: ${d.message}` : `${d.message}`)),
  );
}

/** Item id -> the message drawn for it: { node, mark, text, parts: Text[] }. */
const bubbles = new Map();
/** Stands for the user's message from the moment of sending until its item arrives. */
const DRAFT = "draft";

function addBubble(id, kind) {
  const names = { user: "You", assistant: "Assistant", error: "Error" };
  const bubble = { kind, node: make("li", `message ${kind}`), mark: make("span", "mark"), text: make("div", "text"), parts: [] };
  const who = make("p", "who");
  who.append(make("span", "", names[kind] ?? kind), bubble.mark);
  // Otherwise a screen reader would speak every token; see announce().
  bubble.node.setAttribute("aria-live", "off");
  bubble.node.append(who, bubble.text);
  dom.messages.append(bubble.node);
  dom.empty.hidden = true;
  bubbles.set(id, bubble);
  return bubble;
}

function removeBubble(id) {
  bubbles.get(id)?.node.remove();
  bubbles.delete(id);
  dom.empty.hidden = bubbles.size > 0;
}

/** The text node of one content part; missing parts before it are made empty. */
function part(bubble, index) {
  while (bubble.parts.length <= index) {
    const node = document.createTextNode("");
    bubble.parts.push(node);
    bubble.text.append(node);
  }
  return bubble.parts[index];
}

/** Equal text is left alone, so that a reader's selection survives the end of an answer. */
function setText(node, text) {
  if (node.data !== text) node.data = text;
}

function setItemStatus(bubble, status) {
  bubble.node.setAttribute("aria-busy", String(status === "in_progress"));
  bubble.mark.textContent = { incomplete: "interrupted", failed: bubble.kind === "error" ? "" : "failed" }[status] ?? "";
}

/** Draws an item as a whole, from a snapshot or from item.added / item.done. Other types: no bubble. */
function drawItem(item) {
  if (item.type !== "message" && item.type !== "error") return null;
  const kind = item.type === "error" ? "error" : item.role;
  if (kind === "user" && bubbles.has(DRAFT) && !bubbles.has(item.id)) {
    bubbles.set(item.id, bubbles.get(DRAFT));
    bubbles.delete(DRAFT);
  }
  const bubble = bubbles.get(item.id) ?? addBubble(item.id, kind);
  const texts = item.type === "error"
    ? [item.code ? `${item.message} (${item.code})` : item.message]
    : (item.content ?? []).map((content) => content.text ?? "");
  for (const extra of bubble.parts.splice(texts.length)) extra.remove();
  texts.forEach((text, index) => setText(part(bubble, index), text));
  setItemStatus(bubble, item.status);
  return bubble;
}

/** The one place that speaks an answer: once, in full, when it is done. */
function announce(bubble) {
  const mark = bubble.mark.textContent;
  const name = bubble.kind === "error" ? "Error" : "Assistant";
  dom.announcer.textContent = `${name}${mark && `, ${mark}`}: ${bubble.text.textContent}`;
}

function eventDetail(event) {
  const { item, delta, content } = event;
  if (delta !== undefined) return JSON.stringify(delta);
  if (item) return [item.type, item.role, item.status].filter(Boolean).join(" ");
  if (content) return `${content.type} ${(content.text ?? "").length} chars`;
  return event.status ?? "";
}

function drawEventLine(event) {
  const line = make("li");
  line.append(
    make("span", "seq", event.sequence_number), " ",
    make("span", "type", event.type), ` ${eventDetail(event)}`,
  );
  dom.events.append(line);
  keepEventsAtEnd();
}

function showSession(id) {
  dom.sessionId.textContent = id || "not started";
}
function showTurns(snapshot) {
  const turns = snapshot?.clientData?.session?.turns;
  dom.turns.textContent = Number.isInteger(turns) ? `${turns} ${turns === 1 ? "turn" : "turns"}` : "";
}

// ---------------------------------------------------------------- a view: one session on screen

const userId = rememberedUser();

/** Everything asynchronous belongs to a view and must stop touching the page once it is left. */
let view;

function openView(sessionId) {
  view?.leave.abort();
  view = { leave: new AbortController(), sessionId, busy: false };
  bubbles.clear();
  dom.messages.replaceChildren();
  dom.empty.hidden = false;
  dom.events.replaceChildren();
  dom.requestId.textContent = "";
  dom.announcer.textContent = "";
  clearNotice();
  showSession(sessionId);
  showTurns(null);
  setBusy(view, false, "");
  return view;
}

function setBusy(owner, busy, status) {
  owner.busy = busy;
  // aria-disabled, not disabled: the button must not lose keyboard focus.
  dom.send.setAttribute("aria-disabled", String(busy));
  setStatus(status);
}

function adoptSession(owner, id) {
  owner.sessionId = id;
  rememberSession(id);
  showSession(id);
}

/** After a reload between sending and the 202 only the request id is known; it leads to the session. */
async function findSession(owner, requestId) {
  const signal = owner.leave.signal;
  const query = new URLSearchParams({ flowKind: KIND, userId });
  try {
    const { sessions } = await json(`${API}/sessions?${query}`, { signal });
    for (const { id } of sessions.slice(0, 5)) {
      const { session } = await json(route("sessions", id), { signal });
      if (signal.aborted || owner.sessionId) return;
      if (session.latestRequestId === requestId) return adoptSession(owner, id);
    }
  } catch { /* asked again when the request ends */ }
}

async function refreshTurns(owner) {
  if (!owner.sessionId) return;
  const snapshot = await json(`${route("sessions", owner.sessionId, "state")}?include_items=false`, { signal: owner.leave.signal })
    .catch(() => null);
  if (snapshot && !owner.leave.signal.aborted) showTurns(snapshot);
}

function applyEvent(owner, request, event) {
  setStatus("Answering…");
  if (event.type === "request.created") dom.events.replaceChildren();
  drawEventLine(event);
  switch (event.type) {
    case "item.added":
    case "item.done": {
      const bubble = drawItem(event.item);
      if (bubble) request.opened.add(bubble);
      if (bubble && event.type === "item.done" && bubble.kind !== "user" && request.waitedFor) announce(bubble);
      break;
    }
    case "content.added":
    case "content.done": {
      const bubble = bubbles.get(event.itemId);
      if (bubble) setText(part(bubble, event.contentIndex), event.content.text ?? "");
      break;
    }
    case "content.delta": {
      const bubble = bubbles.get(event.itemId);
      if (bubble) part(bubble, event.contentIndex).appendData(event.delta);
      break;
    }
    case "request.failed":
    case "request.incomplete":
      if (request.waitedFor && ![...request.opened].some((bubble) => bubble.kind !== "user")) {
        showNotice(event.type === "request.failed" ? "The request failed." : "The request was interrupted before an answer began.");
      }
      break;
  }
  keepLogAtEnd();
}

/**
 * Draws one request from its stream alone, from event 1. `waitedFor` tells whether the user still
 * waits for it; a replay of an older, finished one is not announced. `snapshot` holds the request's
 * stored items, used only if the server has no stream for it any more.
 */
async function watch(owner, request, snapshot = []) {
  const signal = owner.leave.signal;
  request.opened = new Set();
  setBusy(owner, true, "Answering…");
  dom.requestId.textContent = request.requestId;
  dom.events.replaceChildren();
  if (request.message && !bubbles.has(DRAFT)) setText(part(addBubble(DRAFT, "user"), 0), request.message);
  keepLogAtEnd(true);
  try {
    await follow(request.requestId, signal, (event) => {
      if (!request.accepted) {
        request.accepted = true;
        rememberPending(request);
      }
      if (!owner.sessionId && event.sequence_number === 1) findSession(owner, request.requestId);
      applyEvent(owner, request, event);
    });
  } catch (error) {
    if (signal.aborted) return;
    snapshot.forEach(drawItem);
    if (!(error instanceof HttpError) || error.status !== 404) showError(error);
    else if (request.waitedFor) reportUnknown(request);
  }
  for (const bubble of request.opened) {
    if (bubble.node.getAttribute("aria-busy") === "true") setItemStatus(bubble, "incomplete");
  }
  if (request.waitedFor) forgetPending();
  if (!owner.sessionId && request.accepted) await findSession(owner, request.requestId);
  if (signal.aborted) return;
  setBusy(owner, false, "Ready");
  await refreshTurns(owner);
}

function reportUnknown(request) {
  if (request.accepted) {
    showNotice(`The server no longer knows request ${request.requestId}; its answer cannot be continued.`);
  } else {
    giveBack(request.message);
    showNotice("Your last message did not reach the server. It is back in the message box.");
  }
}

function giveBack(message) {
  removeBubble(DRAFT);
  if (dom.message.value === "") dom.message.value = message;
}

async function send(owner, message) {
  const signal = owner.leave.signal;
  const request = { requestId: newId("req"), message, accepted: false, waitedFor: true };
  // Before the POST, so that a reload at any moment finds its way back to the answer.
  rememberPending(request);
  clearNotice();
  dom.announcer.textContent = "";
  setText(part(addBubble(DRAFT, "user"), 0), message);
  keepLogAtEnd(true);
  setBusy(owner, true, "Sending…");
  const session = owner.sessionId ? [owner.sessionId] : [];
  const body = JSON.stringify({ input: { message }, userId, requestId: request.requestId });
  try {
    const answer = await json(route(KIND, ...session, "actions", ACTION), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      keepalive: body.length <= KEEPALIVE_LIMIT, // a reload must not take the message back
    });
    if (signal.aborted) return;
    request.accepted = true;
    rememberPending(request);
    if (answer.session?.id) adoptSession(owner, answer.session.id);
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof HttpError) {
      forgetPending();
      giveBack(message);
      showError(error);
      setBusy(owner, false, "Not sent");
      return;
    }
    // The answer to the POST got lost, maybe not the POST itself: the stream will tell.
  }
  await watch(owner, request);
}

/**
 * Rebuilds the page after a load. The newest request is always drawn from its stream, so running
 * and finished look the same and a running one goes on; the snapshot gives the requests before it.
 */
async function restore(owner) {
  const signal = owner.leave.signal;
  const pending = rememberedPending();
  let request = pending && { ...pending, waitedFor: true };
  const own = [];
  if (owner.sessionId) {
    setBusy(owner, true, "Loading…");
    try {
      const { session } = await patientGet(route("sessions", owner.sessionId), signal);
      if (!request && session.latestRequestId) request = { requestId: session.latestRequestId, accepted: true };
      for (let offset = 0, more = true; more;) {
        const query = new URLSearchParams({ include_items: "true", offset, limit: PAGE_SIZE });
        const page = await patientGet(`${route("sessions", owner.sessionId, "state")}?${query}`, signal);
        for (const item of page.items) {
          if (item.requestId === request?.requestId) own.push(item);
          else drawItem(item);
        }
        showTurns(page);
        more = page.pagination.hasMore && page.pagination.nextOffset > offset;
        offset = page.pagination.nextOffset;
      }
    } catch (error) {
      if (signal.aborted) return;
      forgetPending();
      if (error instanceof HttpError && error.status === 404) {
        showNotice(`The server no longer knows session ${owner.sessionId}. Your next message starts a new one.`);
        adoptSession(owner, "");
      } else {
        showError(error);
      }
      setBusy(owner, false, "Ready");
      return;
    }
  }
  if (request) await watch(owner, request, own);
  else setBusy(owner, false, "Ready");
}

// ---------------------------------------------------------------- controls

dom.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const message = dom.message.value.trim();
  if (view.busy || message === "") return;
  dom.message.value = "";
  dom.message.focus();
  send(view, message);
});

dom.message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!view.busy) dom.composer.requestSubmit();
});

dom.newSession.addEventListener("click", () => {
  forgetPending();
  rememberSession("");
  openView("");
  setStatus("New session");
  dom.message.focus();
});

dom.dismiss.addEventListener("click", () => {
  clearNotice();
  dom.message.focus();
});

restore(openView(rememberedSession()));
