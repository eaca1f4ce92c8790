"""Gradient checking for anybody's forward/backward pair, and what is known of the library's own."""

from __future__ import annotations
