"""Sphinx's settings for the lessons' site; `senumpy lessons build` calls it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from senumpy import __version__
from senumpy.lessons.mathjax import CONFIGURATION

project = "senumpy"
author = "The senumpy authors"
copyright = "the senumpy authors"
release = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "lessons_site",
]
exclude_patterns = ["conf.py", "_ext", "_build", "**/__pycache__", "**/.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore = [("py:exc", "InputError"), ("py:exc", "TrainingError")]
default_role = "op"

# Lessons: percent scripts, whose outputs are in the cache when they were executed.
nb_custom_formats = {".py": ["senumpy.lessons.notebook.as_notebook", {}]}
nb_execution_mode = "off"  # `senumpy lessons build` executes, and sets "cache"
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "warn"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

# The API: the docstrings say shapes and types in words.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
python_display_short_literal_types = True
add_module_names = False

mathjax_path = "mathjax/tex-svg.js"
mathjax4_config = CONFIGURATION

html_theme = "furo"
html_favicon = "_static/favicon.svg"
html_title = "senumpy lessons"
html_static_path = ["_static"]
html_css_files = ["lessons.css"]
html_js_files = ["lessons.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_scaled_image_link = False
html_permalinks_icon = "#"
html_theme_options = {"top_of_page_buttons": [], "footer_icons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark"
copybutton_exclude = ".linenos, .gp, .go"
