/*
 * The demo's page: a chat of people who talk through nginx's rules alone
 * (conf/demo.conf).  There is no application server, so what one would keep
 * is kept here: who is in which room is learned from what the others say.
 *
 * Whatever arrives was written by somebody else.  The rules vouch for the
 * sender's id and for membership of the room; names, texts and pictures are
 * anything.  So: types and sizes are checked in the handlers at the end,
 * text gets into the page by textContent only, a picture only after its own
 * bytes have said that it is one.
 */

"use strict";

const MAX_NAME = 30;
const MAX_TEXT = 4000;
const MAX_PICTURE = 700000;         /* as base64 below nginx's 1,000,000 */
const MAX_SIDE = 4096;
const SHOWN = { width: 340, height: 300 };
const MAX_PEOPLE = 300;             /* in one room's list */
const MAX_ENTRIES = 300;            /* in one room's log */
const MAX_PICTURES = 50;            /* among them */
const MAX_ROOMS = 16;               /* as nginx's sio_max_rooms */
const ACK_TIMEOUT = 15000;
const TYPING_EVERY = 2000;
const TYPING_LASTS = 4000;

const STOCK = ["general", "random", "pictures"];

const options = new URLSearchParams(location.search);
const $ = (id) => document.getElementById(id);

const wish = ["polling", "websocket"].includes(options.get("transport"))
  ? options.get("transport") : "";  /* the only transport, if any */

const rooms = new Map();            /* name → room, see openRoom() */
let current = null;                 /* the room shown */
let myName = cleanName(options.get("name")
                       || recall("name") || inventName());


/* ---- Small things ---------------------------------------------------- */

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);

  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "text") {
      node.textContent = value;
    } else if (key.startsWith("on")) {
      node.addEventListener(key.slice(2), value);
    } else {
      node.setAttribute(key, value);
    }
  }

  node.append(...children);
  return node;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");

  use.setAttribute("href", "#i-" + name);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/* Each tab is a person of its own, so not localStorage. */

function recall(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    /* storage is switched off: the name lasts as long as the page */
  }
}

function inventName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];

  return pick(["Quiet", "Swift", "Sunny", "Clever", "Gentle", "Brave",
               "Merry", "Calm"])
    + " " + pick(["Otter", "Heron", "Lynx", "Robin", "Badger", "Finch",
                  "Marten", "Hare"]);
}

/* Without control characters and those that reverse the text around them. */

function cleanName(name) {
  const letters = String(name ?? "")
    .replace(/[\p{Cc}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "")
    .trim();

  return [...letters].slice(0, MAX_NAME).join("") || "guest";
}

/* The name as the handshake's query carried it, through $arg_name. */

function decodeName(name) {
  try {
    return cleanName(decodeURIComponent(name));
  } catch {
    return "guest";
  }
}

function cleanRoom(name) {
  return String(name ?? "").trim().toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 24);
}

function initials(name) {
  const words = name.split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];

  return letters.map((word) => [...word][0] ?? "").join("").toUpperCase();
}

/* The colour goes by the id, which nobody can choose. */

function avatar(person) {
  let sum = 0;

  for (const c of person.id) {
    sum = (sum * 31 + c.charCodeAt(0)) >>> 0;
  }

  return el("span", { class: "avatar c" + sum % 8, text: initials(person.name),
                      "aria-hidden": "true" });
}

function size(bytes) {
  return bytes < 1000 ? bytes + " B" : Math.round(bytes / 1000) + " KB";
}


/* ---- Rooms ----------------------------------------------------------- */

function openRoom(name) {
  let room = rooms.get(name);

  if (!room) {
    room = {
      name,
      wanted: false,                /* to be a member of after a reconnect */
      joined: false,
      people: new Map(),            /* id → { id, name } */
      typing: new Map(),            /* id → timer of its end */
      pending: new Map(),           /* mark → message not yet passed on */
      last: null,                   /* the newest message's author and time */
      unread: 0,
      follow: true,                 /* is scrolled to its end */
      log: el("div", { class: "log", role: "log", tabindex: "0", hidden: "",
                       "aria-label": "Messages in " + name }),
    };

    room.log.append(intro(name));
    room.log.addEventListener("scroll", () => {
      room.follow = atEnd(room.log);
      $("jump").hidden ||= room.follow;
    });

    rooms.set(name, room);
    $("logs").append(room.log);
  }

  return room;
}

function intro(name) {
  const again = el("a", { href: "?room=" + encodeURIComponent(name),
                          target: "_blank", rel: "noopener",
                          text: "another window" });
  const logo = el("span", { class: "logo", "aria-hidden": "true" });

  logo.append(icon("bolt"));

  return el("div", { class: "intro" }, logo,
    el("h3", { text: "Welcome to #" + name }),
    el("p", {}, "Everything said here goes through a few rules in nginx.conf "
       + "to those who are here now. Nothing is stored. If you are alone, "
       + "open ", again, " and talk to yourself."));
}

function showRoom(name) {
  const room = openRoom(name);

  if (current) {
    current.log.hidden = true;
    stopTyping();
  }

  current = room;
  room.unread = 0;
  room.log.hidden = false;
  scrollToEnd();
  $("room-title").textContent = name;
  $("text").placeholder = "Message #" + name;
  options.set("room", name);
  closeDrawers();
  joinRoom(room);
  drawAddress();
  draw(drawRooms, drawPeople);
}

function joinRoom(room) {
  room.wanted = true;

  if (!room.joined && socket.connected) {
    socket.emit("join", room.name);
  }
}

function leaveRoom(room) {
  socket.emit("leave", room.name);
  forget(room);
  room.wanted = false;

  if (STOCK.includes(room.name)) {
    note(room, "You left");

  } else {
    [...room.log.children].forEach(discard);
    room.log.remove();
    rooms.delete(room.name);
  }

  if (room === current) {
    const other = [...rooms.values()].find((r) => r.wanted);

    showRoom(other ? other.name : STOCK[0]);
  }

  draw(drawRooms);
}

/* What was known of a room is worth nothing once one is out of it. */

function forget(room) {
  room.joined = false;
  room.people.clear();
  room.typing.forEach(clearTimeout);
  room.typing.clear();
  room.pending.forEach((message) => fail(message, "Not delivered"));
  room.pending.clear();
}


/* ---- Drawing --------------------------------------------------------- */

/* The address leads back to this room, the links to it by another way. */

function drawAddress() {
  history.replaceState(null, "", "?" + options);

  for (const link of document.querySelectorAll("#choice a")) {
    const to = new URLSearchParams(options);

    to.delete("transport");

    if (link.dataset.transport) {
      to.set("transport", link.dataset.transport);
    }

    link.href = "?" + to;
    link.ariaCurrent = link.dataset.transport === wish ? "true" : null;
  }
}

/* However much arrives at once, it is drawn once. */

const undrawn = new Set();

function draw(...parts) {
  if (undrawn.size === 0) {
    setTimeout(() => {
      const now = [...undrawn];

      undrawn.clear();
      now.forEach((part) => part());
    }, 16);
  }

  parts.forEach((part) => undrawn.add(part));
}

function drawRooms() {
  const all = [...rooms.values()];
  const several = all.filter((room) => room.wanted).length > 1;
  const items = all.map((room) => {
    const button = el("button", {
      type: "button",
      class: room.wanted ? "room joined" : "room",
      "data-room": room.name,
      onclick: () => showRoom(room.name),
    }, el("bdi", { text: room.name }));
    const item = el("li", {}, button);

    if (room === current) {
      button.setAttribute("aria-current", "true");
    }

    if (room.unread) {
      button.append(el("span", { class: "badge",
                                 text: room.unread > 99 ? "99+" : room.unread,
                                 "aria-label": room.unread + " unread" }));
    }

    if (room.wanted && several) {
      item.append(el("button", {
        type: "button", class: "icon leave", title: "Leave " + room.name,
        "aria-label": "Leave " + room.name, onclick: () => leaveRoom(room),
      }, icon("close")));
    }

    return item;
  });

  const unread = all.reduce((sum, r) => sum + r.unread, 0);
  const focused = document.activeElement?.dataset?.room;

  $("rooms").replaceChildren(...items);
  $("menu-dot").hidden = !unread;
  document.title = (unread ? `(${unread}) ` : "")
    + `#${current.name} · ngx_sio chat`;

  if (focused) {
    $("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
  }
}

function drawPeople() {
  const people = [...current.people.values()];
  const names = new Map();

  people.sort((a, b) => (b.id === socket.id) - (a.id === socket.id)
                        || a.name.localeCompare(b.name));
  people.forEach((p) => names.set(p.name, (names.get(p.name) || 0) + 1));

  $("people").replaceChildren(...people.map((person) => {
    const label = el("span", {}, el("bdi", { text: person.name }));

    if (person.id === socket.id) {
      label.append(el("small", { text: "you" }));
    } else if (current.typing.has(person.id)) {
      label.append(el("small", { text: "typing …" }));
    } else if (names.get(person.name) > 1) {
      label.append(el("small", {}, el("code", { text: person.id })));
    }

    return el("li", {
      "data-id": person.id, title: "Socket " + person.id,
      class: current.typing.has(person.id) ? "typing-now" : "",
    }, avatar(person), label);
  }));

  $("room-count").textContent = people.length === 1 ? "only you are here"
    : people.length ? people.length + " people here" : "joining …";

  drawTyping(people.filter((p) => current.typing.has(p.id)));
}

function drawTyping(people) {
  $("typing").classList.toggle("on", people.length > 0);

  /* the old words stay while they fade out */

  if (people.length) {
    $("typing-text").textContent = people.length > 2
      ? "several people are typing"
      : people.map((p) => p.name).join(" and ")
        + (people.length > 1 ? " are typing" : " is typing");
  }
}

function atEnd(log) {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
}

function scrollToEnd() {
  current.follow = true;
  current.log.scrollTop = current.log.scrollHeight;
  $("jump").hidden = true;
}

function discard(node) {
  node.querySelectorAll("img").forEach((i) => URL.revokeObjectURL(i.src));
  node.remove();
}

function append(room, node, own) {
  room.log.append(node);

  [...room.log.children].slice(0, -MAX_ENTRIES).forEach(discard);
  [...room.log.querySelectorAll(".message:has(img)")]
    .slice(0, -MAX_PICTURES).forEach(discard);

  if (room !== current) {
    return;
  }

  if (room.follow || own) {
    scrollToEnd();
  } else if (node.classList.contains("message")) {
    $("jump").hidden = false;
  }
}

function note(room, text, kind = "") {
  room.last = null;
  append(room, el("p", { class: "note " + kind, text }));
}

function message(room, person, bubble) {
  const now = new Date();
  const own = person.id === socket.id;
  const follow = room.last && room.last.id === person.id
    && now - room.last.at < 120000;
  const time = now.toLocaleTimeString([], { hour: "2-digit",
                                            minute: "2-digit" });
  const node = el("article", { class: "message" + (own ? " mine" : "")
                                      + (follow ? " follow" : ""),
                               title: time },
    avatar(person),
    el("div", { class: "by" },
      el("bdi", { text: person.name }),
      el("time", { datetime: now.toISOString(), text: time })),
    bubble);

  room.last = { id: person.id, at: now };
  return node;
}

function show(room, node, own) {
  append(room, node, own);

  if (!own && (room !== current || document.hidden)) {
    room.unread++;
    draw(drawRooms);
  }
}

function setState(node, text) {
  let state = node.querySelector(".state");

  if (!state) {
    state = el("span", { class: "state" });
    node.querySelector(".bubble").append(state);
  }

  state.textContent = text;
}

function fail(node, why) {
  node.classList.remove("pending");
  node.classList.add("failed");
  setState(node, why);
}


/* ---- Text ------------------------------------------------------------ */

function textBubble(text) {
  const paragraph = el("div", { class: "text", dir: "auto" });

  for (const part of text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/)) {
    paragraph.append(/^https?:\/\//.test(part)
      ? el("a", { href: part, target: "_blank", rel: "noopener noreferrer",
                  text: part })
      : part);
  }

  return el("div", { class: "bubble" }, paragraph);
}

/*
 * The message is drawn faintly at once.  It comes back from nginx as all get
 * it, known by its mark, and takes the place it has for everybody.
 */

function sendText() {
  const text = $("text").value.trim();
  const room = current;
  const mark = crypto.getRandomValues(new Uint32Array(2)).join("-");

  if (!text || !room.joined) {
    return;
  }

  const node = message(room, me(), textBubble(text));

  node.classList.add("pending");
  room.pending.set(mark, node);
  append(room, node, true);
  socket.emit("message", room.name, text, mark);

  setTimeout(() => {
    if (room.pending.delete(mark)) {
      fail(node, "Not delivered");
    }
  }, ACK_TIMEOUT);

  $("text").value = "";
  stopTyping();
  fitText();
}

function me() {
  return { id: socket.id, name: myName };
}


/* ---- Typing ---------------------------------------------------------- */

let typingSent = 0;

function startTyping() {
  if ($("text").value.trim() === "") {
    stopTyping();

  } else if (current.joined && Date.now() - typingSent > TYPING_EVERY) {
    typingSent = Date.now();
    socket.emit("typing", current.name, true);
  }
}

function stopTyping() {
  if (typingSent && current.joined) {
    socket.emit("typing", current.name, false);
  }

  typingSent = 0;
}

function setTyping(room, id, on) {
  clearTimeout(room.typing.get(id));
  room.typing.delete(id);

  if (on && room.people.has(id)) {
    room.typing.set(id, setTimeout(() => setTyping(room, id, false),
                                   TYPING_LASTS));
  }

  draw(drawPeople);
}

function fitText() {
  const text = $("text");

  text.style.height = "auto";
  text.style.height = text.scrollHeight + "px";
  $("composer").classList.toggle("empty", text.value.trim() === "");
}


/* ---- Pictures -------------------------------------------------------- */

/*
 * The type and the dimensions by the bytes themselves, or null.  What the
 * sender calls it doesn't matter, and three formats that cannot hold a
 * script are enough.
 */

function inspectPicture(buffer) {
  const view = new DataView(buffer);
  const at = (offset, bytes) =>
    buffer.byteLength >= offset + bytes.length
    && bytes.every((b, i) => view.getUint8(offset + i) === b);
  const result = (type, width, height) =>
    width && height && width <= MAX_SIDE && height <= MAX_SIDE
      ? { type, width, height } : null;

  if (buffer.byteLength < 24) {
    return null;
  }

  if (at(0, [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10])) {
    return result("image/png", view.getUint32(16), view.getUint32(20));
  }

  if (at(0, [0x47, 0x49, 0x46, 0x38])) {
    return result("image/gif", view.getUint16(6, true),
                  view.getUint16(8, true));
  }

  if (at(0, [0xff, 0xd8, 0xff])) {
    for (let i = 2; i + 9 < buffer.byteLength; ) {
      const marker = view.getUint8(i + 1);

      if (view.getUint8(i) !== 0xff) {
        return null;
      }

      /* a start of frame: C0 to CF but DHT, JPG and DAC */

      if (marker >= 0xc0 && marker <= 0xcf
          && ![0xc4, 0xc8, 0xcc].includes(marker))
      {
        return result("image/jpeg", view.getUint16(i + 7),
                      view.getUint16(i + 5));
      }

      i += 2 + view.getUint16(i + 2);
    }
  }

  return null;
}

/*
 * A photograph is made smaller, and loses what the camera wrote into it,
 * the place among it.
 */

async function shrinkPicture(file) {
  if (["image/png", "image/gif"].includes(file.type)
      && file.size <= MAX_PICTURE)
  {
    const buffer = await file.arrayBuffer();

    if (inspectPicture(buffer)) {
      return buffer;
    }
  }

  const bitmap = await createImageBitmap(file);
  const longest = Math.max(bitmap.width, bitmap.height);

  for (const side of [1600, 1200, 800]) {
    const scale = Math.min(1, side / longest);
    const canvas = el("canvas");
    const context = canvas.getContext("2d");

    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);

    const blob = await new Promise((done) =>
      canvas.toBlob(done, "image/jpeg", 0.85));

    if (blob && blob.size <= MAX_PICTURE) {
      return blob.arrayBuffer();
    }
  }

  throw new Error("too large");
}

function pictureBubble(buffer, picture, alt) {
  const url = URL.createObjectURL(new Blob([buffer], { type: picture.type }));
  const scale = Math.min(1, SHOWN.width / picture.width,
                         SHOWN.height / picture.height);
  const image = el("img", { src: url, alt,
                            width: Math.ceil(picture.width * scale),
                            height: Math.ceil(picture.height * scale) });

  return el("div", { class: "bubble picture" },
    el("button", { type: "button", "aria-label": "Enlarge: " + alt,
                   onclick: () => enlarge(url, alt) }, image));
}

async function sendPicture(file) {
  const room = current;
  const name = String(file.name || "picture").slice(0, 80);
  let buffer;

  if (!room.joined) {
    return;
  }

  try {
    buffer = await shrinkPicture(file);
  } catch {
    note(room, "This file is no picture that can be sent.");
    return;
  }

  const node = message(room, me(),
                       pictureBubble(buffer, inspectPicture(buffer), name));
  const start = performance.now();

  node.classList.add("pending");
  setState(node, "Sending " + size(buffer.byteLength) + " …");
  append(room, node, true);

  socket.timeout(ACK_TIMEOUT).emit("image", room.name, buffer, name,
    (error, answer) => {
      if (error) {
        fail(node, "Not delivered");
        return;
      }

      node.classList.remove("pending");
      setState(node, `✓ ${answer} by nginx · ${size(buffer.byteLength)} · `
                     + `${Math.round(performance.now() - start)} ms`);
    });
}

function enlarge(url, alt) {
  $("viewer-image").src = url;
  $("viewer-image").alt = alt;
  $("viewer").showModal();
}


/* ---- The connection -------------------------------------------------- */

const socket = io({
  query: { name: myName },
  ...(wish && { transports: [wish] }),
});

const TRANSPORT = { polling: "Long-polling", websocket: "WebSocket" };

/*
 * The engine is a new one after each reconnect.  Its WebSocket may come before
 * the connect of the socket.
 */

function watchEngine() {
  const engine = socket.io.engine;
  const began = performance.now();

  drawTransport(engine.transport.name);

  $("path-note").textContent = wish
    ? `As chosen: ${TRANSPORT[wish]} only.`
    : "Connected; trying a WebSocket …";

  engine.on("upgrade", (transport) => {
    const text = `Long-polling became a WebSocket after `
                 + `${Math.round(performance.now() - began)} ms`;

    drawTransport(transport.name, true);
    $("path-note").textContent = text + ".";
    note(current, text, "upgrade");
  });
}

function drawTransport(name, upgraded = false) {
  const chip = $("transport");

  chip.dataset.transport = name;
  $("transport-name").textContent = TRANSPORT[name] || name;
  chip.classList.toggle("flash", upgraded);
  $("path").classList.toggle("upgraded", upgraded);

  for (const step of $("path").querySelectorAll("[data-step]")) {
    step.classList.toggle("on", step.dataset.step === name);
    step.classList.toggle("was", upgraded && step.dataset.step !== name);
  }
}

function drawOffline(why) {
  drawTransport("offline");
  $("path-note").textContent = why;
  $("banner").textContent = why;
  $("banner").hidden = false;
  $("rtt").textContent = $("socket-id").textContent = "–";
}

function measure() {
  if (!socket.connected || document.hidden) {
    return;
  }

  const start = performance.now();

  socket.timeout(5000).emit("echo", (error) => {
    if (!error) {
      $("rtt").textContent = (performance.now() - start).toFixed(1) + " ms";
    }
  });
}

socket.io.on("open", watchEngine);

socket.on("connect", () => {
  $("banner").hidden = true;
  $("socket-id").textContent = socket.id;
  $("me-avatar").replaceWith(
    Object.assign(avatar(me()), { id: "me-avatar" }));
  rooms.forEach((room) => room.wanted && joinRoom(room));
  measure();
});

socket.on("disconnect", (reason) => {
  rooms.forEach(forget);
  draw(drawPeople);

  if (reason !== "io client disconnect") {      /* a new name */
    drawOffline(`The connection was lost (${reason}). Reconnecting …`);
  }
});

socket.on("connect_error", () => {
  drawOffline("nginx cannot be reached. Trying again …");
});

setInterval(measure, 5000);


/* ---- What the others say --------------------------------------------- */

/*
 * A handler gets the arguments that a rule put together: the sender's id
 * and name, then the room (if the rule has it), then what the sender gave.
 * A room is believed only if this page is in it.
 */

function hear(event, handler) {
  socket.on(event, (id, name, roomName, ...rest) => {
    const room = rooms.get(roomName);

    if (room?.joined && typeof id === "string" && typeof name === "string") {
      handler(room, { id, name: decodeName(name) }, ...rest);
    }
  });
}

function meet(room, person) {
  if (room.people.size < MAX_PEOPLE) {
    room.people.set(person.id, person);
    draw(drawPeople);
  }
}

function part(room, id, how) {
  const person = room.people.get(id);

  if (person) {
    setTyping(room, id, false);
    room.people.delete(id);
    note(room, `${person.name} ${how}`);
    draw(drawPeople);
  }
}

hear("joined", (room, person) => {
  if (!room.people.has(person.id)) {
    meet(room, person);
    note(room, person.name + " came in");
    socket.emit("here", person.id, room.name);
  }
});

/* This page itself is in: from now on the room is believed. */

socket.on("joined", (id, name, roomName) => {
  const room = rooms.get(roomName);

  if (id === socket.id && room?.wanted && !room.joined) {
    room.joined = true;
    meet(room, me());
  }
});

hear("here", (room, person) => meet(room, person));

socket.on("left", (id, roomName) => {
  if (rooms.has(roomName)) {
    part(rooms.get(roomName), id, "left");
  }
});

socket.on("gone", (id) => rooms.forEach((room) => part(room, id, "went away")));

hear("typing", (room, person, on) => setTyping(room, person.id, on === true));

hear("message", (room, person, text, mark) => {
  if (typeof text !== "string") {
    return;
  }

  if (person.id === socket.id && room.pending.has(mark)) {
    const node = room.pending.get(mark);

    room.pending.delete(mark);
    node.classList.remove("pending");

    if (room.log.lastElementChild !== node) {
      room.log.append(node);
    }

    return;
  }

  setTyping(room, person.id, false);
  show(room, message(room, person, textBubble(text.slice(0, MAX_TEXT))));
});

hear("image", (room, person, buffer, name) => {
  const picture = buffer instanceof ArrayBuffer
    && buffer.byteLength <= MAX_PICTURE && inspectPicture(buffer);
  const alt = typeof name === "string" ? name.slice(0, 80) : "picture";

  show(room, message(room, person, picture
    ? pictureBubble(buffer, picture, alt)
    : textBubble("(something that is not a picture)")));
});

socket.on("welcome", (server, worker) => {
  $("server").textContent = server;
  $("worker").textContent = "process " + worker;
});


/* ---- The page -------------------------------------------------------- */

let opener = null;                  /* the button of the open drawer */

function openDrawer(button) {
  const drawer = $(button.dataset.open);

  opener = button;
  drawer.classList.add("open");
  document.body.classList.add("drawer");
  $("main").inert = true;
  drawer.querySelector("[data-close]").focus();
}

function closeDrawers() {
  if (opener) {
    $(opener.dataset.open).classList.remove("open");
    document.body.classList.remove("drawer");
    $("main").inert = false;
    opener.focus();
    opener = null;
  }
}

function setUp() {
  for (const button of document.querySelectorAll("[data-open]")) {
    button.addEventListener("click", () => openDrawer(button));
  }

  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", closeDrawers);
  }

  $("scrim").addEventListener("click", closeDrawers);

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      closeDrawers();
    }
  });

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      current.unread = 0;
      draw(drawRooms);
    }
  });

  $("jump").addEventListener("click", scrollToEnd);

  /* a keyboard that slides in must not cover what was said last */

  new ResizeObserver(() => current.follow && scrollToEnd()).observe($("logs"));

  $("new-room").addEventListener("submit", (event) => {
    const name = cleanRoom($("new-room-name").value);

    event.preventDefault();
    $("new-room-name").value = "";

    if (rooms.has(name) || (name && rooms.size < MAX_ROOMS)) {
      showRoom(name);
    }
  });

  setUpName();
  setUpComposer();

  $("viewer").addEventListener("click", () => $("viewer").close());
}

/* Another name is another connection: nginx took it in the handshake. */

function setUpName() {
  const field = $("me-name");

  const rename = () => {
    const name = field.value.trim() ? cleanName(field.value) : myName;

    field.value = name;

    if (name !== myName) {
      myName = name;
      remember("name", name);
      options.delete("name");
      drawAddress();
      socket.io.opts.query.name = name;
      socket.disconnect().connect();
    }
  };

  field.value = myName;
  field.addEventListener("blur", rename);
  $("me").addEventListener("submit", (event) => {
    event.preventDefault();
    field.blur();
  });
}

function setUpComposer() {
  const text = $("text");
  const firstPicture = (files) =>
    [...files].find((file) => file.type.startsWith("image/"));

  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    sendText();
  });

  text.addEventListener("input", () => {
    fitText();
    startTyping();
  });

  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      sendText();
    }
  });

  text.addEventListener("paste", (event) => {
    const file = firstPicture(event.clipboardData.files);

    if (file) {
      event.preventDefault();
      sendPicture(file);
    }
  });

  $("attach").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;

    if (file) {
      sendPicture(file);
    }

    $("file").value = "";
  });

  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });

  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) {
      document.body.classList.remove("dropping");
    }
  });

  document.addEventListener("drop", (event) => {
    const file = firstPicture(event.dataTransfer.files);

    event.preventDefault();
    document.body.classList.remove("dropping");

    if (file) {
      sendPicture(file);
    }
  });

  fitText();
}

STOCK.forEach(openRoom);
setUp();
showRoom(cleanRoom(options.get("room")) || STOCK[0]);
remember("name", myName);
