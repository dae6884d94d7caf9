"use strict";

// The page of the chat.  What others have written gets into it as text only.

const $ = (id) => document.getElementById(id);
const socket = io();

function show(...parts) {
  const line = document.createElement("li");

  line.append(...parts);
  $("log").prepend(line);
}

function showMessage({ number, room, user, text }) {
  show(`${number} ${room}, ${user}: ${text}`);
}

socket.on("connect", () => { $("chat").hidden = false; });

socket.on("connect_error", (error) => {
  show(error.message);
  $("login").hidden = !error.data?.login;
});

socket.on("history", (messages) => messages.forEach(showMessage));
socket.on("message", showMessage);
socket.on("joined", (room, user) => show(`${user} joined ${room}`));
socket.on("gone", (user) => show(`${user} is gone`));
socket.on("invited", (room, user) => show(`${user} invites you to ${room}`));
socket.on("vote", (question, answer) => answer(confirm(question) ? "yes" : "no"));
socket.on("votes", (question, { yes, no, missing = 0 }) =>
  show(`${question} yes ${yes}, no ${no}, no answer ${missing}`));

socket.on("picture", (room, user, id, bytes) => {
  const picture = new Image();

  picture.src = URL.createObjectURL(new Blob([bytes]));
  picture.alt = "a picture";
  show(`${room}, ${user}: `, picture);
});

function answered(result, detail = "") {
  show(`${result} ${detail}`);
}

$("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.emit($("what").value, $("room").value, $("text").value, answered);
});

$("picture").addEventListener("change", () => {
  socket.emit("picture", $("room").value, $("picture").files[0], answered);
});
