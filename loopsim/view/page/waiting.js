"use strict";
// Asks every second whether there is a run, and shows it then.
async function ask() {
  try {
    const answer = await fetch("state.json", { cache: "no-store" });
    if (answer.ok && (await answer.json()).state !== "waiting") {
      location.reload();
      return;
    }
  } catch {
    document.querySelector("[role=status]").textContent = "loopsim view was stopped.";
  }
  setTimeout(ask, 1000);
}
ask();
