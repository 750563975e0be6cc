// The leaderboard without a library: colour scheme, tracks as tabs, sorting and filtering. Every page is complete
// without this file. The address keeps track, order and filter: #TRACK;sort=-self_last;q=fed;mark=rerun;part=worth
"use strict";

(() => {
  const FIRST = 50; // rows that are laid out at once; the others follow while the browser is idle
  const STEP = 75;
  const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 30));
  const SCHEMES = ["auto", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("drake-theme") || "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };
  const paint = (scheme) => {
    document.documentElement.dataset.theme = scheme;
  };
  paint(stored()); // before anything is shown
  document.documentElement.classList.add("js");

  const themeButton = () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = `Theme: ${document.documentElement.dataset.theme}`;
    };
    button.addEventListener("click", () => {
      const next = SCHEMES[(SCHEMES.indexOf(document.documentElement.dataset.theme) + 1) % SCHEMES.length];
      paint(next);
      try {
        localStorage.setItem("drake-theme", next);
      } catch {
        // it holds for this page only
      }
      show();
    });
    show();
    button.hidden = false;
  };

  // --- the address ---------------------------------------------------------------------------------------------------

  const readAddress = () => {
    const [track, ...parts] = location.hash.slice(1).split(";");
    const found = { track, sort: "", q: "", mark: "", part: "" };
    for (const part of parts) {
      const at = part.indexOf("=");
      const key = part.slice(0, at);
      if (at > 0 && Object.hasOwn(found, key) && key !== "track") {
        try {
          found[key] = decodeURIComponent(part.slice(at + 1));
        } catch {
          // not an address that this page wrote
        }
      }
    }
    return found;
  };

  const writeAddress = (board, push) => {
    const parts = [board.slug];
    for (const key of ["sort", "q", "mark", "part"]) {
      if (board.state[key]) {
        parts.push(`${key}=${encodeURIComponent(board.state[key])}`);
      }
    }
    const hash = `#${parts.join(";")}`;
    if (hash !== location.hash) {
      history[push ? "pushState" : "replaceState"](null, "", hash);
    }
  };

  // --- one table -----------------------------------------------------------------------------------------------------

  class Board {
    constructor(section) {
      this.section = section;
      this.slug = section.id;
      this.state = { sort: "", q: "", mark: "", part: "" };
      this.table = section.querySelector("table.board");
      this.body = this.table.tBodies[0];
      this.rows = [...this.body.rows];
      this.heads = [...this.table.tHead.rows[0].cells];
      this.input = section.querySelector(".filter");
      this.select = section.querySelector(".mark-filter");
      this.part = section.querySelector(".part");
      this.status = section.querySelector(".shown");
      this.texts = null;
      this.order = this.rows;
      this.waiting = [];
      this.sorted = "";
      this.filtered = false;
      for (const [index, head] of this.heads.entries()) {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => this.turn(index));
      }
      section.querySelector(".tools").hidden = false;
      this.input.addEventListener("input", () => this.change({ q: this.input.value }));
      this.select?.addEventListener("change", () => this.change({ mark: this.select.value }));
      this.part?.addEventListener("change", () => this.change({ part: this.part.value }));
      for (const kind of ["mouseover", "focusin"]) {
        this.body.addEventListener(kind, (event) => this.light(event.target.closest("tr")));
      }
      this.body.addEventListener("mouseleave", () => this.light(null));
      this.body.addEventListener("focusout", () => this.light(null));
      this.show();
    }

    // Names rise first, numbers fall first, except ranks.
    turn(index) {
      const head = this.heads[index];
      const key = head.dataset.key;
      const first = head.classList.contains("text") || key === "rank" ? key : `-${key}`;
      const second = first === key ? `-${key}` : key;
      this.change({ sort: this.state.sort === first ? second : first });
    }

    change(state) {
      Object.assign(this.state, state);
      this.show();
      writeAddress(this, false);
    }

    set(state) {
      this.state = { sort: state.sort, q: state.q, mark: state.mark, part: state.part };
      this.input.value = state.q;
      if (this.select) {
        this.select.value = state.mark;
      }
      if (this.part) {
        this.part.value = state.part;
      }
      this.show();
    }

    show() {
      this.table.dataset.part = this.state.part || "main";
      this.filter();
      if (this.sorted !== this.state.sort) {
        this.arrange();
      } else {
        this.stage();
      }
    }

    // Layout of 500 rows takes longer than a reader should wait for a sort. All rows are in order in the document at
    // once, those far down are laid out in the steps that follow.
    stage() {
      const waiting = [];
      let before = 0;
      for (const row of this.order) {
        const later = !row.hidden && before >= FIRST;
        if (later) {
          waiting.push(row);
        }
        before += !row.hidden;
        if (later !== row.classList.contains("later")) {
          row.classList.toggle("later", later);
        }
      }
      this.waiting = waiting;
      const reveal = () => {
        if (this.waiting === waiting && waiting.length) { // else there is a newer order
          for (const row of waiting.splice(0, STEP)) {
            row.classList.remove("later");
          }
          idle(reveal);
        }
      };
      idle(reveal);
    }

    // Unknown numbers are last in both directions; equal rows stay in the order of their rank.
    arrange() {
      const falling = this.state.sort.startsWith("-");
      const key = falling ? this.state.sort.slice(1) : this.state.sort;
      const index = this.heads.findIndex((head) => head.dataset.key === key);
      for (const [place, head] of this.heads.entries()) {
        if (place === index) {
          head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        } else {
          head.removeAttribute("aria-sort");
        }
      }
      this.sorted = this.state.sort;
      let order = this.rows;
      if (index >= 0) {
        const sign = falling ? -1 : 1;
        const names = this.heads[index].classList.contains("text");
        const collator = names ? new Intl.Collator("en", { numeric: true }) : null;
        const keyed = this.rows.map((row) => {
          const cell = row.cells[index];
          const value = names ? cell.textContent.trim() : cell.dataset.v;
          return [names ? value : Number(value), value === "" || value === undefined, row];
        });
        keyed.sort((a, b) => {
          if (a[1] || b[1]) {
            return a[1] - b[1];
          }
          return sign * (names ? collator.compare(a[0], b[0]) : a[0] - b[0]);
        });
        order = keyed.map((found) => found[2]);
      }
      this.order = order;
      this.stage(); // before the rows move: those that are not laid out move for nothing
      this.body.append(...order);
    }

    filter() {
      if (!this.state.q && !this.state.mark && !this.filtered) {
        this.report(this.rows.length); // nothing to hide, nothing hidden: the usual case when the page opens
        return;
      }
      this.filtered = true;
      this.texts ??= this.rows.map((row) => `${row.textContent} ${row.dataset.authors ?? ""} ${row.title}`.toLowerCase());
      const words = this.state.q.toLowerCase().split(/\s+/).filter(Boolean);
      const mark = this.state.mark;
      let shown = 0;
      for (const [index, row] of this.rows.entries()) {
        const fits = words.every((word) => this.texts[index].includes(word)) && (!mark || row.dataset.mark === mark);
        if (row.hidden === fits) {
          row.hidden = !fits;
        }
        shown += fits;
      }
      this.report(shown);
    }

    report(shown) {
      this.status.textContent = shown === this.rows.length ? `${shown} rows` : `${shown} of ${this.rows.length} rows`;
    }

    // Marks of the charts that belong to a row of the table.
    light(row) {
      for (const mark of this.section.querySelectorAll(".figures .on")) {
        mark.classList.remove("on");
      }
      this.section.classList.toggle("lit", Boolean(row));
      if (row) {
        for (const mark of this.section.querySelectorAll(`.figures [data-row="${row.dataset.row}"]`)) {
          mark.classList.add("on");
        }
      }
    }
  }

  // --- tracks as tabs ------------------------------------------------------------------------------------------------

  const start = () => {
    themeButton();
    const boards = [...document.querySelectorAll("section.track")].map((section) => new Board(section));
    if (!boards.length) {
      return;
    }
    const bar = document.querySelector("nav.tabs");
    const tabs = boards.map((board) => document.getElementById(`tab-${board.slug}`));
    if (bar) {
      bar.setAttribute("role", "tablist");
      for (const [index, tab] of tabs.entries()) {
        tab.setAttribute("role", "tab");
        tab.setAttribute("aria-controls", boards[index].slug);
        boards[index].section.setAttribute("role", "tabpanel");
        tab.addEventListener("click", (event) => {
          event.preventDefault(); // no jump
          open(index, true);
        });
      }
      bar.addEventListener("keydown", (event) => {
        const now = tabs.indexOf(document.activeElement);
        const last = tabs.length - 1;
        const to = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now ? now - 1 : last, Home: 0, End: last }[event.key];
        if (to !== undefined) {
          event.preventDefault();
          open(to, true);
          tabs[to].focus();
        }
      });
    }

    const open = (index, push) => {
      for (const [place, board] of boards.entries()) {
        board.section.hidden = place !== index;
        if (tabs[place]) {
          tabs[place].setAttribute("aria-selected", String(place === index));
          tabs[place].tabIndex = place === index ? 0 : -1;
        }
      }
      if (push) {
        writeAddress(boards[index], true);
      }
    };

    const follow = () => {
      const state = readAddress();
      const index = boards.findIndex((board) => board.slug === state.track);
      if (index >= 0) {
        boards[index].set(state);
      }
      if (index >= 0 || !state.track || !document.documentElement.classList.contains("ready")) {
        open(Math.max(index, 0), false); // other addresses are places within the page
      }
    };
    addEventListener("hashchange", follow);
    addEventListener("popstate", follow);
    follow();
  };

  const begin = () => {
    try {
      start();
    } finally {
      document.documentElement.classList.add("ready"); // style.css shows the tracks
    }
  };

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
})();
