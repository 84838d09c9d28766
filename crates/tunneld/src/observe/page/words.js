"use strict";
// How things are said. Whatever the daemon tells is put in as text, never as markup: what a server
// says about itself is in it.

/** A text into an element that has nothing else in it. */
function put(element, text) {
  const was = element.firstChild;
  if (!was) element.append(text);
  else if (was.data !== text) was.data = text;
}

/** The same for a sentence; what is between backticks in it is to be typed. Nothing is in `before`. */
function prose(element, text, before = "") {
  if (element.said === before + text) return;
  element.said = before + text;
  const code = (part) => {
    const typed = document.createElement("code");
    typed.append(part);
    return typed;
  };
  const parts = text.split("`");
  const paired = parts.length % 2 === 1;
  element.replaceChildren(before, ...(paired ? parts.map((part, i) => (i % 2 ? code(part) : part)) : [text]));
}

function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

function plural(n, one) {
  return n === 1 ? `1 ${one}` : `${n} ${one}s`;
}

/** A length in at most two units: `8s`, `2m 10s`, `4d 2h`. */
function lasting(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
  for (const [big, bigUnit, small, smallUnit] of units) {
    if (s < big) continue;
    const rest = Math.floor((s % big) / small);
    return `${Math.floor(s / big)}${bigUnit}` + (rest ? ` ${rest}${smallUnit}` : "");
  }
  return `${s}s`;
}

/** A time of the day here, with the day where it is not today. */
function moment(ms) {
  const two = (n) => String(n).padStart(2, "0");
  const at = new Date(ms);
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  if (at.toDateString() === new Date(now()).toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** A size in binary units: `17 B`, `3.2 MiB`. */
function size(n) {
  if (n < 1024) return `${Math.round(n)} B`;
  let unit = "";
  for (unit of ["KiB", "MiB", "GiB", "TiB", "PiB"]) {
    n /= 1024;
    if (n < 1024) break;
  }
  return `${n.toFixed(1)} ${unit}`;
}

function rate(perSecond) {
  return perSecond >= 1 ? `${size(perSecond)}/s` : "";
}

/** A share in per cent. What was not always up is never called 100 %. */
function percent(part, whole) {
  const hundredths = Math.floor((part / whole) * 10000);
  return `${part >= whole ? "100" : (hundredths / 100).toFixed(hundredths < 9900 ? 1 : 2)} %`;
}

/** The host of `user@host:port`. */
function hostOf(destination) {
  const host = destination.slice(destination.lastIndexOf("@") + 1);
  return host.replace(/:\d+$/, "");
}

// The daemon's clock, where this machine's is another.
let ahead = 0;
function now() {
  return Date.now() + ahead;
}

/** Asks what time it is at the daemon. */
async function setClock() {
  try {
    const answer = await fetch("./", { method: "HEAD" });
    const there = Date.parse(answer.headers.get("date")) + 500;
    // The header counts whole seconds.
    ahead = Math.abs(there - Date.now()) > 2000 ? there - Date.now() : 0;
  } catch {
    // The stream finds out that nobody is there.
  }
}
