"""A built dataset on the Hugging Face Hub -> its local snapshot. What opens a dataset calls this."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drake.data.licences import FILE
from drake.data.manifest import DATA, MANIFEST, SCHEDULES
from drake.errors import DrakeError

CARD = "README.md"


def local_folder(path_or_repo: str | Path) -> Path:
    """A dataset's folder: the path itself, or what `fetch` returns where this is the id of a repository."""
    return fetch(str(path_or_repo)) if names_repository(path_or_repo) else Path(path_or_repo)


def names_repository(path_or_repo: str | Path) -> bool:
    """Whether this is the id of a repository, "owner/name", and no existing path."""
    return not Path(path_or_repo).exists() and bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(path_or_repo)))


def fetch(repo: str) -> Path:
    """The folder of a dataset's local snapshot. The manifest is fetched first: without one, nothing else is.

    Raises DrakeError if the Hub cannot be reached, or holds no built dataset of that name.
    """
    return _fetch(repo, [MANIFEST, FILE, CARD, f"{DATA}/**", f"{SCHEDULES}/**"])


def fetch_description(repo: str) -> Path:
    """A folder with the manifest, the card and the metadata of a dataset on the Hub; raises what `fetch` raises."""
    return _fetch(repo, [MANIFEST, FILE, CARD])


def _fetch(repo: str, patterns: list[str]) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        manifest = Path(hf_hub_download(repo, MANIFEST, repo_type="dataset"))
        revision = manifest.parent.name  # the commit that the manifest belongs to
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except LocalEntryNotFoundError as error:
        reason = "the Hub cannot be reached, and no copy of it is in the local cache"
        raise DrakeError(_no_dataset(repo, reason)) from error
    except EntryNotFoundError as error:
        raise DrakeError(_no_dataset(repo, f"the repository has no {MANIFEST}, so it is no built dataset")) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise DrakeError(_no_dataset(repo, str(error).strip().split("\n")[0])) from error


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """A block that asks the Hub for something. Its errors become DrakeErrors: `what` went wrong, then the reason."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise DrakeError(f"{what}: {reason}.") from error
    except Exception as error:  # of the HTTP library, of which huggingface_hub has had several
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests", "hf_xet")):
            raise
        raise DrakeError(f"{what}: {error or type(error).__name__}; check the network.") from error


def _no_dataset(repo: str, reason: str) -> str:
    return f"there is no folder {repo}, and no dataset of that name came from the Hugging Face Hub: {reason}."
