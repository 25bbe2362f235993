"""The page that a run leaves in its folder."""

import io
import json
import re
from contextlib import redirect_stderr

import numpy as np
import pytest

from shards import open_dataset
from shards.errors import RocketError
from tests import browser
from tests.synthetic import actions_of
from tests.trainer.runs import make_run_dataset, small_config
from trainer.data import actions
from trainer.look import run_page as run_page_module
from trainer.look.predictions import predict_windows
from trainer.look.run_charts import series
from trainer.look.run_page import run_page, write_run_page
from trainer.run import train

LASTING = ("trainer.max_steps=4", "trainer.val_every=2", "trainer.save_every=4", "logging.page=true")
CHARTS = ["loss", "parts", "memory", "position", "loss-types", "speed", "wait", "rate", "norm"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """The folder of a run that has ended."""
    folder = tmp_path_factory.mktemp("page")
    dataset = make_run_dataset(folder / "dataset")
    lines = folder / "lines"
    told, seen = io.StringIO(), []
    write = run_page_module.write_run_page

    def watched(run_dir, **options):
        page = write(run_dir, **options)
        text = page.read_text(encoding="utf-8")
        seen.append((re.findall(r"<b>(\d+)</b><span>steps</span>", text), 'role="alert"' in text))
        return page

    with lines.open("w") as out, pytest.MonkeyPatch.context() as patch, redirect_stderr(told):
        patch.setattr(run_page_module, "write_run_page", watched)
        assert train(small_config(dataset, folder / "run", *LASTING), out=out) == 0
    (folder / "told").write_text(told.getvalue())
    # Written again after the validation at step 2, and at the end.
    assert seen == [(["2"], False), (["4"], False)]
    assert f"page: {folder / 'run' / 'report.html'}\n" in lines.read_text()
    return folder / "run"


def test_run_leaves_a_page_with_its_charts_and_frames(run_dir):
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<g id="([\w-]+)-figure_1"', text) == CHARTS
    assert text.count("<figure>") >= 1
    assert 'role="alert"' not in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    dataset = open_dataset(run_dir.parent / "dataset")
    assert json.loads((run_dir / "datasets.json").read_text()) == {str(dataset.path): dataset.info.fingerprint}
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawings)) == set()


@pytest.mark.parametrize("width_px", [1280, 390])
def test_page_renders_in_a_browser_without_complaint(run_dir, tmp_path, width_px):
    rendered = browser.render(run_dir / "report.html", tmp_path, width_px)
    assert rendered.console == []
    assert len(rendered.charts) == len(CHARTS)
    assert all(width >= 250 and height >= 60 and marks > 5 for width, height, marks in rendered.charts)
    assert rendered.num_images >= 6
    assert rendered.num_broken_images == 0
    assert rendered.overflow_px == 0


def test_a_line_stays_for_each_validation_and_checkpoint(run_dir):
    told = (run_dir.parent / "told").read_text().splitlines()
    loss = r"validation loss [\d.]+, best constant guess [\d.]+; in windows with a past [\d.]+ with memory, [\d.]+"
    assert [line for line in told if re.fullmatch(rf"step 2/4  {loss} without", line)]
    assert [line for line in told if re.fullmatch(rf"step 4/4  {loss} without", line)]
    saved = run_dir / "checkpoints" / "step-00000004.ckpt"
    assert f"step 4/4  saved {saved}" in told
    assert saved.is_file()


def test_page_begins_with_a_verdict_and_counts_button_frames(run_dir):
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    head = text[: text.index("<main>")]
    assert re.search(r'<li class="(good|bad)">It is (better|worse) than guessing: validation loss', head)
    assert re.search(r"<td[^>]*>forward</td><td[^>]*>[\d,]+ frames</td>", text)


def test_one_logged_point_is_a_table(run_dir, tmp_path):
    lines = (run_dir / "metrics.csv").read_text().splitlines()
    (tmp_path / "metrics.csv").write_text("\n".join(lines[:2]) + "\n")
    (tmp_path / "config.yaml").write_text((run_dir / "config.yaml").read_text())
    text = run_page(tmp_path, frames=False)
    assert 'id="loss-figure_1"' not in text
    assert re.search(r'<td>training</td><td class="number">[\d.]+</td><td class="number">step 1</td>', text)


def test_charts_give_values_and_strips_enlarge(run_dir):
    with browser.browse() as tab:
        tab.open(run_dir / "report.html", 1000, 800)
        # The circle around a value lies on the mark that is drawn for it.
        tab.evaluate("document.querySelector('#memory svg.chart').focus()")
        tab.press("ArrowRight", 39)
        assert "step 2  with memory " in tab.evaluate("document.querySelector('.reading').textContent")
        apart = tab.evaluate(
            """(() => {
              const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2];
              const [x, y] = middle(document.querySelector(".reading-line").getBoundingClientRect());
              const drawn = [...document.querySelectorAll("#memory-figure_1 use")];
              const marks = drawn.map((use) => middle(use.getBoundingClientRect()));
              return Math.min(...marks.map(([left]) => Math.abs(left - x)));
            })()"""
        )
        assert apart < 1.5
        tab.press("Escape", 27)
        assert tab.evaluate("document.querySelectorAll('.reading').length") == 0
        tab.evaluate("document.querySelector('.strip img').focus()")
        tab.press("Enter", 13)
        assert tab.evaluate("document.querySelector('dialog img').naturalWidth") > 100
        assert tab.console == []


def test_predictions_stand_beside_what_the_human_did(run_dir):
    config = small_config(run_dir.parent / "dataset", run_dir)
    dataset = open_dataset(config.data.datasets[0].path)
    (*_, newest) = sorted((run_dir / "weights").glob("step-*[0-9].ckpt"))
    lanes = predict_windows(config, newest)
    assert lanes
    for window in (window for of_lane in lanes for window in of_lane):
        assert window.dataset.path == dataset.path
        shown_frames = list(window.frames())
        assert len(window.predicted) == len(shown_frames) == window.stop - window.start
        for shown in shown_frames:
            buttons, camera = actions_of(window.episode, shown.frame)
            assert shown.action.buttons.tolist() == buttons.tolist()
            assert np.allclose(shown.action.camera, camera, atol=1e-6)
            assert shown.predicted is not None
            assert shown.predicted.buttons.shape == (23,)
            # What is shown is an action that the policy can take.
            guess = actions.to_policy(shown.predicted.buttons[None], np.array([shown.predicted.camera]))
            again = actions.to_env(*guess)
            assert again[0][0].tolist() == shown.predicted.buttons.tolist()


def test_page_without_its_datasets_says_so(run_dir, tmp_path):
    for name in ("metrics.csv", "config.yaml"):
        text = (run_dir / name).read_text().replace(str(run_dir.parent / "dataset"), str(tmp_path / "gone"))
        (tmp_path / name).write_text(text)
    (tmp_path / "weights").symlink_to(run_dir / "weights")
    text = run_page(tmp_path)
    assert re.search(r'role="alert">Frames with predicted actions are missing: .*gone: no such folder', text)
    assert 'id="loss-figure_1"' in text


def test_page_of_a_run_that_has_not_validated_shows_what_there_is(run_dir, tmp_path):
    header, *rows = (run_dir / "metrics.csv").read_text().splitlines()
    names = header.split(",")
    kept = [place for place, name in enumerate(names) if not name.startswith("val/")]
    lines = [",".join(line.split(",")[place] for place in kept) for line in (header, *rows[:3])]
    (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "config.yaml").write_text((run_dir / "config.yaml").read_text())
    text = run_page(tmp_path, frames=False)
    assert re.findall(r'<g id="([\w-]+)-figure_1"', text) == ["loss", "parts", "speed", "wait", "rate", "norm"]


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RocketError, match="no metrics.csv, expected a run's folder. Give the run_dir of a run"):
        write_run_page(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_series_leaves_out_steps_without_a_figure():
    rows = [{"step": 1.0, "a": 2.0}, {"step": 2.0}, {"step": 3.0, "a": float("nan")}, {"step": 4.0, "a": 5.0}]
    steps, values = series(rows, "a")
    assert (steps.tolist(), values.tolist()) == ([1.0, 4.0], [2.0, 5.0])
    assert series(rows, "b")[0].size == 0
