"""The player in a real browser: the picture, the masks, the keys and the number shown are of the same frame."""

import json

import pytest

from shards import open_dataset
from shards.display.footage import Stretch
from shards.display.page import render_page, write_page
from shards.display.player import make_film
from tests import browser
from tests.synthetic import HEIGHT, WIDTH, actions_of, episode_interactions, make_dataset

EPISODE, NUM_FRAMES = 11, 70
"""Episode 11's pictures are grey: its chroma is 40 + 8 * 11 = 128."""

SHOW = """(async () => {
  const root = document.querySelector(".player"), player = root.player, seen = [];
  // A canvas of its own: one that is drawn by the GPU warns when it is read often.
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  for (const at of ORDER) {
    await player.show(at);
    pen.drawImage(player.canvas, 3 - player.canvas.width, 3 - player.canvas.height);
    const [red] = pen.getImageData(0, 0, 1, 1).data;
    const keys = [...root.querySelectorAll(".keys.human kbd.down")].map((key) => key.dataset.key);
    const goals = [...root.querySelectorAll(".goals b")].map((goal) => goal.textContent);
    seen.push([+root.dataset.frame, red, keys, goals]);
  }
  return JSON.stringify(seen);
})()"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("player") / "dataset"
    make_dataset(folder, [[1] * EPISODE + [NUM_FRAMES]])
    return open_dataset(folder)


def _page(folder, *stretches, **options):
    film = make_film(stretches, (WIDTH, HEIGHT), **options)
    path = folder / "player.html"
    facts = {"title": "player", "subtitle": "", "alarms": [], "footer": "", "film": film}
    write_page(render_page("pipeline.look", "player.html", **facts), path)
    return path


def _names(frame):
    buttons, _ = actions_of(EPISODE, frame)
    names = "attack back forward jump left right sneak sprint use drop inventory"
    names = [*names.split(), *(f"hotbar.{n}" for n in range(1, 10)), "ESC", "pickItem", "swapHands"]
    return {name for name, down in zip(names, buttons, strict=True) if down}


def _goals(frame):
    kinds = {2: "mine", 3: "interact", 0: "hunt"}
    items = episode_interactions(NUM_FRAMES)
    return [f"{kinds[item.type]} | {item.event}" for item in items if item.start <= frame < item.stop]


def test_player_shows_each_frame_with_what_belongs_to_it(dataset, tmp_path):
    page = _page(tmp_path, Stretch(dataset, EPISODE, 5, NUM_FRAMES, "all"))
    order = [*range(NUM_FRAMES - 5), *range(NUM_FRAMES - 6, -1, -7), 30, 31, 30, 2]  # forwards, backwards, across
    with browser.browse() as tab:
        tab.open(page, 1000, 800)
        seen = json.loads(tab.evaluate(SHOW.replace("ORDER", json.dumps(order))))
        assert tab.console == []
    assert [frame for frame, *_ in seen] == [at + 5 for at in order]
    for frame, grey, keys, goals in seen:
        drawn = round((16 + grey * 219 / 255 - 20) / 4)  # as tests.synthetic.frame_number
        assert drawn == frame % 50, f"frame {frame} shows the picture of {drawn}"
        assert set(keys) == _names(frame)
        assert goals == _goals(frame)


def test_player_obeys_the_keyboard(dataset, tmp_path):
    stretches = [Stretch(dataset, EPISODE, start, start + 20, f"from {start}") for start in (0, 20, 40)]
    with browser.browse() as tab:
        tab.open(_page(tmp_path, *stretches), 1000, 800)
        tab.evaluate("document.querySelector('.player .track').focus()")

        def frame_after(key, code, **options):
            tab.press(key, code, **options)
            tab.evaluate("document.querySelector('.player').player.working")
            return int(tab.evaluate("document.querySelector('.player').dataset.frame"))

        right, left = ("ArrowRight", 39), ("ArrowLeft", 37)
        assert [frame_after(*right), frame_after(*right), frame_after(*left)] == [1, 2, 1]
        assert [frame_after(*right, shift=True), frame_after("PageDown", 34)] == [20, 40]
        assert [frame_after("End", 35), frame_after(*left, shift=True), frame_after("PageUp", 33)] == [59, 40, 20]
        assert [frame_after("Home", 36), frame_after(*left)] == [0, 0]


def test_player_marks_where_memory_starts_empty(dataset, tmp_path):
    page = _page(
        tmp_path,
        Stretch(dataset, EPISODE, 0, 32, "step 0", memory="empty"),
        Stretch(dataset, EPISODE, 32, 64, "step 1", memory="kept"),
    )
    with browser.browse() as tab:
        tab.open(page, 390, 800, dark=True)
        said = [
            tab.evaluate(f"document.querySelector('.player').player.show({at})")
            or tab.evaluate("document.querySelector('.player .now').textContent")
            for at in (0, 20, 40)
        ]
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert said == [
        "step 0 | frame 0 (0:00.0) | memory starts empty",
        "step 0 | frame 20 (0:01.0) | memory starts empty",
        "step 1 | frame 40 (0:02.0) | memory kept",
    ]


def test_film_stops_before_its_page_gets_too_large(dataset):
    stretches = [Stretch(dataset, EPISODE, start, start + 16, "") for start in range(0, 64, 16)]
    whole = make_film(stretches, (WIDTH, HEIGHT))
    assert (whole.num_frames, whole.is_cut, len(whole.clips)) == (64, False, 4)
    cut = make_film(stretches, (WIDTH, HEIGHT), max_bytes=6000)
    assert cut.is_cut
    assert 0 < cut.num_frames < 64


def test_a_goal_hides_the_other_candidates(dataset):
    import numpy as np

    goals = np.full(NUM_FRAMES, 1, np.int32)
    film = make_film([Stretch(dataset, EPISODE, 17, 18, "", goals=goals)], (WIDTH, HEIGHT))
    assert film.interactions == [(3, "event_1")]
    assert [len(masks) for masks in film.pieces[0]["masks"]] == [1]
