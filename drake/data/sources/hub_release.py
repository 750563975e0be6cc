"""The official release from the Hugging Face Hub: `drake build --source hub:SNUMPR/DRAKE[@REVISION] [--tasks ...]`.

The repository has one tar archive for each source data set. They are downloaded one after another, read in place and
deleted, so that there is never more than one on the disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.hf_api import DatasetInfo, RepoSibling
from huggingface_hub.utils import tqdm

from drake.data.hub import hub_errors
from drake.data.manifest import sha256
from drake.data.record import Record
from drake.data.sources.base import Moved, Source, Split, Stage, TaskLicence
from drake.data.sources.release import (
    RESPONSIBLE_AI,
    ReleaseOptions,
    TreeSource,
    about_release,
    release_licence,
    release_licences,
    source_of,
)
from drake.data.sources.release_trees import ENDING, TarTree
from drake.errors import DrakeError, UnknownName

TIMEOUT = 30
"""Seconds to wait for the list of files."""


class HubSource(Source):
    """The archives of a dataset repository on the Hugging Face Hub, at one commit.

    Which tasks there are is known only when the archives are here, so only `drake build` can use it.
    """

    kind = "hub"
    wants_argument = "a dataset repository, OWNER/NAME or OWNER/NAME@REVISION"
    Options = ReleaseOptions
    in_stages = True
    licence = "other"
    responsible_ai = RESPONSIBLE_AI

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        self.repository, _, revision = str(argument).partition("@")
        self._revision = revision or None
        if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", self.repository) or str(argument).endswith("@"):
            raise DrakeError(f"{argument!r} names no repository; write hub:OWNER/NAME or hub:OWNER/NAME@REVISION.")
        if self.options.links_to:
            raise DrakeError("--links-to belongs to an extracted release; archives of the Hub are read in place.")
        self.name = f"{self.repository.partition('/')[2]} release"
        self.about = about_release(f"the repository {self.repository} of the Hugging Face Hub", seed)

    @property
    def default_name(self) -> str:
        """The repository's name in lower case."""
        return self.repository.partition("/")[2].lower()

    @property
    def revision(self) -> str:
        """The repository and the commit."""
        return f"{self.repository}@{self._info.sha}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The tasks that were chosen, if not all."""
        return {"tasks": ",".join(self.options.wanted)} if self.options.wanted else {}

    def licences_of(self, tasks: Iterable[str]) -> Mapping[str, str]:
        """Licence by source data set for these tasks, from the catalog."""
        return release_licences(tasks)

    def licence_of(self, task: str) -> TaskLicence:
        """The licence of a task, from the catalog."""
        return release_licence(task)

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """DrakeError: see the class."""
        raise DrakeError(
            f"the tasks of hub:{self.argument} are known only when its archives are here; use `drake build`, or "
            "download them and name their folder (release:FOLDER)."
        )

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """DrakeError: see the class."""
        self.tasks()
        return iter(())

    def stages(self) -> Sequence[Stage]:
        """One for each archive that has tasks to build, sorted by name.

        Raises UnknownName for a chosen task or source without an archive, DrakeError if the Hub cannot be reached.
        """
        archives = {
            file.rfilename.removesuffix(ENDING): file
            for file in self._info.siblings or ()
            if file.rfilename.endswith(ENDING) and "/" not in file.rfilename
        }
        if not archives:
            raise DrakeError(f"{self.repository} has no {ENDING} file at its top, so it is no copy of the release.")
        wanted: set[str] = set()
        for name in self.options.wanted:
            source = name if name in archives else source_of(name)
            if source not in archives:
                raise UnknownName("task", name, sorted(archives))
            wanted.add(source)
        return [ArchiveStage(self, archives[name]) for name in sorted(wanted or archives)]

    @cached_property
    def _info(self) -> DatasetInfo:
        """The commit and its files, with sizes and hashes."""
        with self.asking(f"the list of files of {self.repository}"):
            found = HfApi().dataset_info(self.repository, revision=self._revision, files_metadata=True, timeout=TIMEOUT)
        if not found.sha or not re.fullmatch(r"[0-9a-f]{40}", found.sha):
            raise DrakeError(f"the Hub names no commit for {self.repository}; try again later.")
        return found

    def asking(self, what: str) -> AbstractContextManager[None]:
        """A block that asks the Hub for something; its errors become a DrakeError."""
        return hub_errors(f"{what} did not come from the Hugging Face Hub")


class ArchiveStage(Stage):
    """The tasks of one archive on the Hub."""

    def __init__(self, source: HubSource, file: RepoSibling) -> None:
        if not isinstance(file.size, int) or file.size < 0:
            raise DrakeError(f"the Hub gives no size for {file.rfilename} of {source.repository}; try again later.")
        self.name = file.rfilename
        self.source = self.name.removesuffix(ENDING)
        self.bytes = self.download = file.size
        self._sha256 = file.lfs.sha256 if file.lfs else None
        self.key = f"{self._sha256 or file.blob_id} {file.size}"
        self._source = source

    @contextmanager
    def opened(self, folder: Path, moved: Moved) -> Iterator[Source]:
        """The archive's tasks; it is downloaded to `folder` unless it is there."""
        self.clear(folder, but=self.name)
        source = self._source
        commit = source.revision.rpartition("@")[2]
        before = (folder / self.name).exists()
        with source.asking(f"{self.name} of {source.repository}"):
            HfApi().hf_hub_download(
                source.repository,
                self.name,
                repo_type="dataset",
                revision=commit,
                local_dir=folder,
                tqdm_class=_bar(moved),
            )
        path = folder / self.name
        if before:
            moved(self.download)
        self._check(path)
        tree = TarTree(path, f"{source.repository}/{self.name}")
        try:
            for name in source.options.wanted:
                if name not in tree.files and f"{source_of(name)}{ENDING}" == self.name:
                    raise UnknownName("task", name, list(tree.files))
            yield TreeSource(source.argument, [tree], seed=source.seed, tasks=source.options.tasks)
        finally:
            tree.close()

    def clear(self, folder: Path, but: str | None = None) -> None:
        """Delete the archive and what unfinished downloads have left. but: the name of a file to keep."""
        if not folder.is_dir():
            return
        for path in folder.rglob("*"):
            if path.is_file() and path.name != but and not (but and path.suffix == ".metadata"):
                path.unlink()

    def _check(self, path: Path) -> None:
        if (size := path.stat().st_size) != self.bytes or self._sha256 not in (None, sha256(path)):
            path.unlink()
            raise DrakeError(
                f"{self.name} of {self._source.repository} came with {size:,} bytes that are not the {self.bytes:,} on "
                "the Hub (SHA-256); build again to download it again."
            )


def _bar(moved: Moved) -> type[tqdm]:
    """A progress bar for `huggingface_hub` that draws nothing and passes the number of bytes on."""

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            # While a file comes in compressed pieces (Xet), a second bar counts what crosses the network.
            self._counts = "downloading bytes" not in str(options.get("desc"))
            super().__init__(*arguments, **(options | {"disable": True}))

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                moved(int(n or 0))

    return Bar
