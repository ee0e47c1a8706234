"""Settings: frozen, checked together, every problem shown at once."""

from equipoise.settings.balance import Recommend
from equipoise.settings.load import Invocation, help_text, parse_command_line
from equipoise.settings.model import Settings, resolve
from equipoise.settings.section import chosen

__all__ = ["Invocation", "Recommend", "Settings", "chosen", "help_text", "parse_command_line", "resolve"]
