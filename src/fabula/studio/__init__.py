"""The studio: a page on which one writes with models and lets them learn; this file is only the room's door."""

from fabula.studio.routes import Studio

__all__ = ["Studio"]
