// What is nicer with a script: keys, live numbers, copying, dropping and pasting. Every page works without it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("has-script");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const say = (text) => { const said = one("#said"); if (said) said.textContent = text; };

  // Copying needs a script, and a page that the browser trusts; on plain addresses the older way still works.
  const copied = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* below */ }
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const button of all("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy)?.innerText ?? "";
      const done = await copied(text);
      button.textContent = done ? "Copied" : "Not copied";
      say(button.textContent);
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // An image that cannot be shown says so in words.
  document.addEventListener("error", (event) => {
    const image = event.target;
    if (!(image instanceof HTMLImageElement) || !image.dataset.gone) return;
    const note = document.createElement("p");
    note.className = "gone";
    note.setAttribute("role", "note");
    note.textContent = image.dataset.gone;
    image.closest(".layers")?.replaceWith(note);
  }, true);
  for (const image of all("img[data-gone]")) {
    if (image.complete && image.naturalWidth === 0 && image.src) image.dispatchEvent(new Event("error"));
  }

  // Live numbers: texts by the name of their place. Nothing moves, nothing takes the focus.
  const live = one("[data-live]");
  if (live && "EventSource" in window) {
    let source;
    const put = (texts) => {
      for (const [name, text] of Object.entries(texts)) {
        for (const place of all(`[data-text="${CSS.escape(name)}"]`)) {
          if (place.textContent !== text) place.textContent = text;
        }
        for (const place of all(`[data-path="${CSS.escape(name)}"]`)) {
          if (place.getAttribute("d") !== text) place.setAttribute("d", text);
        }
      }
    };
    // What comes and goes, such as a worker or a pause, has no place for a text: the parts of the page are asked for once more.
    // One in which somebody is typing, or which has the focus, waits until that is over.
    let shape = live.dataset.shape;
    let drawn = shape;
    let asking = false;
    const renew = async () => {
      if (asking || shape === drawn) return;
      asking = true;
      try {
        const answer = await fetch(location.href);
        if (!answer.ok) return;
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        let all_drawn = true;
        for (const part of all("[data-part]", next)) {
          const here = one(`[data-part="${CSS.escape(part.dataset.part)}"]`);
          if (here?.contains(document.activeElement)) all_drawn = false;
          else if (here && here.innerHTML !== part.innerHTML) here.replaceWith(part);
        }
        if (all_drawn) drawn = next.querySelector("[data-shape]")?.dataset.shape ?? shape;
      } catch { /* the next message asks again */ } finally { asking = false; }
    };
    document.addEventListener("focusout", () => setTimeout(renew));
    const open = () => {
      if (source || document.hidden) return;
      source = new EventSource(live.dataset.live);
      source.onmessage = (event) => {
        // The page knew nothing yet: it is asked for once more now.
        if (live.hasAttribute("data-reload")) { location.reload(); return; }
        const texts = JSON.parse(event.data);
        put(texts);
        shape = texts.shape ?? shape;
        renew();
      };
      source.addEventListener("over", (event) => {
        put(JSON.parse(event.data));
        source.close();
        location.reload();
      });
    };
    const close = () => { source?.close(); source = undefined; };
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    open();
  }

  // Dropping and pasting fill the form that is there.
  const form = one("#bring");
  if (form) {
    const files = form.querySelector("#files");
    const chosen = one("#chosen");
    const add = (list) => {
      const held = new DataTransfer();
      for (const file of [...files.files, ...list]) held.items.add(file);
      files.files = held.files;
      files.dispatchEvent(new Event("change"));
    };
    files.addEventListener("change", () => {
      const count = files.files.length;
      chosen.textContent = count === 1 ? "1 file chosen" : `${count} files chosen`;
    });
    addEventListener("dragover", (event) => { event.preventDefault(); one("#drop").classList.add("over"); });
    addEventListener("dragleave", () => one("#drop").classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      one("#drop").classList.remove("over");
      if (event.dataTransfer.files.length) add(event.dataTransfer.files);
    });
    addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])];
      const text = event.clipboardData?.getData("text/plain") ?? "";
      if (pasted.length) { event.preventDefault(); add(pasted); return; }
      if (/^https?:\/\/\S+$/.test(text.trim()) && !(event.target instanceof HTMLTextAreaElement)) {
        const urls = one("#urls");
        urls.value = `${urls.value.trim()}\n${text.trim()}`.trim();
      }
    });
    form.addEventListener("submit", () => { chosen.textContent = "Sending …"; });
  }

  // Keys.
  const typing = (target) => target instanceof HTMLElement
    && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && target.type !== "checkbox";
  let at = -1;
  const step = (by) => {
    const link = one(`a[data-key="${by > 0 ? "j" : "k"}"]`);
    if (link) { link.click(); return; }
    const cards = all(".card");
    if (!cards.length) return;
    at = Math.max(0, Math.min(cards.length - 1, at + by));
    cards.forEach((card, place) => card.classList.toggle("here", place === at));
    const target = cards[at].querySelector("h2 a") ?? cards[at].querySelector("a");
    target.focus({ preventScroll: true });
    cards[at].scrollIntoView({ block: "nearest" });
  };
  const keys = {
    "/": () => { const field = one("#q"); field.focus(); field.select(); },
    "?": () => { location.href = "/help"; },
    g: () => { location.href = "/"; },
    j: () => step(1),
    k: () => step(-1),
    o: () => (one('a[data-key="o"]') ?? one(".card.here a"))?.click(),
    c: () => one('a[data-key="c"]')?.click(),
    b: () => {
      const boxes = one("#boxes");
      if (!boxes) return;
      boxes.click();
      say(boxes.checked ? "Word boxes are shown" : "Word boxes are hidden");
    },
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target instanceof HTMLInputElement) { event.target.blur(); return; }
    if (typing(event.target) || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
})();
