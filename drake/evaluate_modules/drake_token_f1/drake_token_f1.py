"""DRAKE's word-level F1 of open-ended answers, as a module of the library `evaluate`."""

import datasets
import evaluate

from drake.scoring.metrics import token_f1

DESCRIPTION = """Word-level F1 of open-ended answers by DRAKE's protocol `strict`: lower case, without articles and
without punctuation, except the punctuation that numbers are spelled with (1.5, -5, 10:15)."""

INPUTS = """
Args:
    predictions: the answers, str.
    references: the right answers, str.
Returns:
    f1: the mean over the answers.
"""

FEATURES = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}


class DrakeTokenF1(evaluate.Metric):
    """See DESCRIPTION."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation="", inputs_description=INPUTS, features=datasets.Features(FEATURES)
        )

    # `compute` of the library passes the features by name.
    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, predictions: list[str], references: list[str]
    ) -> dict[str, float]:
        scores = [token_f1(answer, gold) for answer, gold in zip(predictions, references, strict=True)]
        return {"f1": sum(scores) / len(scores)}
