"""The report: one page without network, rendered by a real browser."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.look.charts import sample_actions
from pipeline.look.lane_options import LaneOptions
from pipeline.look.lane_plan import plan_lanes
from pipeline.look.report import fitting_plan, report_page
from shards import open_dataset
from shards.display.page import write_page
from shards.schedule.collection import Collection
from shards.schedule.settings import ScheduleSettings
from tests import browser
from tests.synthetic import actions_of, make_dataset

LENGTHS = [40, 16, 1, 70, 33, 15, 17]
CHARTS = ["lengths", "types", "buttons", "camera", "lanes"]


@pytest.fixture(scope="module")
def dataset(small_dataset):
    return open_dataset(small_dataset)


@pytest.fixture(scope="module")
def page(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    settings = ScheduleSettings(num_lanes=4, num_groups=2, window_frames=16)
    write_page(report_page(plan_lanes(Collection([dataset]), settings, 2)), path)
    return path


class _Tags(HTMLParser):
    """Ids, the addresses that the page refers to, and whether tags are closed in order."""

    VOID = ("meta", "link", "img", "br", "path", "use", "rect", "image")

    def __init__(self):
        super().__init__()
        self.ids, self.addresses, self.open, self.names = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(page):
    text = page.read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(tags.ids) == len(set(tags.ids))
    named = set(tags.ids)
    assert [address for address in tags.addresses if address.startswith("#") and address[1:] not in named] == []


def test_page_has_every_chart_with_a_description(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'<g id="(\w+)-figure_1"', text) == CHARTS
    assert len(re.findall(r'role="img" aria-label="[^"]{10,}"', text)) == len(CHARTS)


def test_page_draws_in_the_pages_own_colours(page):
    """A colour that stays as matplotlib writes it would be lost on dark ground."""
    drawings = "".join(re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL))
    assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawings)) == set()
    assert "var(--ink)" in drawings


def test_page_says_what_the_game_counted_and_where(page):
    rows = re.findall(r'<tr><td class="name">([a-z_:]+)</td>(.*?)</tr>', page.read_text(encoding="utf-8"))
    assert [(name, re.findall(r">([^<]+)<", cells)) for name, cells in rows if ":" in name] == [
        ("mine_block:stone", ["40", "6", "episode ep000, frame 3"]),
        ("custom:jump", ["31", "7", "episode ep000, frame 0"]),
    ]


def test_page_escapes_names(small_dataset, tmp_path):
    copy = shutil.copytree(small_dataset, tmp_path / "<b>copy")
    text = report_page(fitting_plan(LaneOptions([str(copy)])))
    assert "<b>copy" not in text
    assert "<h1>&lt;b&gt;copy</h1>" in text


@pytest.mark.parametrize("width_px", [1280, 390])
def test_page_renders_in_a_browser_without_complaint(page, tmp_path, width_px):
    rendered = browser.render(page, tmp_path, width_px)
    assert rendered.console == []
    assert len(rendered.charts) == len(CHARTS)
    assert all(width >= 250 and height >= 60 and marks > 5 for width, height, marks in rendered.charts)
    assert rendered.num_images >= 12
    assert rendered.num_broken_images == 0
    assert rendered.overflow_px == 0


def test_page_follows_the_readers_colours(page, tmp_path):
    light = browser.screenshot(page, tmp_path, 800, 1200)
    dark = browser.screenshot(page, tmp_path, 800, 1200, dark=True)
    assert light.shape == dark.shape == (1200, 800, 3)
    assert np.median(light) > 240
    assert np.median(dark) < 50
    # The charts' letters and bars stand out from their ground in both.
    assert np.percentile(light, 1) < 120
    assert np.percentile(dark, 99) > 200


def test_page_prints_with_all_that_it_shows(page, tmp_path):
    data = browser.print_pdf(page, tmp_path)
    assert data.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12


def test_page_of_a_damaged_dataset_says_so(small_dataset, tmp_path):
    copy = shutil.copytree(small_dataset, tmp_path / "copy")
    with open(copy / "000001.tar", "r+b") as file:
        file.seek(1700)
        file.write(b"damage")
    text = report_page(fitting_plan(LaneOptions([str(copy)])))
    assert re.search(r'role="alert">Damaged: 1 of 16 sampled clips, the first: .*000001.tar', text)


def test_page_without_shards_still_tells_what_the_manifest_knows(small_dataset, tmp_path):
    copy = shutil.copytree(small_dataset, tmp_path / "copy")
    for path in copy.glob("*.tar"):
        path.unlink()
    text = report_page(fitting_plan(LaneOptions([str(copy)])))
    assert "Shards cannot be read" in text
    assert 'id="lengths-figure_1"' in text


def test_sampled_actions_are_those_of_the_clips(dataset):
    sampled = sample_actions(Collection([dataset]), num_clips=100)
    assert sampled.num_clips == 16
    expected = [actions_of(episode, t)[1] for episode, length in enumerate(LENGTHS) for t in range(length)]
    assert np.array_equal(sampled.camera, np.array(expected))


def test_page_of_several_datasets_counts_them_together(small_dataset, tmp_path):
    make_dataset(tmp_path / "second", [[19, 50], [8]])
    text = report_page(fitting_plan(LaneOptions([str(small_dataset), str(tmp_path / "second")])))
    tiles = dict(re.findall(r"<b>([^<]*)</b><span>(episodes|frames|recordings)</span>", text))
    assert tiles == {"10": "recordings", "269": "frames"}  # ten episodes, one recording each
    shares = re.findall(r"<td[^>]*>(\d+)</td><td[^>]*>(\d+)</td><td[^>]*>(\d+ %)</td>", text)
    assert shares == [("7", "192", "71 %"), ("3", "77", "29 %")]
