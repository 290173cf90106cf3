"""The distribution that this code was installed as: its version, where it came from, and what an extra of it consists of.

The packages are named `penstock`, `tasks`, ...; the distribution is `penstock-ml`, as another project has `penstock` on the
package index. An environment made before that name still holds the distribution `penstock`, which is known by its command.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME, FORMER_NAME = "penstock-ml", "penstock"
COMMAND = "deployments.cli:main"


def own_distribution() -> Distribution | None:
    """The installed distribution, under either of its names; None where this code runs without being installed.

    Returns:
        The distribution's metadata. Another project's distribution named `penstock` is not taken for ours.
    """
    for name in (NAME, FORMER_NAME):
        with suppress(PackageNotFoundError):
            installed = distribution(name)
            if any(each.value == COMMAND for each in installed.entry_points):
                return installed
    return None


def own_version() -> str:
    """The version of Penstock: as installed, else as the checkout says.

    Returns:
        The version, e.g. `0.1.0`; `unknown` where neither says one.
    """
    if installed := own_distribution():
        return installed.version
    return str(_manifest(_source_folder()).get("version", "unknown"))


def direct_reference(*extras: str) -> str | None:
    """A requirement that installs what runs now, wherever it was installed from (PEP 508, PEP 610).

    Args:
        extras: Names of extras to ask for.

    Returns:
        E.g. `penstock-ml[up] @ file:///src/penstock`; None where it cannot be told where Penstock came from.
    """
    folder = _source_folder()
    url = folder.as_uri() if _manifest(folder).get("name") == NAME else _origin(own_distribution())
    return f"{_with_extras(extras)} @ {url}" if url else None


def plain_requirement(*extras: str) -> str:
    """The requirement by name alone, for an index that has it.

    Args:
        extras: Names of extras to ask for.

    Returns:
        E.g. `penstock-ml[up]`.
    """
    return _with_extras(extras)


def install_command(extra: str) -> str:
    """The line that installs what an extra consists of, without touching how Penstock itself is installed.

    Args:
        extra: Name of an extra, e.g. `up`.

    Returns:
        E.g. `pip install 'watchfiles>=1.1' 'circus>=0.19'`.
    """
    installed = own_distribution()
    required = [text.partition(";") for text in (installed.requires if installed else None) or ()]
    packages = [name.strip() for name, _, marker in required if _extra_of(marker) == extra]
    return " ".join(["pip install", *(shlex.quote(each) for each in packages or [_with_extras([extra])])])


def _extra_of(marker: str) -> str | None:
    found = re.search(r"""extra\s*==\s*["']([^"']+)["']""", marker)
    return found[1] if found else None


def _with_extras(extras: Iterable[str]) -> str:
    listed = ",".join(extras)
    return f"{NAME}[{listed}]" if listed else NAME


def _source_folder() -> Path:
    """The folder that the packages lie in: a checkout, or site-packages."""
    return Path(str(files("tasks"))).resolve().parent


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return {}
    return project


def _origin(installed: Distribution | None) -> str | None:
    """The URL that a distribution was installed from; None where it came from an index, or where that file is gone."""
    text = installed.read_text("direct_url.json") if installed else None
    if not text:
        return None
    recorded = json.loads(text)
    url, vcs, archive = recorded["url"], recorded.get("vcs_info"), recorded.get("archive_info", {})
    if urlsplit(url).scheme == "file" and not Path(unquote(urlsplit(url).path)).exists():
        return None
    fragment = [f"subdirectory={recorded['subdirectory']}"] if recorded.get("subdirectory") else []
    if sha256 := archive.get("hashes", {}).get("sha256"):
        fragment.append(f"sha256={sha256}")
    reference = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
    return "#".join([reference, *(["&".join(fragment)] if fragment else [])])
