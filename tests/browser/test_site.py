"""The site in Chromium, from file://. Run by make test-browser."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from compare.lessons.costs import by_cost, lessons
from tests.processes import ROOT

pytestmark = pytest.mark.browser

AXE = Path(os.environ.get("AXE", ROOT / "output/axe/package/axe.min.js"))
KINDS = [
    "index.html",
    "index.ja.html",
    "train.html",
    "schedule.html",
    "evaluate.html",
    "names.html",
    "why.html",
    "why/zero-grad-forgotten.html",
    "legacy.html",
    "speed.html",
]
# The height of the first line of each cell, in the rows that have two.
HEIGHTS = """() => [...document.querySelectorAll(".row")]
  .map(row => [...row.querySelectorAll(".cell")]
    .map(cell => [...cell.children].find(line => line.offsetParent)))
  .filter(lines => lines[0] && lines[1])
  .map(lines => lines.map(line => line.getBoundingClientRect().top))"""
OVERFLOW = """() => [...document.querySelectorAll("body *")]
  .filter(one => !one.closest(".wide, pre, .skip, legend, .switch input, svg"))
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.outerHTML.slice(0, 80))"""


def open_page(page: Page, site: Path, name: str) -> None:
    page.goto((site / name).as_uri())


def test_every_page_opens_quietly_and_fits_a_phone(page: Page, site: Path) -> None:
    seen: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    names = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    assert len(names) > 60
    page.set_viewport_size({"width": 390, "height": 844})
    for name in names:
        open_page(page, site, name)
        assert page.evaluate(OVERFLOW) == [], name
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, name
    assert seen == []
    assert [url for url in asked if not url.startswith("file://")] == []


def test_the_start_page_in_four_languages(page: Page, site: Path) -> None:
    names = {"ja": "日本語", "ko": "한국어", "zh": "中文", "en": "English"}
    titles = set()
    open_page(page, site, "index.html")
    for lang, name in names.items():
        page.get_by_role("link", name=name).click()
        expect(page.locator("html")).to_have_attribute("lang", lang)
        current = page.locator(".languages [aria-current]")
        expect(current).to_have_text(name)
        titles.add(page.title())
        others = page.locator("link[rel=alternate]").evaluate_all(
            "links => links.map(link => [link.hreflang, link.href])"
        )
        assert {lang for lang, _ in others} == names.keys()
        assert [lang, page.url] in others
    assert len(titles) == len(names)


def test_anchors_stand_at_the_same_height(page: Page, site: Path) -> None:
    for name in lessons():
        open_page(page, site, f"{name}.html")
        heights = page.evaluate(HEIGHTS)
        assert len(heights) > 4, name
        for left, right in heights:
            assert abs(left - right) <= 2, name


def test_only_what_the_lesson_adds(page: Page, site: Path) -> None:
    open_page(page, site, "clipping.html")
    loop = page.locator(".cell.plain .l", has_text="loss_sum, num_images =")
    clipping = page.locator(".cell.plain .l", has_text="clip_grad_norm_").last
    expect(loop).to_be_visible()
    page.get_by_text("only what this lesson adds").click()
    expect(loop).to_be_hidden()
    expect(clipping).to_be_visible()
    page.reload()
    expect(loop).to_be_hidden()
    page.goto((site / "clipping.html").as_uri() + "#validation")
    page.reload()
    expect(loop).to_be_visible()


def test_imports_are_folded(page: Page, site: Path) -> None:
    open_page(page, site, "train.html")
    line = page.locator(".cell.plain .l", has_text="from pathlib import Path")
    expect(line).to_be_hidden()
    page.get_by_text("Docstring and imports").click()
    expect(line).to_be_visible()
    page.reload()
    expect(line).to_be_visible()


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_copy_gives_the_whole_file(page: Page, site: Path, half: str) -> None:
    open_page(page, site, "clipping.html")
    page.get_by_role("button", name="Copy").nth(int(half == "lightning")).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == (ROOT / half / "clipping.py").read_text()


def test_arrow_keys_go_through_the_lessons(page: Page, site: Path) -> None:
    first, second, *_ = by_cost()
    open_page(page, site, f"{first}.html")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{second}.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/{first}.html")


def test_keyboard_reaches_everything(page: Page, site: Path) -> None:
    open_page(page, site, "train.html")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    link = page.locator("#validation .at")
    link.focus()
    colors = page.locator("#validation .cell").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell).backgroundColor)"
    )
    other = page.locator("#device .cell.plain").evaluate(
        "cell => getComputedStyle(cell).backgroundColor"
    )
    assert colors[0] == colors[1] != other


def ground(page: Page) -> str:
    color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


def test_the_theme_follows_the_system_and_the_switch(page: Page, site: Path) -> None:
    open_page(page, site, "index.html")
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    assert dark != light
    page.get_by_role("button", name="Dark").click()
    assert ground(page) == light
    page.reload()
    assert ground(page) == light
    page.get_by_role("button", name="Dark").click()
    open_page(page, site, "train.html")
    assert ground(page) == dark


def test_projector_is_larger_and_remembered(page: Page, site: Path) -> None:
    open_page(page, site, "train.html")
    size = "parseFloat(getComputedStyle(document.querySelector('.cell')).fontSize)"
    normal = page.evaluate(size)
    page.get_by_role("button", name="Projector").click()
    assert page.evaluate(size) > 1.3 * normal
    page.reload()
    assert page.evaluate(size) > 1.3 * normal


def test_a_phone_shows_one_half_at_a_time(page: Page, site: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, site, "train.html")
    plain, lightning = (
        page.locator(".cell.plain").last,
        page.locator("#main .lightning"),
    )
    expect(plain).to_be_visible()
    expect(lightning).to_be_hidden()
    page.locator(".tabs").get_by_text("in Lightning").click()
    expect(plain).to_be_hidden()
    expect(lightning).to_be_visible()
    page.reload()
    expect(lightning).to_be_visible()


def test_print_has_both_columns_in_dark_ink(page: Page, site: Path) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins
    open_page(page, site, "clipping.html")
    cells = [page.locator(f"#clipping .cell.{half}") for half in ("plain", "lightning")]
    boxes = [cell.bounding_box() for cell in cells]
    assert boxes[0]
    assert boxes[1]
    assert abs(boxes[0]["width"] - boxes[1]["width"]) < 2
    assert boxes[0]["width"] > 300
    assert boxes[0]["y"] == boxes[1]["y"]
    color = "getComputedStyle(document.body).color"
    assert sum(map(int, re.findall(r"\d+", page.evaluate(color)))) < 3 * 80


def test_searching(page: Page, site: Path) -> None:
    open_page(page, site, "legacy.html")
    rows = page.locator("#removed tbody tr:visible")
    everything = rows.count()
    page.get_by_role("searchbox").fill("validation_epoch_end")
    assert 0 < rows.count() < everything / 4
    expect(page.locator("output")).to_contain_text(f"{rows.count()} of {everything}")


def test_a_name_of_lightning_is_two_clicks_away(page: Page, site: Path) -> None:
    open_page(page, site, "index.html")
    page.get_by_role("link", name="What is …?").click()
    page.get_by_role("link", name='strategy="ddp"').click()
    line = page.locator("#strategy-ddp .plain .l", has_text="DistributedDataParallel(")
    expect(line).to_be_in_viewport()


def test_a_link_shows_what_a_search_has_hidden(page: Page, site: Path) -> None:
    open_page(page, site, "names.html")
    page.get_by_role("searchbox").fill("self.log")
    expect(page.locator("#fabric")).to_be_hidden()
    page.get_by_role("link", name="Fabric").click()
    expect(page.locator("#fabric")).to_be_in_viewport()


@pytest.mark.parametrize("width", [390, 1440])
def test_bars_are_as_long_as_their_numbers(page: Page, site: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, site, "speed.html")
    lengths = page.locator(".bars span").evaluate_all(
        "bars => bars.map(bar => bar.getBoundingClientRect().width)"
    )
    texts = page.locator(".bars dd:last-child").all_inner_texts()
    numbers = [float(text.split()[0].replace(",", "")) for text in texts]
    assert len(numbers) == 5
    for length, number in zip(lengths, numbers, strict=True):
        assert length / lengths[-1] == pytest.approx(number / numbers[-1], abs=0.01)


def test_answers_are_folded(page: Page, site: Path) -> None:
    open_page(page, site, "train.html")
    answer = page.get_by_text("Call optimizer.zero_grad() before backward.")
    expect(answer).to_be_hidden()
    page.locator(".exercise").first.get_by_text("Answer").click()
    expect(answer).to_be_visible()


def test_pages_can_be_read_without_the_script(page: Page, site: Path) -> None:
    page.route("**/site.js", lambda route: route.abort())
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, site, "clipping.html")
    expect(page.locator("#clipping .cell.plain")).to_be_visible()
    expect(page.locator("#clipping .cell.lightning")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_no_serious_fault(
    page: Page, site: Path, name: str, theme: str
) -> None:
    assert AXE.exists(), f"no {AXE}: make test-browser fetches it"
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    open_page(page, site, name)
    page.evaluate(
        "document.querySelectorAll('.text details').forEach(d => d.open = true)"
    )
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    serious = [
        (fault["id"], node["target"], node.get("failureSummary", "")[:300])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]
    assert serious == []
