// Comfort only: without it the page shows the same, and each dot of the map still carries its text as a title.
(() => {
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
  toggle.hidden = false;
  toggle.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();

  const tip = document.createElement("div");
  tip.id = "tip"; tip.hidden = true; document.body.append(tip);
  for (const map of document.querySelectorAll("svg.map")) {
    const spots = [...map.querySelectorAll(".spot")];
    for (const spot of spots) {  // the browser's own tooltip would lie over ours
      const title = spot.querySelector("title");
      spot.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    const leave = () => { tip.hidden = true; map.classList.remove("picking"); };
    map.addEventListener("pointerover", (event) => {
      const spot = event.target.closest(".spot");
      if (!spot) return leave();
      tip.textContent = spot.getAttribute("aria-label");
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = Math.max(8, Math.min(innerWidth - box.width - 8, event.clientX - box.width / 2)) + "px";
      tip.style.top = (event.clientY > box.height + 24 ? event.clientY - box.height - 14 : event.clientY + 18) + "px";
      map.classList.add("picking");
      for (const other of spots) other.classList.toggle("picked", other.dataset.group === spot.dataset.group);
    });
    map.addEventListener("pointerleave", leave);
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
})();
