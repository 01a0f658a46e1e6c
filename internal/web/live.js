// Keeps the status page up to date. Without it the page is as complete, and is loaded again by hand or by ?refresh=30.
"use strict";

// What the server sent last for each part of the page: only what differs is replaced, so that nothing flickers.
const sent = new Map();
for (const part of document.querySelectorAll("[data-part]")) sent.set(part.dataset.part, part.outerHTML);
for (const note of document.querySelectorAll(".by-hand")) note.hidden = true;

const names = root => [...root.querySelectorAll("[data-part]")].map(part => part.dataset.part).join("\n");
const offline = document.querySelector(".offline");

// put shows a part as it is now; what somebody has opened in it stays open, and what has the focus keeps it.
function put(old, fresh) {
	for (const details of old.querySelectorAll("details[open]")) fresh.querySelector("#" + CSS.escape(details.id))?.setAttribute("open", "");
	const focus = old.contains(document.activeElement) ? [...old.querySelectorAll("a, button, summary")].indexOf(document.activeElement) : -1;
	old.replaceWith(fresh);
	if (focus >= 0) fresh.querySelectorAll("a, button, summary")[focus]?.focus({ preventScroll: true });
}

let loading = false, again = false;

// load fetches the page again and takes over what has changed.
async function load() {
	if (loading) {
		again = true;
		return;
	}
	loading = true;
	try {
		const answer = await fetch(location.pathname + location.search);
		if (!answer.ok) throw new Error(answer.status);
		const page = new DOMParser().parseFromString(await answer.text(), "text/html");
		for (const note of page.querySelectorAll(".by-hand")) note.hidden = true;
		const whole = names(page) !== names(document);
		const parts = [...page.querySelectorAll("[data-part]")];
		const texts = parts.map(part => part.outerHTML);
		if (whole) put(document.querySelector("main"), document.adoptNode(page.querySelector("main")));
		parts.forEach((part, i) => {
			const name = part.dataset.part;
			if (sent.get(name) === texts[i] && !changed.has(name)) return;
			sent.set(name, texts[i]);
			changed.delete(name);
			const old = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
			if (old && old !== part) put(old, document.adoptNode(part));
		});
		document.title = page.title;
	} catch {
		offline.hidden = false;
	}
	loading = false;
	if (again) {
		again = false;
		setTimeout(load, 1000);
	}
}

// Accounts whose figures were changed here since the server sent them.
const changed = new Set();

function show(live) {
	const account = document.getElementById(live.anchor);
	if (!account) return;
	changed.add(live.anchor);
	account.className = "account " + live.state;
	account.querySelector(".state").textContent = live.word;
	account.querySelector(".now .text").textContent = live.text;
	const bar = account.querySelector("progress");
	bar.hidden = live.percent < 0;
	bar.value = Math.max(live.percent, 0);
}

const events = new EventSource("events?mark=" + encodeURIComponent(document.documentElement.dataset.mark));
events.addEventListener("live", event => JSON.parse(event.data).forEach(show));
events.addEventListener("page", load);
events.addEventListener("open", () => { offline.hidden = true; });
events.addEventListener("error", () => { offline.hidden = false; });

// A button has its run begin without the page being loaded again; the events tell what comes of it.
document.addEventListener("submit", async event => {
	const form = event.target, button = form.querySelector("button");
	event.preventDefault();
	button.disabled = true;
	try {
		const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
		if (answer.type !== "opaqueredirect") throw new Error(answer.status);
	} catch {
		form.submit(); // whatever is wrong, the server says it
	}
	button.disabled = false;
});
