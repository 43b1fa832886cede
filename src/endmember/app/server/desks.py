"""How long a desk, the session of one browser, waits for its user, and what its page does without a server."""

from typing import Any

from bokeh.document import Document
from bokeh.server.server import Server
from panel.io.document import schedule_write_events

from endmember.app.server.running import ENDED

#: Milliseconds that a desk waits for its user to come back, and one at which nobody has sat yet.
WAITS, UNUSED = 24 * 3600 * 1000, 15_000
#: Desks that wait at the same time; of more, those go first that have waited longest.
MOST = 30
#: What watches from the page whether the server is there. It comes back by loading the page anew, at the same desk.
_WATCH = """{% block postamble %}
<div id="lost" role="alert" hidden style="position: fixed; inset: 0 0 auto 0; z-index: 9999; padding: 10px 20px;
     background: #b00020; color: white; font: 14px sans-serif"></div>
<script>
  (() => {
    const lost = document.getElementById("lost");
    const again = "Start it again with 'endmember workbench': finished runs are kept.";
    let closed = false, watched = null, mine = null;
    const state = async () => {
      let answer;
      try {
        answer = await fetch("favicon.ico", {cache: "no-store", signal: AbortSignal.timeout(5000)});
      } catch {
        closed = true;
        if (watched?.title() !== "ENDED")
          return `The workbench cannot be reached; this page tries again by itself. If it has ended: ${again}`;
      }
      if (!answer?.ok) return `The workbench has ended. ${again}`;
      mine ??= answer.headers.get("Visit");
      if (answer.headers.get("Visit") !== mine)
        return "The workbench is open in another tab; load this page anew to go on here.";
      if (!closed) return "";
      location.reload();
      return "The workbench is back; this page is loaded anew.";
    };
    const look = async () => {
      const page = window.Bokeh?.documents?.[0];
      if (page && page !== watched) {
        page.on_event("connection_lost", () => { closed = true; look(); });
        watched = page;
      }
      lost.textContent = await state();
      lost.hidden = !lost.textContent;
    };
    look();
    setInterval(look, 2000);
  })();
</script>
<script>
  // Bokeh names no handle of a slider, no half of a pair of fields, no tool and no drawing; its tabs want a mouse.
  (() => {
    let words = "", said = "", fields = 0;
    const name = view => {
      const {title, text, value} = view.model, root = view.shadow_el;
      if (view.frame) {
        [view.el.role, view.el.ariaLabel] = ["figure", title.text];
        for (const tool of view.toolbar_panel?.toolbar_view?.shadow_el.querySelectorAll("[tabindex]") ?? [])
          [tool.role, tool.ariaLabel] = ["button", tool.title || "More tools"];
        return;
      }
      if (title) [words, said] = [title, ""];
      else if (/^[^<>]+:/.test(text)) {  // it stands above what has no title of its own
        [words, said] = text.replace(/<[^>]*>/g, "").split(/: */);
        fields = 0;
      }
      root?.querySelectorAll("[role=slider]").forEach((handle, n, all) => {
        handle.ariaLabel = all.length > 1 ? `${words}, ${n ? "to" : "from"}` : words;
        handle.ariaValueText = said || [value].flat()[n];
      });
      for (const button of root?.querySelectorAll(".bk-spin-btn") ?? []) {
        if (!title) button.parentElement.querySelector("input").ariaLabel = `${words}, ${fields++ > 1 ? "to" : "from"}`;
        button.ariaLabel = `${words}, ${button.matches(".bk-spin-btn-up") ? "more" : "less"}`;
        button.tabIndex = -1;  // the arrow keys of its field do the same
      }
      for (const tab of root?.querySelectorAll(".bk-tab") ?? []) {
        const active = tab.matches(".bk-active");
        [tab.role, tab.parentElement.role] = ["tab", "tablist"];
        [tab.ariaSelected, tab.tabIndex] = [active, active ? 0 : -1];
      }
      for (const one of root?.querySelectorAll(".bk-btn-group > button") ?? [])
        one.ariaPressed = one.matches(".bk-active");
      view.child_views?.forEach(name);
    };
    const all = () => window.Bokeh?.index?.roots?.forEach(name);
    addEventListener("keydown", event => {
      const tab = event.composedPath()[0], turn = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!turn || !tab.matches?.(".bk-tab")) return;
      const tabs = [...tab.parentElement.children], next = tabs.at((tabs.indexOf(tab) + turn) % tabs.length);
      next.click();
      next.focus();
    });
    addEventListener("keyup", all);
    setInterval(all, 300);
  })();
</script>
{% endblock %}
""".replace("ENDED", ENDED)


def furnish(document: Document) -> None:
    """Have a page say that the server is out of reach, and come back by itself.

    Bokeh's own way back asks for the document without its arrays.
    """
    document.template = _WATCH
    document.config.update(
        reconnect_session=False, notify_connection_status=False, notifications=None
    )


class Round:
    """What is done again and again for all desks of a server."""

    def __init__(self, server: Server) -> None:
        self._server, self._used = server, set[Any]()

    def __call__(self) -> None:
        """Send what was left, and give up the desks that nobody needs."""
        send_what_was_left(self._server)
        desks = self._server.get_sessions()
        self._used = {d.id for d in desks if d.connection_count or d.id in self._used}
        empty = [
            (d.milliseconds_since_last_unsubscribe, d) for d in desks if not d.connection_count
        ]
        for number, (away, desk) in enumerate(sorted(empty, key=lambda one: one[0])):
            if number >= MOST or (desk.id not in self._used and away > UNUSED):
                desk.request_expiration()


def send_what_was_left(server: Server) -> None:
    """Send the changes that Panel has kept back without another to take them along.

    It keeps one that comes while those before it are on their way. Where it comes in the moment in which they are
    through, it waits for the next change, which never comes if it was the last: an answer that nobody sees.
    """
    for session in server.get_sessions():
        schedule_write_events(session.document, [], [])
