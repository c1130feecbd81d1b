"""The embedded data set: messages to the support desk of a fictitious maker of e-bikes."""

from __future__ import annotations

__all__ = ["demo"]

from importlib.resources import files
from pathlib import Path

from embedfit.errors import DataError


def demo() -> Path:
    """Folder of the embedded data set: four CSV files and a README.md that describes them.

    `questions.csv` and `exam.csv` hold `question`, `standard_question`, `topic`, `language`; `standard_questions.csv`
    the standard questions alone; `out_of_scope.csv` messages that none of them answers.

    Raises:
        DataError: the package was imported from inside an archive, where its files have no paths.
    """
    folder = files("embedfit") / "data" / "demo"
    if not isinstance(folder, Path):
        raise DataError(
            f"the embedded data set lies in an archive ({folder}), not in a folder",
            hint="install embedfit with pip instead of importing it from a zip file",
        )
    return folder
