"""croissant.json of a built dataset: its metadata in the vocabulary of mlcommons Croissant 1.1, with the fields of its
responsible-AI extension. `drake.data.writer` writes it, `drake.data.pushing` checks and uploads it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from drake.data.manifest import DATA, PUBLIC, SCHEDULES, Manifest
from drake.data.oracle import METRICS
from drake.errors import DrakeError, UnknownName

FILE = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")

FIELDS = {
    "id": ("sc:Text", "task, split and number"),
    "task": ("sc:Text", "task id"),
    "source": ("sc:Text", "id of the source dataset"),
    "category": ("sc:Text", "skill the task asks for"),
    "images": ("sc:ImageObject", "pictures, in the order of the <image> marks, with the bytes of the source"),
    "prompt": ("sc:Text", "question, with one <image> per picture"),
    "choices": ("sc:Text", "answers to choose from; empty when open-ended"),
    "answer": ("sc:Text", "gold answer"),
    "metric": ("sc:Text", "how the answer is scored: " + ", ".join(METRICS)),
}
"""Column of a record file -> (type, meaning)."""
_SCHEDULE_FIELDS = {
    "client": ("sc:Integer", "client, from 0"),
    "round": ("sc:Integer", "round, from 0"),
    "position": ("sc:Integer", "place in the order of arrival within the round, from 0"),
    "task": ("sc:Text", "task id"),
    "id": ("sc:Text", "id of a train record of that task"),
}

_NOT_STATED = "Not stated by the source."
RESPONSIBLE_AI = {
    "dataCollection": _NOT_STATED,
    "dataPreprocessingProtocol": "Pictures keep the bytes of the source. Every record was checked when the dataset was "
    "built: picture marks against pictures, choices against the gold answer, texts against limits.",
    "dataAnnotationProtocol": _NOT_STATED,
    "dataUseCases": "Training and evaluating methods of personalised federated learning of vision-language models, as "
    "a benchmark. No use in products was tested.",
    "dataBiases": "The answers of a task need not be balanced; `drake verify` prints the share of its most frequent "
    "one. Biases of the sources were not examined.",
    "dataLimitations": _NOT_STATED,
    "dataSocialImpact": "Not assessed.",
    "personalSensitiveInformation": _NOT_STATED,
    "dataReleaseMaintenancePlan": "The same source, seed and parameters give the same bytes again (`drake build`); the "
    "fingerprint in manifest.json names this version.",
}
"""The fields of the responsible-AI vocabulary that are written, with the texts for sources that state nothing else."""


def check_field(name: str) -> str:
    """The name of a field of `RESPONSIBLE_AI`; UnknownName, a ValueError for pydantic, for another."""
    if name not in RESPONSIBLE_AI:
        raise ValueError(str(UnknownName("field of responsible_ai", name, sorted(RESPONSIBLE_AI))))
    return name


def croissant(
    manifest: Manifest,
    licence: str,
    about: str = "",
    licences: Mapping[str, str] | None = None,
    responsible_ai: Mapping[str, str] | None = None,
    further: Mapping[str, Any] | None = None,
) -> str:
    """The metadata as JSON-LD.

    licence: of the whole. about: origin of the records. licences: by source data set, where they differ.
    responsible_ai: texts in place of those of `RESPONSIBLE_AI`. further: properties such as `url`.
    """
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{entry.bytes} B",
            "encodingFormat": "application/x-parquet",
            "sha256": entry.sha256,
        }
        for name, entry in manifest.files.items()
    ]
    splits = [split for split in ("train", "test") if any(getattr(task, split) for task in manifest.tasks.values())]
    splits += [PUBLIC] if manifest.public else []
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{split}-files",
            "name": f"{split}-files",
            "description": f"The {split} split of every task.",
            "encodingFormat": "application/x-parquet",
            "includes": f"{DATA}/*/{split}-*.parquet",
        }
        for split in splits
    ]
    record_sets = [_record_set(split, FIELDS, {"fileSet": {"@id": f"{split}-files"}}) for split in splits]
    record_sets += [
        _record_set(name, _SCHEDULE_FIELDS, {"fileObject": {"@id": f"{SCHEDULES}/{name}.parquet"}})
        for name in manifest.schedules
    ]
    stated = RESPONSIBLE_AI | ({"dataCollection": about} if about else {}) | dict(responsible_ai or {})
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": manifest.name,
        "description": "Tasks, clients and schedules of a DRAKE benchmark. "
        f"Source {manifest.source}, revision {manifest.revision}, seed {manifest.seed}.",
        "license": [licence, *(f"{source}: {text}" for source, text in (licences or {}).items())],
        "version": f"{manifest.schema_version}.0.0",
        "identifier": manifest.fingerprint,
        **{f"rai:{name}": text for name, text in stated.items()},
        **(further or {}),
        "distribution": objects + sets,
        "recordSet": record_sets,
    }
    return json.dumps(document, indent=1) + "\n"


def _record_set(name: str, fields: dict[str, tuple[str, str]], source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field}",
                "name": f"{name}/{field}",
                "description": about,
                "dataType": kind,
                **({"isArray": True, "arrayShape": "-1"} if field in ("images", "choices") else {}),
                "source": source | {"extract": {"column": field}},
            }
            for field, (kind, about) in fields.items()
        ],
    }


def check_croissant(text: str) -> None:
    """Raise DrakeError for JSON-LD that mlcroissant, the reference implementation, finds wrong, and where it is not
    installed (`pip install "drake-bench[push]"`). Nothing is downloaded."""
    try:
        import mlcroissant
    except ImportError as error:
        raise DrakeError(
            "mlcroissant checks the metadata and is not installed; pip install 'drake-bench[push]'."
        ) from error
    logger = logging.getLogger("absl")  # which tells of recommended properties, such as a citation, that are absent
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        mlcroissant.Dataset(jsonld=json.loads(text))
    except Exception as error:  # of several kinds: ValidationError, and those of JSON-LD and of its own parsing
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise DrakeError(f"{FILE} is not valid Croissant: {reason}") from error
    finally:
        logger.setLevel(level)


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The terms of Croissant 1.1; all are given, because readers compare them with the standard's."""
