"""What the sandbox's tests let run in it: the code that a test sends."""

from __future__ import annotations

from typing import Any


def run_code(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Run ``job["code"]``; its variables ``arrays`` and ``notes`` are the reply."""
    names: dict[str, Any] = {"job": job}
    exec(job["code"], names)
    return names.get("arrays", {}), names.get("notes")
