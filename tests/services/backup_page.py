"""The blocks of the backup page, run below a folder of a test's own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests import documents
from tests.services.processes import environment
from tests.serving_kit import ROOT

PAGE = (ROOT / "docs" / "backup.md").read_text()


def section(*titles: str) -> list[str]:
    """The bash blocks below a title, and below a title in there, up to the next of any depth."""
    text = PAGE
    for title in titles:
        text = re.split(rf"^#+ {re.escape(title)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    return documents.bash_blocks(re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0])


def told(folder: Path, commands: list[str], expected: tuple[str, ...] = (), **variables: str) -> None:
    """Run blocks of the page with its folders below one of the test's."""
    script = re.sub(r"/(srv|backup)/", rf"{folder}/\1/", documents.script(commands))
    path = os.pathsep.join([str(Path(sys.executable).parent), variables.pop("PROGRAMS", ""), os.environ["PATH"]])
    documents.says(script, expected, folder, environment(HOME=str(folder), PATH=path, **variables), 400)
