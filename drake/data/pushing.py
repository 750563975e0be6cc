"""Upload a built dataset to the Hugging Face Hub: `drake push`.

All files arrive in one commit, so nobody ever downloads half of a dataset. Record files are uploaded before it, one
after another; a push that was stopped does not send again what has arrived.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drake.common.files import read_json_object
from drake.data import croissant
from drake.data.hub import CARD, hub_errors
from drake.data.licences import stored_licences
from drake.data.manifest import DATA, MANIFEST, SCHEDULES, Manifest, read_manifest
from drake.data.sources.files import read_regular
from drake.data.verification import verify
from drake.errors import DrakeError

Progress = Callable[[float, float, str], None]
"""(bytes done, bytes in all, what is checked or uploaded now)"""

OWN = (".gitattributes", CARD)
"""Files that the Hub puts into new repositories."""
PLACE = "path/to/this/folder"
"""What stands for the dataset in the examples of its card."""
MOST_CARD_BYTES = 16 << 20


def push(
    folder: str | Path,
    repository: str,
    *,
    private: bool = True,
    quick: bool = False,
    message: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Check a dataset folder, upload it as the repository "OWNER/NAME" and return the address of the commit.

    Only what the manifest lists is uploaded, the manifest, the card and croissant.json, which mlcroissant has to find
    valid. Record files and schedules of an earlier push that the manifest does not list are deleted by the same commit.

    private: of a repository that does not exist yet. quick: see `drake.data.verification.verify`. The token is that of
    `hf auth login`, or HF_TOKEN.

    Raises DrakeError for a dataset that is not sound, for metadata that are not valid, if the repository holds
    something else, and for errors of the Hub; nothing is committed then.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    folder = Path(folder)
    manifest = read_manifest(folder)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", repository):
        raise DrakeError(f"{repository!r} names no repository; write OWNER/NAME.")
    texts = {
        CARD: card_for(folder, repository),
        croissant.FILE: croissant_for(folder, manifest, repository),
    }
    croissant.check_croissant(texts[croissant.FILE])
    report = verify(folder, quick=quick, progress=progress)
    if report.broken:
        raise DrakeError(f"{folder} is not sound, so it is not uploaded; `drake verify {folder}` lists what is wrong.")
    api = HfApi()
    with (
        _without_bars(),
        hub_errors(f"{folder} was not uploaded to {repository}; `hf auth login` or HF_TOKEN gives access to it"),
    ):
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        there = api.list_repo_files(repository, repo_type="dataset")
        if MANIFEST not in there and (strange := sorted(set(there) - {*OWN})):
            raise DrakeError(f"{repository} holds something else ({strange[0]}), so it is left alone; choose another.")
        additions = [CommitOperationAdd(name, str((folder / name).resolve())) for name in manifest.files]
        total, done = float(sum(entry.bytes for entry in manifest.files.values())), 0.0
        for addition in additions:
            if progress is not None:
                progress(done, total, f"uploading {addition.path_in_repo}")
            api.preupload_lfs_files(repository, [addition], repo_type="dataset", free_memory=False)
            _check_unchanged(addition, manifest)
            done += manifest.files[addition.path_in_repo].bytes
        if progress is not None:
            progress(total, total, "committing")
        texts[MANIFEST] = (folder / MANIFEST).read_text(encoding="utf-8")
        additions += [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
        old = [
            CommitOperationDelete(name)
            for name in there
            if name.startswith((f"{DATA}/", f"{SCHEDULES}/")) and name not in manifest.files
        ]
        commit = api.create_commit(
            repository,
            [*additions, *old],
            commit_message=message or f"{manifest.name}, fingerprint {manifest.fingerprint[:16]}",
            repo_type="dataset",
        )
    return commit.commit_url


@contextmanager
def _without_bars() -> Iterator[None]:
    """A block in which huggingface_hub draws no progress bars; `push` has its own."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _check_unchanged(addition: Any, manifest: Manifest) -> None:
    name = addition.path_in_repo
    if addition.upload_info.sha256.hex() != manifest.files[name].sha256:
        raise DrakeError(f"{name} was changed while it was uploaded; nothing was committed. Push again.")


def card_for(folder: Path, repository: str) -> str:
    """The dataset card, whose examples name the repository."""
    return read_regular(folder / CARD, MOST_CARD_BYTES).decode(errors="replace").replace(PLACE, repository)


def croissant_for(folder: Path, manifest: Manifest, repository: str) -> str:
    """The metadata with the repository's address and the present date. What the dataset's own say of licences and of
    responsible AI is kept, also those of earlier versions; everything else is from the manifest."""
    try:
        stated = read_json_object(folder / croissant.FILE)
    except DrakeError:
        stated = {}
    texts = {name: stated.get(f"rai:{name}") for name in croissant.RESPONSIBLE_AI}
    licences = stored_licences(folder)
    return croissant.croissant(
        manifest,
        licences.whole,
        licences=licences.by_source,
        responsible_ai={name: text for name, text in texts.items() if isinstance(text, str)},
        further={
            "url": f"https://huggingface.co/datasets/{repository}",
            "datePublished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    )
