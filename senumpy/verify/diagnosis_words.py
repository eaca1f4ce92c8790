"""What a diagnosis says."""

from __future__ import annotations

from collections.abc import Sequence

from senumpy.verify.diagnosis_fits import OWN, RIGHT, Fit
from senumpy.verify.diagnosis_numbers import Trial
from senumpy.verify.hints import explain, sizes_of

_GRADIENTS = {
    RIGHT: " Its gradients are those of the right forward.",
    OWN: " Its gradients are the derivative of that wrong result: once the forward is mended, so are they.",
}


def found_text(results: Sequence[str], fits: Sequence[Fit]) -> str:
    """Return the words for what fits; for several, that they can't be told apart yet."""
    yours = "Your " + _listed(results)
    verb = "follows" if len(results) == 1 else "follow"
    if len(fits) == 1:
        (fit,) = fits
        gradients = _GRADIENTS.get(fit.gradients, "") if "y" in results and len(results) > 1 else ""
        if len(fit.mistakes) == 1:
            return f"{yours} {verb} a known mistake, {_said(fit)}{gradients}"
        return f"{yours} {verb} two known mistakes together, {_said(fit)}{gradients}"
    choices = " Or ".join(_said(fit) for fit in fits)
    return (
        f"{yours} {verb} one of {len(fits)} known mistakes: {choices} "
        "On these inputs they give the same numbers; another case would tell."
    )


def ratios_text(trials: Sequence[Trial], results: Sequence[str]) -> str:
    """Return the words for wrong numbers that no mistake gives, with telling ratios where there are any."""
    text = "No known mistake, and no two together, give these numbers."
    found = []
    for name in results:
        hints = [_ratio(trial, name) for trial in trials if name in trial.wrong]
        if hints and hints[0] and all(hints):
            found.append(f"{name}: {hints[0]}")
    if found:
        text += " What the ratios say, which names no mistake: " + "; ".join(found) + "."
    return text


def _ratio(trial: Trial, name: str) -> str:
    got, want = trial.got[name], trial.want[name]
    if got.shape != want.shape:
        return f"its shape is {got.shape} where {want.shape} is wanted"
    shapes = {str(i): array.shape for i, array in enumerate(trial.call.floats())}
    return explain(got, want, sizes_of(shapes, trial.want.get("y", want).shape))


def _said(fit: Fit) -> str:
    return " And ".join(f"{mistake.name}: {mistake.explanation}" for mistake in fit.mistakes)


def _listed(names: Sequence[str]) -> str:
    *front, last = names
    return f"{', '.join(front)} and {last}" if front else last
