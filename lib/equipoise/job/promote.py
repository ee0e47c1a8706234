"""CURRENT moved by a person: to a named model, or back to the one before; and the list to choose from. Needs no Spark."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.errors import EquipoiseError, GateError, ModelError, SettingsError
from equipoise.job.context import say
from equipoise.models.package import load_meta
from equipoise.models.signature import signing_key
from equipoise.settings import parse_command_line, resolve
from equipoise.training.registry import Registry

NAME = "promote_model"
HELP = """
flags:
  --settings FILE   the settings of the warehouse; any other setting as a flag, such as --warehouse DIR
  --list            models, the latest as-of first, and which is CURRENT, withdrawn or damaged
  --back            CURRENT goes to the model promoted before it; the one it leaves is withdrawn: no run promotes it again
  --to MODEL_ID     CURRENT goes to this model, withdrawn or not; models that came after it are withdrawn
  --sign MODEL_ID   signs a model that was made before models.signing_key_file was set, once every file is what it was
  --reason TEXT     kept in HISTORY.jsonl; --to needs one for a model that the gate refused
"""


@dataclass(frozen=True)
class Wish:
    """What the command line asks for; the rest of it is settings."""

    action: str
    model_id: str
    reason: str
    settings: tuple[str, ...]


def run_promote(argv: Sequence[str], summary: str) -> int:
    """Exit code: 0 done, 1 failed, 2 bad flags, 3 refused by the gate."""
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(f"{NAME}: {summary}\n{HELP}")
        return 0
    try:
        wish = parse(argv)
        asked = parse_command_line(wish.settings, needs_as_of=False)
        file = asked.settings.models.signing_key_file
        key = signing_key(resolve(file, asked.settings_path.resolve().parent) if file else "")
        registry = Registry.of(asked.settings.home, key)
        sys.stdout.write("\n".join(listing(registry)) + "\n" if wish.action == "list" else f"{_done(registry, wish)}\n")
        return 0
    except EquipoiseError as error:
        say(NAME, f"{'stopped by a gate' if isinstance(error, GateError) else 'failed'}: {error}")
        return error.exit_code


def parse(argv: Sequence[str]) -> Wish:
    """The wish of a command line.

    Raises:
        SettingsError: unless it asks for exactly one of --list, --back, --to MODEL_ID, --sign MODEL_ID.
    """
    words, rest, asked, reason = list(argv), [], [], ""
    while words:
        name, equals, value = words.pop(0).partition("=")
        if name in ("--list", "--back") and not equals:
            asked.append((name.removeprefix("--"), ""))
        elif name in ("--to", "--sign", "--reason"):
            if not equals and (not words or words[0].startswith("--")):
                raise SettingsError(f"{name}: no value; expected {name} {'TEXT' if name == '--reason' else 'MODEL_ID'}")
            value = value if equals else words.pop(0)
            if name != "--reason":
                asked.append((name.removeprefix("--"), value))
            else:
                reason = value
        else:
            rest.append(name + equals + value)
    if len(asked) != 1:
        told = " and ".join(f"--{a} {m}".rstrip() for a, m in asked) or "none of them"
        raise SettingsError(f"expected one of --list, --back, --to MODEL_ID, --sign MODEL_ID; got {told}")
    return Wish(*asked[0], reason, tuple(rest))


def listing(registry: Registry) -> list[str]:
    """One line per model, the latest as-of first, under a heading."""
    standing, current = registry.standing(), registry.named()
    rows = []
    for model_id in registry.ids():
        state = "CURRENT" if model_id == current else ""
        if model_id in standing.withdrawn:
            state = f"withdrawn: {standing.withdrawn[model_id] or 'no reason given'}"
        elif not state and model_id in standing.lineage:
            state = "was CURRENT"
        try:
            meta = load_meta(registry.trusted(model_id))
            figures = [
                f"{meta.metrics[n]:.4f}" if n in meta.metrics else "-" for n in ("best_category_kl_bits", "best_value_loss")
            ]
            rows.append((meta.dates.get("as_of", "-"), model_id, *figures, state))
        except ModelError as error:
            rows.append(("-", model_id, "-", "-", f"{state} DAMAGED: {error}".strip()))
    heading = ("as of", "model", "categories, KL bits", "value, nats", "state")
    table = [heading, *sorted(rows, reverse=True)]
    wide = [max(len(row[i]) for row in table) for i in range(len(heading) - 1)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, wide, strict=False)), row[-1]]).rstrip() for row in table]
    if standing.pending is not None:
        lines.append(f"interrupted: CURRENT was on its way to {standing.pending}; the next move or training ends that")
    return lines if rows else [f"no models in {registry.root}; run finetune_encoder first"]


def _done(registry: Registry, wish: Wish) -> str:
    if wish.action == "sign":
        registry.sign(wish.model_id)
        return f"{wish.model_id} is signed"
    move = registry.back(wish.reason) if wish.action == "back" else registry.choose(wish.model_id, wish.reason)
    withdrawn = ", ".join(sorted(registry.standing().withdrawn)) or "none"
    return (
        f"CURRENT is {move.model_id}; it was {move.previous or 'none'}. Withdrawn: {withdrawn}. "
        "score_users and the jobs after it write their tables with it at their next run."
    )
