"""What a run's page says of its figures in words."""

import pytest

from trainer.look.verdict import verdict

FALLING = [{"step": float(step), "train/loss": 10.0 - step / 2} for step in range(1, 13)]
FLAT = [{"step": float(step), "train/loss": 10.0} for step in range(1, 13)]


def _texts(rows, validations=(), memory="carry"):
    return [(finding.mark, finding.text) for finding in verdict(rows, validations, memory)]


def _validation(step=12, **figures):
    return {"step": float(step), "loss": 2.0, **figures}


@pytest.mark.parametrize(
    ("rows", "mark", "text"),
    [
        (FALLING, "good", "It learns: training loss 9.250 at the start, 4.250 now."),
        (FLAT, "bad", "It does not learn: training loss 10.000 at the start, 10.000 now."),
        (FALLING[:3], "open", "Too early to say whether it learns: 3 logged steps, expected 6 or more."),
    ],
)
def test_learning_is_a_fall_of_the_training_loss(rows, mark, text):
    found = _texts(rows)[0]
    assert found[0] == mark
    assert found[1].startswith(text)


@pytest.mark.parametrize(
    ("guess", "expected"),
    [
        (
            4.0,
            ("good", "It is better than guessing: validation loss 2.000, best constant guess 4.000, 50 % less."),
        ),
        (1.0, ("bad", "It is worse than guessing: validation loss 2.000, best constant guess 1.000.")),
        (2.001, ("bad", "It is as good as guessing: validation loss 2.000, best constant guess 2.001.")),
    ],
)
def test_a_loss_is_held_against_the_best_constant_guess(guess, expected):
    assert expected in _texts(FALLING, [_validation(loss_constant_guess=guess)])


@pytest.mark.parametrize(
    ("without", "start"),
    [(2.2, "Memory helps: loss 2.000 with it, 2.200 without"), (1.9, "Memory harms"), (2.001, "Memory makes no")],
)
def test_memory_is_worth_what_its_absence_costs(without, start):
    texts = [text for _, text in _texts(FLAT, [_validation(loss_with_memory=2.0, loss_without_memory=without)])]
    assert [text for text in texts if text.startswith(start)]


def test_memory_that_is_reset_is_said_to_be():
    found = _texts(FLAT, [_validation(loss_with_memory=2.0, loss_without_memory=2.2)], memory="reset")
    assert [text for _, text in found if "emory" in text] == [
        "Memory is cleared at every window (trainer.memory: reset)."
    ]


def test_a_high_accuracy_with_f1_0_is_said_as_what_it_is():
    figures = {"button_accuracy/drop": 0.996, "button_f1/drop": 0.0}
    figures |= {"button_accuracy/forward": 0.97, "button_f1/forward": 0.9}
    found = _texts(FLAT, [_validation(**figures)])
    text = "1 button with an accuracy of 99.6 % or more but F1 0: rarely pressed, and never rightly by the policy"
    assert ("bad", f"{text}: drop.") in found


def test_a_validation_loss_that_rises_names_the_better_step():
    found = _texts(FALLING, [_validation(6), _validation(12, loss=3.0)])
    text = "Validation loss has risen from 2.000 at step 6 to 3.000: the weights of step 6 are better."
    assert ("bad", text) in found


@pytest.mark.parametrize(("share", "mark"), [(0.002, "good"), (0.35, "bad")])
def test_waiting_for_data_is_told(share, mark):
    rows = [{**row, "speed/data_wait_share": share} for row in FALLING]
    assert _texts(rows)[-1][0] == mark
