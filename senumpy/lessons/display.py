"""For lessons: the library's own source shown as it runs, and figures of one look."""

from __future__ import annotations

import inspect
import sys
import textwrap
from typing import Any

from senumpy.markers import without_markers

# Okabe and Ito's colours, which people with any colour vision tell apart; readable on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def show(thing: Any) -> None:
    """Show the source of a function or class: highlighted in a notebook, printed by a script.

    Parameters
    ----------
    thing : function, class or module
        What is shown is what runs; only the markers of exercises are left out.
    """
    text = textwrap.dedent(without_markers(inspect.getsource(thing))).strip()
    if "IPython" in sys.modules and _in_notebook():
        from IPython.display import display

        # Markdown, which JupyterLab and the site highlight in their own colours, light or dark.
        display({"text/markdown": f"```python\n{text}\n```", "text/plain": text}, raw=True)
    else:
        print(text)


def style() -> None:
    """Set Matplotlib up for lessons: size, colours, no frame where there is no axis."""
    import matplotlib.pyplot as plt
    from cycler import cycler

    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.2),
            "figure.dpi": 110,
            "savefig.dpi": 150,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "image.cmap": "viridis",
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )
    if "IPython" in sys.modules and _in_notebook():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png2x")  # two pixels for each, sharp on any screen


def _in_notebook() -> bool:
    from IPython import get_ipython

    return get_ipython() is not None
