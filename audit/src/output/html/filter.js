"use strict";
const form = document.querySelector("form");
const findings = Array.from(document.querySelectorAll("details"), (element) => ({
  element,
  text: element.textContent.toLowerCase(),
}));
const shown = document.getElementById("shown");
function filter() {
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(Array.from(form.querySelectorAll("[name=severity]:checked"), (box) => box.value));
  const suppressed = form.elements.suppressed.checked;
  let count = 0;
  for (const { element, text } of findings) {
    const show = wanted.has(element.dataset.severity)
      && (suppressed || !element.classList.contains("suppressed"))
      && words.every((word) => text.includes(word));
    element.hidden = !show;
    if (show) count += 1;
  }
  shown.textContent = count + " of " + findings.length + " shown";
}
let waiting;
form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 100); });
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
filter();
