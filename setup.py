"""What a wheel has besides the package: notebooks, the smallest decoders and the
reference study's run table, in toolkit/files/.

Everything else about the build stands in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
PATTERNS = (
    "notebooks/*.ipynb",
    "runs/reference/runs.csv",
    "runs/reference/test/runs.csv",
    "runs/suite/tokenizer/*",
    "runs/suite/small-3k/*",
    "runs/suite/small-7k/*",
)


class BuildWithFiles(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # A checkout has them where they are.
            return
        for path in (found for pattern in PATTERNS for found in HERE.glob(pattern)):
            target = Path(self.build_lib) / "toolkit" / "files" / path.relative_to(HERE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


setup(cmdclass={"build_py": BuildWithFiles})
