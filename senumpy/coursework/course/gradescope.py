"""Gradescope: `results.json` of a submission, and the archive that grades there.

The format is Gradescope's "Autograder Specifications": https://gradescope-autograders.readthedocs.io
"""

from __future__ import annotations

import io
import json
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import senumpy
from senumpy.coursework.course.outcome import Graded, Grades
from senumpy.coursework.course.settings import FILE, Course
from senumpy.coursework.course.submissions import file_name
from senumpy.coursework.exercise import points_text

_WANTED = ("jupytext",)  # besides what the package itself needs: notebooks may be handed in
_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal contents are equal archives

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when it builds the image.
set -euo pipefail
base=${{AUTOGRADER:-/autograder}}

python=
for version in 3.13 3.12 3.11; do
  if command -v "python$version" > /dev/null && "python$version" -c 'import ensurepip' 2> /dev/null; then
    python=python$version
    break
  fi
done
if [ -z "$python" ]; then
  apt-get update
  for version in 3.13 3.12 3.11; do
    if apt-get install -y "python$version" "python$version-venv"; then
      python=python$version
      break
    fi
  done
fi
"$python" -m venv "$base/venv"
"$base/venv/bin/pip" install --disable-pip-version-check {packages}
PYTHONPATH="$base/source" "$base/venv/bin/python" -m senumpy --version
"""

RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission.
set -euo pipefail
base=${AUTOGRADER:-/autograder}
mkdir -p "$base/results"
cd "$base/source"
PYTHONPATH="$base/source" "$base/venv/bin/python" -m senumpy course grade "$base/submission" --one \\
  --course "$base/source" --out "$base/results/grades.csv" --gradescope "$base/results"
"""


def results(graded: Graded, grades: Grades) -> dict[str, Any]:
    """Return the content of `results.json` for one submission."""
    tests = []
    for number, (name, worth) in enumerate(grades.course.points.items(), 1):
        verdict = graded.verdicts[name]
        output = verdict.feedback + (f"\n\n{graded.note(name)}" if name in graded.notes else "")
        tests.append(
            {
                "name": name,
                "number": str(number),
                "score": verdict.points,
                "max_score": worth,
                "status": "passed" if verdict.ok else "failed",
                "output": output,
                "output_format": "text",
                "visibility": "visible",
            }
        )
    return {
        "score": graded.total,
        "execution_time": round(grades.seconds),
        "output": f"{grades.course.title}: {graded.total:g} of {points_text(grades.course.out_of)}.",
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def results_files(folder: Path, grades: Grades, *, one: bool) -> list[tuple[Path, bytes]]:
    """Return `results.json` for each student, in a folder of the name; for one, in the folder itself."""
    files = []
    for graded in grades.complete:
        place = folder if one else folder / file_name(graded.student)
        text = json.dumps(results(graded, grades), indent=2, ensure_ascii=False)
        files.append((place / "results.json", text.encode()))
    return files


def autograder(course: Course) -> bytes:
    """Return the archive to be uploaded: the course, this package as it is, and what installs and runs it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        packages = " ".join(f"'{line}'" for line in (*_requirements(), *_WANTED))
        _add(archive, "setup.sh", SETUP.format(packages=packages).encode(), executable=True)
        _add(archive, "run_autograder", RUN.encode(), executable=True)
        _add(archive, FILE, course.to_toml().encode())
        package = Path(senumpy.__file__).parent
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(package.parent).as_posix()
                _add(archive, name, path.read_bytes())
    return data.getvalue()


def _requirements() -> list[str]:
    """Return what the package needs to be imported."""
    try:
        return [line for line in requires("senumpy") or [] if "extra ==" not in line]
    except PackageNotFoundError:  # run from its source
        return ["numpy>=2.1"]


def _add(archive: zipfile.ZipFile, name: str, data: bytes, *, executable: bool = False) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o100755 if executable else 0o100644) << 16
    archive.writestr(entry, data)
