"""The report's page in a real browser: opened from disk, looked at, typed into, clicked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopsim.embed import embed_run
from loopsim.exchange import import_run
from loopsim.experiment import parse_experiment
from loopsim.measure import measure_run
from loopsim.plan import make_plan
from loopsim.report.folder import build
from loopsim.report.site import Options
from loopsim.runner import read_branch, run_plan
from loopsim.store import Run
from tests.browser import DESKTOP, PHONE, Visit, Visitor
from tests.report_payload import write

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u2028 said `${alert(3)}`"
OPEN_S, FRAME_MS = 3.0, 100.0
"""The budget of a report of 2,000 trajectories and 50 iterations."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two groups of starts, two conditions, two replicates, measured, on mock models."""
    raw: dict[str, Any] = {
        "name": "mocked", "seed": 7, "iterations": 12, "replicates": 2, "generator": "mock",
        "starts": [{"prompts": ["a red house", "the blue sea", "two birds at night"], "group": "far"},
                   {"prompts": ["a road", "a tree", "a storm"], "group": "near"}],
        "captioner": {"model": "mock", "temperature": [0.0, 0.7]}, "embedders": "mock",
    }  # fmt: skip
    run = run_plan(make_plan(parse_experiment(raw), read_branch), tmp_path_factory.mktemp("runs") / "run")
    embed_run(run, "mock")
    measure_run(run)
    return run


@pytest.fixture(scope="module")
def page(run: Run) -> Path:
    return build([run], run.path / "report").page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imported texts, without pictures or vectors, in unequal lengths."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [("a", 0, "a boat"), ("a", 1, HOSTILE), ("a", 2, "__proto__"), ("b", 0, "the sea"), ("b", 1, "constructor")]
    text = "trajectory,t,text,kind\n" + "".join(f'{a},{t},"{said}","{HOSTILE}"\n' for a, t, said in rows)
    (folder / "chains.csv").write_text(text, encoding="utf-8")
    return build([import_run(folder / "chains.csv", folder / "run")], folder / "report").page


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names of the experiment and of groups that are no names, measured."""
    raw: dict[str, Any] = {
        "name": "named", "description": HOSTILE, "iterations": 4, "generator": "mock",
        "starts": [{"prompts": ["a", "b", "c"], "group": HOSTILE}, {"prompts": ["d", "e", "f"], "group": "__proto__"}],
        "captioner": "mock", "embedders": "mock",
    }  # fmt: skip
    run = run_plan(make_plan(parse_experiment(raw), read_branch), tmp_path_factory.mktemp("named") / "run")
    embed_run(run, "mock")
    measure_run(run)
    return build([run], run.path / "report", Options(title=f"<b>{HOSTILE}</b>")).page


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("large") / "report", 2_000, 50)


@pytest.fixture
def opened(visit: Visitor) -> Iterator[Callable[..., Visit]]:
    """Opens a report and waits until everything is drawn; it must have been quiet when the test ends."""
    seen: list[Visit] = []

    def go(page: Path, size: tuple[int, int] = DESKTOP, dark: bool = False, **context: Any) -> Visit:
        found = visit(page, size, dark, **context)
        found.page.wait_for_selector("body[data-ready]", state="attached")
        found.page.wait_for_selector(".plot .main-svg, .plot.empty", state="attached")
        seen.append(found)
        return found

    yield go
    for found in seen:
        found.assert_quiet()


def until(page: Any, script: str, seconds: float = 10) -> None:
    """Wait for a condition; the page's policy forbids Playwright's own way of evaluating strings again and again."""
    end = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < end, f"never true: {script}"
        page.wait_for_timeout(25)


def say(page: Any, script: str) -> Any:
    return page.evaluate(script)


def rows_shown(page: Any) -> int:
    return int(page.evaluate("Loopsim.rows.visible.length"))


# ---- from disk -------------------------------------------------------------------------------------------------------


def test_it_opens_from_disk_asks_no_network_and_draws_curves_map_and_filmstrips(opened, page):
    found = opened(page)
    assert found.page.title() == "mocked · loopsim report"
    assert found.page.locator("#curves-plot .scatterlayer .trace").count() >= 4
    assert say(found.page, """() => { const c = document.getElementById('map-canvas');
        const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let i = 3; i < p.length; i += 4) n += p[i] > 0; return n }""") > 200  # fmt: skip
    assert found.page.locator(".cell .thumb:not([hidden])").count() > 20
    assert all(url.startswith("file://") for url in found.requests)
    drawn = [url for url in found.requests if "/sprites/" in url]
    assert drawn, "no sprite sheet was asked for"


def test_the_finding_is_the_headlines_and_every_verdict_has_its_reason(opened, page, run):
    from loopsim.report.headline import headline

    found = opened(page).page
    said = found.locator(".headline").all_inner_texts()
    assert said == list(headline(run.measurements()).sentences)
    found.click("text=Every verdict")
    assert found.locator("#finding tbody tr").count() == 8  # conditions × groups × pictures and captions
    assert all(found.locator("#finding .reason").all_inner_texts())


def test_pictures_are_called_by_their_captions(opened, page, run):
    found = opened(page).page
    said = set(run.steps(["text"])["text"])
    labels = [one.get_attribute("aria-label") for one in found.locator(".cell .thumb:not([hidden])").all()[:10]]
    assert labels
    assert set(labels) <= said


# ---- linked panels ---------------------------------------------------------------------------------------------------


def test_a_click_on_a_point_opens_its_filmstrip_and_details(opened, page, run):
    found = opened(page).page
    row = 17
    x, y = say(found, f"Loopsim.map.pixel({row})")
    found.locator("#map-canvas").click(position={"x": x, "y": y})
    got = say(found, "Loopsim.state.row")
    near = say(found, f"(() => {{ const a = Loopsim.map.pixel({got}); return Math.hypot(a[0] - {x}, a[1] - {y}) }})()")
    assert near < 6, "another point lies where this one was clicked"
    trajectory = run.trajectories()["trajectory_id"].iloc[got]
    assert trajectory in found.inner_text("#detail")
    assert found.locator(".grid-row.chosen").count() == 1
    assert found.locator(".cell.chosen").get_attribute("id") == f"cell-{got}-12"
    box, cell = found.locator("#grid").bounding_box(), found.locator(".cell.chosen").bounding_box()
    assert box["y"] <= cell["y"]
    assert cell["y"] + cell["height"] <= box["y"] + box["height"] + 1


def test_the_details_hold_caption_seeds_and_what_changed(opened, page, run):
    found = opened(page).page
    say(found, "Loopsim.select(3, 5)")
    until(found, "document.querySelector('#detail .caption').textContent.length > 3")
    trajectory = run.trajectories()["trajectory_id"].iloc[3]
    steps = run.steps().set_index(["trajectory_id", "t"]).loc[trajectory]
    text = found.inner_text("#detail")
    assert str(steps.loc[5, "generator_seed"]) in text
    assert str(steps.loc[5, "captioner_seed"]) in text
    found.click("#detail >> text=plain")
    assert found.inner_text("#detail .caption") == steps.loc[5, "text"]
    found.click("#detail >> text=since t = 4")
    kept = say(found, "[...document.querySelector('#detail .caption').childNodes].filter(n => n.nodeName !== 'DEL')"
               ".map(n => n.textContent).join('')")  # fmt: skip
    assert kept.split() == steps.loc[5, "text"].split()


def test_words_are_compared_by_their_longest_common_sequence(opened, page):
    found = opened(page).page
    assert say(found, "Loopsim.text.difference('a red boat, at sea', 'a blue boat at the sea')") == [
        ["same", "a"], ["gone", " red"], ["new", " blue"], ["same", " boat at"], ["new", " the"], ["same", " sea"],
    ]  # fmt: skip
    assert say(found, "Loopsim.text.difference('', 'new')") == [["new", "new"]]
    assert say(found, "Loopsim.text.difference('same', 'same')") == [["same", "same"]]


def test_the_slider_moves_the_map_and_the_column(opened, page):
    found = opened(page, reduced_motion="reduce").page
    places = "JSON.stringify([...Array(24).keys()].map(Loopsim.map.pixel))"
    before = say(found, places)
    found.locator("#slider").fill("3")
    assert found.inner_text("#t-out") == "3"
    until(found, f"{places} !== {json.dumps(before)}")
    until(found, "document.querySelector('.grid-t.now').textContent === 't = 3'")


def test_play_goes_through_the_iterations_and_stops_at_the_last(opened, page):
    found = opened(page).page
    found.locator("#slider").fill("10")
    found.click("#play")
    assert found.get_attribute("#play", "aria-pressed") == "true"
    until(found, "document.getElementById('play').getAttribute('aria-pressed') === 'false'", 15)
    assert found.inner_text("#t-out") == "12"


def test_sizes_can_be_chosen_as_soon_as_there_are_pictures(opened, page):
    """A page that follows a run is often there before its first picture."""
    shown = opened(page).page
    size = shown.locator("#films-controls .segments")
    assert size.count() == 1
    say(
        shown,
        "() => { Loopsim.kept = Loopsim.data.head.sprites; Loopsim.data.head.sprites = null; Loopsim.grid.lay(); }",
    )
    assert size.count() == 0
    say(shown, "() => { Loopsim.data.head.sprites = Loopsim.kept; Loopsim.grid.lay(); }")
    assert size.count() == 1


def test_a_click_on_a_curve_shows_its_condition_and_a_second_click_all(opened, page):
    found = opened(page).page
    event = "document.getElementById('curves-plot').emit('plotly_click', {points: [{x: 4, data: Loopsim.$('curves-plot').data.find(d => d.meta)}]})"  # noqa: E501
    say(found, event)
    assert found.inner_text("#t-out") == "4"
    assert rows_shown(found) == 6
    assert found.locator(".chip").count() >= 2
    say(found, event)
    assert rows_shown(found) == 24


def test_a_motif_shows_its_trajectories(opened, page):
    found = opened(page).page
    found.wait_for_selector(".motif:not(.nobody)")
    card = found.locator(".motif:not(.nobody)").first
    count = int(card.locator(".motif-count").inner_text().split()[0])
    card.click()
    assert rows_shown(found) == count
    assert card.get_attribute("aria-pressed") == "true"
    found.locator(".chip").first.click()
    assert rows_shown(found) == 24


# ---- search and filters ----------------------------------------------------------------------------------------------


def test_search_finds_every_caption_that_has_all_words(opened, page, run):
    found = opened(page).page
    captions = run.steps(["trajectory_id", "text"])
    word = captions["text"].str.split().str[-1].mode()[0]
    has = captions["text"].str.lower().str.contains(word.lower(), regex=False)
    found.fill("#search", word)
    until(found, "document.getElementById('count').textContent.includes('caption')")
    until(found, "!document.getElementById('count').textContent.includes('so far')")
    assert rows_shown(found) == captions[has]["trajectory_id"].nunique()
    assert f"{int(has.sum())} caption" in found.inner_text("#count")
    found.fill("#search", "no-such-word-at-all")
    until(found, "Loopsim.rows.visible.length === 0")
    assert found.locator("#films-none").is_visible()
    found.fill("#search", "")
    until(found, "Loopsim.rows.visible.length === 24")


def test_filters_by_condition_and_group_meet_and_can_be_cleared(opened, page):
    found = opened(page).page
    found.click("#filters-open")
    found.click("#filters >> text=far")
    assert rows_shown(found) == 12
    found.click("fieldset:has-text('temperature') >> text='0.7'")
    assert rows_shown(found) == 6
    assert "6 of 24" in found.inner_text("#count")
    found.click("#chips >> text=Clear all")
    assert rows_shown(found) == 24


# ---- hostile texts ---------------------------------------------------------------------------------------------------


def test_a_hostile_caption_is_text_everywhere(opened, hostile):
    found = opened(hostile)
    page = found.page
    page.on("dialog", lambda dialog: pytest.fail(f"a caption ran: {dialog.message}"))
    say(page, "Loopsim.select(0, 1)")
    until(page, "document.querySelector('#detail .caption').textContent.includes('onerror')")
    page.fill("#search", "onerror")
    until(page, "Loopsim.rows.visible.length === 1")
    page.click("#filters-open") if page.locator("#filters-open").is_visible() else None
    assert say(page, "document.querySelectorAll('img, body script').length") == 0
    page.click("#detail >> text=plain")
    assert page.locator("#detail .caption").text_content() == HOSTILE
    assert "<img src=x" in page.inner_text("#grid")


def test_hostile_names_are_text_in_titles_legends_filters_and_hovers(opened, named):
    found = opened(named)
    page = found.page
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran: {dialog.message}"))
    assert page.inner_text("h1").startswith("<b><img src=x")
    assert page.text_content("#description") == HOSTILE
    legends = page.locator("#curves-plot .legendtext").all_text_contents()
    assert any(text.startswith("<img src=x onerror=alert(1)>") for text in legends)
    assert "__proto__" in legends
    assert "__proto__" in page.inner_text("#map-legend")
    page.click("#filters-open")
    page.click("#filters >> text=__proto__")
    assert rows_shown(page) == 3
    page.locator("#curves-plot .points path").first.hover(force=True)
    page.wait_for_timeout(200)
    assert say(page, "document.querySelectorAll('img, body script, #curves-plot a').length") == 0


def test_texts_without_pictures_or_vectors_have_filmstrips_and_say_what_is_missing(opened, hostile):
    page = opened(hostile).page
    assert not page.locator("#map").is_visible()
    assert not page.locator("#motifs").is_visible()
    assert "Not measured yet" in page.inner_text("#curves")
    assert "has not been measured" in page.inner_text("#finding")
    assert page.locator("#cell-1-1 .cell-text").text_content() == "constructor"
    assert page.locator("#cell-1-2.absent").count() == 1


# ---- keys, sizes, colours --------------------------------------------------------------------------------------------


def test_everything_can_be_reached_by_keys(opened, page):
    found = opened(page).page
    found.keyboard.press("Tab")
    assert found.evaluate("document.activeElement.textContent") == "Skip to the curves"
    found.keyboard.press("/")
    assert found.evaluate("document.activeElement.id") == "search"
    found.keyboard.press("Escape")
    found.focus("#grid")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        found.keyboard.press(key)
    active = found.get_attribute("#grid", "aria-activedescendant")
    assert active == "cell-2-2"
    assert found.locator(f"#{active}").count() == 1
    found.keyboard.press("Enter")
    assert found.locator("#detail").is_visible()
    assert found.evaluate("document.getElementById('detail').contains(document.activeElement)")
    found.keyboard.press("ArrowRight")
    assert found.inner_text("#detail-title") == "Iteration 3"
    found.keyboard.press("Escape")
    assert not found.locator("#detail").is_visible()
    assert found.evaluate("document.activeElement.id") == "grid"
    found.keyboard.press("End")
    assert found.get_attribute("#grid", "aria-activedescendant") == "cell-2-12"
    found.locator("#slider").fill("2")
    found.focus("#grid")
    found.keyboard.press("Space")
    assert found.get_attribute("#play", "aria-pressed") == "true"
    found.keyboard.press("Space")
    assert found.get_attribute("#play", "aria-pressed") == "false"
    found.focus("#map-canvas")
    found.keyboard.press("ArrowRight")
    assert found.locator("#map-tip").is_visible()
    found.keyboard.press("ArrowRight")
    found.keyboard.press("Enter")
    assert found.locator("#detail").is_visible()


def test_an_address_opens_the_state_that_it_names(opened, page, run):
    trajectory = run.trajectories()["trajectory_id"].iloc[7]
    found = opened(page).page
    found.evaluate(f"location.hash = '#{trajectory}@4'")
    found.wait_for_selector("#detail:not([hidden])")
    assert found.inner_text("#detail-title") == "Iteration 4"
    assert trajectory in found.inner_text("#detail")


@pytest.mark.parametrize("size", [PHONE, DESKTOP, (320, 600)], ids=["390", "1280", "320"])
def test_nothing_is_wider_than_the_screen(opened, page, size):
    found = opened(page, size).page
    assert found.evaluate("document.documentElement.scrollWidth") <= size[0]
    found.click("#filters-open")
    say(found, "Loopsim.select(2, 3)")
    found.wait_for_timeout(250)
    assert found.evaluate("document.documentElement.scrollWidth") <= size[0]
    out = say(found, """[...document.querySelectorAll('#detail *')].filter(e => { const b = e.getBoundingClientRect();
        return b.width && b.right > innerWidth + 1 }).map(e => e.className)""")  # fmt: skip
    assert out == []


CONTRAST = """() => {
  const level = c => { const v = c / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const light = c => 0.2126 * level(c[0]) + 0.7152 * level(c[1]) + 0.0722 * level(c[2]);
  const parse = s => (s.match(/[\\d.]+/g) || []).map(Number);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0.5) return c } return [255, 255, 255] };
  const bad = [];
  for (const e of document.querySelectorAll('p, h1, h2, h3, button, a, td, th, dt, dd, span, li, summary, label')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
    if (e.closest('.cell-marks, .skip') || e.disabled || getComputedStyle(e).visibility === 'hidden') continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push([e.className || e.tagName, e.textContent.slice(0, 30), ratio.toFixed(2)]);
  }
  return bad }"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_texts_have_contrast(opened, page, dark):
    found = opened(page, dark=dark).page
    say(found, "Loopsim.select(2, 3)")
    found.click("#filters-open")
    found.wait_for_timeout(250)
    assert found.evaluate(CONTRAST) == []
    ground = found.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark


# ---- odd sizes and the budget ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "iterations"), [(1, 1), (1, 1_000)])
def test_the_smallest_and_the_longest_run(opened, tmp_path, rows, iterations):
    found = opened(write(tmp_path / "report", rows, iterations)).page
    assert rows_shown(found) == rows
    found.focus("#grid")
    found.keyboard.press("End")
    active = found.get_attribute("#grid", "aria-activedescendant")
    assert active == f"cell-0-{iterations}"
    until(found, f"document.querySelector('#{active} .cell-text').textContent.length > 5")
    found.keyboard.press("Enter")
    until(found, "document.querySelector('#detail .caption').textContent.length > 5")
    assert found.locator(".strip").count() <= 60


SCROLL = """async () => {
  const box = document.getElementById('grid'), total = box.scrollHeight - box.clientHeight, times = [];
  let last = performance.now();
  for (let i = 0; i < 120; i++) {
    box.scrollTop = i < 80 ? i * 60 : total * (i - 80) / 40;
    box.scrollLeft = i % 40 * 40;
    await new Promise(done => requestAnimationFrame(done));
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times.sort((a, b) => a - b) }"""


def test_two_thousand_trajectories_of_fifty_iterations_open_and_scroll_within_the_budget(visit, large, record_property):
    best_open, best_frame = float("inf"), float("inf")
    for _ in range(3):  # a busy machine is no failure of the page
        begin = time.monotonic()
        found = visit(large)
        found.page.wait_for_selector(".cell .thumb:not([hidden])")
        found.page.wait_for_selector("body[data-ready]", state="attached")
        best_open = min(best_open, time.monotonic() - begin)
        found.page.wait_for_selector(".plot .main-svg", state="attached")
        times = found.page.evaluate(SCROLL)
        best_frame = min(best_frame, times[int(0.95 * len(times))])
        assert found.page.locator(".cell").count() < 600
        found.assert_quiet()
        if best_open <= OPEN_S and best_frame <= FRAME_MS:
            break
    record_property("open_s", best_open)
    record_property("frame_ms", best_frame)
    assert best_open <= OPEN_S
    assert best_frame <= FRAME_MS


def test_search_in_a_hundred_thousand_captions_ends(visit, large):
    found = visit(large)
    page = found.page
    page.wait_for_selector("body[data-ready]", state="attached")
    page.fill("#search", '"lighthouse near"')
    until(page, "document.getElementById('count').textContent.includes('caption')", 20)
    until(page, "!document.getElementById('count').textContent.includes('so far')", 20)
    assert 0 < rows_shown(page) <= 2_000
    found.assert_quiet()
