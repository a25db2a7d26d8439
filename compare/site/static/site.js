// Looks, switches, copying, keys and searching. Without it, all pages can be read.
(function () {
  "use strict";
  var root = document.documentElement;

  function recall(key) {
    try { return localStorage.getItem(key); } catch (error) { return null; }
  }
  function remember(key, value) {
    try { localStorage.setItem(key, value); } catch (error) { /* a private window */ }
  }
  function all(selector) {
    return Array.prototype.slice.call(document.querySelectorAll(selector));
  }

  // Before anything is drawn.
  root.className = "js";
  if (recall("theme")) root.setAttribute("data-theme", recall("theme"));
  if (recall("size")) root.setAttribute("data-size", recall("size"));

  function isDark() {
    var chosen = root.getAttribute("data-theme");
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function looks() {
    var theme = document.querySelector("[data-theme-switch]");
    var size = document.querySelector("button[data-size]");
    function show() {
      theme.setAttribute("aria-pressed", isDark());
      size.setAttribute("aria-pressed", root.getAttribute("data-size") === "projector");
    }
    theme.onclick = function () {
      var chosen = isDark() ? "light" : "dark";
      root.setAttribute("data-theme", chosen);
      remember("theme", chosen);
      show();
    };
    size.onclick = function () {
      var chosen = root.getAttribute("data-size") === "projector" ? "normal" : "projector";
      root.setAttribute("data-size", chosen);
      remember("size", chosen);
      show();
    };
    show();
  }

  // The radio buttons of the view and of the half; the style sheet does the rest.
  function switches() {
    all(".switch input").forEach(function (input) {
      if (recall(input.name) === input.value) input.checked = true;
      input.onchange = function () { remember(input.name, input.value); };
    });
    all(".fold").forEach(function (fold) {
      fold.open = recall("fold") === "open";
      fold.ontoggle = function () { remember("fold", fold.open ? "open" : "closed"); };
    });
  }

  // A link to a block that is not shown shows it.
  function reveal() {
    var target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    var fold = target.closest("details");
    if (fold) fold.open = true;
    target.hidden = false; // a search may have left it out
    if (target.matches(".row") && !target.offsetParent) {
      document.querySelector("input[name=view][value=whole]").checked = true;
    }
    target.scrollIntoView();
  }

  function copying() {
    all("[data-copy]").forEach(function (button) {
      button.onclick = function () {
        var half = "." + button.getAttribute("data-copy");
        var lines = all(".cell" + half + " .l:not(.removed)");
        var text = lines.map(function (line) { return line.textContent; }).join("\n");
        copy(text + "\n").then(function () { button.textContent = "Copied"; },
          function () { button.textContent = "Not copied"; })
          .then(function () {
            setTimeout(function () { button.textContent = "Copy"; }, 1500);
          });
      };
    });
  }
  function copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    var area = document.createElement("textarea");
    area.value = text;
    document.body.appendChild(area);
    area.select();
    var done = document.execCommand("copy");
    area.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("not copied"));
  }

  function keys() {
    document.addEventListener("keydown", function (event) {
      var elsewhere = event.target.closest("input, textarea, select, pre, .wide");
      if (elsewhere || event.altKey || event.ctrlKey || event.metaKey) return;
      var rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
      var link = rel && document.querySelector("a[rel=" + rel + "]");
      if (link) link.click();
    });
    document.addEventListener("click", function (event) {
      all(".menu[open]").forEach(function (menu) {
        if (!menu.contains(event.target)) menu.open = false;
      });
    });
  }

  function searching() {
    all("[data-filter]").forEach(function (input) {
      var rows = all(input.getAttribute("data-filter"));
      var output = input.parentNode.querySelector("output");
      input.oninput = function () {
        var words = input.value.toLowerCase().split(/\s+/);
        var found = 0;
        rows.forEach(function (row) {
          var text = row.textContent.toLowerCase();
          row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
          if (!row.hidden) found += 1;
        });
        output.textContent = input.value ? found + " of " + rows.length : "";
        all("#cases section").forEach(function (section) {
          section.hidden = !section.querySelector("li:not([hidden])");
        });
      };
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    [looks, switches, copying, keys, searching, reveal].forEach(function (one) { one(); });
    addEventListener("hashchange", reveal);
  });
})();
