"""DRAKE's protocol `strict` for choice questions, as a module of the library `evaluate`."""

import datasets
import evaluate

from drake.scoring.answers import score_strict

DESCRIPTION = """Accuracy on choice questions by DRAKE's protocol `strict`: an answer is right where it names the right
choice and no other, as its text, its letter or number, or a sentence that leads to it."""

INPUTS = """
Args:
    predictions: the answers, str.
    references: the right choices, str, each as it stands among the choices.
    choices: for every question its choices, a list of str.
Returns:
    accuracy: the fraction of right answers.
"""

FEATURES = {
    "predictions": datasets.Value("string"),
    "references": datasets.Value("string"),
    "choices": datasets.Sequence(datasets.Value("string")),
}


class DrakeStrict(evaluate.Metric):
    """See DESCRIPTION."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation="", inputs_description=INPUTS, features=datasets.Features(FEATURES)
        )

    # `compute` of the library passes the features by name.
    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, predictions: list[str], references: list[str], choices: list[list[str]]
    ) -> dict[str, float]:
        asked = zip(choices, references, predictions, strict=True)
        right = [score_strict(offered, gold, answer).correct for offered, gold, answer in asked]
        return {"accuracy": sum(right) / len(right)}
